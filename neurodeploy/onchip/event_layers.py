"""One layer of ``event_reference``: synapses of either kind, neurons, and what an update needs."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from neurodeploy.ir.convolution import Convolution
from neurodeploy.ir.fixed_point import WEIGHT_BITS
from neurodeploy.ir.operators import SparseMatrix
from neurodeploy.onchip import compiled, compiled_runs
from neurodeploy.onchip.arithmetic import random_key
from neurodeploy.onchip.learner import Changes, Counts, LayerCounts
from neurodeploy.onchip.plan import ERROR_BITS, UPDATE_BITS, LayerPlan, LearningPlan, NeuronPlan
from neurodeploy.onchip.runs import SharedRuns


class EventLayer(ABC):
    """One layer: its synapses, its neurons, and what they remember of the current block.

    Arrays of neurons are (block, size): the steps between two updates by a flattened population.
    How X and weights lie is up to the kind of synapses.
    """

    def __init__(self, plan: LayerPlan, learning: LearningPlan, counts: Counts) -> None:
        self.plan, self.synapses, self.block = plan, plan.synapses, learning.block
        projection = plan.synapses.projection
        self.name, self.exponent = projection.name, projection.exponent
        state = plan.synapses.initial()
        self.state = self._laid(state)
        self.weights = self._laid(plan.synapses.weights(state))
        feedback = plan.synapses.feedback
        self.back = self.weights if feedback is None else self._laid(feedback)
        self.counts: LayerCounts = counts.of(self.name)
        self.wraps = self.clips = 0
        size = math.prod(plan.population.shape)
        self.neurons = compiled.parameters(plan.population)
        # Chains have no neurons that rest.
        self.u, self.v, self.resting = (np.zeros(size, np.int64) for _ in range(3))
        self.activation, self.all_membranes, self.all_spikes = (
            np.zeros((self.block, size), np.int32) for _ in range(3)
        )
        self.errors = np.zeros((self.block, size), np.int64)
        self.votes = np.zeros((self.block, learning.network.classes), np.int32)
        self.met, self.membranes, self.spikes = self.all_spikes, self.all_membranes, self.all_spikes
        self.record(0)

    @abstractmethod
    def _laid(self, flat: np.ndarray) -> np.ndarray:
        """One integer of each weight, in the operator's order, as int32 in this layer's."""

    @abstractmethod
    def flat(self) -> np.ndarray:
        """X in the operator's order."""

    @abstractmethod
    def _activate(self, spikes: np.ndarray, found: np.ndarray) -> int:
        """Activations of steps; returns how many inputs were not 0."""

    @abstractmethod
    def _carry_back(
        self, errors: np.ndarray, membranes: np.ndarray, plan: NeuronPlan, found: np.ndarray
    ) -> None:
        """Errors of the population before these synapses, whose ``membranes`` are given."""

    @abstractmethod
    def _update(self, errors: np.ndarray, *change: Any) -> tuple[int, int, int]:
        """Change X by errors and what was met; see ``compiled.update`` from ``step`` on."""

    def rest(self) -> None:
        """Start a sample."""
        self.u[:] = 0
        self.v[:] = 0

    def forward(self, spikes: np.ndarray, steps: int) -> np.ndarray:
        """(steps or 1, inputs) integers to (steps, outputs) spikes."""
        self.met = spikes
        self.membranes, self.spikes = self.all_membranes[:steps], self.all_spikes[:steps]
        activation = self.activation[: len(spikes)]
        events = self._activate(spikes, activation)
        self.counts.spikes += events * (steps // len(spikes))
        wraps, clips = compiled.integrate(
            *(activation, self.u, self.v, self.resting, *self.neurons),
            *(self.membranes, self.spikes),
        )
        self.wraps += wraps
        self.clips += clips
        return self.spikes

    def receive(self, errors: np.ndarray) -> None:
        """Bring errors (block, outputs) to the width that they are sent in, in place."""
        clipped, events = compiled.clip_errors(errors, (1 << (ERROR_BITS - 1)) - 1)
        self.counts.clipped_errors += clipped
        self.counts.error_events += events

    def errors_from(self, errors: np.ndarray, above: EventLayer, label: int) -> np.ndarray:
        """(block, outputs) errors of these neurons.

        By those that come back through the layer above, or by the signal that they make.
        """
        plan = self.plan.neurons
        assert isinstance(plan, NeuronPlan)
        found, votes = self.errors[: len(errors)], self.votes[: len(errors)]
        if plan.signal is None:
            above._carry_back(errors, self.membranes, plan, found)
            return found
        signs = plan.signal.signs
        compiled.activations(self.spikes, signs, 0, votes)
        compiled.errors_below(
            *(plan.signal.error(votes, label), signs, self.membranes, plan.threshold),
            *(plan.surrogate_shift, plan.error_shift, found),
        )
        return found

    def record(self, updates: int) -> None:
        """Begin a record of so many updates. Memory is taken as far as it is written only."""
        most = updates * self.state.size
        self.changed, self.changed_to = (np.empty(most, np.int32) for _ in range(2))
        self.ends: list[int] = []
        self.end = 0

    def recorded(self, first: np.ndarray, per_sample: int) -> Changes:
        """All that changed since ``record``, when X was ``first``."""
        ends = np.array(self.ends, np.int64).reshape(-1, per_sample)
        numbers, values = (found[: self.end] for found in (self.changed, self.changed_to))
        return Changes(first, self.flat(), ends, numbers, values)

    def end_update(self) -> None:
        """Close the record of an update."""
        self.ends.append(self.end)

    def learn(self, errors: np.ndarray, update: int, seed: int) -> None:
        """Change the weights, and record what changes."""
        plan, counts = self.synapses, self.counts
        key = random_key(seed, update, plan.index)
        changed, clipped, saturated = self._update(
            *(errors, plan.step, plan.tag, plan.shift_at(update), *plan.bounds),
            *((1 << (UPDATE_BITS - 1)) - 1, key & 0xFFFFFFFF, key >> 32),
            *(found[self.end :] for found in (self.changed, self.changed_to)),
        )
        self.end += changed
        counts.updates += changed
        counts.clipped_updates += clipped
        counts.saturated += saturated


class DenseLayer(EventLayer):
    """X and weights are (inputs, outputs)."""

    def _laid(self, flat: np.ndarray) -> np.ndarray:
        shape = self.synapses.projection.operator.weights.shape
        return np.ascontiguousarray(flat.reshape(shape).T, np.int32)

    def flat(self) -> np.ndarray:
        """X in the operator's order."""
        return self.state.T.ravel()

    def _activate(self, spikes: np.ndarray, found: np.ndarray) -> int:
        return compiled.activations(spikes, self.weights, self.exponent, found)

    def _carry_back(
        self, errors: np.ndarray, membranes: np.ndarray, plan: NeuronPlan, found: np.ndarray
    ) -> None:
        compiled.errors_below(
            *(errors, self.back, membranes, plan.threshold, plan.surrogate_shift),
            *(plan.error_shift, found),
        )

    def _update(self, errors: np.ndarray, *change: Any) -> tuple[int, int, int]:
        return compiled.update(errors, self.met, self.state, self.weights, *change)


class SharedLayer(EventLayer):
    """A convolution or a sparse matrix: X and weights are (rows, width) of ``SharedRuns``."""

    def __init__(self, plan: LayerPlan, learning: LearningPlan, counts: Counts) -> None:
        projection = plan.synapses.projection
        operator: Any = projection.operator
        assert isinstance(operator, Convolution | SparseMatrix)
        self.runs = runs = SharedRuns.of(operator)
        self.table = runs.starts, runs.places, runs.rows
        super().__init__(plan, learning, counts)
        self.sums = np.zeros(runs.targets.shape, np.int32)
        self.arrived = np.zeros((learning.block, *runs.targets.shape), np.int32)
        self.summed = np.zeros((1, *runs.targets.shape), np.int64)
        largest = 2.0 ** (ERROR_BITS - 1)
        bound = largest * 2.0**WEIGHT_BITS * int(np.diff(runs.starts).max(initial=0))
        self.carried = np.zeros(runs.names.shape[1], _wide_enough(bound))
        # Of each weight as many products come together as it has synapses, at each step.
        synapses = np.bincount(runs.rows, minlength=1).max()
        bound = largest * projection.payload * learning.block * int(synapses)
        self.gradient = np.zeros(runs.names.shape, _wide_enough(bound))

    def _laid(self, flat: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(flat.ravel()[self.runs.names], np.int32)

    def flat(self) -> np.ndarray:
        """X in the operator's order."""
        found = np.empty(self.state.size, self.state.dtype)
        found[self.runs.names] = self.state
        return found

    def _activate(self, spikes: np.ndarray, found: np.ndarray) -> int:
        return compiled_runs.activations(
            *(spikes, *self.table, self.runs.targets, self.weights, self.exponent),
            *(self.sums, found),
        )

    def _carry_back(
        self, errors: np.ndarray, membranes: np.ndarray, plan: NeuronPlan, found: np.ndarray
    ) -> None:
        arrived = self.arrived[: len(errors)]
        compiled_runs.by_place(errors, self.runs.targets, arrived)
        compiled_runs.errors_below(
            *(arrived, *self.table, self.back, membranes, plan.threshold),
            *(plan.surrogate_shift, plan.error_shift, self.carried, found),
        )

    def _update(self, errors: np.ndarray, *change: Any) -> tuple[int, int, int]:
        arrived = self.arrived[: len(errors)]
        if len(self.met) < len(errors):
            # An input that never changes was met once, and meets the sum of the errors.
            errors, arrived = errors.sum(axis=0, keepdims=True), self.summed
        compiled_runs.by_place(errors, self.runs.targets, arrived)
        compiled_runs.gradients(arrived, self.met, *self.table, self.gradient)
        return compiled_runs.update(
            self.gradient, self.state, self.weights, self.runs.names, *change
        )


def _wide_enough(bound: float) -> Any:
    """The narrower integers that hold sums up to a bound."""
    return np.int32 if bound < 2.0**31 else np.int64
