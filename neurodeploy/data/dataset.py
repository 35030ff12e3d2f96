"""The one shape every data set has."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from neurodeploy.ir.contract import DataSource


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
        levels: event counts are clipped to this; 0 where nobody said.
    """

    source: DataSource = field(default_factory=DataSource)
    steps: int = 1
    levels: int = 0


@dataclass(frozen=True, eq=False)
class Dataset:
    """Labelled samples as integers.

    Attributes:
        name: key in ``DATASETS``.
        levels: largest integer a value can have; the float value is integer/levels.
        x_train, x_test: (N, *sample) uint8, or (N, T, *sample) when ``over_time``.
        y_train, y_test: (N,) int64 class numbers from 0.
        over_time: each sample has its T steps of input already, as event recordings do.
        source: where it was read from.
    """

    name: str
    levels: int
    x_train: SampleArray
    y_train: np.ndarray
    x_test: SampleArray
    y_test: np.ndarray
    over_time: bool = False
    source: DataSource = field(default_factory=DataSource)

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Shape of one sample at one step, for example (1, 8, 8)."""
        return self.x_train.shape[2 if self.over_time else 1 :]

    @property
    def classes(self) -> int:
        """Number of classes."""
        return int(max(self.y_train.max(), self.y_test.max())) + 1
