"""What goes into a simulation and what comes out of it, for every engine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from neurodeploy.contract import Contract, Decode
from neurodeploy.data.encoding import encode


@dataclass(frozen=True, eq=False)
class Batch:
    """Encoded input of some consecutive samples.

    Attributes:
        first: index of the first sample in its data set.
        values: integers, (N, *input) when ``static``, else (N, T, *input).
        static: whether every step sees the same values.
        labels: (N,) class numbers, or None.
    """

    first: int
    values: np.ndarray
    static: bool
    labels: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.values)


@dataclass(frozen=True, eq=False)
class Samples:
    """Samples to simulate, encoded batch by batch so that memory does not grow with their number.

    Attributes:
        values: (N, *input) integers for the encoder, or (N, T, *input) when ``events``.
        labels: (N,) class numbers, or None.
        seed: of the Bernoulli draws of the ``rate`` encoder.
    """

    values: np.ndarray
    labels: np.ndarray | None
    contract: Contract
    events: bool = False
    seed: int = 0

    def __len__(self) -> int:
        return len(self.values)

    @property
    def static(self) -> bool:
        """Whether every step of a sample sees the same values."""
        return not self.events and self.contract.input_code.encoder != "rate"

    def batches(self, size: int) -> Iterator[Batch]:
        """Consecutive batches of at most ``size`` samples."""
        for first in range(0, len(self.values), size):
            part = slice(first, first + size)
            values = self.values[part]
            if not self.events:
                code, steps = self.contract.input_code, self.contract.steps
                values = encode(values, code, steps, self.seed, first)
            labels = None if self.labels is None else self.labels[part]
            yield Batch(first, values, self.static, labels)


@dataclass(frozen=True, eq=False)
class PopulationTrace:
    """One population over a batch, in model time.

    Attributes:
        s: (N, T, *shape) uint8 spikes; for a graded input int32 values.
        u, v: (N, T, *shape) state after the step (v after its reset), int32 for the integer
            engines and float64 for the float one; None when not recorded, and for inputs.
    """

    s: np.ndarray
    u: np.ndarray | None = None
    v: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class SpikeTrace:
    """What every population did during a batch.

    Attributes:
        final_v: (N, *output) v of the read-out population after the last step.
        summed_v: (N, *output) sum of v of the read-out population over all steps.
    """

    first: int
    populations: Mapping[str, PopulationTrace]
    final_v: np.ndarray
    summed_v: np.ndarray
    output: str

    def predictions(self, decode: Decode) -> np.ndarray:
        """(N,) class numbers: argmax of what ``decode`` names, the lowest class on a tie."""
        if decode == "spike_count":
            scores = self.populations[self.output].s.sum(axis=1, dtype=np.int64)
        else:
            scores = self.final_v if decode == "last_v" else self.summed_v
        return scores.reshape(len(scores), -1).argmax(axis=1)


@dataclass
class Counters:
    """Arithmetic events of one population, counted over a whole simulation."""

    wraps: int = 0
    saturations: int = 0


@dataclass
class Overflow:
    """Counters by population; filled while a simulation runs."""

    populations: dict[str, Counters] = field(default_factory=dict)

    def add(self, name: str, wraps: int, saturations: int) -> None:
        """Add counts of one population."""
        counters = self.populations.setdefault(name, Counters())
        counters.wraps += wraps
        counters.saturations += saturations

    @property
    def total(self) -> int:
        """All events of all populations."""
        return sum(c.wraps + c.saturations for c in self.populations.values())
