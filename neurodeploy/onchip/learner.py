"""Learners: what a user chooses of them, what they learn from, and what they leave behind."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal, Protocol

import numpy as np

from neurodeploy.ir.quantized import QuantizedNetwork
from neurodeploy.simulation.trace import SampleBatch

RuleName = Literal["delta", "eprop", "local", "prototypes", "sltt"]
UpdateTime = Literal["step", "sample"]

SENDING_BACK: tuple[RuleName, ...] = ("sltt", "eprop")
"""Rules that carry errors back to hidden layers, by updates of one form."""
Feedback = Literal["transposed", "random"]

RATE_EXPONENTS = (-24, 4)
"""Lowest and highest exponent of a learning rate."""


@dataclass(frozen=True)
class LearningOptions:
    """How to learn.

    Attributes:
        rule: ``delta`` changes the output layer alone, by Lava's own three-factor rule; ``sltt``
            changes all layers; ``eprop`` likewise, by what past input still does to neurons;
            ``local`` changes all, each by an error that it makes of its own spikes;
            ``prototypes`` has the output layer be means of features.
        rate: a power of two, per unit of the float network's weights, as in SGD; of ``prototypes``
            the share of the way that a mean of many samples goes towards the next one.
        update: change weights after each ``step``, or once per ``sample`` of T steps.
        feedback: errors go back through the ``transposed`` weights, or through fixed ``random``
            ones (feedback alignment, Lillicrap et al. 2016).
        seed: of stochastic rounding and of random feedback; from 0 to 2^32 - 1.
        halvings: updates, counted from 0, from which on the rate is half of what it was; ascending.
    """

    rule: RuleName = "sltt"
    rate: float = 2**-6
    update: UpdateTime = "sample"
    feedback: Feedback = "transposed"
    seed: int = 0
    halvings: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        lowest, highest = RATE_EXPONENTS
        if not (self.rate > 0 and math.frexp(self.rate)[0] == 0.5):
            raise ValueError(f"the rate must be a power of two such as 2^-6, found {self.rate:g}")
        if not 2.0**lowest <= self.rate <= 2.0**highest:
            raise ValueError(
                f"the rate must be from 2^{lowest} to 2^{highest}, found {rate_text(self.rate)}"
            )
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"the seed must be from 0 to 2^32 - 1, found {self.seed}")
        if self.rule not in SENDING_BACK and self.feedback == "random":
            raise ValueError(f"rule {self.rule} carries no error back; feedback is for rule sltt")
        if self.rule == "prototypes" and self.update == "step":
            raise ValueError("rule prototypes learns from whole samples; update is for other rules")
        if not self.everywhere and self.halvings:
            raise ValueError(
                f"rule {self.rule} has its rate in the factors of Loihi's rule, which stay; a "
                "falling rate is for rules sltt and local"
            )
        if any(after <= before for before, after in pairwise((0, *self.halvings))):
            raise ValueError(
                f"the rate is halved at updates that ascend from 1, found {list(self.halvings)}"
            )

    @property
    def everywhere(self) -> bool:
        """Whether the rule changes all layers, with tags below their weights."""
        return self.rule in ("eprop", "local", "sltt")


def rate_text(rate: float) -> str:
    """A power of two as people write it."""
    return f"2^{math.frexp(rate)[1] - 1}"


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
class Changes:
    """X of a projection's synapses after every update, as what each of them changed.

    Attributes:
        first, last: (synapses,) X before the first update and after the last.
        ends: (samples, updates per sample) where the changes of each update end in the others.
        numbers, values: (changes,) which synapses changed, and their X from then on.
    """

    first: np.ndarray
    last: np.ndarray
    ends: np.ndarray
    numbers: np.ndarray
    values: np.ndarray

    def states(self) -> np.ndarray:
        """(samples, updates per sample, synapses) X, written out; ``last`` stands as recorded."""
        found = np.empty((self.ends.size, len(self.first)), self.first.dtype)
        state, start = self.first.copy(), 0
        for row, end in zip(found, self.ends.ravel(), strict=True):
            state[self.numbers[start:end]] = self.values[start:end]
            row[:], start = state, end
        found[-1] = self.last
        return found.reshape(*self.ends.shape, -1)

    def equals(self, other: Changes) -> bool:
        """Whether the same synapses changed to the same X in every update, and nothing else."""
        mine, theirs = self.__dict__, other.__dict__
        return all(np.array_equal(found, theirs[name]) for name, found in mine.items())


@dataclass(frozen=True, eq=False)
class Trajectory:
    """Consecutive samples.

    Attributes:
        records: by projection that learns, (samples, updates per sample, synapses) X after every
            update, or the changes that these come to; for rule delta the weights, and the tags
            behind them where it uses any.
        scores: (samples, classes) v of the read-out after the last step, from before the update
            that the sample caused (with one update per sample).
    """

    records: Mapping[str, np.ndarray | Changes]
    scores: np.ndarray

    @property
    def states(self) -> dict[str, np.ndarray]:
        """X after every update, written out where changes were recorded."""
        found = self.records.items()
        return {name: r.states() if isinstance(r, Changes) else r for name, r in found}

    @property
    def last(self) -> dict[str, np.ndarray]:
        """X after the last update, by projection."""
        found = self.records.items()
        return {name: r.last if isinstance(r, Changes) else r[-1, -1] for name, r in found}

    @property
    def updates(self) -> int:
        """Of a sample."""
        record = next(iter(self.records.values()))
        return (record.ends if isinstance(record, Changes) else record).shape[1]

    def differences(self, other: Trajectory) -> int:
        """How many X differ, over all updates together."""
        count = 0
        for name, record in other.records.items():
            mine = self.records[name]
            if isinstance(mine, Changes) and isinstance(record, Changes) and mine.equals(record):
                continue
            mine, theirs = (r.states() if isinstance(r, Changes) else r for r in (mine, record))
            count += int(np.count_nonzero(mine != theirs))
        return count


@dataclass(frozen=True, eq=False)
class StreamChunk:
    """Encoded samples in the order in which they are learnt from.

    Attributes:
        values: (N, T, inputs) integers, or (N, 1, inputs) when every step is the same.
        labels: (N,) int64.
        lengths: (N,) steps that each lasts, 1..T, after which nothing is learnt and its class is
            read; None where all last T.
    """

    values: np.ndarray
    labels: np.ndarray
    lengths: np.ndarray | None = None

    def lasts(self, steps: int) -> list[int]:
        """Steps of each sample, where T is ``steps``."""
        return [steps] * len(self) if self.lengths is None else self.lengths.tolist()

    @staticmethod
    def of(batch: SampleBatch) -> StreamChunk:
        """A batch with labels."""
        assert batch.labels is not None
        steps = 1 if batch.static else batch.values.shape[1]
        values = batch.values.reshape(len(batch), steps, -1)
        return StreamChunk(values, batch.labels, batch.lengths)

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
