"""Thresholds in activation units, 17 bits."""

from __future__ import annotations

import math

import numpy as np

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
    """Thresholds, int64 or None for neurons that never spike, and a note on clipped ones."""
    if neuron.v_threshold is None:
        return None, []
    exact = np.rint(neuron.v_threshold * scale).astype(np.int64)
    threshold = np.clip(exact, 0, 2**target.neuron.threshold_bits.value - 1)
    clipped = int((threshold != exact).sum())
    return threshold, [f"{clipped} thresholds clipped"] if clipped else []
