"""Widths and shifts of the populations of a network that learns as a graph.

Units as in ``plan``. A hidden population's errors come back through several projections p, each in
units of its own, and are brought to one of them by a factor:

    b     = sum_p (W_p^T e_p) factor_p            one projection: factor 1
    e     = (b surrogate + 2^(q-1)) >> q          dL/du, as in a chain
    E     = (b + 2^(r-1)) >> r                    dL/ds, where traces hold the surrogate

Where thresholds differ, the surrogates of all neurons are in units of the lowest one, theta_0:

    p     = ((max(0, theta - |v - theta|) >> shift) gain) >> 16,  gain = 2^16 (theta_0 / theta)^2

By rule ``local`` b is the population's own signal (``local_signal``), as in a chain.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from neurodeploy.ir.fixed_point import ACTIVATION_SHIFT, DECAY_BITS
from neurodeploy.ir.quantized import QuantizedNeuron, QuantizedPopulation
from neurodeploy.onchip.arithmetic import GAIN_BITS, surrogate_shift
from neurodeploy.onchip.graph import LearningGraph
from neurodeploy.onchip.learner import LearningOptions
from neurodeploy.onchip.local_signal import LocalSignal
from neurodeploy.onchip.plan import FRACTION, TYPICAL_BITS

FACTOR_BITS = 8
"""Bits of the smallest factor that brings errors of several projections to one unit."""

SHARE_BITS = 16
"""Bits of 1 over a number of neurons, for the mean over a population."""


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
        slope: a surrogate of 1 in the float network.
        per_unit, per_output: e and E of an error of 1 there.
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
    slope: float
    per_unit: float
    per_output: float
    signal: LocalSignal | None = None


def make_node_plan(
    graph: LearningGraph,
    name: str,
    nodes: Mapping[str, NodePlan],
    feedback: Mapping[str, np.ndarray],
    options: LearningOptions,
) -> NodePlan:
    """Units and shifts of a population whose readers have theirs already.

    Args:
        nodes: of these readers, by name.
        feedback: random weights that errors go back through, by projection.
    """
    signal = _signal(graph, name, options)
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
    gains, per_output, slope = None, per_unit, 0.0
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
        # That of the lowest threshold, in whose units all are.
        slope = lowest**2 / (population.scale * 2.0 ** (ACTIVATION_SHIFT + shift))
        per_unit *= slope / 2.0**error_shift
        reset_factor = _reset_factor(neuron, threshold, shift)
    kinds = {"spike_count": "spikes", "sum_v": "state", "last_v": "change"}
    return NodePlan(
        population,
        *(threshold, shift, gains, error_shift, output_shift, reset_factor),
        round(2**SHARE_BITS / math.prod(population.shape)),
        kinds[network.contract.decode] if output else None,  # pyright: ignore[reportArgumentType]
        *(factors, slope, per_unit, per_output, signal),
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


def _reset_factor(neuron: QuantizedNeuron, threshold: np.ndarray, shift: int) -> np.ndarray:
    """By which surrogates of 8 bits become shares in 1/4096, times 2^8; for ``zero`` times 2^16."""
    unit = threshold.min().astype(np.float64) ** 2
    if neuron.reset == "subtract":
        found = 2.0 ** (DECAY_BITS + 8 + shift) * (threshold / unit)
    else:
        found = np.full(len(threshold), 2.0 ** (DECAY_BITS + 16 + 2 * shift) / unit)
    return np.rint(found).astype(np.int64)
