"""The scale of neurons that spike at a threshold: how many integers a unit of their input is."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from neurodeploy.ir.fixed_point import ACTIVATION_SHIFT, DECAY_ONE, STATE_LIMIT, nearest_decay
from neurodeploy.ir.models import Arriving
from neurodeploy.target import Target


def scale_within(
    incoming: Sequence[Arriving], ratios: Sequence[float], target: Target, most: float
) -> tuple[float, tuple[int, ...]]:
    """The finest scale up to ``most`` that a power of two parts from the largest ratio.

    Args:
        incoming, ratios: as of ``FloatModel.laid_out``.

    Returns:
        The scale, and the exponent of each projection, which brings its weights to their ratio.
    """
    synapse = target.synapse
    low, high = synapse.weight_exponent_min.value, synapse.weight_exponent_max.value
    finite = [ratio for ratio in ratios if math.isfinite(ratio)] or [1.0]
    anchor, upper = max(finite), min(finite) * 2.0**high
    octaves = math.floor(math.log2(min(upper, most)) - math.log2(anchor) + 1e-9)
    scale = math.ldexp(anchor, max(octaves, low))
    exponents = (
        max(item.exponent_at(scale, ratio, target), low)
        for item, ratio in zip(incoming, ratios, strict=True)
    )
    return scale, tuple(exponents)


def roomy(incoming: Sequence[Arriving], gain: float, constant: float = 0.0) -> float:
    """The scale at which the largest state of a sample stays within 24 bits.

    Args:
        gain: the largest state that an input of 1 at every step leads to.
        constant: what else the state has, in units of the input.
    """
    worst = gain * sum(item.bound for item in incoming) + constant
    return (STATE_LIMIT - 1) / (worst * 2**ACTIVATION_SHIFT) if worst > 0 else math.inf


def gain_of(keep: float, steps: int) -> float:
    """sum_t keep^t over a sample."""
    return float(steps) if keep >= 1 else (1 - keep**steps) / (1 - keep)


def decay_of(keep: float, name: str, lowest: int = 0) -> tuple[int, list[str]]:
    """The decay in 1/4096 nearest to a share kept, from ``lowest`` to lowest + 4095, and a note.

    The note names a leak that is lost and one that 12 bits cannot hold.
    """
    exact = int(nearest_decay(keep))
    held = int(np.clip(exact, lowest, lowest + DECAY_ONE - 1))
    lost = held != exact or (exact == 0 and keep < 1)
    return held, [f"{name} keeps {keep:.6g} a step, decay {held} of {DECAY_ONE}"] if lost else []
