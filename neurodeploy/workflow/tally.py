"""What a simulation counts, batch by batch; counts of consecutive samples can be put together."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

import numpy as np

from neurodeploy.artifacts.simulations import ActivityCount
from neurodeploy.ir.quantized import QuantizedNetwork
from neurodeploy.simulation.early_exit import EarlyReader, Exits
from neurodeploy.simulation.neurobench import NeuroBenchCount
from neurodeploy.simulation.reading import read
from neurodeploy.simulation.trace import Overflow, PopulationTrace, SampleBatch, SpikeTrace
from neurodeploy.workflow.shown import SampleCollector


class Tally:
    """Sums over batches, and the first sample for the raster.

    Args:
        metrics: names of those to count beside.
        reader: reads classes early, where that is asked for.

    Attributes:
        found: the classes or values of each batch.
        first, labels: the trace of the first sample, and the labels of its batch.
        overflow: wraps and saturations, of batches that were counted elsewhere.
        shown: the samples that the report shows in full.
    """

    def __init__(
        self,
        network: QuantizedNetwork,
        metrics: Collection[str] = (),
        reader: EarlyReader | None = None,
    ) -> None:
        self.network = network
        self.neurobench = NeuroBenchCount(network) if "neurobench" in metrics else None
        self.reader = reader
        self.exits: list[Exits] = []
        self.until_exit = ActivityCount()
        self.events: dict[str, int] = {}
        self.values: dict[str, int] = {}
        self.activity = ActivityCount()
        self.found: list[np.ndarray] = []
        self.first: SpikeTrace | None = None
        self.labels: np.ndarray | None = None
        self.overflow = Overflow()
        self.shown = SampleCollector(network)

    def __getstate__(self) -> dict[str, Any]:
        """Counts alone travel: the network is on both sides. What arrives can only be joined."""
        return {**vars(self), "network": None, "reader": None}

    def add(self, trace: SpikeTrace, batch: SampleBatch) -> None:
        """Count a batch."""
        until_end = trace.until(batch.lengths)
        for name, spikes in self.activity.add(until_end).items():
            s, events = until_end.populations[name].s, int(spikes.sum())
            # Spikes, in 8 bits, are ones.
            values = events if s.dtype == np.uint8 else int(s.sum(dtype=np.int64))
            self.events[name] = self.events.get(name, 0) + events
            self.values[name] = self.values.get(name, 0) + values
        if self.reader:
            self.exits.append(self.reader.read(trace, batch.lengths))
            self.until_exit.add(trace.until(self.exits[-1].steps))
        if self.neurobench:
            self.neurobench.add(trace.populations, batch.lengths)
        found = read(self.network, trace, batch.lengths)
        self.found.append(found)
        known = batch.labels is not None and found.ndim == 1
        self.shown.add(until_end, batch, found == batch.labels if known else None)
        if self.first is None and batch.first == 0:
            self.first, self.labels = _first_sample(trace), batch.labels

    def join(self, following: Tally) -> None:
        """Count what another one has counted of the samples that follow."""
        for own, theirs in ((self.events, following.events), (self.values, following.values)):
            for name, count in theirs.items():
                own[name] = own.get(name, 0) + count
        self.activity.join(following.activity)
        self.exits += following.exits
        self.until_exit.join(following.until_exit)
        if self.neurobench and following.neurobench:
            self.neurobench.join(following.neurobench)
        self.found += following.found
        if self.first is None:
            self.first, self.labels = following.first, following.labels
        self.overflow.join(following.overflow)
        self.shown.join(following.shown)


def _first_sample(trace: SpikeTrace) -> SpikeTrace:
    """The first sample of a batch alone, which does not keep the others in memory."""
    records = {
        name: PopulationTrace.of(
            record.s[:1].copy(), {what: values[:1].copy() for what, values in record.state.items()}
        )
        for name, record in trace.populations.items()
    }
    return replace(trace, populations=records)
