"""Which scale a population gets, and which weight exponents the projections into it.

All projections into a population share its scale S; each has the ratio r = S / 2^e by which its
weights are multiplied. A search proposes ratios; ``laid_out`` turns them into the largest S and
exponents that thresholds, biases and 24-bit states allow, because powers of two beyond the weights
cost nothing and make thresholds, biases and leaks finer.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from neurodeploy.ir.fixed_point import ACTIVATION_SHIFT, STATE_LIMIT
from neurodeploy.ir.network import Neuron
from neurodeploy.quantization.parameters import bias_limit, threshold_limit
from neurodeploy.quantization.weights import Weights
from neurodeploy.target import Target

ScaleMethod = Literal["max", "percentile", "mse", "calibrate"]

PERCENTILE = 99.9
"""Of the magnitudes of a projection's weights, the one that ``percentile`` makes the largest."""

OCTAVES = 5
"""How far searches go beyond the ratio that fills the format: 2-bit weights want about 2 octaves,
the rest is for weights with a few outliers."""

FINENESS = 8
"""Scales tried per octave: 9 % apart, where the error around its minimum is flat."""

TRIED = (-4, -3, -2, -1, 1, 2, 3, 4)
"""Quarter octaves around the ratios of ``mse`` that a calibration tries."""

SAMPLED = 2**18
"""Weights of a projection that the error is measured on; of larger ones every k-th."""

SILENT_SHARE = 0.95
"""Of the worst case that saturates v, how much a read-out may use: weights that round up must not
take v past it, nor past the highest threshold of a fixed neuron."""

ACTIVATION_LIMIT = (STATE_LIMIT - 1) >> ACTIVATION_SHIFT
"""Largest activation that cannot wrap u on its own."""


@dataclass(frozen=True)
class Scales:
    """Activation units per float unit of a population, and the exponent of each projection."""

    scale: float
    exponents: tuple[int, ...]


def max_ratios(incoming: Sequence[Weights]) -> list[float]:
    """The largest weight of each projection fills its format: nothing is clipped."""
    return [item.full_ratio for item in incoming]


def percentile_ratios(incoming: Sequence[Weights]) -> list[float]:
    """The weights above the percentile ``PERCENTILE`` of all magnitudes are clipped."""
    ratios = []
    for item in incoming:
        top = float(np.percentile(np.abs(item.weights), PERCENTILE)) if item.weights.size else 0.0
        highest, lowest = float(item.weights.max(initial=0)), float(item.weights.min(initial=0))
        ratio = item.ratio_for(min(highest, top), max(lowest, -top))
        ratios.append(ratio if math.isfinite(ratio) else item.full_ratio)
    return ratios


def mse_ratios(incoming: Sequence[Weights]) -> list[float]:
    """The smallest summed squared error of the current into a neuron when every source spikes.

    Ratios of one population are powers of two apart: for each scale within an octave every
    projection takes its own best power, and the scale with the smallest sum wins. Weights that lie
    on a grid already, as those of a network trained for it, are found and lose nothing.
    """
    best, least = max_ratios(incoming), math.inf
    anchor = max((ratio for ratio in best if math.isfinite(ratio)), default=None)
    if anchor is None:
        return best
    scales = [anchor * 2.0 ** (place / FINENESS) for place in range(FINENESS)]
    scales += [exact for item in incoming if (exact := item.lossless_ratio()) is not None]
    # Of the largest currents: squares of very large or small weights would leave the floats.
    unit = max(item.largest * item.payload for item in incoming)
    for scale in scales:
        found = [_best_power(item, scale, unit) for item in incoming]
        error = sum(error for error, _ in found)
        if error < least:
            best, least = [ratio for _, ratio in found], error
    return best


