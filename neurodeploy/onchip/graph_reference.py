"""The integer reference of rules ``sltt``, ``eprop`` and ``local`` on networks that are no chains.

What membranes keep of themselves from one step to the next, through their reset, in 1/4096 with the
surrogate p of 8 bits and V of what they keep without:

    K = V (4096 - (p c >> 8)) >> 12                        subtract;  p c / 2^8 is p / theta
    K = V (4096 (1 - s) - ((v >> shift) p c >> 16)) >> 12  zero
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from neurodeploy.ir.fixed_point import ACTIVATION_SHIFT, DECAY_BITS, DECAY_ONE
from neurodeploy.ir.quantized import QuantizedNetwork, QuantizedPopulation, QuantizedProjection
from neurodeploy.onchip import compiled
from neurodeploy.onchip.arithmetic import integer_triangle, shifted_to_nearest
from neurodeploy.onchip.graph_plan import ArcPlan, GraphPlan
from neurodeploy.onchip.graph_steps import GraphSteps, Node
from neurodeploy.onchip.learner import Counts, LayerCounts, StreamChunk, Trajectory
from neurodeploy.onchip.local_signal import LocalSignal
from neurodeploy.onchip.node_plan import SHARE_BITS, NodePlan
from neurodeploy.onchip.plan import ERROR_BITS
from neurodeploy.onchip.reference import updated
from neurodeploy.onchip.synapses import exact, largest_activation, plastic
from neurodeploy.onchip.traces import Integers, Traces


class GraphReference:
    """Rule ``sltt``, ``eprop`` or ``local`` on the deployed integers, step by step.

    ``counts`` and ``overflow`` grow with every sample.
    """

    name = "reference"

    def __init__(self, plan: GraphPlan) -> None:
        self.plan = plan
        self.counts = Counts()
        graph = plan.graph
        self.arcs = {
            arc.synapses.projection.name: PlasticArc(arc, plan, self.counts) for arc in plan.arcs
        }
        self.nodes = {
            name: FixedNode(plan.network.population(name), plan.nodes.get(name))
            for name in graph.order
        }
        fixed = {p.name: FixedArc(p) for p in graph.fixed}
        self.steps = GraphSteps(
            graph,
            self.nodes,
            {**self.arcs, **fixed},
            lambda output, label: plan.readout(output[None], label)[0],
            {
                name: partial(_own_error, node.signal)
                for name, node in plan.nodes.items()
                if node.signal is not None
            },
        )
        self.updates = 0

    def learn(self, chunk: StreamChunk) -> Trajectory:
        """Go on with these samples, one after the other."""
        plan = self.plan
        per_sample = plan.steps // plan.block
        states = {
            name: np.empty((len(chunk), per_sample, arc.state.size), np.int32)
            for name, arc in self.arcs.items()
        }
        readout = self.nodes[plan.network.output]
        scores = np.empty((len(chunk), readout.size), np.int64)
        lasts = chunk.lasts(plan.steps)
        for sample, (values, label) in enumerate(zip(chunk.values, chunk.labels, strict=True)):
            number = 0

            def record(sample: int = sample) -> None:
                nonlocal number
                for name, arc in self.arcs.items():
                    arc.update(self.updates, plan.options.seed)
                    states[name][sample, number] = arc.state
                number += 1
                self.updates += 1

            each_step = plan.options.update == "step"
            after = record if each_step else lambda: None
            self.steps.sample(values, int(label), lasts[sample], after)
            if not each_step:
                record()
            while number < per_sample:
                # After a sample's end there is nothing to learn from, and updates change nothing.
                record()
            scores[sample] = readout.scores
        return Trajectory(states, scores)

    def moves(self, values: np.ndarray, label: int, steps: int | None = None) -> dict[str, float]:
        """How far an update by this sample at a rate of 1 would move potentials; nothing learns.

        As of ``reference.ReferenceLearner``, with what currents, and a read-out whose v is its
        output, still hold of the steps before.

        Args:
            values: (T or 1, inputs) integers.
            label: the class that is wanted.
            steps: that the sample lasts; T when None.
        """
        met: dict[str, list[np.ndarray]] = {name: [] for name in self.arcs}

        def note() -> None:
            for name, arc in self.arcs.items():
                met[name].append(arc.spikes)

        self.steps.sample(values, label, steps or self.plan.steps, note)
        found = {}
        for name, arc in self.arcs.items():
            node = self.nodes[arc.synapses.projection.target]
            found[name] = arc.move(np.array(met[name]), node)
            arc.gradient[:] = 0
        return found

    def learned(self) -> QuantizedNetwork:
        """The network with the weights as they are now."""
        return self.plan.learned({name: arc.state for name, arc in self.arcs.items()})

    @property
    def overflow(self) -> Mapping[str, tuple[int, int]]:
        """Wraps of u and saturations of v by population."""
        return {name: (node.wraps, node.clips) for name, node in self.nodes.items()}

    def close(self) -> None:
        """Nothing to end."""


def _own_error(signal: LocalSignal, spikes: np.ndarray, label: int) -> np.ndarray:
    """What a population's spikes of one step (n,) come to at itself."""
    return signal(spikes[None], label)[0]


