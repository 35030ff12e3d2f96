"""Networks that are no chains, learning in one Lava process: Lava's neurons, and traces once more.

What ``onchip.graph_reference`` and ``onchip.traces`` compute, written for what arrives rather than
for matrices: synapses lie by their source, (inputs, outputs). Torch can hang in a forked process,
so that only numpy, numba and Lava are used.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Any

import numpy as np

from neurodeploy.ir.quantized import QuantizedPopulation, QuantizedProjection
from neurodeploy.lava.fused import lava_neurons
from neurodeploy.lava.onchip.events import EventSynapses
from neurodeploy.lava.synapses import batched_synapses
from neurodeploy.onchip.graph_plan import ArcPlan, GraphPlan
from neurodeploy.onchip.node_plan import NodePlan
from neurodeploy.onchip.plan import ERROR_BITS
from neurodeploy.onchip.trace_plan import FilterPlan, TracePlan

_MOST = 2 ** (ERROR_BITS - 1) - 1
_ONE = 4096


def cut(values: np.ndarray, share: Any) -> np.ndarray:
    """Values times a share in 1/4096, cut towards zero."""
    product = values * share
    return np.sign(product) * (np.abs(product) // _ONE)


class FusedGraph:
    """A network, and the sample that it is at.

    Attributes:
        synapses: of the projections that learn, in the plan's order.
        steps, block: T, and the steps from update to update.
    """

    def __init__(self, plan: GraphPlan) -> None:
        self.plan, self.steps, self.block = plan, plan.steps, plan.block
        network, graph = plan.network, plan.graph
        traced = plan.options.rule == "eprop"
        (self.source,) = (p.name for p in network.inputs)
        self.synapses = [
            GraphSynapses(
                *(arc, plan.options.seed, self._factor(arc)),
                *(self._late(arc.synapses.projection), traced),
            )
            for arc in plan.arcs
        ]
        self.fixed = [(p, self._late(p), batched_synapses(p)) for p in graph.fixed]
        self.neurons = {
            name: GraphNeurons(network.population(name), plan.nodes.get(name))
            for name in graph.order
        }
        self.longest = max(p.delay for p in network.projections)
        self.rest()

    def _factor(self, arc: ArcPlan) -> int:
        projection = arc.synapses.projection
        node = self.plan.nodes.get(projection.source)
        return 1 if node is None else node.factors.get(projection.name, 1)

    def rest(self) -> None:
        """Start a sample."""
        for part in (*self.neurons.values(), *self.synapses):
            part.rest()
        shapes = {p.name: math.prod(p.shape) for p in self.plan.network.populations}
        self.sent = {
            name: deque([np.zeros(size, np.int32)] * (self.longest + 1), self.longest + 1)
            for name, size in shapes.items()
        }

    def step(self, frame: np.ndarray, label: int) -> None:
        """One step: spikes forward, errors back, and what they meet into the gradients."""
        plan = self.plan
        self.sent[self.source].append(frame)
        behind: dict[str, Any] = {}
        for name in plan.graph.order:
            arrived = np.zeros(self.neurons[name].size, np.int64)
            for synapses in self.synapses:
                if synapses.target == name:
                    arrived += synapses.arrive(self.sent)
            for projection, late, apply in self.fixed:
                if projection.target == name:
                    arrived += apply(self.sent[projection.source][-1 - late][None])[0]
            self.sent[name].append(self.neurons[name].step(arrived))
        for name in reversed(plan.graph.order):
            neurons = self.neurons[name]
            if neurons.plan is None:
                continue
            if name == plan.network.output:
                carried = plan.readout(neurons.shown()[None], label)[0]
            elif neurons.plan.signal is not None:
                carried = neurons.plan.signal(neurons.spikes[None], label)[0]
            else:
                carried = np.zeros(neurons.size, np.int64)
                for synapses in self.synapses:
                    if synapses.source == name and not synapses.delay:
                        carried += synapses.bring_back(behind[synapses.target][1])
            behind[name] = neurons.errors(carried)
        means = {name: self.neurons[name].mean() for name in behind}
        for synapses in self.synapses:
            neurons = self.neurons[synapses.target]
            output, membrane = behind[synapses.target]
            synapses.pair(output, membrane, neurons, means)

    def _late(self, projection: QuantizedProjection) -> int:
        """How far back a spike lies that arrives now: sources behind have not sent theirs yet."""
        order = (self.source, *self.plan.graph.order)
        sent = order.index(projection.source) < order.index(projection.target)
        return projection.delay if sent else projection.delay - 1

    @property
    def scores(self) -> np.ndarray:
        """v of the read-out or its sum over steps, or how often it has spiked."""
        return self.neurons[self.plan.network.output].scores


class GraphNeurons:
    """A population: Lava's LIF, its surrogates, and what its membranes keep."""

    def __init__(self, population: QuantizedPopulation, plan: NodePlan | None) -> None:
        """``plan`` is None of a constant source."""
        self.plan, self.size = plan, math.prod(population.shape)
        self.neurons: Any = lava_neurons(population)
        decay = np.broadcast_to(population.leaky.v_decay, population.shape).ravel()
        self.leak = _ONE - decay.astype(np.int64)
        self.spiking = population.leaky.spiking
        self.subtracts = population.leaky.reset == "subtract"
        self.rest()

    def rest(self) -> None:
        """Start a sample."""
        self.neurons.batch((self.size,))
        self.spikes = np.zeros(self.size, np.int32)
        self.slope, self.count = (np.zeros(self.size, np.int64) for _ in range(2))
        self.keeps = self.will_keep = self.leak
        self.v_before = np.zeros(self.size, np.int64)

    def step(self, activation: np.ndarray) -> np.ndarray:
        """One step: spikes."""
        neurons, plan = self.neurons, self.plan
        self.v_before = neurons.v.astype(np.int64)
        self.keeps = self.will_keep
        neurons.subthr_dynamics(activation_in=activation.astype(np.int32))
        if not self.spiking:
            self.count += neurons.v
            return self.spikes
        awake = neurons.resting == 0
        fires = neurons.spiking_activation()
        self.spikes = fires.astype(np.int32)
        self.count += self.spikes
        if plan is not None:
            v, theta = neurons.v.astype(np.int64), plan.threshold
            slope = np.maximum(theta - np.abs(v - theta), 0) // 2**plan.surrogate_shift
            if plan.gains is not None:
                slope = slope * plan.gains // 2**16
            self.slope = slope * awake
            self.will_keep = self.leak * self._left(v) // _ONE
        neurons.reset_voltage(spike_vector=fires)
        return self.spikes

    def _left(self, v: np.ndarray) -> np.ndarray:
        """What a reset leaves of a change of v, in 1/4096."""
        plan = self.plan
        assert plan is not None
        if self.subtracts:
            return np.maximum(_ONE - self.slope * plan.reset_factor // 2**8, 0)
        height = v // 2**plan.surrogate_shift
        lost = height * self.slope * plan.reset_factor // 2**16
        return np.where(self.spikes, 0, _ONE) - np.where(lost > _ONE, _ONE, lost)

    def mean(self) -> int:
        """Of what the membranes have kept since the step before."""
        assert self.plan is not None
        return int(np.sum(self.keeps)) * self.plan.share // 2**16

    def shown(self) -> np.ndarray:
        """o[t], of the read-out."""
        assert self.plan is not None
        v = self.neurons.v.astype(np.int64)
        if self.plan.output == "change":
            return v - self.v_before
        return v if self.plan.output == "state" else self.spikes.astype(np.int64)

    @property
    def scores(self) -> np.ndarray:
        """What the class is read from."""
        assert self.plan is not None
        return self.neurons.v if self.plan.output == "change" else self.count

    def errors(self, carried: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Errors of the output and of the membranes, in their width."""
        plan = self.plan
        assert plan is not None
        if not self.spiking:
            return _narrow(carried, 0), _narrow(carried, 0)
        product = carried * self.slope
        return _narrow(carried, plan.output_shift), _narrow(product, plan.error_shift)


def _narrow(values: np.ndarray, shift: int) -> np.ndarray:
    half = 2 ** (shift - 1) if shift else 0
    return np.maximum(np.minimum((values + half) // 2**shift, _MOST), -_MOST)


class GraphSynapses(EventSynapses):
    """A projection that learns, with its traces where the rule has any."""

    def __init__(self, plan: ArcPlan, seed: int, factor: int, late: int, traced: bool) -> None:
        super().__init__(plan.synapses, seed)
        projection = plan.synapses.projection
        self.source, self.target = projection.source, projection.target
        self.delay, self.late, self.factor = projection.delay, late, factor
        self.spikes = np.zeros(0, np.int32)
        self.everywhere = np.ones((1, math.prod(projection.operator.input_shape)), np.int64)
        self.traces = None
        if traced:
            outputs, inputs = projection.operator.weights.shape
            # A dense table has a run for each source: weights lie as (inputs, outputs).
            assert self.gradient.shape == (inputs, outputs)
            self.traces = SynapseTraces(plan.traces, inputs, outputs)

    def rest(self) -> None:
        """Start a sample."""
        if self.traces is not None:
            self.traces.rest()

    def arrive(self, sent: dict[str, Any]) -> np.ndarray:
        """The activation of what arrives at this step."""
        self.spikes = sent[self.source][-1 - self.late]
        return self.activate(self.spikes)

    def bring_back(self, errors: np.ndarray) -> np.ndarray:
        """What errors of membranes come to at the outputs of the population before."""
        return self.carry_back(errors[None], self.everywhere)[0] * self.factor

    def pair(
        self, output: np.ndarray, membrane: np.ndarray, neurons: GraphNeurons, means: dict[str, int]
    ) -> None:
        """Bring the traces to this step, and add errors times what they meet to the gradient."""
        traces = self.traces
        if traces is None:
            self.accumulate(membrane[None], self.spikes[None])
            return
        met = traces.step(self.spikes, neurons, means)
        error = output if traces.filters else membrane
        self.gradient += met * error
        self.seen[:] = True


class SynapseTraces:
    """What the past of each synapse still does, (inputs, outputs)."""

    def __init__(self, plan: TracePlan, inputs: int, outputs: int) -> None:
        self.plan, self.size = plan, (inputs, outputs)
        self.current_share = np.ascontiguousarray(plan.u_kept.T)
        self.rest()

    def rest(self) -> None:
        """Start a sample."""
        inputs, _ = self.size
        self.current = np.zeros((inputs, self.current_share.shape[1]), np.int64)
        self.eligibility = np.zeros(self.size, np.int64)
        self.filters = [AboveFilter(plan, self.size) for plan in self.plan.filters]

    def step(self, spikes: np.ndarray, neurons: GraphNeurons, means: dict[str, int]) -> np.ndarray:
        """One step: what an error meets."""
        plan = self.plan
        arrived = _finer(spikes.astype(np.int64)[:, None], plan.current_bits)
        self.current = cut(self.current, self.current_share) + arrived
        if plan.seen == "current":
            return self.current
        before = self.eligibility
        entering = _finer(self.current, plan.bits - plan.current_bits)
        self.eligibility = cut(before, neurons.keeps[None]) + entering
        if plan.seen == "change":
            return self.eligibility - before
        if not self.filters:
            return self.eligibility
        reaching = self.eligibility * neurons.slope[None] // 2**8
        for above in self.filters:
            reaching = above.step(reaching, means[above.plan.population])
        return reaching


def _finer(values: np.ndarray, bits: int) -> np.ndarray:
    return values * 2**bits if bits > 0 else values // 2**-bits


class AboveFilter:
    """How a population above holds on to what reached it."""

    def __init__(self, plan: FilterPlan, size: tuple[int, int]) -> None:
        self.plan = plan
        self.current, self.membrane = (np.zeros(size, np.int64) for _ in range(2))

    def step(self, x: np.ndarray, mean: int) -> np.ndarray:
        """One step."""
        x = x // 2**self.plan.shift
        if self.plan.current:
            x = self.current = cut(self.current, math.floor(self.plan.current)) + x
        before, self.membrane = self.membrane, cut(self.membrane, mean) + x
        return self.membrane - before if self.plan.change else self.membrane
