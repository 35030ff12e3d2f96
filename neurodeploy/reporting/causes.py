"""Why two integer engines differ: the likely cause, where it can be told from their traces."""

from __future__ import annotations

import numpy as np

from neurodeploy.ir.fixed_point import ACTIVATION_SHIFT, STATE_LIMIT
from neurodeploy.ir.quantized import QuantizedNetwork, QuantizedPopulation
from neurodeploy.simulation.trace import PopulationTrace, SpikeTrace

VARIABLES = ("u", "v", "s")


def values_at(record: PopulationTrace, where: tuple[int, ...], unit: float = 1) -> dict[str, float]:
    """u, v and s of one neuron, as far as they are recorded.

    Args:
        where: (sample, step, *neuron).
        unit: what u and v are divided by.
    """
    found = {name: getattr(record, name) for name in VARIABLES}
    values = {name: array[where].item() for name, array in found.items() if array is not None}
    if unit != 1:
        values |= {name: values[name] / unit for name in ("u", "v") if name in values}
    return values


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
    reset. Empty when none of them explains it.
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
        if a["v"] != b["v"] and STATE_LIMIT - 1 in (abs(a["v"]), abs(b["v"])):
            return "saturation of v at 24 bits"
        return _threshold_or_reset(population, a, b, where[2:])
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
    clipped = [p.name for p in incoming if p.clipped]
    return f"weights clipped in {', '.join(clipped)}" if clipped else ""


def _threshold_or_reset(
    population: QuantizedPopulation, a: dict[str, float], b: dict[str, float], neuron: tuple
) -> str:
    """The same current, but different spikes or a different potential after them."""
    if population.neuron is None or population.neuron.threshold is None:
        return ""
    full = np.broadcast_to(population.neuron.threshold, population.shape)
    threshold = int(full[neuron]) << ACTIVATION_SHIFT
    if a["s"] != b["s"]:
        unfired = a if b["s"] else b
        return "threshold tie (> against >=)" if unfired["v"] == threshold else ""
    if a["s"] and abs(a["v"] - b["v"]) > 0 and 0 in (a["v"], b["v"]):
        return "reset mode (zero against subtract)"
    return ""


def _shifted(left: np.ndarray, right: np.ndarray) -> bool:
    """Whether one sample's values are the other's one step later, and not trivially so."""
    if left.shape[0] < 3 or not left.any() or not right.any() or (left == right).all():
        return False
    return bool((left[:-1] == right[1:]).all() or (left[1:] == right[:-1]).all())
