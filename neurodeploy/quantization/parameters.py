"""Integers of a population's parameters: thresholds, leaks and biases, and what they lose."""

from __future__ import annotations

import math

import numpy as np

from neurodeploy.ir.fixed_point import ACTIVATION_SHIFT, DECAY_ONE, nearest_decay, split_biases
from neurodeploy.ir.network import Neuron
from neurodeploy.target import Target


def threshold_limit(neuron: Neuron, target: Target) -> float:
    """Scale beyond which the highest threshold leaves its width."""
    highest = 0.0 if neuron.v_threshold is None else float(np.abs(neuron.v_threshold).max())
    most = 2**target.neuron.threshold_bits.value - 1
    return most / highest if highest > 0 else math.inf


def quantized_thresholds(
    neuron: Neuron, scale: float, target: Target
) -> tuple[np.ndarray | None, list[str]]:
    """Thresholds in activation units, 17 bits, and a note on clipped ones.

    Returns:
        int64, or None for neurons that never spike; and notes.
    """
    if neuron.v_threshold is None:
        return None, []
    exact = np.rint(neuron.v_threshold * scale).astype(np.int64)
    threshold = np.clip(exact, 0, 2**target.neuron.threshold_bits.value - 1)
    clipped = int((threshold != exact).sum())
    return threshold, [f"{clipped} thresholds clipped"] if clipped else []


def quantized_decays(neuron: Neuron, target: Target) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Decays of u (1..4096) and v (0..4095) in 1/4096, int64, and notes.

    A leak so slow that its decay rounds to 0 would never leak, one so fast that it rounds to 4096
    keeps nothing; v cannot lose everything, because 12 bits end at 4095. Each is named.
    """
    most = 2**target.neuron.decay_bits.value - 1
    u_decay, v_decay = nearest_decay(neuron.u_keep), nearest_decay(neuron.v_keep)
    notes = [
        *_extremes("u", neuron.u_keep, u_decay, (1, most + 1)),
        *_extremes("v", neuron.v_keep, v_decay, (0, most)),
    ]
    return np.clip(u_decay, 1, most + 1), np.clip(v_decay, 0, most), notes


def _extremes(
    variable: str, keep: np.ndarray, decay: np.ndarray, limits: tuple[int, int]
) -> list[str]:
    """What became of leaks whose nearest decay is 0 or 4096."""
    lowest, highest = limits
    notes = []
    frozen = (decay == 0) & (keep < 1)
    if frozen.any():
        slowest = float(np.max(keep[frozen]))
        kept = f"{lowest}/{DECAY_ONE}" if lowest else "no leak"
        notes.append(
            f"{_count(frozen, 'leak')} of {variable} (keeping up to {slowest:.6g} a step) rounded "
            f"to decay 0: {kept}"
        )
    emptied = (decay == DECAY_ONE) & ((keep > 0) | (highest < DECAY_ONE))
    if emptied.any():
        strongest = float(np.min(keep[emptied]))
        kept = f"{DECAY_ONE - highest}/{DECAY_ONE} kept" if highest < DECAY_ONE else "nothing kept"
        notes.append(
            f"{_count(emptied, 'leak')} of {variable} (keeping {strongest:.6g} a step or more) "
            f"rounded to decay {DECAY_ONE}: {kept}"
        )
    return notes


def _count(which: np.ndarray, thing: str) -> str:
    """``1 leak``, ``3 leaks``."""
    number = int(which.sum())
    return f"{number:,} {thing}" + ("s" if number > 1 else "")


def bias_limit(neuron: Neuron, target: Target) -> float:
    """Scale beyond which the largest bias leaves its mantissa and exponent."""
    highest = float(np.abs(neuron.bias).max())
    mantissa = 2 ** (target.neuron.bias_mantissa_bits.value - 1) - 1
    most = mantissa << target.neuron.bias_exponent_max.value
    return most / (highest * 2**ACTIVATION_SHIFT) if highest > 0 else math.inf


def quantized_biases(
    neuron: Neuron, scale: float, target: Target, exponent_min: int = 0
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Biases of v as mantissa << exponent, in state units (64 to an activation unit).

    Returns:
        Mantissas and exponents, int64, and a note on biases that are out of range.
    """
    wanted = np.rint(neuron.bias * scale * 2**ACTIVATION_SHIFT).astype(np.int64)
    bits, most = target.neuron.bias_mantissa_bits.value, target.neuron.bias_exponent_max.value
    mantissa, exponent = split_biases(wanted, bits, most, exponent_min)
    far = np.abs(mantissa * 2**exponent - wanted) * 2 > 2**exponent
    return mantissa, exponent, [f"{int(far.sum())} biases clipped"] if far.any() else []
