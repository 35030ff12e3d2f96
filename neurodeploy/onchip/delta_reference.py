"""The integer reference of rule ``delta``, and the network around the layer that learns by it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch

from neurodeploy.ir.fixed_point import WEIGHT_BITS, WeightFormat
from neurodeploy.ir.quantized import QuantizedNetwork, QuantizedProjection
from neurodeploy.neurons.dynamics import FixedStepper
from neurodeploy.onchip.learner import Counts, StreamChunk, Trajectory
from neurodeploy.onchip.loihi_rule import DeltaPlan, LoihiRule
from neurodeploy.simulation.engines import ReferenceEngine
from neurodeploy.simulation.trace import SampleBatch


class DeltaReference:
    """Rule ``delta`` on the deployed integers: frozen hidden layers, ``LoihiRule`` behind them."""

    name = "reference"

    def __init__(self, plan: DeltaPlan) -> None:
        self.plan = plan
        self.counts = Counts()
        self.hidden = ReferenceEngine(hidden) if (hidden := hidden_part(plan)) else None
        projection, population = plan.link.projection, plan.link.population
        neuron = population.leaky
        self.projection = projection.name
        self.exponent = projection.exponent
        self.rule = LoihiRule(plan, projection.operator.weights)
        # Any weights may be learnt, so any activation may come.
        bound = projection.operator.weights.shape[1] * 2.0 ** (WEIGHT_BITS + max(self.exponent, 0))
        self.readout = FixedStepper(neuron, population.shape, bound, plan.steps)
        bias = np.broadcast_to(neuron.bias_mantissa << neuron.bias_exponent, population.shape)
        self.bias = bias.ravel().astype(np.int64)

    def learn(self, chunk: StreamChunk) -> Trajectory:
        """Go on with these samples, one after the other."""
        plan, counts = self.plan, self.counts.of(self.projection)
        updates = plan.steps if plan.decimation is None else 1
        size = self.rule.weights.size
        states = np.empty((len(chunk), updates, size), np.int32)
        scores = np.empty((len(chunk), len(self.bias)), np.int64)
        silence = np.zeros(self.rule.weights.shape[1], bool), np.zeros_like(self.bias)
        lasts = chunk.lasts(plan.steps)
        for sample, spikes in enumerate(self._hidden_spikes(chunk)):
            self.readout.reset()
            label = int(chunk.labels[sample])
            for epoch in range(plan.epochs):
                before = self.rule.weights
                active = epoch < lasts[sample]
                met, trace = (
                    (spikes[epoch], self._trace(spikes[epoch], label)) if active else silence
                )
                self.rule.epoch(met, trace, epoch == plan.epochs - 1)
                changed = int(np.count_nonzero(self.rule.weights != before))
                counts.updates += changed
                counts.spikes += int(met.sum())
                counts.error_events += int(np.count_nonzero(trace))
                counts.clipped_errors += int((trace > 127).sum())
                if updates > 1:
                    states[sample, epoch] = self.rule.weights.ravel()
            if updates == 1:
                states[sample, 0] = self.rule.weights.ravel()
            scores[sample] = self.readout.v.numpy().ravel()
        counts.saturated = self.rule.saturated_weights
        counts.clipped_updates = self.rule.saturated_tags
        return Trajectory({self.projection: states}, scores)

    @property
    def overflow(self) -> Mapping[str, tuple[int, int]]:
        """Wraps of u and saturations of v by population."""
        layers = {} if self.hidden is None else self.hidden.overflow.populations
        found = {name: (c.wraps, c.saturations) for name, c in layers.items()}
        name = self.plan.link.population.name
        return {**found, name: (self.readout.wraps, self.readout.saturations)}

    def learned(self) -> QuantizedNetwork:
        """The network with the learnt weights, in the format of the deployment."""
        return with_learned(self.plan, self.rule.weights)

    def close(self) -> None:
        """Nothing to end."""

    def _hidden_spikes(self, chunk: StreamChunk) -> np.ndarray:
        """(N, T, inputs) bool: what meets the synapses that learn."""
        steps = self.plan.steps
        if self.hidden is None:
            return np.broadcast_to(chunk.values, (len(chunk), steps, chunk.values.shape[2])) > 0
        static = chunk.values.shape[1] == 1 and steps > 1
        shape = self.hidden.network.inputs[0].shape
        values = chunk.values[:, 0] if static else chunk.values
        batch = SampleBatch(0, values.reshape(*values.shape[: 1 if static else 2], *shape), static)
        ((_, trace),) = self.hidden.run([batch])
        return trace.populations[trace.output].s.reshape(len(chunk), steps, -1) > 0

    def _trace(self, spikes: np.ndarray, label: int) -> np.ndarray:
        """One step of the read-out, and the y1 it sends: minus its error."""
        total = self.rule.weights @ spikes
        total = total << self.exponent if self.exponent > 0 else total >> -self.exponent
        self.readout.step(torch.from_numpy(total).reshape(self.plan.link.population.shape))
        outputs = self.readout.u.numpy().ravel().astype(np.int64) + self.bias
        return -self.plan.error(outputs[None], label)[0]


def hidden_part(plan: DeltaPlan) -> QuantizedNetwork | None:
    """The layers that do not learn, as a network; None when there are none."""
    return layers_before(plan.network, plan.link.projection)


def layers_before(network: QuantizedNetwork, last: QuantizedProjection) -> QuantizedNetwork | None:
    """A chain without its last projection and its read-out; None when that is all there is."""
    if last.source == network.inputs[0].name:
        return None
    return replace(
        network,
        populations=tuple(p for p in network.populations if p.name != network.output),
        projections=tuple(p for p in network.projections if p.name != last.name),
        output=last.source,
        contract=replace(network.contract, decode="spike_count"),
    )


def with_learned(plan: DeltaPlan, weights: np.ndarray) -> QuantizedNetwork:
    """The network with an output layer of 8 bits, which is what Loihi's learning works on."""
    name = plan.link.projection.name

    def learned(p: QuantizedProjection) -> QuantizedProjection:
        operator = p.operator.with_weights(plan.deployed(weights.reshape(p.operator.weights.shape)))
        form = WeightFormat(WEIGHT_BITS, plan.sign)
        return replace(p, operator=operator, weight_format=form)

    return replace(
        plan.network,
        projections=tuple(learned(p) if p.name == name else p for p in plan.network.projections),
    )
