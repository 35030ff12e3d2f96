"""The reference engine: the deployed integers, batched, exact, and fast.

Projections run in float32 where no partial sum can reach 2^24, in float64 up to 2^53: both then
hold every integer exactly, whatever the order of the sum.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import torch

from neurodeploy.errors import UnsupportedError
from neurodeploy.neurons.dynamics import FixedStepper
from neurodeploy.quantized import QuantizedNetwork, QuantizedProjection
from neurodeploy.simulation.layerwise import LayerwiseSimulator, Link
from neurodeploy.simulation.trace import Batch, Overflow, SpikeTrace

if TYPE_CHECKING:
    from neurodeploy.operators import TorchMap

FLOAT32_EXACT = 2**24
FLOAT64_EXACT = 2**53


class ReferenceEngine:
    """Simulates a quantised network; ``overflow`` counts wraps and saturations."""

    name = "reference"

    def __init__(self, network: QuantizedNetwork) -> None:
        self.network = network
        self.overflow = Overflow()
        self.steppers = {
            population.name: FixedStepper(population.neuron, population.shape)
            for population in network.populations
            if population.neuron is not None
        }
        links = [_link(projection) for projection in network.projections]
        self.simulator = LayerwiseSimulator(
            network,
            network.contract,
            self.steppers,
            links,
            input_scale=1,
            state_dtype=torch.int32,
        )

    def run(self, batches: Iterable[Batch], *, state: bool = False) -> Iterator[SpikeTrace]:
        """Simulate batch after batch; ``state`` records u and v of every step."""
        for batch in batches:
            trace = self.simulator.run(batch, state=state)
            for name, stepper in self.steppers.items():
                self.overflow.add(name, stepper.wraps, stepper.saturations)
                stepper.wraps = stepper.saturations = 0
            yield trace

    def close(self) -> None:
        """Nothing to release; other engines have processes to end."""


def exact_dtype(bound: float, where: str) -> torch.dtype:
    """Smallest float type that holds every integer up to ``bound`` exactly.

    Raises:
        UnsupportedError: not even float64 does.
    """
    if bound < FLOAT32_EXACT:
        return torch.float32
    if bound < FLOAT64_EXACT:
        return torch.float64
    raise UnsupportedError(f"{where}: activations reach {bound:.3g}, beyond exact 53-bit sums")


def _link(projection: QuantizedProjection) -> Link:
    bound = projection.operator.absolute_row_bound() * projection.payload
    scaled = bound * 2.0 ** max(projection.exponent, 0)
    dtype = exact_dtype(scaled, f"projection {projection.name!r}")
    apply = projection.operator.compile(dtype)
    return Link(
        projection.source,
        projection.target,
        projection.delay,
        dtype,
        _shifted(apply, projection.exponent),
    )


def _shifted(apply: TorchMap, exponent: int) -> TorchMap:
    """Shift the accumulated activation: left exactly, right with a floor as Lava does."""
    if exponent == 0:
        return apply
    if exponent > 0:
        return lambda x: apply(x) * 2**exponent
    return lambda x: torch.floor(apply(x) * 2.0**exponent)
