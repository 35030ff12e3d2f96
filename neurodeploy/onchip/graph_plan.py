"""Widths and shifts of networks that learn with shortcuts, loops, delays, currents and traces.

Units as in ``plan``. A hidden population's errors come back through several projections p, each in
units of its own, and are brought to one of them by a factor:

    b     = sum_p (W_p^T e_p) factor_p            one projection: factor 1
    e     = (b surrogate + 2^(q-1)) >> q          dL/du, as in a chain
    E     = (b + 2^(r-1)) >> r                    dL/ds, where traces hold the surrogate

Where thresholds differ, the surrogates of all neurons are in units of the lowest one, theta_0:

    p     = ((max(0, theta - |v - theta|) >> shift) gain) >> 16,  gain = 2^16 (theta_0 / theta)^2

By rule ``local`` b is the population's own signal (``local_signal``), as in a chain.

Traces of rule ``eprop`` (see ``traces``) are held in ``TRACE_BITS`` bits, one arriving spike being
2^bits or so. These bits are the most that no input can make overflow within T steps:

    a     up to payload (1 + U + U^2 + ...)       U is what the current keeps, largest first
    e     up to a (1 + V + V^2 + ...)             V is what the membrane keeps
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np

from neurodeploy.ir.fixed_point import ACTIVATION_SHIFT, DECAY_BITS, DECAY_ONE
from neurodeploy.ir.quantized import (
    QuantizedNetwork,
    QuantizedNeuron,
    QuantizedPopulation,
    QuantizedProjection,
)
from neurodeploy.onchip.arithmetic import (
    GAIN_BITS,
    SURROGATE_BITS,
    ReadoutError,
    random_feedback,
    surrogate_shift,
)
from neurodeploy.onchip.chain import Link
from neurodeploy.onchip.graph import LearningGraph, learning_graph
from neurodeploy.onchip.learner import LearningOptions
from neurodeploy.onchip.local_signal import LocalSignal
from neurodeploy.onchip.plan import (
    FRACTION,
    TYPICAL_BITS,
    SynapsePlan,
    SynapticPlan,
    check_rate,
    synapse_plan,
)

TRACE_BITS = 16
"""Width of a trace with its sign."""

FACTOR_BITS = 8
"""Bits of the smallest factor that brings errors of several projections to one unit."""

SHARE_BITS = 16
"""Bits of 1 over a number of neurons, for the mean over a population."""

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


@dataclass(frozen=True, eq=False)
class NodePlan:
    """A population: what its output is, and how errors come to its membranes.

    Attributes:
        threshold: (n,) int64 in state units; 0 for a read-out that never spikes.
        surrogate_shift, gains: see ``arithmetic.integer_triangle``.
        error_shift, output_shift: q and r of the module.
        reset_factor: (n,) int64, what turns surrogates into the share that a reset takes, see
            ``graph_reference``.
        share: 2^16 over the number of neurons.
        output: what o[t] is, of the read-out: its spikes, v, or what a step adds to v.
        factors: of the projections that errors come back through, by name.
        per_unit, per_output: e and E of an error of 1 in the float network.
        signal: of rule ``local``, what takes the place of errors that come back.
    """

    population: QuantizedPopulation
    threshold: np.ndarray
    surrogate_shift: int
    gains: np.ndarray | None
    error_shift: int
    output_shift: int
    reset_factor: np.ndarray
    share: int
    output: Literal["spikes", "state", "change"] | None
    factors: Mapping[str, int]
    per_unit: float
    per_output: float
    signal: LocalSignal | None = None


@dataclass(frozen=True, eq=False)
class ArcPlan:
    """A projection that learns: its synapses and their traces."""

    synapses: SynapsePlan
    traces: TracePlan


@dataclass(frozen=True, eq=False)
class GraphPlan(SynapticPlan):
    """A network that learns by ``sltt``, ``eprop`` or ``local``; see the module.

    Attributes:
        nodes: by population, constant sources left out.
        arcs: the projections that learn, in the network's order.
    """

    graph: LearningGraph
    nodes: Mapping[str, NodePlan]
    arcs: tuple[ArcPlan, ...]

    @property
    def synapses(self) -> tuple[SynapsePlan, ...]:
        """Of each projection that learns, in the network's order."""
        return tuple(arc.synapses for arc in self.arcs)


