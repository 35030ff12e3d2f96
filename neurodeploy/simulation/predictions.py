"""What a network says of samples: its class for each, and how right that is class by class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

MOST_CLASSES = 100
"""With more classes, files hold no confusion matrix; the class of each sample says the same."""

ONE_SIDED = 0.9
"""A network that gives this share of all samples one class, where labels do not, is called so."""


@dataclass(frozen=True, eq=False)
class Predictions:
    """The classes that a network gives to samples, beside their labels.

    Attributes:
        predicted: (N,) int64 class of each sample.
        labels: (N,) int64 class numbers, or None where nobody knows.
        classes: number of outputs K; both are below it.
    """

    predicted: np.ndarray
    labels: np.ndarray | None
    classes: int

    @property
    def confusion(self) -> np.ndarray | None:
        """(K, K) int64: samples by label (row) and predicted class (column).

        None without labels, and for more classes than ``MOST_CLASSES``.
        """
        if self.labels is None or self.classes > MOST_CLASSES:
            return None
        pairs = self.labels * self.classes + self.predicted
        counts = np.bincount(pairs, minlength=self.classes**2)
        return counts.reshape(self.classes, self.classes)

    @property
    def accuracy(self) -> float | None:
        """Share of samples whose class is the label, 0 to 1; None without any."""
        if self.labels is None or not len(self.labels):
            return None
        return float((self.predicted == self.labels).mean())

    @property
    def samples_by_class(self) -> list[int]:
        """Samples of each label, K numbers; none without labels."""
        if self.labels is None:
            return []
        return np.bincount(self.labels, minlength=self.classes).tolist()

    @property
    def accuracy_by_class(self) -> list[float | None]:
        """Accuracy on the samples of each label; None for a class without samples."""
        if self.labels is None:
            return []
        right = np.bincount(self.labels[self.predicted == self.labels], minlength=self.classes)
        pairs = zip(right.tolist(), self.samples_by_class, strict=True)
        return [hits / count if count else None for hits, count in pairs]

    @property
    def balanced_accuracy(self) -> float | None:
        """Mean of the accuracies by class, over the classes that have samples."""
        known = [share for share in self.accuracy_by_class if share is not None]
        return float(np.mean(known)) if known else None

    def followed_by(self, more: Predictions) -> Predictions:
        """These samples and then others, labelled if both are."""
        labels = None
        if self.labels is not None and more.labels is not None:
            labels = np.concatenate([self.labels, more.labels])
        predicted = np.concatenate([self.predicted, more.predicted])
        return Predictions(predicted, labels, self.classes)

    def without(self, left_out: Sequence[int]) -> Predictions:
        """The predictions for samples of the other labels."""
        if self.labels is None or not left_out:
            return self
        kept = ~np.isin(self.labels, left_out)
        return Predictions(self.predicted[kept], self.labels[kept], self.classes)

    def warnings(self) -> tuple[str, ...]:
        """Whether nearly all samples are given one class, which labels do not say."""
        total = len(self.predicted)
        if self.labels is None or not 2 <= self.classes <= total:
            return ()
        counts = np.bincount(self.predicted, minlength=self.classes)
        most = int(counts.argmax())
        labelled = np.count_nonzero(self.labels == most)
        if counts[most] < ONE_SIDED * total or labelled >= ONE_SIDED * total:
            return ()
        given = "all" if counts[most] == total else f"{counts[most]:,} of"
        return (f"{given} {total:,} samples are given class {most}, the label of {labelled:,}",)

    def summary(self) -> dict[str, Any]:
        """Figures by class as JSON holds them, without the samples."""
        matrix = self.confusion
        return {
            "classes": self.classes,
            "balanced_accuracy": self.balanced_accuracy,
            "accuracy_by_class": self.accuracy_by_class,
            "samples_by_class": self.samples_by_class,
            "confusion": None if matrix is None else matrix.tolist(),
        }

    def as_dict(self) -> dict[str, Any]:
        """Everything as JSON holds it."""
        labels = None if self.labels is None else self.labels.tolist()
        return {**self.summary(), "predicted": self.predicted.tolist(), "labels": labels}

    def rows(self, numbers: list[int] | None = None) -> str:
        """One line per sample as CSV: its number, its label (empty if unknown), its class.

        Args:
            numbers: of the samples in their data set; None counts them from 0.
        """
        numbers = list(range(len(self.predicted))) if numbers is None else numbers
        labels = [""] * len(self.predicted) if self.labels is None else self.labels.tolist()
        found = zip(numbers, labels, self.predicted.tolist(), strict=True)
        lines = [f"{number},{label},{predicted}\n" for number, label, predicted in found]
        return "sample,label,predicted\n" + "".join(lines)
