"""Operators made from operators: one after the other, side by side, under other shapes."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from neurodeploy.ir.convolution import Convolution
from neurodeploy.ir.operators import Dense, Operator, Shape, SparseMatrix, check_writable, parts_of

MOST_WEIGHTS = 2**25
"""Stored weights of a map that comes from composing two."""


def compose(first: Operator, second: Operator) -> Operator:
    """``second`` after ``first`` as one operator, keeping convolutions shared where it can.

    Pooling with equal kernel and stride before an ungrouped convolution becomes one convolution
    with a larger kernel; a factor per channel goes into the convolution before or after it;
    anything before a dense operator becomes dense; the rest is written out.

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
        _check_dense(len(second.weights), math.prod(first.input_shape))
        weights = (first.matrix().T @ second.weights.T).T
        return Dense(np.ascontiguousarray(weights), first.input_shape, second.output_shape)
    if isinstance(second, Convolution):
        merged = (
            _merge_pool_into_conv(first, second)
            if isinstance(first, Convolution)
            else _merge_factors_into_conv(first, second)
        )
        if merged is not None:
            return merged
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


def _merge_pool_into_conv(first: Convolution, second: Convolution) -> Convolution | None:
    """Non-overlapping depthwise ``first`` merged into ``second``'s kernel, if that is exact."""
    channels = first.input_shape[0]
    depthwise = first.groups == channels == first.weights.shape[0]
    tiles = first.kernel == first.stride and set(first.dilation) == {1}
    unpadded = all(pad == (0, 0) for pad in first.padding)
    # With a remainder, the merged padding would read input that the pooling leaves out.
    covers = all(
        n % kernel == 0 for n, kernel in zip(first.input_shape[1:], first.kernel, strict=True)
    )
    if not (depthwise and tiles and unpadded and covers and set(second.dilation) == {1}):
        return None
    _check_dense(second.weights.size, math.prod(first.kernel))
    per_group = second.weights.shape[1]
    group = np.arange(second.weights.shape[0]) // (second.weights.shape[0] // second.groups)
    reads = group[:, None] * per_group + np.arange(per_group)
    small = first.weights[:, 0][reads]
    if second.weights.ndim == 3:
        merged = np.einsum("oik,oia->oika", second.weights, small)
        merged = merged.reshape(*second.weights.shape[:2], -1)
    else:
        merged = np.einsum("oikl,oiab->oikalb", second.weights, small)
        rows = second.kernel[0] * first.kernel[0]
        merged = merged.reshape(*second.weights.shape[:2], rows, -1)
    return Convolution(
        merged,
        first.input_shape,
        tuple(a * b for a, b in zip(first.stride, second.stride, strict=True)),
        tuple(
            (before * size, after * size)
            for (before, after), size in zip(second.padding, first.kernel, strict=True)
        ),
        second.dilation,
        second.groups,
    )


def _check_dense(rows: int, columns: int) -> None:
    if rows * columns > MOST_WEIGHTS:
        raise ValueError(
            f"with the map before it this one would have {rows:,} x {columns:,} weights, at most "
            f"{MOST_WEIGHTS:,} are; put neurons between the two"
        )


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