class FixedNode:
    """A population in integers.

    Attributes:
        wraps, clips: of u and of v.
    """

    def __init__(self, population: QuantizedPopulation, plan: NodePlan | None) -> None:
        """``plan`` is None of a constant source, which has no errors."""
        neuron = population.leaky
        self.plan, self.size = plan, math.prod(population.shape)
        self.neurons = compiled.parameters(population)
        self.u_kept, self.v_kept, *_ = self.neurons
        self.zeroes, self.spiking = neuron.reset == "zero", neuron.spiking
        self.wraps = self.clips = 0
        self.sent = np.zeros((1, self.size), np.int32)
        self.membranes = np.zeros((1, self.size), np.int32)
        self.reset()

    def reset(self) -> None:
        """Start a sample."""
        self.u, self.v, self.resting = (np.zeros(self.size, np.int64) for _ in range(3))
        self.before = self.v
        self.slope = np.zeros(self.size, np.int64)
        self.kept = self.following = self.v_kept
        self.total = np.zeros(self.size, np.int64)

    def step(self, arrived: np.ndarray) -> np.ndarray:
        """One step: spikes (size,) int32."""
        self.kept, self.before = self.following, self.v.copy()
        # Lava's ports add up 32 bits.
        arriving = np.broadcast_to(arrived, self.size).astype(np.int32)[None]
        rests = self.resting > 0
        wraps, clips = compiled.integrate(
            *(arriving, self.u, self.v, self.resting, *self.neurons, self.membranes, self.sent)
        )
        self.wraps += wraps
        self.clips += clips
        spikes = self.sent[0].copy()
        plan = self.plan
        self.total += spikes if self.spiking else self.v
        if plan is None or not self.spiking:
            return spikes
        v = self.membranes[0].astype(np.int64)
        slope = integer_triangle(v, plan.threshold, plan.surrogate_shift, plan.gains)
        # Whatever comes in, a neuron that rests will not spike.
        self.slope = np.where(rests, 0, slope)
        if self.zeroes:
            taken = ((v >> plan.surrogate_shift) * self.slope * plan.reset_factor) >> 16
            left = DECAY_ONE * (1 - spikes.astype(np.int64)) - np.minimum(taken, DECAY_ONE)
        else:
            left = DECAY_ONE - np.minimum((self.slope * plan.reset_factor) >> 8, DECAY_ONE)
        self.following = (self.v_kept * left) >> DECAY_BITS
        return spikes

    @property
    def mean(self) -> int:
        """Of ``kept``."""
        assert self.plan is not None
        return int(self.kept.sum()) * self.plan.share >> SHARE_BITS

    def output(self) -> np.ndarray:
        """o[t]: spikes, v, or what the step added to v."""
        assert self.plan is not None
        if self.plan.output == "spikes":
            return self.sent[0].astype(np.int64)
        return self.v.copy() if self.plan.output == "state" else self.v - self.before

    @property
    def scores(self) -> np.ndarray:
        """What the class is read from: spikes, v summed over steps, or the last v."""
        assert self.plan is not None
        return self.v if self.plan.output == "change" else self.total

    def errors(self, carried: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """E and e of the plan."""
        plan = self.plan
        assert plan is not None
        if not self.spiking:
            return carried, carried
        output = shifted_to_nearest(carried, plan.output_shift)
        return output, shifted_to_nearest(carried * self.slope, plan.error_shift)


class FixedArc:
    """A projection that does not learn."""

    def __init__(self, projection: QuantizedProjection) -> None:
        self.matrix, self.exponent = projection.operator.matrix(), projection.exponent

    def reset(self) -> None:
        """Nothing is kept."""

    def arrive(self, spikes: np.ndarray) -> np.ndarray:
        """What spikes come to."""
        return shifted(self.matrix @ spikes.astype(np.int64), self.exponent)

    def carry_back(self, errors: np.ndarray) -> np.ndarray:
        """Nothing goes back."""
        raise AssertionError(errors)

    def learn(self, node: Node, errors: tuple[np.ndarray, np.ndarray], means: Any) -> None:
        """Nothing learns."""


class PlasticArc:
    """A projection that learns."""

    def __init__(self, plan: ArcPlan, learning: GraphPlan, counts: Counts) -> None:
        self.plan, self.synapses = plan.traces, plan.synapses
        projection = plan.synapses.projection
        self.exponent = projection.exponent
        self.plastic = plastic(projection.operator)
        self.dtype = exact(largest_activation(projection))
        self.counts: LayerCounts = counts.of(projection.name)
        source = learning.nodes.get(projection.source)
        self.factor = source.factors.get(projection.name, 1) if source else 1
        self.traces = None
        if learning.options.rule == "eprop":
            shape = projection.operator.weights.shape
            self.traces = Traces(plan.traces, (shape[0], shape[1]), Integers())
        self.state = plan.synapses.initial()
        self.gradient = np.zeros(self.state.size, np.int64)
        self.spikes = self.gathered = np.zeros(0)
        self._load()

    def _load(self) -> None:
        plan = self.synapses
        weights = plan.weights(self.state)
        self.weights = weights.astype(self.dtype)
        back = weights if plan.feedback is None else plan.feedback.ravel()
        self.back = back.astype(np.float64)

    def reset(self) -> None:
        """Start a sample."""
        if self.traces is not None:
            self.traces.reset()

    def arrive(self, spikes: np.ndarray) -> np.ndarray:
        """What spikes come to."""
        self.spikes = spikes
        self.counts.spikes += int(np.count_nonzero(spikes))
        self.gathered = self.plastic.gather(spikes[:, None].astype(self.dtype))
        total = self.plastic.activate(self.weights, self.gathered)
        return shifted(total.astype(np.int64).ravel(), self.exponent)

    def carry_back(self, errors: np.ndarray) -> np.ndarray:
        """What errors come to at the inputs, in units of the population there."""
        carried = self.plastic.carry_back(self.back, self._sent(errors)[:, None].astype(np.float64))
        return carried.astype(np.int64).ravel() * self.factor

    def learn(self, node: Node, errors: tuple[np.ndarray, np.ndarray], means: Any) -> None:
        """A step of the gradient."""
        traces = self.traces
        error = errors[0 if traces is not None and traces.filtered else 1]
        sent = self._sent(error)
        self.counts.clipped_errors += int(np.count_nonzero(sent != error))
        self.counts.error_events += int(np.count_nonzero(sent))
        if traces is None:
            sent = sent[:, None].astype(np.float64)
            self.gradient += self.plastic.gradient(sent, self.gathered).astype(np.int64)
            return
        traces.advance(self.spikes, node.kept)
        self.gradient += (sent[:, None] * traces.seen(node.slope, means)).ravel()

    def move(self, met: np.ndarray, node: FixedNode) -> float:
        """What -G at a rate of 1 changes at most in a potential, from spikes met (T, inputs)."""
        assert node.plan is not None
        gathered = self.plastic.gather(met.T.astype(np.float64))
        drive = self.plastic.activate(self.gradient.astype(np.float64), gathered)
        kept = [node.u_kept, node.v_kept] if node.plan.output == "state" else [node.u_kept]
        for share in (found / DECAY_ONE for found in kept):
            for t in range(1, drive.shape[1]):
                drive[:, t] += share * drive[:, t - 1]
        weight = self.synapses.per_rate * self.synapses.step / 2**self.synapses.tag
        state = weight * 2.0**self.exponent * 2**ACTIVATION_SHIFT
        scale = node.plan.population.scale * 2**ACTIVATION_SHIFT
        unit = node.plan.threshold[:, None] if node.spiking else scale
        return float((np.abs(drive) / unit).max(initial=0)) * state

    def update(self, update: int, seed: int) -> None:
        """Change the weights, and begin a gradient."""
        plan = self.synapses
        self.state = updated(plan, self.state, self.gradient, update, seed, self.counts)
        self.gradient[:] = 0
        self._load()

    def _sent(self, errors: np.ndarray) -> np.ndarray:
        """Errors in the width that they are sent in."""
        largest = (1 << (ERROR_BITS - 1)) - 1
        return np.clip(errors, -largest, largest)


def shifted(total: np.ndarray, exponent: int) -> np.ndarray:
    """Activations by their exponent."""
    return total << exponent if exponent >= 0 else total >> -exponent
