"""The one shape every data set has, and how its samples become input over time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from neurodeploy.ir.contract import DataSource, InputCode, Task
from neurodeploy.ir.sound import SoundVersions


class SampleArray(Protocol):
    """What samples are kept in: a numpy array, or anything that reads them when indexed."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, *sample)."""
        ...

    def __len__(self) -> int:
        """N."""
        ...

    def __getitem__(self, index: Any, /) -> np.ndarray:
        """Samples of a slice, or of an array of numbers, as (n, *sample) uint8."""
        ...


class Subset:
    """Some samples of an array, chosen by number and read when indexed."""

    def __init__(self, samples: SampleArray, numbers: np.ndarray) -> None:
        """``numbers``: (n,) indices into ``samples``."""
        self.samples = samples
        self.numbers = numbers

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, *sample)."""
        return (len(self.numbers), *self.samples.shape[1:])

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: slice | np.ndarray, /) -> np.ndarray:
        return self.samples[self.numbers[index]]


def choose(samples: SampleArray, numbers: np.ndarray) -> SampleArray:
    """The samples of these numbers: copied when they are in memory, else left where they are."""
    return samples[numbers] if isinstance(samples, np.ndarray) else Subset(samples, numbers)


@dataclass(frozen=True)
class Request:
    """What a data set is asked for.

    Attributes:
        source: where it lies and how it is read.
        steps: T, of data sets with time.
        levels: largest integer of a sample, which event counts are clipped to; 0 where nobody
            said.
        over_time: whether samples have a time axis, where their shape alone does not say.
        versions: of recorded sound, for training.
        seed: of what changes these.
    """

    source: DataSource = field(default_factory=DataSource)
    steps: int = 1
    levels: int = 0
    over_time: bool = False
    versions: SoundVersions = field(default_factory=SoundVersions)
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Versions:
    """Changed versions of samples over time, as integers.

    Attributes:
        x: (N, V, T, *sample) uint8, V of each sample.
        lengths: (N, V) int64 steps that each lasts.
    """

    x: np.ndarray
    lengths: np.ndarray

    @property
    def count(self) -> int:
        """V."""
        return self.x.shape[1]

    def of(self, numbers: np.ndarray) -> Versions:
        """Those of the samples of these numbers."""
        return Versions(self.x[numbers], self.lengths[numbers])


@dataclass(frozen=True, eq=False)
class Dataset:
    """Samples as integers, with their classes or values.

    Attributes:
        name: key in ``DATASETS``.
        levels: largest integer a value can have; the float value is integer/levels.
        x_train, x_test: (N, *sample) uint8, or (N, T, *sample) when ``over_time``.
        y_train, y_test: (N,) int64 class numbers from 0; of a regression (N, outputs) float64, in
            units of the data.
        over_time: each sample has its T steps of input already, as event recordings do.
        source: where it was read from.
        stated_classes: number of classes that is known without counting; 0 counts by the highest.
        notes: what was found about the samples that their user should know.
        lengths_train, lengths_test: (N,) int64 steps that each sample over time lasts, 1..T, after
            which it is silent and its class is read; None where all last T steps.
        channel_groups: rows of as many channels, one behind the other, that see the same places,
            as ON spikes of all bands and then OFF spikes of all bands.
        task: whether classes are told apart or values predicted.
        ordered: samples follow each other in time, so that those held back are the last ones.
        input_range: of a series, whose samples are windows of what is predicted: the values that
            its integers 0 and ``levels`` stand for.
        versions_train: changed ones of the training samples; None where none were asked for.
    """

    name: str
    levels: int
    x_train: SampleArray
    y_train: np.ndarray
    x_test: SampleArray
    y_test: np.ndarray
    over_time: bool = False
    source: DataSource = field(default_factory=DataSource)
    stated_classes: int = 0
    notes: tuple[str, ...] = ()
    lengths_train: np.ndarray | None = None
    lengths_test: np.ndarray | None = None
    channel_groups: int = 1
    task: Task = "classification"
    ordered: bool = False
    input_range: tuple[float, float] | None = None
    versions_train: Versions | None = None

    @property
    def predicts_values(self) -> bool:
        """Whether what belongs to a sample is values."""
        return self.task == "regression"

    def as_input(self, values: np.ndarray) -> np.ndarray:
        """Values of a series as the integers of its samples, uint8; what lies outside is clipped.

        Args:
            values: in units of the data.
        """
        if self.input_range is None:
            raise ValueError(f"samples of {self.name!r} are no windows of a series")
        low, high = self.input_range
        scaled = np.rint(self.levels * (np.asarray(values) - low) / (high - low))
        return scaled.clip(0, self.levels).astype(np.uint8)

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Shape of one sample at one step, for example (1, 8, 8)."""
        return self.x_train.shape[2 if self.over_time else 1 :]

    @property
    def classes(self) -> int:
        """Number of classes, or of values of each sample: a network has an output for each."""
        if self.predicts_values:
            return self.y_train.shape[1]
        return self.stated_classes or int(max(self.y_train.max(), self.y_test.max())) + 1


def encode(
    samples: np.ndarray, code: InputCode, steps: int, seed: int = 0, first: int = 0
) -> np.ndarray:
    """Integer input of each step, the same for every engine, for an integer x of 0..L, L = levels:

    direct     x at every step
    rate       a spike at each step with probability x/L, drawn independently
    latency    one spike, at step floor(T (L - x)/L); none for x = 0, whose step would be T
    events     what the sample holds for that step

    Args:
        samples: (N, *sample) integers 0..levels, or (N, T, *sample) for ``events``.
        code: encoder and levels.
        steps: T.
        seed: of the Bernoulli draws of ``rate``; every sample has its own stream, so that the
            draws do not depend on how samples are batched.
        first: index of the first sample in its data set.

    Returns:
        (N, *sample) when the input is the same at every step (``direct``), else (N, T, *sample).
    """
    if code.encoder in ("direct", "events"):
        return samples
    spikes = np.empty((samples.shape[0], steps, *samples.shape[1:]), np.uint8)
    if code.encoder == "latency":
        when = spike_step(samples.astype(np.int64), code.levels, steps)
        for t in range(steps):
            spikes[:, t] = when == t
        return spikes
    for index, sample in enumerate(samples):
        draws = np.random.default_rng((seed, first + index)).random(spikes.shape[1:])
        spikes[index] = draws * code.levels < sample
    return spikes


def spike_step(x: Any, levels: int, steps: int) -> Any:
    """Step of the one spike of ``latency``, floor(T (L - x)/L): T equal ranges of values.

    The largest value fires at step 0. Zero would fire at step T, after the end, so never. The
    linear form of time-to-first-spike coding (Thorpe, Delorme and Van Rullen 2001), in integers.

    Args:
        x: integers 0..levels, signed and wide enough for T levels; a numpy array or torch tensor.
    """
    return steps * (levels - x) // levels
