"""The one shape every data set has."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Dataset:
    """Labelled samples as integers.

    Attributes:
        name: key in ``DATASETS``.
        levels: largest integer a value can have; the float value is integer/levels.
        x_train, x_test: (N, *sample) uint8.
        y_train, y_test: (N,) int64 class numbers from 0.
    """

    name: str
    levels: int
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Shape of one sample, for example (1, 8, 8)."""
        return self.x_train.shape[1:]

    @property
    def classes(self) -> int:
        """Number of classes."""
        return int(max(self.y_train.max(), self.y_test.max())) + 1
