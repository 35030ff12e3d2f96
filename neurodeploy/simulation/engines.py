"""Engines of this machine: the deployed integers, exact and fast, and the network in floats."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial

import torch

from neurodeploy.ir.models import FloatModel, IntegerModel
from neurodeploy.ir.network import Network, Population, Projection
from neurodeploy.ir.quantized import QuantizedNetwork, QuantizedPopulation, QuantizedProjection
from neurodeploy.neurons.dynamics import FixedStepper, FloatStepper, ModelStepper
from neurodeploy.simulation.device import memory_on
from neurodeploy.simulation.exact import accumulator, activation_bound, sum_dtype
from neurodeploy.simulation.layerwise import LayerwiseSimulator, ReadyProjection
from neurodeploy.simulation.probe import check_layers, check_neurons
from neurodeploy.simulation.trace import Overflow, SampleBatch, SpikeTrace
from neurodeploy.support.system import freed_memory_kept


class ReferenceEngine:
    """Simulates the deployed integers, exact; ``overflow`` counts wraps and saturations.

    Args:
        device: where sums are taken and leaky neurons are stepped, once ``probe`` has found its
            integers right; None for the CPU. Neurons of other models are stepped on the CPU.

    Raises:
        CheckFailedError: the device computes other integers than the CPU.
        InputError: it cannot compute them.
        SimulationError: its memory is full.
        UnsupportedError: sums beyond 53 bits.
    """

    name = "reference"

    def __init__(self, network: QuantizedNetwork, device: torch.device | None = None) -> None:
        self.network, self.device = network, device
        self.overflow = Overflow()
        with memory_on(device):
            self._build(network, device)

    def _build(self, network: QuantizedNetwork, device: torch.device | None) -> None:
        bounds = {population.name: 0.0 for population in network.populations}
        for projection in network.projections:
            bounds[projection.target] += activation_bound(projection)
        if device is not None:
            check_layers(network, bounds, device)
            check_neurons(network, bounds, device)
        steps = network.contract.steps
        self.steppers = {
            p.name: _in_integers(p, bounds[p.name], steps, device)
            for p in network.populations
            if p.neuron is not None
        }
        links = [
            ReadyProjection(
                p.source,
                p.target,
                p.delay,
                accumulator(
                    p,
                    sum_dtype(bounds[p.target]),
                    partial(self._sums_beyond, p.target) if _from_neurons(network, p) else None,
                    device,
                ),
            )
            for p in network.projections
        ]
        self.simulator = LayerwiseSimulator(
            network,
            network.contract,
            self.steppers,
            links,
            state_dtype=torch.int32,
            device=device,
        )

    def _sums_beyond(self, population: str, count: int) -> None:
        """Count sums of graded messages that left 32 bits, as wraps of what they arrive at."""
        self.overflow.add(population, count, 0)

    def run(
        self, batches: Iterable[SampleBatch], *, state: bool = False
    ) -> Iterator[tuple[SampleBatch, SpikeTrace]]:
        """Simulate batch after batch, and yield each with its trace.

        Args:
            state: record the states of every step.
        """
        # Every batch takes and frees the same large blocks.
        with freed_memory_kept():
            for batch in batches:
                with memory_on(self.device):
                    trace = self.simulator.run(batch, state=state)
                for name, stepper in self.steppers.items():
                    self.overflow.add(name, stepper.wraps, stepper.saturations)
                    stepper.wraps = stepper.saturations = 0
                yield batch, trace

    def close(self) -> None:
        """Nothing to release; other engines have processes to end."""


class FloatEngine:
    """Simulates the float network, on the same encoded integers as every other engine.

    It is discrete in time, before any quantisation, and computed in float64.
    """

    name = "float"

    def __init__(self, network: Network) -> None:
        self.overflow = Overflow()
        steppers = {
            population.name: _in_floats(population)
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
            state: record the states of every step.
        """
        for batch in batches:
            yield batch, self.simulator.run(batch, state=state)

    def close(self) -> None:
        """Nothing to release; other engines have processes to end."""


def _from_neurons(network: QuantizedNetwork, projection: QuantizedProjection) -> bool:
    """Whether a projection carries graded messages of neurons."""
    neuron = network.population(projection.source).neuron
    return neuron is not None and neuron.message.graded


def _in_integers(
    population: QuantizedPopulation, bound: float, steps: int, device: torch.device | None
) -> FixedStepper | ModelStepper:
    if isinstance(population.neuron, IntegerModel):
        return ModelStepper(population.neuron, population.shape)
    return FixedStepper(population.leaky, population.shape, bound, steps, device)


def _in_floats(population: Population) -> FloatStepper | ModelStepper:
    if isinstance(population.neuron, FloatModel):
        return ModelStepper(population.neuron, population.shape)
    return FloatStepper(population.leaky, population.shape)


def _in_float64(projection: Projection, scale: int) -> Callable[[torch.Tensor], torch.Tensor]:
    """The projection of integers that mean integer/scale.

    The scale goes into the weights: where these are multiples of it, nothing is rounded.
    """
    operator = projection.operator
    apply = operator.with_weights(operator.weights / scale).compile(torch.float64)
    return lambda spikes: apply(spikes.to(torch.float64))
