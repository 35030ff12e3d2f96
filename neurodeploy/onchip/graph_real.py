"""Rules ``sltt``, ``eprop`` and ``local`` on networks that are no chains, in floats, unrounded.

The steps and the traces are those of the integers (``graph_steps``, ``traces``), on the network
that the integers are over their scales. So its gradients can be held against PyTorch's, and what
it learns says what the integers lose.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np

from neurodeploy.ir.network import Network, Population, Projection
from neurodeploy.onchip.graph_plan import ArcPlan, GraphPlan
from neurodeploy.onchip.graph_steps import GraphSteps, Node
from neurodeploy.onchip.local_signal import LocalSignal
from neurodeploy.onchip.synapses import plastic
from neurodeploy.onchip.trace_plan import TracePlan
from neurodeploy.onchip.traces import Reals, Traces


class RealGraph:
    """A network in floats that learns by plain SGD, one sample at a time, at the integers' rates.

    Args:
        plan: of the integers, whose rule, update and feedback it has.
        network: the float network that they are (``quantization.planned.real_network``).
    """

    def __init__(self, plan: GraphPlan, network: Network) -> None:
        self.plan, self.network, self.updates = plan, network, 0
        self.payload = network.contract.input_code.payload
        projections = {p.name: p for p in network.projections}
        self.arcs = {
            arc.synapses.projection.name: _Plastic(
                projections[arc.synapses.projection.name],
                arc.traces if plan.options.rule == "eprop" else None,
                _feedback(arc, plan),
            )
            for arc in plan.arcs
        }
        fixed = {p.name: _Plastic(projections[p.name]) for p in plan.graph.fixed}
        outputs = {name: node.output for name, node in plan.nodes.items()}
        self.nodes = {
            name: _Node(network.population(name), outputs.get(name)) for name in plan.graph.order
        }
        signals = {
            name: partial(self._own_error, node.signal)
            for name, node in plan.nodes.items()
            if node.signal is not None
        }
        arcs = {**self.arcs, **fixed}
        self.steps = GraphSteps(plan.graph, self.nodes, arcs, self._error, signals)

    def learn(self, values: np.ndarray, labels: np.ndarray, lasts: list[int]) -> None:
        """Go on with samples (N, T, inputs), or (N, 1, inputs) when every step is the same.

        Args:
            lasts: steps of each.
        """

        def step() -> None:
            for synapses in self.plan.synapses:
                arc = self.arcs[synapses.projection.name]
                # The rate that the integers' shift comes to, falling as theirs does.
                rate = 2.0 ** -synapses.shift_at(self.updates) / synapses.per_rate
                arc.weights -= rate * arc.gradient
                arc.gradient[:] = 0
            self.updates += 1

        each_step = self.plan.options.update == "step"
        after = step if each_step else lambda: None
        for sample, label, steps in zip(values, labels, lasts, strict=True):
            self._sample(sample, int(label), steps, after)
            if each_step:
                # After a sample's end updates change nothing, and count.
                self.updates += self.plan.steps - steps
            else:
                step()

    def gradients(self, values: np.ndarray, label: int) -> dict[str, np.ndarray]:
        """dL/dW of one sample (T or 1, inputs), by projection; changes nothing."""
        self._sample(values, label, self.plan.steps, lambda: None)
        found = {name: arc.gradient.copy() for name, arc in self.arcs.items()}
        for arc in self.arcs.values():
            arc.gradient[:] = 0
        return found

    def weights(self) -> dict[str, np.ndarray]:
        """Weights by projection that learns, in the operator's shape."""
        shapes = {p.name: p.operator.weights.shape for p in self.network.projections}
        return {name: arc.weights.reshape(shapes[name]).copy() for name, arc in self.arcs.items()}

    def _sample(self, values: np.ndarray, label: int, steps: int, after_step: Any) -> None:
        self.steps.sample(values / self.payload, label, steps, after_step)

    def _error(self, output: np.ndarray, label: int) -> np.ndarray:
        terms = np.exp(output - output.max())
        error = terms / terms.sum()
        error[label] -= 1
        return error / self.plan.steps

    def _own_error(self, signal: LocalSignal, spikes: np.ndarray, label: int) -> np.ndarray:
        """dL/ds of a population's own loss."""
        signs = signal.signs * 2.0**-signal.gain_shift
        return signs @ self._error(spikes @ signs, label)


