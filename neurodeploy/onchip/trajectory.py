"""What learning on a few samples left behind, for comparison and for reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from neurodeploy.ir.quantized import QuantizedNetwork
from neurodeploy.simulation.trace import SampleBatch


@dataclass
class LayerCounts:
    """Events of one layer, counted over a whole run.

    Attributes:
        updates: synapses changed, summed over updates.
        saturated: updates that ended at a bound of the weight's format.
        clipped_updates: updates too large for their width.
        clipped_errors: errors too large for theirs.
        error_events: errors other than 0 that were sent, summed over steps.
        spikes: events that arrived at the synapses, summed over steps.
    """

    updates: int = 0
    saturated: int = 0
    clipped_updates: int = 0
    clipped_errors: int = 0
    error_events: int = 0
    spikes: int = 0


@dataclass(frozen=True, eq=False)
class Trajectory:
    """Consecutive samples.

    Attributes:
        states: by projection that learns, (samples, updates per sample, synapses) X after every
            update; for rule delta the weights, and the tags behind them where it uses any.
        scores: (samples, classes) v of the read-out after the last step, from before the update
            that the sample caused (with one update per sample).
    """

    states: Mapping[str, np.ndarray]
    scores: np.ndarray


@dataclass(frozen=True, eq=False)
class StreamChunk:
    """Encoded samples in the order in which they are learnt from.

    Attributes:
        values: (N, T, inputs) integers, or (N, 1, inputs) when every step is the same.
        labels: (N,) int64.
    """

    values: np.ndarray
    labels: np.ndarray

    @staticmethod
    def of(batch: SampleBatch) -> StreamChunk:
        """A batch with labels."""
        assert batch.labels is not None
        steps = 1 if batch.static else batch.values.shape[1]
        return StreamChunk(batch.values.reshape(len(batch), steps, -1), batch.labels)

    def __len__(self) -> int:
        return len(self.labels)


@dataclass
class Counts:
    """Counters by projection."""

    layers: dict[str, LayerCounts] = field(default_factory=dict)

    def of(self, name: str) -> LayerCounts:
        """The counters of a projection."""
        return self.layers.setdefault(name, LayerCounts())


class Learner(Protocol):
    """Anything that learns from samples in order and remembers what it has learnt."""

    name: str

    def learn(self, chunk: StreamChunk) -> Trajectory:
        """Go on with these samples."""
        ...

    def learned(self) -> QuantizedNetwork:
        """The network with the weights as they are now."""
        ...

    def close(self) -> None:
        """End processes, if there are any."""
        ...
