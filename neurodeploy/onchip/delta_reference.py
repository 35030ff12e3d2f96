"""The integer reference of rule ``delta``, and the network that comes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch

from neurodeploy.ir.fixed_point import WEIGHT_BITS, WeightFormat
from neurodeploy.ir.quantized import QuantizedNetwork, QuantizedProjection
from neurodeploy.neurons.dynamics import FixedStepper
from neurodeploy.onchip.frozen import FrozenSpikes
from neurodeploy.onchip.learner import Counts, StreamChunk, Trajectory
from neurodeploy.onchip.loihi_rule import DeltaPlan, LoihiRule


class DeltaReference:
    """Rule ``delta`` on the deployed integers: frozen hidden layers, ``LoihiRule`` behind them."""

    name = "reference"

    def __init__(self, plan: DeltaPlan) -> None:
        self.plan = plan
        self.counts = Counts()
        projection, population = plan.link.projection, plan.link.population
        self.hidden = FrozenSpikes(plan.network, projection)
        self.projection = projection.name
        self.exponent = projection.exponent
        self.rule = LoihiRule(plan, projection.operator.weights)
        # Any weights may be learnt, so any activation may come.
        bound = projection.operator.weights.shape[1] * 2.0 ** (WEIGHT_BITS + max(self.exponent, 0))
        self.readout = FixedStepper(population.leaky, population.shape, bound, plan.steps)
        self.v = self.total = np.zeros(len(self.rule.weights), np.int64)

    def learn(self, chunk: StreamChunk) -> Trajectory:
        """Go on with these samples, one after the other."""
        plan, counts = self.plan, self.counts.of(self.projection)
        updates = plan.steps if plan.decimation is None else 1
        size = self.rule.weights.size
        states = np.empty((len(chunk), updates, size), np.int32)
        scores = np.empty((len(chunk), len(self.v)), np.int64)
        silence = np.zeros(self.rule.weights.shape[1], bool), np.zeros_like(self.v)
        lasts = chunk.lasts(plan.steps)
        for sample, spikes in enumerate(self.hidden.of(chunk)):
            self.readout.reset()
            self.v = self.total = np.zeros_like(self.v)
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
            scores[sample] = self.total if plan.summed else self.v
        counts.saturated = self.rule.saturated_weights
        counts.clipped_updates = self.rule.saturated_tags
        return Trajectory({self.projection: states}, scores)

    @property
    def overflow(self) -> Mapping[str, tuple[int, int]]:
        """Wraps of u and saturations of v by population."""
        name = self.plan.link.population.name
        return {**self.hidden.overflow, name: (self.readout.wraps, self.readout.saturations)}

    def learned(self) -> QuantizedNetwork:
        """The network with the learnt weights, in the format of the deployment."""
        return with_learned(self.plan, self.rule.weights)

    def close(self) -> None:
        """Nothing to end."""

    def _trace(self, spikes: np.ndarray, label: int) -> np.ndarray:
        """One step of the read-out, and the y1 it sends: minus its error."""
        total = self.rule.weights @ spikes
        total = total << self.exponent if self.exponent > 0 else total >> -self.exponent
        self.readout.step(torch.from_numpy(total).reshape(self.plan.link.population.shape))
        before, self.v = self.v, self.readout.v.numpy().ravel().astype(np.int64)
        self.total = self.total + self.v
        shown = self.v if self.plan.summed else self.v - before
        return -self.plan.error(shown[None], label)[0]


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