def _feedback(arc: ArcPlan, plan: GraphPlan) -> np.ndarray | None:
    """Random weights over the scale of the population that they come from."""
    feedback, projection = arc.synapses.feedback, arc.synapses.projection
    if feedback is None:
        return None
    scale = plan.network.population(projection.target).scale
    return feedback.ravel() * (2.0**projection.exponent / scale)


class _Node:
    """A population in floats."""

    def __init__(self, population: Population, output: str | None) -> None:
        neuron = population.leaky
        size = math.prod(population.shape)
        self.output_kind, self.neuron = output, neuron

        def each(values: Any) -> np.ndarray:
            return np.broadcast_to(np.asarray(values, np.float64), population.shape).ravel()

        self.u_keep, self.v_keep, self.bias = map(each, (neuron.u_keep, neuron.v_keep, neuron.bias))
        threshold = neuron.v_threshold
        self.threshold = None if threshold is None else each(threshold)
        self.size = size
        self.reset()

    def reset(self) -> None:
        """Start a sample."""
        self.u, self.v, self.resting = (np.zeros(self.size) for _ in range(3))
        self.before = self.v
        self.slope = self.sent = np.zeros(self.size)
        self.kept = self.following = self.v_keep

    def step(self, arrived: np.ndarray) -> np.ndarray:
        """One step: spikes."""
        self.kept, self.before = self.following, self.v
        self.u = self.u_keep * self.u + arrived
        rests = self.resting > 0
        v = np.where(rests, self.v, self.v_keep * self.v + self.u + self.bias)
        self.v, theta = v, self.threshold
        if theta is None:
            return np.zeros(self.size)
        fires = v >= theta if self.neuron.comparison == ">=" else v > theta
        fires &= ~rests
        left = np.maximum(self.resting - 1, 0)
        self.resting = np.where(fires, self.neuron.refractory_period, left)
        if theta.all():
            self.slope = ~rests * np.maximum(theta - np.abs(v - theta), 0) / theta**2
        if self.neuron.reset == "subtract":
            self.v = v - theta * fires
            self.following = self.v_keep * (1 - theta * self.slope)
        else:
            self.v = v * ~fires
            self.following = self.v_keep * (1 - fires - v * self.slope)
        self.sent = fires.astype(np.float64)
        return self.sent

    @property
    def mean(self) -> float:
        """Of ``kept``."""
        return float(self.kept.mean())

    def output(self) -> np.ndarray:
        """o[t]: spikes, v, or what the step added to v."""
        if self.output_kind == "spikes":
            return self.sent
        return self.v if self.output_kind == "state" else self.v - self.before

    def errors(self, carried: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """dL/ds and dL/du."""
        return carried, carried if self.threshold is None else carried * self.slope


class _Plastic:
    """A projection in floats.

    Args:
        traces: of its synapses, where the rule has any.
        feedback: the weights that errors go back through if not its own.
    """

    def __init__(
        self,
        projection: Projection,
        traces: TracePlan | None = None,
        feedback: np.ndarray | None = None,
    ) -> None:
        operator = projection.operator
        self.plastic, self.feedback = plastic(operator), feedback
        self.weights = operator.weights.ravel().astype(np.float64).copy()
        self.gradient = np.zeros(self.weights.size)
        self.traces = None
        if traces is not None:
            outputs, inputs = operator.weights.shape
            self.traces = Traces(traces, (outputs, inputs), Reals())
        self.spikes = self.gathered = np.zeros(0)

    def reset(self) -> None:
        """Start a sample."""
        if self.traces is not None:
            self.traces.reset()

    def arrive(self, spikes: np.ndarray) -> np.ndarray:
        """What spikes come to."""
        self.spikes = spikes
        self.gathered = self.plastic.gather(spikes[:, None].astype(np.float64))
        return self.plastic.activate(self.weights, self.gathered).ravel()

    def carry_back(self, errors: np.ndarray) -> np.ndarray:
        """What errors come to at the inputs."""
        back = self.weights if self.feedback is None else self.feedback
        return self.plastic.carry_back(back, errors[:, None]).ravel()

    def learn(self, node: Node, errors: tuple[np.ndarray, np.ndarray], means: Any) -> None:
        """A step of the gradient."""
        output, membrane = errors
        if self.traces is None:
            self.gradient += self.plastic.gradient(membrane[:, None], self.gathered)
            return
        self.traces.advance(self.spikes, node.kept)
        error = output if self.traces.filtered else membrane
        self.gradient += (error[:, None] * self.traces.seen(node.slope, means)).ravel()
