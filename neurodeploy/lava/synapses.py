"""Projections over batches: Lava's arithmetic with a kernel kept as a kernel, in numpy and scipy.

Weights pass through Lava's clipping and truncation, spikes are accumulated, and the sum is shifted,
as its fixed-point ``Dense`` and ``Sparse`` do. Floating-point products are used where they are
exact. Nothing of torch, which can hang in a forked process.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from neurodeploy.ir.convolution import Convolution
from neurodeploy.ir.fixed_point import FLOAT32_EXACT, INT32_EXACT
from neurodeploy.ir.operators import Dense, Operator
from neurodeploy.ir.quantized import QuantizedProjection

BatchedSynapses = Callable[[np.ndarray], np.ndarray]
"""From (N, inputs) spikes or integers to (N, outputs), both flattened populations."""

COLUMNS = 2**20
"""Numbers that a convolution lays out at once: few enough for a processor's cache. Samples of a
batch are taken together up to here; a single one may need more."""


def batched_synapses(projection: QuantizedProjection) -> BatchedSynapses:
    """Clip, truncate, accumulate, shift; int32, or int64 where 32 bits could overflow."""
    operator = as_lava_holds_it(projection)
    exponent, may_wrap = projection.exponent, projection.may_wrap
    bound = operator.absolute_row_bound() * projection.payload
    dtype = np.float32 if bound < FLOAT32_EXACT else np.float64
    integer = np.int32 if bound * 2.0 ** max(exponent, 0) < INT32_EXACT else np.int64
    multiply = _multiply(operator, dtype)

    def synapses(spikes: np.ndarray) -> np.ndarray:
        total = multiply(spikes).astype(integer)
        if exponent == 0:
            return total
        if may_wrap:  # in the 32 bits that Lava's synapses add up in
            total = total.astype(np.int32)
        return total << exponent if exponent > 0 else total >> -exponent

    return synapses


def as_lava_holds_it(projection: QuantizedProjection) -> Operator:
    """The operator with each weight clipped and truncated by Lava's own functions, int32."""
    from lava.utils.weightutils import SignMode, clip_weights, truncate_weights

    form = projection.weight_format
    sign = SignMode[form.sign.upper()]
    weights: Any = clip_weights(projection.operator.weights, sign, num_bits=8)
    truncated: Any = truncate_weights(weights, sign, form.bits)
    return projection.operator.with_weights(truncated)


def _multiply(operator: Operator, dtype: Any) -> BatchedSynapses:
    if isinstance(operator, Dense):
        transposed = np.ascontiguousarray(operator.weights.T, dtype)
        return lambda spikes: spikes.astype(dtype) @ transposed
    if isinstance(operator, Convolution):
        return _Kernel(operator, dtype)
    matrix: Any = operator.matrix().astype(dtype)
    return lambda spikes: (matrix @ np.ascontiguousarray(spikes.T, dtype)).T


class _Kernel:
    """A convolution as matrix products of its kernel with the values that each output reads."""

    def __init__(self, convolution: Convolution, dtype: Any) -> None:
        self.convolution, self.dtype = convolution, dtype
        outputs = convolution.weights.shape[0]
        self.kernel = convolution.weights.reshape(
            convolution.groups, outputs // convolution.groups, -1
        ).astype(dtype)
        self.at_once = max(1, COLUMNS // column_values(convolution))

    def __call__(self, spikes: np.ndarray) -> np.ndarray:
        """(N, inputs) to (N, outputs)."""
        output = np.empty((len(spikes), math.prod(self.convolution.output_shape)), self.dtype)
        for first in range(0, len(spikes), self.at_once):
            some = slice(first, first + self.at_once)
            output[some] = self._some(spikes[some])
        return output

    def _some(self, spikes: np.ndarray) -> np.ndarray:
        conv, samples = self.convolution, len(spikes)
        channels, axes = conv.input_shape[0], tuple(range(2, 1 + len(conv.input_shape)))
        ends = [(0, 0), (0, 0), *conv.padding]
        padded = np.pad(spikes.reshape(samples, *conv.input_shape).astype(self.dtype), ends)
        reach = tuple(d * (k - 1) + 1 for d, k in zip(conv.dilation, conv.kernel, strict=True))
        view: Any = sliding_window_view
        windows = view(padded, reach, axes)[
            (..., *(slice(None, None, step) for step in (*conv.stride, *conv.dilation)))
        ]  # (N, channels, *positions, *kernel)
        count = len(axes)
        order = (1, *range(2 + count, 2 + 2 * count), 0, *axes)
        columns = windows.transpose(order).reshape(
            conv.groups, channels // conv.groups * math.prod(conv.kernel), -1
        )
        product = np.matmul(self.kernel, columns).reshape(conv.output_shape[0], samples, -1)
        return product.swapaxes(0, 1).reshape(samples, -1)


def column_values(convolution: Convolution) -> int:
    """How many numbers a convolution lays out for one sample: one per output place and weight."""
    places = math.prod(convolution.output_shape[1:])
    return convolution.input_shape[0] * math.prod(convolution.kernel) * places
