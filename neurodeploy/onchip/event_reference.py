"""The integer reference of ``sltt`` and ``local`` once more, event by event.

The same integers as ``reference.ReferenceLearner``, many times as fast: what is 0 costs nothing,
and of an update only the synapses that change are touched and recorded.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from neurodeploy.ir.operators import Dense
from neurodeploy.ir.quantized import QuantizedNetwork
from neurodeploy.onchip.event_layers import DenseLayer, EventLayer, SharedLayer
from neurodeploy.onchip.learner import Counts, StreamChunk, Trajectory
from neurodeploy.onchip.plan import LayerPlan, LearningPlan
from neurodeploy.onchip.synapses import largest_activation

_WIDEST = 2.0**31
"""Activations below it are summed in 32 bits."""


def is_narrow(plan: LearningPlan) -> bool:
    """Whether the plan is one for ``EventReference``: sums stay within 32 bits."""
    projections = [layer.synapses.projection for layer in plan.layers]
    return all(largest_activation(p) * 2.0 ** max(p.exponent, 0) < _WIDEST for p in projections)


class EventReference:
    """A chain that learns; see ``reference.ReferenceLearner``.

    ``counts`` grow with every sample.
    """

    name = "reference"

    def __init__(self, plan: LearningPlan) -> None:
        """``plan`` is one that ``is_narrow``."""
        self.plan = plan
        self.counts = Counts()
        self.layers = [_layer(layer, plan, self.counts) for layer in plan.layers]
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
        lasts = chunk.lasts(plan.steps)
        for sample, (values, label) in enumerate(zip(drive, chunk.labels.tolist(), strict=True)):
            for layer in layers:
                layer.rest()
            for number in range(per_sample):
                start = number * plan.block
                steps = min(lasts[sample] - start, plan.block)
                if steps > 0:
                    frames = values[start : start + steps] if len(values) > 1 else values
                    self._learn_block(frames, label, steps)
                for layer in layers:
                    layer.end_update()
                self.updates += 1
            scores[sample] = layers[-1].v
        records = {
            layer.name: layer.recorded(before, per_sample)
            for layer, before in zip(layers, first, strict=True)
        }
        return Trajectory(records, scores)

    def _learn_block(self, frames: np.ndarray, label: int, steps: int) -> None:
        """The steps between two updates."""
        spikes = frames
        for layer in self.layers:
            spikes = layer.forward(spikes, steps)
        errors = self.plan.readout(self.layers[-1].membranes, label)
        for number in reversed(range(len(self.layers))):
            layer = self.layers[number]
            layer.receive(errors)
            below = self.layers[number - 1].errors_from(errors, layer, label) if number else errors
            layer.learn(errors, self.updates, self.plan.options.seed)
            errors = below

    def learned(self) -> QuantizedNetwork:
        """The network with the weights as they are now."""
        return self.plan.learned({layer.name: layer.flat() for layer in self.layers})

    @property
    def overflow(self) -> Mapping[str, tuple[int, int]]:
        """Wraps of u and saturations of v by population."""
        return {layer.plan.population.name: (layer.wraps, layer.clips) for layer in self.layers}

    def close(self) -> None:
        """Nothing to end."""


def _layer(plan: LayerPlan, learning: LearningPlan, counts: Counts) -> EventLayer:
    dense = isinstance(plan.synapses.projection.operator, Dense)
    return (DenseLayer if dense else SharedLayer)(plan, learning, counts)