def make_graph_plan(
    network: QuantizedNetwork,
    options: LearningOptions,
    tags: Mapping[str, np.ndarray] = MappingProxyType({}),
) -> GraphPlan:
    """Choose every shift.

    Args:
        tags: what is below the weights in the beginning, by projection; 0 where not given.

    Raises:
        UnsupportedError: the network has what the rule is not defined for.
        InputError: the rate is out of the range of a projection's shifts.
    """
    plan = graph_plan_of_any_rate(network, options, tags)
    check_rate(plan)
    return plan


def graph_plan_of_any_rate(
    network: QuantizedNetwork,
    options: LearningOptions,
    tags: Mapping[str, np.ndarray] = MappingProxyType({}),
) -> GraphPlan:
    """``make_graph_plan`` with shifts that may be out of range.

    Raises:
        UnsupportedError: the network has what the rule is not defined for.
    """
    traces = options.rule == "eprop"
    graph = learning_graph(network, options.rule)
    index = {p.name: number for number, p in enumerate(graph.learning)}
    feedback = {
        p.name: random_feedback(p, index[p.name], options.seed)
        for p in graph.learning
        if options.feedback == "random" and graph.carries_back(p)
    }
    nodes: dict[str, NodePlan] = {}
    for name in reversed(graph.order):
        if name not in graph.constant:
            nodes[name] = _node(graph, name, nodes, feedback, _signal(graph, name, options))
    arcs = []
    for p in graph.learning:
        node = nodes[p.target]
        trace, unit = _trace(graph, p, node) if traces else (_no_trace(), node.per_unit)
        link = Link(p, node.population)
        synapses = synapse_plan(
            *(link, index[p.name], unit, options, feedback.get(p.name), tags.get(p.name))
        )
        arcs.append(ArcPlan(synapses, trace))
    output = network.population(network.output)
    spikes = nodes[network.output].output == "spikes"
    scale = 1.0 if spikes else output.scale * 2**ACTIVATION_SHIFT
    return GraphPlan(
        *(network, options, ReadoutError.of_scale(scale, FRACTION), graph, nodes, tuple(arcs))
    )


def _node(
    graph: LearningGraph,
    name: str,
    nodes: Mapping[str, NodePlan],
    feedback: Mapping[str, np.ndarray],
    signal: LocalSignal | None,
) -> NodePlan:
    """Units and shifts of a population whose readers have theirs already."""
    network = graph.network
    population, output = network.population(name), name == network.output
    neuron = population.leaky
    per_unit, expected = 2.0**FRACTION * network.contract.steps, 2.0**FRACTION
    factors: dict[str, int] = {}
    if signal is not None:
        per_unit *= 2.0**signal.gain_shift
    elif not output:
        per_unit, expected, factors = _returned(graph, name, nodes, feedback)
    threshold = reset_factor = np.zeros(math.prod(population.shape), np.int64)
    shift = error_shift = output_shift = 0
    gains, per_output = None, per_unit
    if neuron.spiking:
        threshold = _thresholds(population)
        lowest = int(threshold.min())
        shift = surrogate_shift(lowest)
        if lowest != threshold.max():
            gains = np.rint(2**GAIN_BITS * (lowest / threshold) ** 2).astype(np.int64)
        if not output:
            output_shift = _shift_of(expected)
            per_output = per_unit / 2.0**output_shift
        error_shift = _shift_of(expected * (lowest >> shift))
        per_unit *= _slope(population, shift) / 2.0**error_shift
        reset_factor = _reset_factor(neuron, threshold, shift)
    kinds = {"spike_count": "spikes", "sum_v": "state", "last_v": "change"}
    return NodePlan(
        population,
        *(threshold, shift, gains, error_shift, output_shift, reset_factor),
        round(2**SHARE_BITS / math.prod(population.shape)),
        kinds[network.contract.decode] if output else None,  # pyright: ignore[reportArgumentType]
        *(factors, per_unit, per_output, signal),
    )


