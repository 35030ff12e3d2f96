"""What goes into a simulation and what comes out of it, for every engine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, KeysView, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from neurodeploy.data.dataset import encode
from neurodeploy.data.lasting import own_steps
from neurodeploy.ir.contract import Contract, Decode


@dataclass(frozen=True, eq=False)
class SampleBatch:
    """Encoded input of some consecutive samples.

    Attributes:
        first: index of the first sample in its data set.
        values: integers, (N, *input) when ``static``, else (N, T, *input).
        static: whether every step sees the same values.
        labels: (N,) class numbers or (N, outputs) values, or None.
        lengths: (N,) steps that each sample lasts, 1..T, after which its class is read; None where
            all last T.
    """

    first: int
    values: np.ndarray
    static: bool
    labels: np.ndarray | None = None
    lengths: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.values)


@dataclass(frozen=True, eq=False)
class Samples:
    """Samples to simulate, taken and encoded batch by batch, so that memory follows the batch.

    Attributes:
        count: how many samples.
        take: (first, last) to the integers of those samples: (n, *input) for the encoder, or
            (n, T, *input) when ``over_time``.
        labels: (count,) class numbers or (count, outputs) values, or None.
        origin: where they come from, for people to read.
        over_time: the values are spikes or integers of each step already; nothing is encoded.
        seed: of the Bernoulli draws of the ``rate`` encoder.
        warnings: what looks like a mistake in them.
        lengths: (count,) steps that each lasts, 1..T; None where all last T.
    """

    count: int
    take: Callable[[int, int], np.ndarray]
    labels: np.ndarray | None
    contract: Contract
    origin: str
    over_time: bool = False
    seed: int = 0
    warnings: tuple[str, ...] = ()
    lengths: np.ndarray | None = None

    @property
    def static(self) -> bool:
        """Whether every step of a sample sees the same values."""
        return not self.over_time and self.contract.input_code.encoder == "direct"

    @property
    def mean_steps(self) -> float:
        """Steps that a sample lasts, in the mean."""
        return self.contract.steps if self.lengths is None else float(self.lengths.mean())

    def batches(self, size: int, start: int = 0, stop: int | None = None) -> Iterator[SampleBatch]:
        """Consecutive batches of at most ``size`` samples, those in [start, stop)."""
        end = self.count if stop is None else min(stop, self.count)
        for first in range(start, end, size):
            last = min(first + size, end)
            values = self.take(first, last)
            if not self.over_time:
                code, steps = self.contract.input_code, self.contract.steps
                values = encode(values, code, steps, self.seed, first)
            labels = None if self.labels is None else self.labels[first:last]
            lengths = None if self.lengths is None else self.lengths[first:last]
            yield SampleBatch(first, values, self.static, labels, lengths)


LEAKY = ("u", "v")
"""What leaky neurons keep."""


@dataclass(frozen=True, eq=False)
class PopulationTrace:
    """One population over a batch, in model time.

    Attributes:
        s: (N, T, *shape) uint8 spikes; of a graded input or population int32 values (float64 from
            the float engine), of which those that are not 0 are events.
        u, v: (N, T, *shape) state after the step (v after its reset), int32 for the integer
            engines and float64 for the float one; None when not recorded, and for inputs.
        others: likewise what neurons of other models keep, by name.
    """

    s: np.ndarray
    u: np.ndarray | None = None
    v: np.ndarray | None = None
    others: Mapping[str, np.ndarray] = field(default_factory=dict)

    @staticmethod
    def of(s: np.ndarray, state: Mapping[str, np.ndarray]) -> PopulationTrace:
        """The trace with what was recorded of the state, by name."""
        others = {name: values for name, values in state.items() if name not in LEAKY}
        return PopulationTrace(s, state.get("u"), state.get("v"), others)

    @property
    def state(self) -> dict[str, np.ndarray]:
        """All that was recorded of the state, by name, in the order that it is computed in."""
        found = {name: getattr(self, name) for name in LEAKY}
        recorded = {name: values for name, values in found.items() if values is not None}
        return {**self.others, **recorded} if self.others else recorded

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """``state`` and then ``s``."""
        return {**self.state, "s": self.s}

    @property
    def spikes(self) -> np.ndarray:
        """``s`` by its full name."""
        return self.s

    @property
    def events(self) -> int:
        """Messages sent: entries of ``s`` that are not 0, whatever they carry."""
        return int(np.count_nonzero(self.s))

    def events_of_each(self) -> np.ndarray:
        """(*shape) int64: messages that each neuron sent, over all samples and steps."""
        s, times = self.s, 1
        if s.shape[1] > 1 and s.strides[1] == 0:  # a static input is one step, seen many times
            s, times = s[:, :1], s.shape[1]
        sent = np.not_equal(s, 0, order="C").view(np.uint8)
        sent = sent.reshape(s.shape[0] * s.shape[1], *s.shape[2:])
        total = np.zeros(s.shape[2:], np.int64)
        # So many ones fit into 8 bits, in which numpy adds up ten times as fast.
        for first in range(0, len(sent), 255):
            total += np.add.reduce(sent[first : first + 255], axis=0, dtype=np.uint8)
        return total * times


@dataclass(frozen=True, eq=False)
class SpikeTrace:
    """What every population did during a batch.

    Attributes:
        first: index of the batch's first sample in its data set.
        output: name of the population that is read out; its v is always recorded when it does
            not spike.
    """

    first: int
    populations: Mapping[str, PopulationTrace]
    output: str

    def predictions(self, decode: Decode, lengths: np.ndarray | None = None) -> np.ndarray:
        """(N,) class numbers: argmax of ``scores``, the lowest class on a tie."""
        return self.scores(decode, lengths).argmax(axis=1)

    def scores(self, decode: Decode, lengths: np.ndarray | None = None) -> np.ndarray:
        """(N, outputs) of what ``decode`` names, in the units of the trace.

        Args:
            lengths: (N,) steps of each sample, at whose end it is read: the last v is that of its
                last step, sums go up to it. None for T of all.
        """
        record = self.populations[self.output]
        if decode == "spike_count":
            scores = over_own_steps(record.s, lengths, np.int64)
        elif record.v is None:
            raise ValueError(f"decoding by {decode!r} needs v of {self.output!r} recorded")
        elif decode == "sum_v":
            scores = over_own_steps(record.v, lengths)
        else:
            last = -1 if lengths is None else lengths - 1
            scores = record.v[np.arange(len(record.v)), last]
        return scores.reshape(len(scores), -1)

    def without_state(self) -> SpikeTrace:
        """The same with spikes alone, but for v of an output that has none."""
        populations = {
            name: PopulationTrace(record.s, v=record.v if name == self.output else None)
            for name, record in self.populations.items()
        }
        return replace(self, populations=populations)

    def until(self, lengths: np.ndarray | None) -> SpikeTrace:
        """The same without spikes after each sample's end; states stay as they were."""
        if lengths is None:
            return self
        populations = {
            name: replace(record, s=np.where(own_steps(record.s, lengths), record.s, 0))
            for name, record in self.populations.items()
        }
        return replace(self, populations=populations)


