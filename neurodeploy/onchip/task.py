"""What a task is, and how its samples are drawn."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from neurodeploy.data import Dataset, SampleArray
from neurodeploy.errors import InputError

REPLAYED = 9
"""Samples of known classes that follow each sample of the new one."""

SET_ASIDE = "set aside"
"""Name of the training samples outside the stream that decide whether learning has made a network
better; every task has some that replays."""

MOST_ASIDE, PART_ASIDE = 1000, 5
"""At most so many samples are set aside, and at most one of so many training samples."""

FEWEST = 2
"""Training samples of each kind: one to learn from, one to judge by."""

MOST_KNOWN = 4000
"""Samples of what is known, at most, that prototypes begin with."""

DEFAULT_SAMPLES = {"continue": 1500, "drift": 500, "new-class": 200, "speaker": 1000}
"""Length of the stream; ``continue`` sees no sample twice unless told to. ``scratch`` goes through
all of them, as often as its recipe says."""


@dataclass(frozen=True)
class News:
    """What a network has not met before.

    Attributes:
        unseen: classes that training left out.
        degrees: by which images are turned.
        kind: how the world drifts, a key of ``drifts.DRIFTS``.
        replay: samples of known classes that follow each sample of a new one.
        order: classes that arrive one after the other; empty for ``unseen`` together.
        epochs: how often it meets every sample, where it begins with nothing.
        held_back: numbers of the training samples that training kept for validation; None where
            nobody knows.
    """

    unseen: tuple[int, ...]
    degrees: float
    kind: str = "rotation"
    replay: int = REPLAYED
    order: tuple[int, ...] = ()
    epochs: int = 1
    held_back: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Samples; x as in the data set, (N, *sample) or (N, T, *sample).

    Attributes:
        lengths: (N,) steps that each lasts; None where all last T.
    """

    x: SampleArray
    y: np.ndarray
    lengths: np.ndarray | None = None

    def part(self, numbers: np.ndarray) -> HeldOut:
        """Those of these numbers."""
        lengths = None if self.lengths is None else self.lengths[numbers]
        return HeldOut(self.x[numbers], self.y[numbers], lengths)

    def changed(self, change: Callable[[np.ndarray], np.ndarray]) -> HeldOut:
        """The same with all samples changed."""
        return replace(self, x=change(self.x[:]))


def training_part(dataset: Dataset, numbers: np.ndarray) -> HeldOut:
    """The training samples of these numbers."""
    return HeldOut(dataset.x_train, dataset.y_train, dataset.lengths_train).part(numbers)


def tested(dataset: Dataset) -> HeldOut:
    """All test samples."""
    return HeldOut(dataset.x_test, dataset.y_test, dataset.lengths_test)


@dataclass(frozen=True, eq=False)
class Task:
    """A stream to learn from, and what is measured before, during and after.

    Attributes:
        description: for people to read.
        stream: samples in the order of learning.
        held_out: sets of test samples by name, of which the first is the task's own measure, and
            under ``SET_ASIDE`` the training samples that say which of the weights measured on the
            way to keep: those from before learning, unless others did better on them. Where
            ``judged`` is false there are none.
        baseline: name of a set that says how the deployment did before anything changed.
        rate_factor: what suits the task of the rate that the network can bear.
        halved: shares of the stream after which the rate is halved, when nobody says.
        known: training samples of what was known before, for rule ``prototypes``.
        empty: known classes that the stream teaches from the beginning, by that rule.
        judged: whether what is set aside may say which weights to keep; else the last ones are.
        replay: samples of known classes after each of a new one; None for other tasks.
        stage: samples of the stream from one new class to the next; 0 where none follow.
        order: the classes that arrive in these stages.
    """

    name: str
    description: str
    stream: HeldOut
    held_out: Mapping[str, HeldOut]
    baseline: str | None = None
    rate_factor: float = 1.0
    halved: tuple[float, ...] = ()
    known: HeldOut | None = None
    empty: tuple[int, ...] = ()
    judged: bool = True
    replay: int | None = None
    stage: int = 0
    order: tuple[int, ...] = ()

    @property
    def x(self) -> SampleArray:
        """Samples of the stream, (N, *sample) or (N, T, *sample) integers."""
        return self.stream.x

    @property
    def y(self) -> np.ndarray:
        """(N,) their classes."""
        return self.stream.y

    @property
    def measure(self) -> str:
        """Name of the set that the task is about."""
        return next(iter(self.held_out))


def draw_known(dataset: Dataset, numbers: np.ndarray, rng: np.random.Generator) -> HeldOut:
    """Some of the training samples with these numbers."""
    chosen = np.sort(np.random.default_rng(rng.integers(2**32)).permutation(numbers)[:MOST_KNOWN])
    return training_part(dataset, chosen)


def draw_aside(
    dataset: Dataset, numbers: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Training samples that judge what was learnt, in order, and those that may be learnt from.

    Args:
        numbers: of the samples to share out: all, or all of some classes, which give their part.

    Raises:
        InputError: fewer than two samples.
    """
    if len(numbers) < FEWEST:
        raise InputError(
            f"data set {dataset.name!r} has {len(numbers)} training samples; learning needs "
            f"{FEWEST} or more, to learn from and to set aside"
        )
    every = len(dataset.y_train)
    most = min(MOST_ASIDE, every // PART_ASIDE) * len(numbers) // every
    drawn = rng.permutation(numbers)
    count = max(most, 1)
    return np.sort(drawn[:count]), drawn[count:]


def length_of(name: str, samples: int | None, available: int) -> int:
    """What the user says, or the task's own length, which learns from no sample twice."""
    return min(DEFAULT_SAMPLES[name], available) if samples is None else samples


def shuffled(numbers: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """``count`` of the numbers in random order, each as often as any other to within one."""
    rounds = max(-(-count // len(numbers)), 1)
    return np.concatenate([rng.permutation(numbers) for _ in range(rounds)])[:count]
