"""The float engine: the discretised network in float64, before any quantisation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch

from neurodeploy.network import Network
from neurodeploy.neurons.dynamics import FloatStepper
from neurodeploy.simulation.layerwise import LayerwiseSimulator, Link
from neurodeploy.simulation.trace import Batch, Overflow, SpikeTrace


class FloatEngine:
    """Simulates the float network on the same encoded integers as every other engine."""

    name = "float"

    def __init__(self, network: Network) -> None:
        self.overflow = Overflow()
        steppers = {
            population.name: FloatStepper(population.neuron, population.shape)
            for population in network.populations
            if population.neuron is not None
        }
        links = [
            Link(p.source, p.target, p.delay, torch.float64, p.operator.compile(torch.float64))
            for p in network.projections
        ]
        self.simulator = LayerwiseSimulator(
            network,
            network.contract,
            steppers,
            links,
            input_scale=network.contract.input_code.payload,
            state_dtype=torch.float64,
        )

    def run(self, batches: Iterable[Batch], *, state: bool = False) -> Iterator[SpikeTrace]:
        """Simulate batch after batch; ``state`` records u and v of every step."""
        for batch in batches:
            yield self.simulator.run(batch, state=state)

    def close(self) -> None:
        """Nothing to release; other engines have processes to end."""
