"""Calibration: how far a quantised population's spikes are from the float network's, on data.

The float network runs once over the samples. Then each population is simulated in integers for
every scale that is tried, with the spikes that the populations before it have been left with, so
that later ones make up for the error of earlier ones. Within a cycle the float spikes stand in.

Workers may share the integers: samples are cut into pieces, whose differing spikes add up as
integers, so that any number of workers comes to the same scales.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from neurodeploy.farm import Calls, Farm, Place
from neurodeploy.ir.models import IntegerModel
from neurodeploy.ir.network import Network
from neurodeploy.ir.quantized import QuantizedPopulation, QuantizedProjection
from neurodeploy.neurons.dynamics import FixedStepper, ModelStepper
from neurodeploy.simulation.engines import FloatEngine
from neurodeploy.simulation.exact import accumulator, activation_bound, sum_dtype
from neurodeploy.simulation.firing import firing_warnings, input_names, spiking_names
from neurodeploy.simulation.trace import Samples, over_own_steps
from neurodeploy.workflow.memory import check_memory

FEWEST = 4
"""Samples of a piece at least: a step of fewer costs hardly less."""

Integers = tuple[QuantizedPopulation, Sequence[QuantizedProjection]]
"""A population and the projections into it."""


@dataclass(frozen=True, eq=False)
class Arriving:
    """What comes to a population on some samples.

    Attributes:
        spikes: (T, N, *shape) by the name of their source.
        static: sources that send the same at every step.
    """

    spikes: dict[str, np.ndarray]
    static: frozenset[str]

    def part(self, samples: slice) -> Arriving:
        """Of some of the samples."""
        spikes = {name: s[:, samples] for name, s in self.spikes.items()}
        return Arriving(spikes, self.static)

    @torch.no_grad()
    def simulated(self, integers: Integers, steps: int, count: int) -> tuple[np.ndarray, ...]:
        """Spikes (T, N, *shape) and v (T, N, *shape) of the population alone."""
        population, incoming = integers
        bound = sum(activation_bound(projection) for projection in incoming)
        dtype = sum_dtype(bound)
        if isinstance(population.neuron, IntegerModel):
            stepper = ModelStepper(population.neuron, population.shape)
        else:
            stepper = FixedStepper(population.leaky, population.shape, bound, steps)
        arriving = [
            (p, accumulator(p, dtype), torch.from_numpy(self.spikes[p.source])) for p in incoming
        ]
        constant = {
            p.name: apply(spikes[0]) for p, apply, spikes in arriving if p.source in self.static
        }
        stepper.reset()
        fired, potentials = [], []
        for t in range(steps):
            activation = torch.zeros((count, *population.shape), dtype=dtype)
            for projection, apply, spikes in arriving:
                if t >= projection.delay:
                    known = constant.get(projection.name)
                    activation += apply(spikes[t - projection.delay]) if known is None else known
            fired.append(stepper.step(activation))
            potentials.append(stepper.v.clone())
        return torch.stack(fired).to(stepper.sends).numpy(), torch.stack(potentials).numpy()


@dataclass(frozen=True, eq=False)
class Piece:
    """Integers to try on some of the samples.

    Attributes:
        expected: spikes that are compared with; without, those that were found are wanted.
        count: of samples.
    """

    tries: Sequence[Integers]
    arriving: Arriving
    steps: int
    count: int
    expected: np.ndarray | None = None


def tried(piece: Piece) -> list[int] | list[tuple[np.ndarray, ...]]:
    """Of each try how many spikes differ, or spikes and v."""
    found = (piece.arriving.simulated(one, piece.steps, piece.count) for one in piece.tries)
    if piece.expected is None:
        return list(found)
    return [int(np.count_nonzero(spikes != piece.expected)) for spikes, _ in found]


@contextmanager
def spike_judge(
    network: Network, samples: Samples, place: Place | None = None
) -> Iterator[SpikeJudge]:
    """A judge, whose workers are there until the end.

    Args:
        network, samples: as of ``SpikeJudge``.
        place: where integers are simulated; None for this process.
    """
    with ExitStack() as held:
        farm = None if place is None else held.enter_context(Farm(place, Calls(tried)))
        yield SpikeJudge(network, samples, farm)


class SpikeJudge:
    """Compares spikes, or of a read-out that never spikes the values it is read by.

    Args:
        network: the float one.
        samples: run as one batch; their spikes over time are kept in memory.
        farm: whose workers call ``tried``; None for this process alone.

    Raises:
        SimulationError: they would not fit into memory.
    """

    def __init__(self, network: Network, samples: Samples, farm: Farm | None = None) -> None:
        check_memory(["float"], network, samples.count, state=False)
        ((batch, trace),) = FloatEngine(network).run(samples.batches(samples.count))
        self.network = network
        self.contract = network.contract
        self._farm = farm
        self.spikes = {
            # Time first: a step is then one block of memory.
            name: np.ascontiguousarray(record.s.swapaxes(0, 1))
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
            name: float((spikes != 0).mean())
            for name, spikes in self.expected.items()
            if name in shown
        }
        over = f"the {self._count:,} samples of the calibration"
        return firing_warnings(rates, over, input_names(self.network))

    def costs(self, tries: Sequence[Integers]) -> list[float]:
        """Share of spikes that differ; of a read-out 1 - r^2 of its scores, r their correlation.

        Scores are those that the contract decodes, taken relative to their mean over the outputs:
        neither a common factor nor a common offset changes which one is largest. Of values, which
        both do change, it is the mean squared error over the variance.
        """
        population, _ = tries[0]
        if population.leaky.threshold is not None:
            expected = self.expected[population.name]
            differing: list[list[int]] = self._tried(tries, expected)
            return [sum(parts) / expected.size for parts in zip(*differing, strict=True)]
        if self.expected_v is None:
            raise ValueError(f"population {population.name!r} neither spikes nor is read out")
        found = zip(tries, self._simulated(tries), strict=True)
        return [self._distance(v, one.state_unit) for (one, _), (_, v) in found]

    def _distance(self, v: np.ndarray, state_unit: float) -> float:
        """How far the read-out is from the float network's."""
        assert self.expected_v is not None
        if self.contract.predicts_values:
            found, expected = self._read(v) / state_unit, self._read(self.expected_v)
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
        ((self.spikes[population.name], _),) = self._simulated([(population, incoming)])

    @staticmethod
    def _mean(spikes: dict[str, np.ndarray], name: str) -> np.ndarray:
        """Mean over steps and samples, (1, *shape)."""
        return spikes[name].mean((0, 1), dtype=np.float64)[None]

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

    def _simulated(self, tries: Sequence[Integers]) -> list[tuple[np.ndarray, ...]]:
        """Spikes and v of each try, over all samples."""
        parts: list[list[tuple[np.ndarray, ...]]] = self._tried(tries)
        return [
            tuple(np.concatenate(arrays, axis=1) for arrays in zip(*of_one, strict=True))
            for of_one in zip(*parts, strict=True)
        ]

    def _tried(self, tries: Sequence[Integers], expected: np.ndarray | None = None) -> list[Any]:
        """The answers on each piece of the samples."""
        sources = {part.source for _, incoming in tries for part in incoming}
        arriving = Arriving(
            {name: self.spikes[name] for name in sources}, frozenset(self.static & sources)
        )
        cut = self._cut
        pieces = (
            Piece(
                tries,
                arriving.part(samples),
                self.contract.steps,
                samples.stop - samples.start,
                None if expected is None else expected[:, samples],
            )
            for samples in cut
        )
        if self._farm is None:
            return [tried(piece) for piece in pieces]
        names = [f"samples {one.start:,} to {one.stop - 1:,} of the calibration" for one in cut]
        return [*self._farm.in_order(pieces, names.__getitem__, lambda answer: None)]

    @property
    def _cut(self) -> list[slice]:
        """Samples in pieces, of nearly equal length, for the workers there are."""
        workers = 1 if self._farm is None else self._farm.workers
        pieces = max(1, min(workers, self._count // FEWEST))
        ends = [self._count * number // pieces for number in range(pieces + 1)]
        return [slice(*pair) for pair in pairwise(ends)]

    @property
    def _count(self) -> int:
        """Samples in the batch."""
        return next(iter(self.spikes.values())).shape[1]