def _best_power(item: Weights, scale: float, unit: float) -> tuple[float, float]:
    """Smallest squared error per neuron, in ``unit``s squared, at a ratio scale 2^n, and that."""
    full, largest = item.full_ratio, item.largest
    if not math.isfinite(full):
        return 0.0, full
    flat = item.weights.ravel()
    weights = flat[:: 1 + flat.size // SAMPLED]
    per_neuron = flat.size / weights.size / item.rows * (largest * item.payload / unit) ** 2
    first = math.floor(math.log2(full) - math.log2(scale) + 1e-9)

    def error(ratio: float) -> float:
        _, integers = item.rounded(weights, ratio)
        return float(np.square((integers / ratio - weights) / largest).sum())

    # As floats hold them: the power alone may be beyond them.
    highest = sys.float_info.max_exp - math.frexp(scale)[1]
    powers = range(first, min(first + OCTAVES, highest + 1))
    ratios = [math.ldexp(scale, power) for power in powers]
    least, ratio = min((error(ratio), ratio) for ratio in ratios)
    return least * per_neuron, ratio


def candidates(incoming: Sequence[Weights]) -> Iterator[list[float]]:
    """What a calibration tries: the ratios of ``mse``, around them, and those of ``max``.

    The first of equally good ones is taken, so the likeliest come first.
    """
    found = mse_ratios(incoming)
    yield found
    for quarter in TRIED:
        yield [ratio * 2.0 ** (quarter / 4) for ratio in found]
    yield max_ratios(incoming)


def laid_out(
    neuron: Neuron,
    incoming: Sequence[Weights],
    ratios: Sequence[float],
    target: Target,
    steps: int,
    silent: float = SILENT_SHARE,
) -> Scales:
    """Scale and exponents that multiply each projection's weights by no more than its ratio.

    The projection of the largest ratio gets it exactly; the others shift theirs left. From there
    the scale goes up by powers of two while exponents and overflow allow, or down as far as graded
    input pays for it.

    Args:
        steps: T, for which 24-bit states must do.
        silent: in place of ``SILENT_SHARE``.
    """
    if not incoming:
        # A constant source, whose own integers say nothing: its spikes are all that leaves it.
        return Scales(1.0, ())
    highest = max(target.synapse.weight_exponent_max.value, 0)
    finite = [ratio for ratio in ratios if math.isfinite(ratio)] or [1.0]
    upper = min(finite) * 2**highest
    lowest = [
        ratio / 2 ** item.spare_bits(target) for item, ratio in zip(incoming, ratios, strict=True)
    ]
    lower = max((scale for scale in lowest if math.isfinite(scale)), default=1.0)
    anchor = min(max(finite), upper)
    fits = min(threshold_limit(neuron, target), bias_limit(neuron, target))
    roomy = _overflow_limit(neuron, incoming, steps)
    floor = 0.0
    if neuron.v_threshold is None:
        # Classes whose v saturates are all the same. Without a neuron that never spikes, v even has
        # to stay below the highest threshold; with one, weights do not lose bits to the worst case.
        if target.neuron.programmable.value:
            floor = min(fits, anchor * 2.0**target.synapse.weight_exponent_min.value)
        fits = max(floor, min(fits, silent * roomy))
    wanted = max(lower, min(roomy, upper, fits))
    # By logarithms, since the ratio of extreme numbers may leave the floats.
    doublings = math.floor(math.log2(wanted) - math.log2(anchor) + 1e-9)
    if math.ldexp(anchor, doublings) < lower * (1 - 1e-9):
        doublings += 1
    scale = min(math.ldexp(anchor, doublings), upper)
    if scale > fits:
        # Right shifts give the weights back what the threshold or the bias takes from the scale.
        halved = anchor * 2.0 ** math.floor(math.log2(fits) - math.log2(anchor))
        reach = halved / 2.0**target.synapse.weight_exponent_min.value
        scale = halved if reach >= anchor else fits
    exponents = (
        item.exponent_at(scale, ratio, target) for item, ratio in zip(incoming, ratios, strict=True)
    )
    return Scales(scale, tuple(exponents))


def _overflow_limit(neuron: Neuron, incoming: Sequence[Weights], steps: int) -> float:
    """Scale up to which not even the worst input can wrap u or saturate v.

    Real input stays far below the worst one, so this limits only the exponent, which is free
    precision, never the weights themselves; overflow is counted in every simulation.
    """
    worst = sum(item.bound for item in incoming) * _added_up(neuron.u_keep, steps)
    worst = (worst + float(np.abs(neuron.bias).max())) * _added_up(neuron.v_keep, steps)
    return ACTIVATION_LIMIT / worst if worst > 0 else math.inf


def _added_up(keep: np.ndarray, steps: int) -> float:
    """Largest multiple of a constant input that a leaky sum reaches within a sample."""
    most = float(np.max(keep))
    return min(steps, 1 / (1 - most)) if most < 1 else steps
