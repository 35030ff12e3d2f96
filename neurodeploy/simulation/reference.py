"""The reference engine: the deployed integers, batched, exact, and fast."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch

from neurodeploy.ir.fixed_point import INT32_EXACT
from neurodeploy.ir.quantized import QuantizedNetwork
from neurodeploy.neurons.dynamics import FixedStepper
from neurodeploy.simulation.exact import accumulator, activation_bound
from neurodeploy.simulation.layerwise import LayerwiseSimulator, ReadyProjection
from neurodeploy.simulation.trace import Overflow, SampleBatch, SpikeTrace


class ReferenceEngine:
    """Simulates a quantised network; ``overflow`` counts wraps and saturations."""

    name = "reference"

    def __init__(self, network: QuantizedNetwork) -> None:
        self.network = network
        self.overflow = Overflow()
        bounds = {population.name: 0.0 for population in network.populations}
        for projection in network.projections:
            bounds[projection.target] += activation_bound(projection)
        steps = network.contract.steps
        self.steppers = {
            p.name: FixedStepper(p.neuron, p.shape, bounds[p.name], steps)
            for p in network.populations
            if p.neuron is not None
        }
        links = [
            ReadyProjection(
                p.source,
                p.target,
                p.delay,
                accumulator(p, torch.int32 if bounds[p.target] < INT32_EXACT else torch.int64),
            )
            for p in network.projections
        ]
        self.simulator = LayerwiseSimulator(
            network,
            network.contract,
            self.steppers,
            links,
            state_dtype=torch.int32,
        )

    def run(
        self, batches: Iterable[SampleBatch], *, state: bool = False
    ) -> Iterator[tuple[SampleBatch, SpikeTrace]]:
        """Simulate batch after batch, and yield each with its trace.

        Args:
            state: record u and v of every step.
        """
        for batch in batches:
            trace = self.simulator.run(batch, state=state)
            for name, stepper in self.steppers.items():
                self.overflow.add(name, stepper.wraps, stepper.saturations)
                stepper.wraps = stepper.saturations = 0
            yield batch, trace

    def close(self) -> None:
        """Nothing to release; other engines have processes to end."""
