"""Biases of v as mantissa << exponent, in state units (64 to an activation unit)."""

from __future__ import annotations

import math

import numpy as np

from neurodeploy.ir.fixed_point import ACTIVATION_SHIFT, split_biases
from neurodeploy.ir.network import Neuron
from neurodeploy.target import Target


def bias_limit(neuron: Neuron, target: Target) -> float:
    """Scale beyond which the largest bias leaves its mantissa and exponent."""
    highest = float(np.abs(neuron.bias).max())
    mantissa = 2 ** (target.neuron.bias_mantissa_bits.value - 1) - 1
    most = mantissa << target.neuron.bias_exponent_max.value
    return most / (highest * 2**ACTIVATION_SHIFT) if highest > 0 else math.inf


def quantized_biases(
    neuron: Neuron, scale: float, target: Target, exponent_min: int = 0
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Mantissas and exponents, int64, and a note on biases that are out of range."""
    wanted = np.rint(neuron.bias * scale * 2**ACTIVATION_SHIFT).astype(np.int64)
    bits, most = target.neuron.bias_mantissa_bits.value, target.neuron.bias_exponent_max.value
    mantissa, exponent = split_biases(wanted, bits, most, exponent_min)
    far = np.abs(mantissa * 2**exponent - wanted) * 2 > 2**exponent
    return mantissa, exponent, [f"{int(far.sum())} biases clipped"] if far.any() else []