def over_own_steps(
    values: np.ndarray, lengths: np.ndarray | None, dtype: type | None = None
) -> np.ndarray:
    """Sum of (N, T, ...) over the steps of each sample, all T where there are no lengths."""
    if lengths is None:
        return values.sum(axis=1, dtype=dtype)
    return np.where(own_steps(values, lengths), values, 0).sum(axis=1, dtype=dtype)


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

    def copy(self) -> Overflow:
        """The counts as they are now."""
        return Overflow({name: replace(c) for name, c in self.populations.items()})

    def join(self, other: Overflow) -> None:
        """Add what another one has counted."""
        for name, counters in other.populations.items():
            self.add(name, counters.wraps, counters.saturations)

    @property
    def total(self) -> int:
        """All events of all populations."""
        return sum(c.wraps + c.saturations for c in self.populations.values())


@dataclass(frozen=True, eq=False, repr=False)
class WholeTrace(Mapping[str, PopulationTrace]):
    """What every population did, by name: ``trace["lif1"].spikes`` is (N, T, *shape).

    Attributes:
        populations: name to spikes and, where recorded, state over all N samples.
        classes: (N,) int64, the predicted class of each sample: argmax of what the contract
            decodes, the lowest class on a tie. Of a network that predicts values it says nothing.
        overflow: wraps of u and saturations of v by population; empty for engines of floats.
        predicted_values: (N, K) float64 of a regression, in units of its data; else None.
    """

    populations: Mapping[str, PopulationTrace]
    classes: np.ndarray
    overflow: Overflow
    predicted_values: np.ndarray | None = None

    @staticmethod
    def of(
        traces: Iterable[SpikeTrace],
        decode: Decode,
        overflow: Overflow,
        lengths: np.ndarray | None = None,
        values: Callable[[SpikeTrace, np.ndarray | None], np.ndarray] | None = None,
    ) -> WholeTrace:
        """The traces of consecutive batches, of which there is at least one, put together.

        Args:
            values: reads those of a batch with its lengths; None where classes are told apart.
            decode: how the class is read from the output.
            overflow: of all of them; may still be counted while ``traces`` are taken.
            lengths: (N,) steps of all samples; None for T of each.
        """
        taken: list[SpikeTrace] = []
        classes: list[np.ndarray] = []
        read: list[np.ndarray] = []
        for trace in traces:
            taken.append(trace)
            count = len(trace.populations[trace.output].s)
            own = None if lengths is None else lengths[trace.first :][:count]
            classes.append(trace.predictions(decode, own).astype(np.int64))
            if values is not None:
                read.append(values(trace, own))
        populations = {
            name: _joined([trace.populations[name] for trace in taken])
            for name in taken[0].populations
        }
        found = np.concatenate(read) if read else None
        return WholeTrace(populations, np.concatenate(classes), overflow, found)

    def __getitem__(self, name: str) -> PopulationTrace:
        return self.populations[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.populations)

    def __len__(self) -> int:
        return len(self.populations)

    def __repr__(self) -> str:
        return f"WholeTrace of {len(self.classes)} samples: {', '.join(self)}"

    def keys(self) -> KeysView[str]:
        """Names of the populations, the input first."""
        return self.populations.keys()


def _joined(records: list[PopulationTrace]) -> PopulationTrace:
    """One population over several batches, each of which has the same of it."""
    names = records[0].arrays
    joined = {name: np.concatenate([record.arrays[name] for record in records]) for name in names}
    return PopulationTrace.of(joined.pop("s"), joined)
