"""The integer reference of ``sltt`` and ``local`` once more, for dense chains: event by event.

The same integers as ``reference.ReferenceLearner``, many times as fast where layers are dense:
what is 0 costs nothing, and of an update only the synapses that change are touched and recorded.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from neurodeploy.ir.fixed_point import ACTIVATION_SHIFT, DECAY_ONE
from neurodeploy.ir.operators import Dense
from neurodeploy.ir.quantized import QuantizedNetwork
from neurodeploy.onchip import compiled
from neurodeploy.onchip.arithmetic import random_key
from neurodeploy.onchip.learner import Changes, Counts, LayerCounts, StreamChunk, Trajectory
from neurodeploy.onchip.plan import ERROR_BITS, UPDATE_BITS, LayerPlan, LearningPlan, NeuronPlan
from neurodeploy.onchip.synapses import largest_activation

_WIDEST = 2.0**31
"""Activations below it are summed in 32 bits."""


def is_dense(plan: LearningPlan) -> bool:
    """Whether the plan is one for ``EventReference``: dense layers whose sums stay in 32 bits."""
    for layer in plan.layers:
        projection = layer.synapses.projection
        bound = largest_activation(projection) * 2.0 ** max(projection.exponent, 0)
        if not isinstance(projection.operator, Dense) or bound >= _WIDEST:
            return False
    return True


class EventReference:
    """A chain of dense layers; see ``reference.ReferenceLearner``.

    ``counts`` grow with every sample.
    """

    name = "reference"

    def __init__(self, plan: LearningPlan) -> None:
        """``plan`` is one that ``is_dense``."""
        self.plan = plan
        self.counts = Counts()
        self.layers = [_Layer(layer, plan, self.counts) for layer in plan.layers]
        self.updates = 0

    def learn(self, chunk: StreamChunk) -> Trajectory:
        """Go on with these samples, one after the other."""
        plan, layers = self.plan, self.layers
        per_sample = plan.steps // plan.block
        first = [layer.flat() for layer in layers]
        scores = np.empty((len(chunk), math.prod(plan.layers[-1].population.shape)), np.int64)
        for layer in layers:
            layer.record(len(chunk) * per_sample)
        drive = np.ascontiguousarray(chunk.values, np.int32)
        for sample, (values, label) in enumerate(zip(drive, chunk.labels.tolist(), strict=True)):
            for layer in layers:
                layer.rest()
            for number in range(per_sample):
                start = number * plan.block
                frames = values[start : start + plan.block] if len(values) > 1 else values
                self._learn_block(frames, label)
            scores[sample] = layers[-1].v
        records = {
            layer.name: layer.recorded(before, per_sample)
            for layer, before in zip(layers, first, strict=True)
        }
        return Trajectory(records, scores)

    def _learn_block(self, frames: np.ndarray, label: int) -> None:
        """The steps between two updates."""
        spikes = frames
        for layer in self.layers:
            spikes = layer.forward(spikes)
        errors = self.plan.readout(self.layers[-1].membranes, label)
        for number in reversed(range(len(self.layers))):
            layer = self.layers[number]
            layer.receive(errors)
            below = self.layers[number - 1].errors_from(errors, layer, label) if number else errors
            layer.learn(errors, self.updates, self.plan.options.seed)
            errors = below
        self.updates += 1

    def learned(self) -> QuantizedNetwork:
        """The network with the weights as they are now."""
        return self.plan.learned({layer.name: layer.flat() for layer in self.layers})

    @property
    def overflow(self) -> Mapping[str, tuple[int, int]]:
        """Wraps of u and saturations of v by population."""
        return {layer.plan.population.name: (layer.wraps, layer.clips) for layer in self.layers}

    def close(self) -> None:
        """Nothing to end."""


class _Layer:
    """One layer: its synapses, its neurons, and what they remember of the current block."""

    def __init__(self, plan: LayerPlan, learning: LearningPlan, counts: Counts) -> None:
        self.plan, self.synapses, self.block = plan, plan.synapses, learning.block
        projection = plan.synapses.projection
        self.name, self.exponent = projection.name, projection.exponent
        self.shape = projection.operator.weights.shape
        state = plan.synapses.initial()
        self.state = self._by_input(state)
        self.weights = self._by_input(plan.synapses.weights(state))
        feedback = plan.synapses.feedback
        self.back = self.weights if feedback is None else self._by_input(feedback)
        self.counts: LayerCounts = counts.of(self.name)
        self.wraps = self.clips = 0
        neuron, size = plan.population.leaky, self.shape[0]

        def each(values: np.ndarray) -> np.ndarray:
            broadcast = np.broadcast_to(values, plan.population.shape)
            return np.ascontiguousarray(broadcast.ravel(), np.int64)

        threshold = neuron.threshold
        self.neurons: tuple[Any, ...] = (
            DECAY_ONE - each(neuron.u_decay),
            DECAY_ONE - each(neuron.v_decay),
            each(neuron.bias_mantissa << neuron.bias_exponent),
            -1 if threshold is None else int(threshold.flat[0]) << ACTIVATION_SHIFT,
            neuron.reset == "zero",
            neuron.comparison == ">",
        )
        self.u, self.v = (np.zeros(size, np.int64) for _ in "uv")
        self.activation, self.membranes, self.spikes = (
            np.zeros((self.block, size), np.int32) for _ in range(3)
        )
        self.errors = np.zeros((self.block, size), np.int64)
        self.votes = np.zeros((self.block, learning.network.classes), np.int32)
        self.met = self.spikes
        self.record(0)

    def _by_input(self, flat: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(flat.reshape(self.shape).T, np.int32)

    def flat(self) -> np.ndarray:
        """X in the operator's order."""
        return self.state.T.ravel()

    def rest(self) -> None:
        """Start a sample."""
        self.u[:] = 0
        self.v[:] = 0

    def forward(self, spikes: np.ndarray) -> np.ndarray:
        """(block or 1, inputs) integers to (block, outputs) spikes."""
        self.met = spikes
        activation = self.activation[: len(spikes)]
        events = compiled.activations(spikes, self.weights, self.exponent, activation)
        self.counts.spikes += events * (self.block // len(spikes))
        wraps, clips = compiled.integrate(
            *(activation, self.u, self.v, *self.neurons, self.membranes, self.spikes)
        )
        self.wraps += wraps
        self.clips += clips
        return self.spikes

    def receive(self, errors: np.ndarray) -> None:
        """Bring errors (block, outputs) to the width that they are sent in, in place."""
        clipped, events = compiled.clip_errors(errors, (1 << (ERROR_BITS - 1)) - 1)
        self.counts.clipped_errors += clipped
        self.counts.error_events += events

    def errors_from(self, errors: np.ndarray, above: _Layer, label: int) -> np.ndarray:
        """(block, outputs) errors of these neurons.

        By those that come back through the layer above, or by the signal that they make.
        """
        plan, back = self.plan.neurons, above.back
        assert isinstance(plan, NeuronPlan)
        if plan.signal is not None:
            back = plan.signal.signs
            compiled.activations(self.spikes, back, 0, self.votes)
            errors = plan.signal.error(self.votes, label)
        compiled.errors_below(
            *(errors, back, self.membranes, plan.threshold, plan.surrogate_shift),
            *(plan.error_shift, self.errors),
        )
        return self.errors

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

    def learn(self, errors: np.ndarray, update: int, seed: int) -> None:
        """Change the weights, and record it."""
        plan, counts = self.synapses, self.counts
        key = random_key(seed, update, plan.index)
        changed, clipped, saturated = compiled.update(
            *(errors, self.met, self.state, self.weights, plan.step, plan.tag),
            *(plan.shift_at(update), *plan.bounds, (1 << (UPDATE_BITS - 1)) - 1),
            *(key & 0xFFFFFFFF, key >> 32),
            *(found[self.end :] for found in (self.changed, self.changed_to)),
        )
        self.end += changed
        self.ends.append(self.end)
        counts.updates += changed
        counts.clipped_updates += clipped
        counts.saturated += saturated
