"""Integer projections computed in whatever arithmetic is fastest and still exact.

Small weights into a dense layer multiply as 8-bit integers with 32-bit sums. Otherwise a float32
product is exact while no partial sum can reach 2^24, and a float64 one up to 2^53, whatever the
order of the sum. On a GPU it is float64 throughout: it has neither TF32 nor convolutions through
transforms, which float32 has there.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import torch

from neurodeploy.errors import UnsupportedError
from neurodeploy.ir.fixed_point import FLOAT32_EXACT, FLOAT64_EXACT, INT32_EXACT
from neurodeploy.ir.operators import Dense
from neurodeploy.ir.quantized import QuantizedProjection

Accumulate = Callable[[torch.Tensor], torch.Tensor]


def activation_bound(projection: QuantizedProjection) -> float:
    """No activation of the projection, after its shift, exceeds this in absolute value."""
    bound = projection.operator.absolute_row_bound() * projection.payload
    return bound * 2.0 ** max(projection.exponent, 0)


def sum_dtype(bound: float) -> torch.dtype:
    """Integers for the sum of all that arrives, where ``bound`` is its largest magnitude."""
    return torch.int32 if bound < INT32_EXACT else torch.int64


def exact_dtype(bound: float, where: str) -> torch.dtype:
    """Smallest float type that holds every integer up to ``bound`` exactly.

    Raises:
        UnsupportedError: not even float64 does.
    """
    if bound < FLOAT32_EXACT:
        return torch.float32
    if bound < FLOAT64_EXACT:
        return torch.float64
    raise UnsupportedError(f"{where}: activations reach {bound:.3g}, beyond exact 53-bit sums")


def accumulator(
    projection: QuantizedProjection,
    dtype: torch.dtype,
    beyond: Callable[[int], None] | None = None,
    device: torch.device | None = None,
) -> Accumulate:
    """A function from (N, *source) spikes to (N, *target) shifted activations of ``dtype``.

    Args:
        dtype: int32 or int64; the caller knows what the target's sum can reach.
        beyond: told how many sums have left the 32 bits that Lava's synapses shift them in.
        device: where spikes lie and sums are taken, in float64; None for the CPU with whatever is
            fastest.
    """
    bound = activation_bound(projection)
    if device is None:
        multiply = _int8_dense(projection) or _floating(projection, bound)
    else:
        multiply = _on_device(projection, bound, device)
    exponent, may_wrap = projection.exponent, projection.may_wrap

    def accumulate(spikes: torch.Tensor) -> torch.Tensor:
        total = multiply(spikes).to(torch.int64 if may_wrap else dtype)
        if exponent == 0:
            return total
        if may_wrap:  # in the 32 bits that Lava's synapses add up in
            kept = total.to(torch.int32)
            if beyond is not None and (left := int((kept != total).sum())):
                beyond(left)
            total = kept.to(dtype)
        # An arithmetic right shift rounds down, as Lava's does.
        return total << exponent if exponent >= 0 else total >> -exponent

    return accumulate


def _floating(projection: QuantizedProjection, bound: float) -> Accumulate:
    float_type = exact_dtype(bound, f"projection {projection.name!r}")
    apply = projection.operator.compile(float_type)

    def multiply(spikes: torch.Tensor) -> torch.Tensor:
        # Where PyTorch lacks oneDNN, NNPACK convolves through transforms that round.
        with torch.backends.nnpack.flags(enabled=False):
            return apply(spikes.to(float_type))

    return multiply


def _on_device(projection: QuantizedProjection, bound: float, device: torch.device) -> Accumulate:
    _ = exact_dtype(bound, f"projection {projection.name!r}")
    apply = projection.operator.compile(torch.float64, device)
    return lambda spikes: apply(spikes.to(torch.float64)).round_()


@cache
def _int8_is_exact() -> bool:
    """Whether 8-bit products are there and right: older processors saturate pairs of them."""
    int_mm: Any = getattr(torch, "_int_mm", None)
    if int_mm is None:
        return False
    left = torch.full((32, 64), 127, dtype=torch.int8)
    right = torch.full((64, 32), -128, dtype=torch.int8)
    try:
        return bool((int_mm(left, right) == 64 * 127 * -128).all())
    except RuntimeError:  # not built for this processor
        return False


def _int8_dense(projection: QuantizedProjection) -> Accumulate | None:
    """8-bit multiplication, where weights (without common factors of 2) and spikes fit 8 bits."""
    operator, step = projection.operator, projection.weight_format.step
    int_mm: Any = getattr(torch, "_int_mm", None)
    if not isinstance(operator, Dense) or not _int8_is_exact():
        return None
    # Formats of few bits have a step that every weight is a multiple of.
    reduced = operator.weights // step
    fits = np.abs(reduced * 2 + 1).max(initial=0) < 256 and projection.payload < 128
    # torch 2.13's 8-bit product is wrong for a single input.
    if not fits or operator.weights.shape[1] < 2 or (reduced * step != operator.weights).any():
        return None
    if activation_bound(projection) >= INT32_EXACT:
        return None
    transposed = torch.from_numpy(np.ascontiguousarray(reduced, np.int8)).t()

    def multiply(spikes: torch.Tensor) -> torch.Tensor:
        flat = spikes.to(torch.int8).flatten(1).contiguous()
        return int_mm(flat, transposed).mul_(step).unflatten(1, operator.output_shape)

    return multiply