def _signal(graph: LearningGraph, name: str, options: LearningOptions) -> LocalSignal | None:
    """What a hidden population makes of its spikes by rule ``local``."""
    network = graph.network
    if options.rule != "local" or name == network.output:
        return None
    index = [other for other in graph.order if other not in graph.constant].index(name)
    shape = network.population(name).shape
    return LocalSignal.of(shape, network.classes, index, options.seed, FRACTION)


def _returned(
    graph: LearningGraph,
    name: str,
    nodes: Mapping[str, NodePlan],
    feedback: Mapping[str, np.ndarray],
) -> tuple[float, float, dict[str, int]]:
    """Units, typical size and factors of what comes back to a hidden population."""
    units, sizes = {}, {}
    for p in graph.readers(name):
        node = nodes[p.target]
        units[p.name] = node.per_unit * node.population.scale / 2.0**p.exponent
        weights = feedback.get(p.name, p.operator.weights).astype(np.float64)
        squares = p.operator.with_weights(weights**2).matrix().sum(axis=0).max()
        typical = FRACTION if p.target == graph.network.output else TYPICAL_BITS
        sizes[p.name] = math.sqrt(squares) * 2.0**typical
    if len(units) == 1:
        ((reader, unit),) = units.items()
        return unit, sizes[reader], {reader: 1}
    common = max(units.values()) * 2**FACTOR_BITS
    factors = {reader: round(common / unit) for reader, unit in units.items()}
    expected = math.hypot(*(sizes[reader] * factor for reader, factor in factors.items()))
    return common, expected, factors


def _shift_of(expected: float) -> int:
    """The right shift that leaves errors of this size ``TYPICAL_BITS`` bits."""
    return max(round(math.log2(max(expected, 1.0))) - TYPICAL_BITS, 0)


def _thresholds(population: QuantizedPopulation) -> np.ndarray:
    """(n,) int64, in state units."""
    threshold = population.leaky.threshold
    assert threshold is not None
    full = np.broadcast_to(threshold, population.shape).ravel()
    return full.astype(np.int64) << ACTIVATION_SHIFT


def _slope(population: QuantizedPopulation, shift: int) -> float:
    """The integer surrogate over that of the float network, threshold^2 in its units."""
    lowest = int(_thresholds(population).min())
    return lowest**2 / (population.scale * 2.0 ** (ACTIVATION_SHIFT + shift))


def _reset_factor(neuron: QuantizedNeuron, threshold: np.ndarray, shift: int) -> np.ndarray:
    """By which surrogates of 8 bits become shares in 1/4096, times 2^8; for ``zero`` times 2^16."""
    unit = threshold.min().astype(np.float64) ** 2
    if neuron.reset == "subtract":
        found = 2.0 ** (DECAY_BITS + 8 + shift) * (threshold / unit)
    else:
        found = np.full(len(threshold), 2.0 ** (DECAY_BITS + 16 + 2 * shift) / unit)
    return np.rint(found).astype(np.int64)


def _no_trace() -> TracePlan:
    return TracePlan("spikes", np.zeros((1, 1), np.int64))


def _trace(
    graph: LearningGraph, projection: QuantizedProjection, node: NodePlan
) -> tuple[TracePlan, float]:
    """Traces of a projection, and the units of a gradient that these make."""
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
    slope = _slope(node.population, node.surrogate_shift) / 2.0**SURROGATE_BITS
    return trace, node.per_output * slope * 2.0 ** (bits - shifts)


def _most(kept: np.ndarray, steps: int) -> float:
    """1 + k + k^2 + ... over T steps, for the largest share k kept, in 1/4096."""
    share = float(kept.max()) / DECAY_ONE
    return float(steps) if share == 1 else (1 - share**steps) / (1 - share)


def _column(values: np.ndarray, population: QuantizedPopulation) -> np.ndarray:
    """(outputs, 1) int64, or (1, 1) where all neurons have the same."""
    full = np.broadcast_to(values, population.shape).reshape(-1, 1).astype(np.int64)
    return full[:1] if (full == full[0]).all() else full
