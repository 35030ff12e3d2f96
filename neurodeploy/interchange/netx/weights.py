"""What lava-dl makes of the integer weights of a ``.net``, and how they are held here.

lava-dl shifts dense weights left until they fill Loihi's 8 bits, drops the lowest bits that are
zero in all of them, and shifts the sum back. Lava then clips and truncates to that format. Both
disagree about the sign of a layer without positive weights, so not every integer survives.
Source: lava-dl 0.6.0 ``netx/utils.py``, lava-nc 0.10.0 ``utils/weightutils.py``.
"""

from __future__ import annotations

import math

import numpy as np

from neurodeploy.ir.fixed_point import WEIGHT_BITS, WeightFormat

LARGEST_SHIFT = 7
"""Loihi's weight exponent goes down to -7."""


def refused_by_lava_dl(*parts: np.ndarray) -> str:
    """Why lava-dl would not run exactly these dense weights; empty when it does.

    Args:
        parts: int64 matrices that share one format: the weights of a layer, and its recurrent
            ones.
    """
    joint = np.concatenate([part.ravel() for part in parts])
    if not joint.any():
        return "all weights are 0, on which lava-dl fails"
    highest, lowest = int(joint.max()), int(joint.min())
    # Here lava-dl counts a sign bit also when the highest weight is 0; Lava itself does not.
    signed = lowest < 0 <= highest
    left = math.floor(math.log2(_room(highest, lowest))) + signed
    bits = WEIGHT_BITS - left - (_low_zeros(joint) - signed)
    if left < 0 or bits > WEIGHT_BITS:
        return (
            f"weights from {lowest} to {highest} do not fit 8 bits with their sign; of both signs "
            "they are even, from -256 to 254"
        )
    changed = sum(int((_as_run(part << left, bits) != part << left).sum()) for part in parts)
    if changed:
        return (
            f"lava-dl would run {changed} of {joint.size} weights as other numbers, because of the "
            f"sign it infers from weights of {lowest} to {highest}; one positive weight avoids it"
        )
    return ""


def packing(*parts: np.ndarray) -> tuple[int, WeightFormat] | None:
    """The fewest bits that hold weights, as lava-dl finds them: shifted left as far as they go.

    Returns:
        how far to shift, for the weight exponent to shift back, and the format of the shifted
        weights; None when 8 bits do not hold them.
    """
    joint = np.concatenate([part.ravel() for part in parts])
    zeros = _low_zeros(joint)
    for sign in dict.fromkeys([WeightFormat.fitting(joint, WEIGHT_BITS).sign, "mixed"]):
        for left in range(LARGEST_SHIFT, -1, -1):
            bits = WEIGHT_BITS + (sign == "mixed") - zeros - left
            if bits > WEIGHT_BITS:
                break
            form, shifted = WeightFormat(max(bits, 1), sign), joint << left
            if form.minimum <= shifted.min(initial=0) and shifted.max(initial=0) <= form.maximum:
                return left, form
    return None


def _room(highest: int, lowest: int) -> float:
    """How many times larger lava-dl takes the weights to be allowed to be."""
    if lowest >= 0:
        return 255 / highest
    if highest < 0:
        return 256 / -lowest
    return min(127 / highest if highest else math.inf, 128 / -lowest)


def _low_zeros(weights: np.ndarray) -> int:
    """Lowest bits that are zero in every weight, at most 8."""
    joined = int(np.bitwise_or.reduce(weights, axis=None)) | 1 << WEIGHT_BITS
    return (joined & -joined).bit_length() - 1


def _as_run(weights: np.ndarray, bits: int) -> np.ndarray:
    """What Lava's Dense clips and truncates shifted weights to."""
    form = WeightFormat.fitting(weights, WEIGHT_BITS)
    mixed, negative = form.sign == "mixed", form.sign == "inhibitory"
    magnitude = -weights if negative else weights
    magnitude = np.clip(magnitude, -256 if mixed else 0, 255)
    drop = WEIGHT_BITS - bits + mixed
    magnitude = (magnitude >> drop) << drop
    return -magnitude if negative else magnitude
