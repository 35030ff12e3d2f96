"""The samples of a simulation that the report shows in full: which they are, and what is kept.

They are the first ones and, in place of the later of these, the first that the network gets wrong.
What is kept of them is bounded, however many neurons and steps there are: spikes of
``SPIKE_BITS``, states of ``STATE_BYTES``, the same share for every population that needs it.

Engines do not record u and v unless asked, which takes memory and, in Lava, time. So the reference
computes them again, or the float engine for those of floats; where its spikes are not those of the
simulation, there are no states, and the file says so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from neurodeploy.artifacts.deployment import Deployment
from neurodeploy.artifacts.shown import ShownPopulation, ShownSamples
from neurodeploy.ir.quantized import QuantizedNetwork
from neurodeploy.mapping import CoreMapping
from neurodeploy.simulation.trace import SampleBatch, SpikeTrace
from neurodeploy.workflow.engines import FLOAT_ENGINES, make_engine

MOST, FIRST = 12, 6
"""Samples that are kept, and of these the first ones, whether right or wrong."""

LONGEST = 4096
"""Steps of a sample that are kept."""

SPIKE_BITS, STATE_BYTES, CORE_COUNTS = 2**22, 2**20, 2**17
"""Of all samples kept: bits of their spikes, bytes of their states, numbers of spikes on cores."""

AGAIN_BYTES = 2**28
"""What the states of one sample, and the weights, may take to be computed again."""


@dataclass
class Kept:
    """One sample."""

    number: int
    right: bool
    batch: SampleBatch
    spikes: dict[str, np.ndarray]


class SampleCollector:
    """Takes the samples to show from batch after batch."""

    def __init__(self, network: QuantizedNetwork) -> None:
        self.steps = min(network.contract.steps, LONGEST)
        self.most = _count(self.steps, len(network.populations))
        self.kept: list[Kept] = []
        self.neurons: dict[str, np.ndarray] = {}

    def add(self, trace: SpikeTrace, batch: SampleBatch, right: np.ndarray | None) -> None:
        """Keep what is to be kept of a batch.

        Args:
            trace: without spikes after the end of a sample.
            right: (N,) whether the class is the label; None where nobody knows.
        """
        if not self.neurons:
            self.neurons = self._chosen(trace)
        for index in range(len(batch)):
            wrong = right is not None and not right[index]
            if self._takes(wrong):
                self.kept.append(self._one(trace, batch, index, not wrong))

    def join(self, following: SampleCollector) -> None:
        """Keep what is to be kept of samples that follow, as if they had been added here."""
        self.neurons = self.neurons or following.neurons
        for kept in following.kept:
            if self._takes(not kept.right):
                self.kept.append(kept)

    def _takes(self, wrong: bool) -> bool:
        """Whether there is room for a sample, or is to be made for one that is wrong."""
        return len(self.kept) < self.most or (wrong and self._make_room())

    def _make_room(self) -> bool:
        """Drop the last right sample beyond the first few."""
        for place in range(len(self.kept) - 1, min(FIRST, self.most // 2) - 1, -1):
            if self.kept[place].right:
                del self.kept[place]
                return True
        return False

    def _chosen(self, trace: SpikeTrace) -> dict[str, np.ndarray]:
        """The neurons of each population whose spikes are kept."""
        sizes, bits = {}, {}
        for name, record in trace.populations.items():
            sizes[name] = math.prod(record.s.shape[2:])
            bits[name] = self.most * self.steps * (1 if record.s.dtype == np.uint8 else 32)
        return {
            name: spread(sizes[name], count)
            for name, count in shares(sizes, bits, SPIKE_BITS).items()
        }

    def _one(self, trace: SpikeTrace, batch: SampleBatch, index: int, right: bool) -> Kept:
        steps = self.steps
        spikes = {
            name: trace.populations[name].s[index, :steps].reshape(steps, -1)[:, kept].copy()
            for name, kept in self.neurons.items()
        }
        own = slice(index, index + 1)
        again = SampleBatch(
            first=batch.first + index,
            values=batch.values[own].copy(),
            static=batch.static,
            lengths=None if batch.lengths is None else batch.lengths[own],
        )
        return Kept(again.first, right, again, spikes)

    def finish(self, deployment: Deployment, engine: str) -> ShownSamples:
        """The samples, with states and the spikes of each core where there can be some.

        Args:
            engine: that they were simulated on.

        Raises:
            NeurodeployError: the states cannot be computed again.
        """
        found = ShownSamples(
            samples=np.array([kept.number for kept in self.kept], np.int64),
            populations={
                name: ShownPopulation(neurons, np.stack([k.spikes[name] for k in self.kept]))
                for name, neurons in self.neurons.items()
            },
        )
        network = deployment.network
        neurons = sum(math.prod(p.shape) for p in network.populations)
        weights = sum(p.operator.weights.size for p in network.projections)
        if 9 * neurons * network.contract.steps + 8 * weights > AGAIN_BYTES:
            return replace(found, missing="a sample is too large to compute its states again")
        again = "float" if engine in FLOAT_ENGINES else "reference"
        return self._with_states(found, deployment, again)

    def _with_states(
        self, found: ShownSamples, deployment: Deployment, engine_name: str
    ) -> ShownSamples:
        """The same with what an engine computes of each sample again, if its spikes are equal."""
        engine = make_engine(engine_name, deployment, state=True)
        cores: list[np.ndarray] = []
        traced: dict[str, np.ndarray] = {}
        states: dict[str, dict[str, list[np.ndarray]]] = {}
        try:
            for kept in self.kept:
                ((_, trace),) = engine.run([kept.batch], state=True)
                trace = trace.until(kept.batch.lengths)
                traced = traced or self._traced(trace)
                for name, spikes in kept.spikes.items():
                    record, neurons = trace.populations[name], self.neurons[name]
                    s = record.s[0, : self.steps].reshape(self.steps, -1)[:, neurons]
                    if not np.array_equal(s, spikes):
                        missing = f"spikes of {engine_name} differ from these, so its states do too"
                        return replace(found, missing=missing)
                    for what, values in record.state.items():
                        flat = values[0, : self.steps].reshape(self.steps, -1)[:, traced[name]]
                        states.setdefault(name, {}).setdefault(what, []).append(flat)
                cores.append(self._on_cores(trace, deployment.mapping))
        finally:
            engine.close()
        populations = {
            name: replace(
                population,
                traced=traced[name],
                states={what: _narrow(np.stack(v)) for what, v in states.get(name, {}).items()},
            )
            for name, population in found.populations.items()
        }
        return replace(found, cores=np.stack(cores), populations=populations, states_of=engine_name)

    def _on_cores(self, trace: SpikeTrace, mapping: CoreMapping) -> np.ndarray:
        """(T, C) spikes of the neurons of each core in one sample; (1, C) where that is much."""
        counts = np.zeros((self.steps, len(mapping.placements)), np.int32)
        for number, placement in enumerate(mapping.placements):
            s = trace.populations[placement.population].s[0, : self.steps]
            box = tuple(slice(start, stop) for start, stop in placement.ranges)
            counts[:, number] = np.count_nonzero(s[(slice(None), *box)].reshape(len(s), -1), axis=1)
        return (
            counts if self.most * counts.size <= CORE_COUNTS else counts.sum(axis=0, keepdims=True)
        )

    def _traced(self, trace: SpikeTrace) -> dict[str, np.ndarray]:
        """The neurons of each population whose states are kept, among those of its spikes."""
        sizes, costs = {}, {}
        for name, neurons in self.neurons.items():
            kinds = len(trace.populations[name].state)
            sizes[name] = len(neurons) if kinds else 0
            costs[name] = 4 * kinds * self.most * self.steps
        chosen = shares(sizes, costs, STATE_BYTES)
        return {
            name: self.neurons[name][spread(size, chosen[name])] for name, size in sizes.items()
        }


def _count(steps: int, populations: int) -> int:
    """How many samples: fewer long ones, of which otherwise few neurons could be kept."""
    return max(1, min(MOST, SPIKE_BITS // (steps * max(128, 8 * populations))))


def shares(sizes: Mapping[str, int], costs: Mapping[str, int], budget: int) -> dict[str, int]:
    """How many of each: all of those that need least, the same cost for each of the others.

    Args:
        sizes: how many there are.
        costs: of one.
        budget: that the sum of all costs stays below.
    """
    found, left = dict.fromkeys(sizes, 0), budget
    ordered: Sequence[str] = sorted(sizes, key=lambda name: sizes[name] * costs[name])
    for place, name in enumerate(ordered):
        if sizes[name]:
            each = left // (len(ordered) - place)
            found[name] = min(sizes[name], each // max(costs[name], 1))
            left -= found[name] * costs[name]
    return found


def spread(size: int, count: int) -> np.ndarray:
    """(count,) int64 indices below ``size``, in order and evenly spread."""
    return np.arange(count, dtype=np.int64) * size // max(count, 1)


def _narrow(values: np.ndarray) -> np.ndarray:
    """Integers as they are, floats in 32 bits."""
    return values.astype(np.float32) if values.dtype.kind == "f" else values.astype(np.int32)
