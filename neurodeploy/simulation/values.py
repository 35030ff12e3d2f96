"""Values that a network predicts, and how far they are from what was to come."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


def smape(predicted: np.ndarray, targets: np.ndarray) -> float:
    """Symmetric mean absolute percentage error, 200 mean(|p - y| / (|p| + |y|)), 0 to 200.

    As NeuroBench defines it, but that where both are 0 nothing is wrong, which is 0 and not a
    division by 0.
    """
    return float(percentage_errors(predicted, targets).mean())


def percentage_errors(predicted: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """The terms of ``smape``, an array of the same shape; what is no number counts 200."""
    apart, size = np.abs(predicted - targets), np.abs(predicted) + np.abs(targets)
    terms = 200 * np.divide(apart, size, out=np.zeros_like(apart), where=size != 0)
    return np.nan_to_num(terms, nan=200.0, posinf=200.0)


@dataclass(frozen=True, eq=False)
class PredictedValues:
    """The values that a network predicts from samples, beside those that were to come.

    It stands where ``Predictions`` does for classes.

    Attributes:
        predicted: (N, K) float64, in units of the data.
        labels: (N, K) float64, or None where nobody knows.
    """

    predicted: np.ndarray
    labels: np.ndarray | None

    @property
    def accuracy(self) -> None:
        """Values are not right or wrong."""
        return None

    @property
    def smape(self) -> float | None:
        """Symmetric mean absolute percentage error, 0 to 200; None without targets."""
        return self._error(smape)

    @property
    def mse(self) -> float | None:
        """Mean squared error, in squared units of the data; None without targets."""
        return self._error(lambda predicted, targets: float(((predicted - targets) ** 2).mean()))

    def _error(self, measure: Any) -> float | None:
        if self.labels is None or not len(self.labels):
            return None
        return measure(self.predicted, self.labels)

    def followed_by(self, more: PredictedValues) -> PredictedValues:
        """These samples and then others, with targets if both have them."""
        labels = None
        if self.labels is not None and more.labels is not None:
            labels = np.concatenate([self.labels, more.labels])
        return PredictedValues(np.concatenate([self.predicted, more.predicted]), labels)

    def without(self, left_out: Sequence[int]) -> PredictedValues:
        """All of them: no class can be left out."""
        _ = left_out
        return self

    def warnings(self) -> tuple[str, ...]:
        """Whether all samples are given one value, where their targets differ."""
        count = len(self.predicted)
        if self.labels is None or count < 2 or np.ptp(self.labels, axis=0).max() == 0:
            return ()
        if np.ptp(self.predicted, axis=0).max() > 0:
            return ()
        return (f"all {count:,} samples are given one value, {numbers(self.predicted[0])}",)

    def summary(self) -> dict[str, Any]:
        """Figures as JSON holds them, without the samples."""
        outputs = self.predicted.shape[1]
        return {"task": "regression", "outputs": outputs, "smape": self.smape, "mse": self.mse}

    def as_dict(self) -> dict[str, Any]:
        """Everything as JSON holds it."""
        labels = None if self.labels is None else self.labels.tolist()
        return {**self.summary(), "predicted": self.predicted.tolist(), "labels": labels}

    def rows(self, numbers: list[int] | None = None) -> str:
        """One line per sample and output as CSV: sample, output, target (or empty), prediction.

        Args:
            numbers: of the samples in their data set; None counts them from 0.
        """
        numbers = list(range(len(self.predicted))) if numbers is None else numbers
        lines = ["sample,output,label,predicted\n"]
        for row, number in enumerate(numbers):
            for output, value in enumerate(self.predicted[row].tolist()):
                target = "" if self.labels is None else repr(float(self.labels[row, output]))
                lines.append(f"{number},{output},{target},{value!r}\n")
        return "".join(lines)


def numbers(values: np.ndarray) -> str:
    """The values of one sample, for people to read."""
    return ", ".join(f"{value:.4g}" for value in values.tolist())
