"""Widths and shifts of the traces of rule ``eprop``.

Traces (see ``traces``) are held in ``TRACE_BITS`` bits, one arriving spike being 2^bits or so.
These bits are the most that no input can make overflow within T steps:

    a     up to payload (1 + U + U^2 + ...)       U is what the current keeps, largest first
    e     up to a (1 + V + V^2 + ...)             V is what the membrane keeps
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from neurodeploy.ir.fixed_point import DECAY_ONE
from neurodeploy.ir.quantized import QuantizedPopulation, QuantizedProjection
from neurodeploy.onchip.arithmetic import SURROGATE_BITS
from neurodeploy.onchip.graph import LearningGraph
from neurodeploy.onchip.node_plan import NodePlan

TRACE_BITS = 16
"""Width of a trace with its sign."""

Seen = Literal["spikes", "current", "state", "change", "slope"]
"""What an error meets: the spikes of the step, their current, the trace of the membrane or what the
step changed of it, or what reaches the neuron's output."""


@dataclass(frozen=True, eq=False)
class FilterPlan:
    """How the membranes of a population above hold on to what reached them.

    Attributes:
        current: the mean share that their currents keep, in 1/4096; 0 for none.
        shift: right, of what comes in.
        change: whether the output is what a step changes of the membrane.
    """

    population: str
    current: float
    shift: int
    change: bool


@dataclass(frozen=True, eq=False)
class TracePlan:
    """Traces of the synapses of a projection.

    Attributes:
        u_kept: (outputs or 1, 1) int64, what the currents keep, in 1/4096.
        current_bits, bits: of an arriving 1 in a and e.
        filters: of the populations above, nearest first.
    """

    seen: Seen
    u_kept: np.ndarray
    current_bits: int = 0
    bits: int = 0
    filters: tuple[FilterPlan, ...] = ()


NO_TRACE = TracePlan("spikes", np.zeros((1, 1), np.int64))
"""Of rules that keep none."""


def make_trace_plan(
    graph: LearningGraph, projection: QuantizedProjection, node: NodePlan
) -> tuple[TracePlan, float]:
    """Traces of a projection to a population, and the units of a gradient that these make."""
    steps, neuron = graph.network.contract.steps, node.population.leaky
    u_kept = _column(DECAY_ONE - neuron.u_decay, node.population)
    largest = projection.payload * _most(u_kept, steps)
    room = 2.0 ** (TRACE_BITS - 1) - 1
    current_bits = math.floor(math.log2(room / largest)) if u_kept.any() else 0
    if node.output == "change" and not np.any(neuron.v_decay):
        # A membrane that keeps everything changes by its current.
        trace = TracePlan("current", u_kept, current_bits)
        return trace, node.per_unit * 2.0**current_bits
    largest *= _most(DECAY_ONE - neuron.v_decay, steps)
    bits = math.floor(math.log2(room / largest))
    if not u_kept.any():
        current_bits = bits
    if not neuron.spiking:
        seen: Seen = "state" if node.output == "state" else "change"
        return TracePlan(seen, u_kept, current_bits, bits), node.per_unit * 2.0**bits
    filters, shifts = [], 0
    largest *= 2.0**bits
    for name in graph.above(node.population.name):
        above = graph.network.population(name)
        currents = DECAY_ONE - np.broadcast_to(above.leaky.u_decay, above.shape)
        gain = _most(currents, steps) * _most(DECAY_ONE - above.leaky.v_decay, steps)
        shift = max(math.ceil(math.log2(largest * gain / room)), 0)
        largest, shifts = largest * gain / 2.0**shift, shifts + shift
        change = name == graph.network.output and graph.network.contract.decode == "last_v"
        filters.append(FilterPlan(name, float(currents.mean()), shift, change))
    trace = TracePlan("slope", u_kept, current_bits, bits, tuple(filters))
    if not filters:
        return trace, node.per_unit * 2.0**bits
    slope = node.slope / 2.0**SURROGATE_BITS
    return trace, node.per_output * slope * 2.0 ** (bits - shifts)


def _most(kept: np.ndarray, steps: int) -> float:
    """1 + k + k^2 + ... over T steps, for the largest share k kept, in 1/4096."""
    share = float(kept.max()) / DECAY_ONE
    return float(steps) if share == 1 else (1 - share**steps) / (1 - share)


def _column(values: np.ndarray, population: QuantizedPopulation) -> np.ndarray:
    """(outputs, 1) int64, or (1, 1) where all neurons have the same."""
    full = np.broadcast_to(values, population.shape).reshape(-1, 1).astype(np.int64)
    return full[:1] if (full == full[0]).all() else full
