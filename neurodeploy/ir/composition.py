"""Operators made from operators: one after the other, side by side, under other shapes."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from neurodeploy.ir.convolution import Convolution
from neurodeploy.ir.merging import check_size, merged
from neurodeploy.ir.operators import Dense, Operator, Shape, SparseMatrix, check_writable, parts_of


def compose(first: Operator, second: Operator) -> Operator:
    """``second`` after ``first`` as one operator, keeping convolutions shared where it can.

    Two convolutions, poolings among them, become one with a larger kernel where that is exact
    (``merging``); a factor per channel goes into the convolution before or after it; anything
    before a dense operator becomes dense; the rest is written out.

    Raises:
        ValueError: the shapes do not fit, or the result would be too large.
    """
    if first.output_shape != second.input_shape:
        raise ValueError(
            f"cannot compose: the first gives {first.output_shape}, "
            f"the second takes {second.input_shape}"
        )
    factors = one_to_one(second)
    if factors is not None:
        return first.scaled(factors)
    if isinstance(second, Dense):
        check_writable(first)
        check_size(len(second.weights), math.prod(first.input_shape))
        weights = (first.matrix().T @ second.weights.T).T
        return Dense(np.ascontiguousarray(weights), first.input_shape, second.output_shape)
    if isinstance(second, Convolution):
        found = (
            _one_convolution(first, second)
            if isinstance(first, Convolution)
            else _merge_factors_into_conv(first, second)
        )
        if found is not None:
            return found
    check_writable(first)
    check_writable(second)
    product = second.matrix() @ first.matrix()
    written = SparseMatrix.from_matrix(product, first.input_shape, second.output_shape)
    return replace(written, parts=(*parts_of(first), *parts_of(second)))


def add(first: Operator, second: Operator) -> Operator:
    """Both operators on the same input, outputs summed, as one operator.

    Convolutions of the same geometry stay one; with a dense operator the sum is dense; the rest is
    written out.

    Raises:
        ValueError: the shapes do not fit, or the result would be too large.
    """
    if (first.input_shape, first.output_shape) != (second.input_shape, second.output_shape):
        raise ValueError(
            f"cannot add: {first.input_shape} to {first.output_shape} and "
            f"{second.input_shape} to {second.output_shape}"
        )
    if isinstance(first, Convolution) and isinstance(second, Convolution):
        same = [
            (conv.kernel, conv.stride, conv.padding, conv.dilation, conv.groups)
            for conv in (first, second)
        ]
        if same[0] == same[1]:
            return first.with_weights(first.weights + second.weights)
    check_writable(first)
    check_writable(second)
    if isinstance(first, Dense) or isinstance(second, Dense):
        weights = np.asarray(first.matrix() + second.matrix().todense())
        return Dense(weights, first.input_shape, first.output_shape)
    total = first.matrix() + second.matrix()
    return SparseMatrix.from_matrix(total, first.input_shape, first.output_shape)


def one_to_one(operator: Operator) -> np.ndarray | None:
    """The factor of each element where an operator only multiplies, in the input's shape."""
    if not isinstance(operator, SparseMatrix) or operator.input_shape != operator.output_shape:
        return None
    count = math.prod(operator.input_shape)
    if not (
        np.array_equal(operator.indptr, np.arange(count + 1))
        and np.array_equal(operator.indices, np.arange(count))
    ):
        return None
    return operator.weights.reshape(operator.input_shape)


def _one_convolution(first: Convolution, second: Convolution) -> Convolution | None:
    """Both as one convolution that knows its parts, if that is exact."""
    found = merged(first, second)
    if found is None:
        return None
    parts = (*(first.parts or (first,)), *(second.parts or (second,)))
    return replace(found, parts=parts)


def _merge_factors_into_conv(first: Operator, second: Convolution) -> Convolution | None:
    """A factor per input channel merged into the kernels, if ``first`` is no more than that."""
    factors = one_to_one(first)
    if factors is None or second.groups != 1:
        return None
    by_channel = factors.reshape(len(factors), -1)
    if (by_channel != by_channel[:, :1]).any():
        return None
    factor = by_channel[:, 0].reshape(-1, *(1,) * (second.weights.ndim - 2))
    return second.with_weights(second.weights * factor)


def fan_in(operator: Operator) -> int:
    """The most inputs that one output reads."""
    if isinstance(operator, SparseMatrix):
        return int(np.diff(operator.indptr).max(initial=0))
    return operator.weights[0].size


def reshaped(operator: Operator, output_shape: Shape) -> Operator:
    """The same numbers in the same C order under another output shape (flatten)."""
    if math.prod(output_shape) != math.prod(operator.output_shape):
        raise ValueError(f"cannot reshape {operator.output_shape} to {output_shape}")
    if isinstance(operator, Dense | SparseMatrix):
        return replace(operator, output_shape=output_shape)
    return replace(SparseMatrix.of(operator), output_shape=output_shape)


def reading(operator: Operator, input_shape: Shape) -> Operator:
    """The same numbers in the same C order taken from an array of another shape."""
    if operator.input_shape == input_shape:
        return operator
    if isinstance(operator, Dense | SparseMatrix):
        return replace(operator, input_shape=input_shape)
    return replace(SparseMatrix.of(operator), input_shape=input_shape)
