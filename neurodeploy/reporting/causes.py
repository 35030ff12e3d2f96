"""Why two integer engines differ: the likely cause, where it can be told from their traces."""

from __future__ import annotations

import numpy as np

from neurodeploy.ir.fixed_point import ACTIVATION_SHIFT, STATE_LIMIT
from neurodeploy.ir.quantized import (
    QuantizedNetwork,
    QuantizedNeuron,
    QuantizedPopulation,
    QuantizedProjection,
)
from neurodeploy.simulation.trace import PopulationTrace, SpikeTrace

MOST_CONNECTIONS = 2**24
"""Of a projection whose weights are looked at one by one."""


def values_at(record: PopulationTrace, where: tuple[int, ...], unit: float = 1) -> dict[str, float]:
    """What one neuron keeps and sends, as far as it is recorded, by name.

    Args:
        where: (sample, step, *neuron).
        unit: what it keeps is divided by.
    """
    values = {name: array[where].item() for name, array in record.arrays.items()}
    return {name: value if name == "s" else value / unit for name, value in values.items()}


def likely_cause(
    network: QuantizedNetwork,
    population: QuantizedPopulation,
    one: SpikeTrace,
    other: SpikeTrace,
    where: tuple[int, ...],
) -> str:
    """Name why two integer engines differ first at ``where`` = (sample, step, *neuron).

    Looks for: a shift by one step; where u differs, its wrap, the spikes that it is made of and
    clipped weights; where u agrees, a saturated v, a spike at exactly the threshold and a different
    reset. What is named has left its marks in the traces: a single value that is wrong, as of a
    fault in a memory, explains none of it. Empty when none of them explains the difference.
    """
    if population.neuron is None:
        return "the engines were given different input"
    left, right = one.populations[population.name], other.populations[population.name]
    # What enters a neuron shows a shift best: spikes alone are late for other reasons as well.
    driven = left.u is not None and right.u is not None
    first, second = (left.u, right.u) if driven else (left.s, right.s)
    if first is not None and second is not None and _shifted(first[where[0]], second[where[0]]):
        return "one-step shift"
    a, b = values_at(left, where), values_at(right, where)
    if not driven or "v" not in a or "v" not in b:
        return ""
    if a["u"] == b["u"]:
        if _saturated(a["v"], b["v"]):
            return "saturation of v at 24 bits"
        return _threshold_or_reset(population, left, right, where)
    if (a["u"] - b["u"]) % (2 * STATE_LIMIT) == 0:
        return "wrap of u at 24 bits"
    return _different_drive(network, population, one, other, where)


def _different_drive(
    network: QuantizedNetwork,
    population: QuantizedPopulation,
    one: SpikeTrace,
    other: SpikeTrace,
    where: tuple[int, ...],
) -> str:
    """Different spikes or different weights, since the currents differ."""
    incoming = [p for p in network.projections if p.target == population.name]
    different = []
    for p in incoming:
        steps = slice(0, max(where[1] + 1 - p.delay, 0))
        left, right = (trace.populations[p.source].s[where[0], steps] for trace in (one, other))
        if (left != right).any():
            different.append(repr(p.source))
    if different:
        return f"the spikes of {', '.join(dict.fromkeys(different))} differ"
    clipped = [p.name for p in incoming if _clipping_explains(p, one, other, where)]
    return f"weights clipped in {', '.join(clipped)}" if clipped else ""


def _clipping_explains(
    projection: QuantizedProjection, one: SpikeTrace, other: SpikeTrace, where: tuple[int, ...]
) -> bool:
    """Whether u differs from the very first spike on, in every sample, over a clipped weight.

    Weights that were clipped are at the limits of their format; one whose spikes led to the same
    current before, or lead to it in another sample, is the same in both engines.
    """
    operator, form = projection.operator, projection.weight_format
    if not projection.clipped or operator.connections > MOST_CONNECTIONS:
        return False
    neuron = int(np.ravel_multi_index(where[2:], operator.output_shape))
    row = operator.matrix()[[neuron]].toarray()[0]
    (sources,) = np.nonzero((row != 0) & ((row == form.minimum) | (row == form.maximum)))
    traces = [trace.populations for trace in (one, other)]
    samples, steps = traces[0][projection.source].s.shape[:2]
    spikes = traces[0][projection.source].s.reshape(samples, steps, -1)[:, :, sources] != 0
    arrived = np.zeros_like(spikes)
    arrived[:, projection.delay :] = spikes[:, : max(steps - projection.delay, 0)]
    target = [found[projection.target].u for found in traces]
    left, right = (u.reshape(samples, steps, -1)[:, :, neuron] for u in target if u is not None)
    differs = _first(left != right)
    explained = (differs[:, None] <= _first(arrived)).all(axis=0) & arrived[where[0], where[1]]
    return bool(explained.any())


def _first(marks: np.ndarray) -> np.ndarray:
    """The first step with a mark, of booleans (N, T, ...); T without any."""
    return np.where(marks.any(axis=1), marks.argmax(axis=1), marks.shape[1])


def _saturated(a: float, b: float) -> bool:
    """Whether one potential is at its limit, and the other has passed it or wrapped around."""
    limit = STATE_LIMIT - 1
    return any(
        abs(held) == limit and (abs(free) > limit or held * free < 0)
        for held, free in ((a, b), (b, a))
    )


def _threshold_or_reset(
    population: QuantizedPopulation,
    left: PopulationTrace,
    right: PopulationTrace,
    where: tuple[int, ...],
) -> str:
    """The same current, but different spikes or a different potential after them."""
    neuron = population.neuron
    if not isinstance(neuron, QuantizedNeuron) or neuron.threshold is None:
        return ""
    a, b = values_at(left, where), values_at(right, where)
    full = np.broadcast_to(neuron.threshold, population.shape)
    threshold = int(full[where[2:]]) << ACTIVATION_SHIFT
    if a["s"] != b["s"]:
        unfired = a if b["s"] else b
        return "threshold tie (> against >=)" if unfired["v"] == threshold else ""
    if a["s"] and a["v"] != b["v"] and 0 in (a["v"], b["v"]) and _resets_differ(left, right):
        return "reset mode (zero against subtract)"
    return ""


def _resets_differ(left: PopulationTrace, right: PopulationTrace) -> bool:
    """Whether most neurons that fire differ after their first spike, and from the 0 of one."""
    if left.v is None or right.v is None:
        return False
    fired = (left.s != 0) & (right.s != 0)
    first = fired & (np.cumsum(fired, axis=1) == 1)
    a, b = left.v[first], right.v[first]
    apart = (a != b) & ((a == 0) | (b == 0))
    return int(apart.sum()) > int((~apart).sum())


def _shifted(left: np.ndarray, right: np.ndarray) -> bool:
    """Whether one sample's values are the other's one step later, and not trivially so."""
    if left.shape[0] < 3 or not left.any() or not right.any() or (left == right).all():
        return False
    return bool((left[:-1] == right[1:]).all() or (left[1:] == right[:-1]).all())
