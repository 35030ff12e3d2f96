"""Two convolutions, one after the other, as one with a larger kernel.

Along an axis, the first gives y[j] = sum_a w[a] x[j s + a d - p] and the second reads y at
j = k S + b D - P. Put together they are

    z[k] = sum_{a, b} W[b] w[a] x[k s S + (b D s + a d) - (P s + p)],

a convolution of stride s S. Its zeros before and after the input are those of the first as well as
of the second, which is the same only where no window that lies beyond the first's outputs would
have read any input.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from neurodeploy.ir.convolution import Convolution
from neurodeploy.ir.operators import TooLargeError

MOST_WEIGHTS = 2**25
"""Stored weights of a map that comes from composing two."""

Product = Callable[[np.ndarray, np.ndarray], np.ndarray]


class _Axis(NamedTuple):
    """One axis of a convolution."""

    inputs: int
    outputs: int
    kernel: int
    stride: int
    padding: tuple[int, int]
    dilation: int

    def reads(self) -> np.ndarray:
        """(outputs, kernel) places of the input that each output reads, some beyond its ends."""
        starts = np.arange(self.outputs) * self.stride - self.padding[0]
        return starts[:, None] + np.arange(self.kernel) * self.dilation


class _Merged(NamedTuple):
    """One axis of two convolutions put together."""

    kernel: int
    stride: int
    padding: tuple[int, int]
    dilation: int


def merged(first: Convolution, second: Convolution) -> Convolution | None:
    """``second`` after ``first`` as one convolution, or None where that is not exact.

    Raises:
        TooLargeError: it would have more than ``MOST_WEIGHTS`` weights.
    """
    pairs = list(zip(_axes(first), _axes(second), strict=True))
    axes = [found for one, other in pairs if (found := _merged(one, other)) is not None]
    if len(axes) < len(pairs):
        return None
    groups, inputs, product = _channels(first, second)
    kernel = tuple(axis.kernel for axis in axes)
    check_size(len(second.weights) * inputs, math.prod(kernel))
    weights = np.zeros(
        (len(second.weights), inputs, *kernel), np.result_type(first.weights, second.weights)
    )
    for there in np.ndindex(*second.kernel):
        for here in np.ndindex(*first.kernel):
            at = tuple(
                (b * other.dilation * one.stride + a * one.dilation) // axis.dilation
                for b, a, (one, other), axis in zip(there, here, pairs, axes, strict=True)
            )
            weights[(..., *at)] += product(
                second.weights[(..., *there)], first.weights[(..., *here)]
            )
    return Convolution(
        weights,
        first.input_shape,
        tuple(axis.stride for axis in axes),
        tuple(axis.padding for axis in axes),
        tuple(axis.dilation for axis in axes),
        groups,
    )


def check_size(rows: int, columns: int) -> None:
    """Refuse a map too large to be stored.

    Raises:
        TooLargeError: it is.
    """
    if rows * columns > MOST_WEIGHTS:
        raise TooLargeError(
            f"with the map before it this one would have {rows:,} x {columns:,} weights, at most "
            f"{MOST_WEIGHTS:,} are",
            "put neurons between the two",
        )


def _axes(conv: Convolution) -> list[_Axis]:
    return [
        _Axis(*each)
        for each in zip(
            conv.input_shape[1:],
            conv.output_shape[1:],
            conv.kernel,
            conv.stride,
            conv.padding,
            conv.dilation,
            strict=True,
        )
    ]


def _merged(first: _Axis, second: _Axis) -> _Merged | None:
    read = second.reads()
    beyond = read[(read < 0) | (read >= first.outputs)]
    # Where the second reads zeros, the two together read what the first would there.
    would_read = beyond[:, None] * first.stride - first.padding[0]
    would_read = would_read + np.arange(first.kernel) * first.dilation
    if ((would_read >= 0) & (would_read < first.inputs)).any():
        return None
    steps = second.dilation * first.stride, first.dilation
    reach = (second.kernel - 1) * steps[0] + (first.kernel - 1) * steps[1]
    dilation = max(
        math.gcd(
            *(step for step, axis in zip(steps, (second, first), strict=True) if axis.kernel > 1)
        ),
        1,
    )
    stride = first.stride * second.stride
    before, after = (
        pad * first.stride + own for pad, own in zip(second.padding, first.padding, strict=True)
    )
    # As many zeros after the input as the last output reads, where a remainder leaves some unread.
    needed = (second.outputs - 1) * stride + reach + 1 - first.inputs - before
    if (first.inputs + before + after - reach - 1) // stride + 1 != second.outputs:
        after = max(needed, 0)
    if (first.inputs + before + after - reach - 1) // stride + 1 != second.outputs:
        return None
    return _Merged(reach // dilation + 1, stride, (before, after), dilation)


def _channels(first: Convolution, second: Convolution) -> tuple[int, int, Product]:
    """Groups of the two together, inputs of each, and what one pair of kernel places gives.

    The product takes (outputs, inputs of a group) of the second and of the first.
    """
    middle, outputs = len(first.weights), len(second.weights)
    if second.groups == middle:
        reads = np.arange(outputs) // (outputs // middle)
        return first.groups, first.weights.shape[1], lambda w, before: w * before[reads]
    if first.groups == middle == first.input_shape[0]:
        inputs = second.weights.shape[1]
        group = np.arange(outputs) // (outputs // second.groups)
        reads = group[:, None] * inputs + np.arange(inputs)
        return second.groups, inputs, lambda w, before: w * before[reads, 0]
    groups = math.gcd(first.groups, second.groups)
    inputs = first.input_shape[0] // groups

    def product(w: np.ndarray, before: np.ndarray) -> np.ndarray:
        after = _in_groups(w, second.groups, groups)
        return (after @ _in_groups(before, first.groups, groups)).reshape(outputs, inputs)

    return groups, inputs, product


def _in_groups(weights: np.ndarray, groups: int, fewer: int) -> np.ndarray:
    """(outputs, inputs of a group) as (fewer, outputs, inputs) of fewer groups, 0 between them."""
    outputs, inputs = weights.shape
    joined = groups // fewer
    spread = np.zeros((outputs, joined * inputs), weights.dtype)
    first = np.arange(outputs) // (outputs // groups) % joined * inputs
    np.put_along_axis(spread, first[:, None] + np.arange(inputs), weights, axis=1)
    return spread.reshape(fewer, outputs // fewer, joined * inputs)
