"""The float engine: the discretised network in float64, before any quantisation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import torch

from neurodeploy.ir.network import Network, Projection
from neurodeploy.neurons.dynamics import FloatStepper
from neurodeploy.simulation.layerwise import LayerwiseSimulator, ReadyProjection
from neurodeploy.simulation.trace import Overflow, SampleBatch, SpikeTrace


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
        payload = network.contract.input_code.payload
        scales = {p.name: 1 if p.neuron else payload for p in network.populations}
        links = [
            ReadyProjection(p.source, p.target, p.delay, _in_float64(p, scales[p.source]))
            for p in network.projections
        ]
        self.simulator = LayerwiseSimulator(
            network,
            network.contract,
            steppers,
            links,
            state_dtype=torch.float64,
        )

    def run(
        self, batches: Iterable[SampleBatch], *, state: bool = False
    ) -> Iterator[tuple[SampleBatch, SpikeTrace]]:
        """Simulate batch after batch, and yield each with its trace.

        Args:
            state: record u and v of every step.
        """
        for batch in batches:
            yield batch, self.simulator.run(batch, state=state)

    def close(self) -> None:
        """Nothing to release; other engines have processes to end."""


def _in_float64(projection: Projection, scale: int) -> Callable[[torch.Tensor], torch.Tensor]:
    """The projection of integers that mean integer/scale.

    The scale goes into the weights: where these are multiples of it, nothing is rounded.
    """
    operator = projection.operator
    apply = operator.with_weights(operator.weights / scale).compile(torch.float64)
    return lambda spikes: apply(spikes.to(torch.float64))
