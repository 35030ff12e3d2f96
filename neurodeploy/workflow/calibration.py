"""Calibration: how far a quantised population's spikes are from the float network's, on data.

The float network runs once over the samples. Then each population is simulated in integers for
every scale that is tried, with the spikes that the populations before it have been left with, so
that later ones make up for the error of earlier ones. Within a cycle the float spikes stand in.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from neurodeploy.ir.fixed_point import INT32_EXACT
from neurodeploy.ir.models import IntegerModel
from neurodeploy.ir.network import Network
from neurodeploy.ir.quantized import QuantizedPopulation, QuantizedProjection
from neurodeploy.neurons.dynamics import FixedStepper, ModelStepper
from neurodeploy.simulation.engines import FloatEngine
from neurodeploy.simulation.exact import accumulator, activation_bound
from neurodeploy.simulation.firing import firing_warnings, input_names, spiking_names
from neurodeploy.simulation.trace import Samples, over_own_steps
from neurodeploy.workflow.memory import check_memory


class SpikeJudge:
    """Compares spikes, or of a read-out that never spikes the values it is read by.

    Args:
        network: the float one.
        samples: run as one batch; their spikes over time are kept in memory.

    Raises:
        SimulationError: they would not fit into memory.
    """

    def __init__(self, network: Network, samples: Samples) -> None:
        check_memory(["float"], network, samples.count, state=False)
        ((batch, trace),) = FloatEngine(network).run(samples.batches(samples.count))
        self.network = network
        self.contract = network.contract
        self.spikes = {
            # Time first: a step is then one block of memory.
            name: torch.from_numpy(np.ascontiguousarray(record.s.swapaxes(0, 1)))
            for name, record in trace.populations.items()
        }
        self.lengths = batch.lengths
        self.static = set(input_names(network)) if batch.static else set()
        readout = trace.populations[network.output].v
        self.expected_v = None if readout is None else readout.swapaxes(0, 1)
        self.expected = dict(self.spikes)

    def warnings(self) -> tuple[str, ...]:
        """Layers of the float network that carry nothing on these samples."""
        shown = (*input_names(self.network), *spiking_names(self.network))
        rates = {
            name: float((spikes != 0).double().mean())
            for name, spikes in self.expected.items()
            if name in shown
        }
        over = f"the {self._count:,} samples of the calibration"
        return firing_warnings(rates, over, input_names(self.network))

    def cost(
        self, population: QuantizedPopulation, incoming: Sequence[QuantizedProjection]
    ) -> float:
        """Share of spikes that differ; of a read-out 1 - r^2 of its scores, r their correlation.

        Scores are those that the contract decodes, taken relative to their mean over the outputs:
        neither a common factor nor a common offset changes which one is largest. Of values, which
        both do change, it is the mean squared error over the variance.
        """
        spikes, v = self._simulate(population, incoming)
        if population.leaky.threshold is not None:
            return float((spikes != self.expected[population.name]).double().mean())
        if self.expected_v is None:
            raise ValueError(f"population {population.name!r} neither spikes nor is read out")
        if self.contract.predicts_values:
            found, expected = self._read(v) / population.state_unit, self._read(self.expected_v)
            spread = float(((expected - expected.mean(axis=0)) ** 2).sum())
            return float(((found - expected) ** 2).sum()) / (spread or 1.0)
        found, expected = self._scores(v), self._scores(self.expected_v)
        power = float((found**2).sum() * (expected**2).sum())
        return 1 - float((found * expected).sum()) ** 2 / power if power else 1.0

    def lacking(
        self, population: QuantizedPopulation, incoming: Sequence[QuantizedProjection]
    ) -> np.ndarray:
        """Mean input per step that the integers lack, (*shape) in units of the float network.

        Currents are linear in spikes, so mean spikes give mean currents. What an arithmetic right
        shift rounds away is left out.
        """
        lacking = np.zeros(population.shape)
        for projection in self.network.projections:
            if projection.target == population.name:
                source = self.network.population(projection.source)
                unit = self.contract.input_code.payload if source.neuron is None else 1
                lacking += projection.operator(self._mean(self.expected, source.name) / unit)[0]
        for part in incoming:
            unit = 2.0**part.exponent / population.scale
            lacking -= part.operator(self._mean(self.spikes, part.source))[0] * unit
        return lacking

    def settle(
        self, population: QuantizedPopulation, incoming: Sequence[QuantizedProjection]
    ) -> None:
        """Populations judged from now on see this one's integer spikes."""
        self.spikes[population.name], _ = self._simulate(population, incoming)

    @staticmethod
    def _mean(spikes: dict[str, torch.Tensor], name: str) -> np.ndarray:
        """Mean over steps and samples, (1, *shape)."""
        return spikes[name].mean((0, 1), dtype=torch.float64)[None].numpy()

    def _scores(self, v: np.ndarray) -> np.ndarray:
        """(N, outputs) values that the class is read from, without their mean over outputs."""
        scores = self._read(v)
        return scores - scores.mean(axis=1, keepdims=True)

    def _read(self, v: np.ndarray) -> np.ndarray:
        """(N, outputs) of what the contract decodes."""
        v = v.swapaxes(0, 1)
        if self.contract.decode == "sum_v":
            scores = over_own_steps(v, self.lengths, np.float64)
        else:
            scores = v[np.arange(len(v)), -1 if self.lengths is None else self.lengths - 1]
        return scores.reshape(len(scores), -1).astype(np.float64)

    @torch.no_grad()
    def _simulate(
        self, population: QuantizedPopulation, incoming: Sequence[QuantizedProjection]
    ) -> tuple[torch.Tensor, np.ndarray]:
        """Spikes (T, N, *shape) uint8 and v (T, N, *shape) of the population alone."""
        bound = sum(activation_bound(projection) for projection in incoming)
        dtype = torch.int32 if bound < INT32_EXACT else torch.int64
        steps = self.contract.steps
        if isinstance(population.neuron, IntegerModel):
            stepper = ModelStepper(population.neuron, population.shape)
        else:
            stepper = FixedStepper(population.leaky, population.shape, bound, steps)
        arriving = [(p, accumulator(p, dtype), self.spikes[p.source]) for p in incoming]
        constant = {
            p.name: apply(spikes[0]) for p, apply, spikes in arriving if p.source in self.static
        }
        stepper.reset()
        fired, potentials = [], []
        for t in range(steps):
            shape = (self._count, *population.shape)
            activation = torch.zeros(shape, dtype=dtype)
            for projection, apply, spikes in arriving:
                if t >= projection.delay:
                    known = constant.get(projection.name)
                    activation += apply(spikes[t - projection.delay]) if known is None else known
            fired.append(stepper.step(activation))
            potentials.append(stepper.v.clone())
        return torch.stack(fired).to(stepper.sends), torch.stack(potentials).numpy()

    @property
    def _count(self) -> int:
        """Samples in the batch."""
        return next(iter(self.spikes.values())).shape[1]
