"""What comes of a run by class or by value, and what its data and figures give reason to doubt."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from neurodeploy.artifacts.names import PREDICTIONS, VALIDATION_PREDICTIONS
from neurodeploy.data import Dataset
from neurodeploy.data.balance import unevenness
from neurodeploy.errors import Setting, Text
from neurodeploy.recipe import Recipe
from neurodeploy.simulation.predictions import Predictions
from neurodeploy.simulation.reading import AnyPredictions
from neurodeploy.simulation.values import PredictedValues
from neurodeploy.support.files import write_whole
from neurodeploy.training.epoch import Job
from neurodeploy.training.evaluate import evaluate_shared

SURPRISE, LEAST = 5, 0.05
"""Validation and test accuracy that differ by so many standard errors, and so much, are remarked:
the epoch is chosen by the one, so that a little is to be expected."""


class Outcome(NamedTuple):
    """Predictions of the best epoch's weights."""

    validation: AnyPredictions
    test: AnyPredictions

    def summary(self) -> dict[str, Any]:
        """Figures by class as JSON holds them, without the samples."""
        return {name: found.summary() for name, found in self._asdict().items()}

    def as_dict(self) -> dict[str, Any]:
        """Everything as JSON holds it."""
        return {name: found.as_dict() for name, found in self._asdict().items()}

    def write(self, run: Path, held_back: np.ndarray) -> None:
        """Write the class or the values of every sample into a run folder.

        Args:
            held_back: numbers of the validation samples in the data set.
        """
        for name, rows in (
            (VALIDATION_PREDICTIONS, self.validation.rows(held_back.tolist())),
            (PREDICTIONS, self.test.rows()),
        ):
            write_whole(run / name, rows)

    def warnings(self, left_out: Sequence[int] = ()) -> tuple[str, ...]:
        """One class for nearly all samples, and accuracies that should be alike and are not.

        Args:
            left_out: classes that training has not seen; they do not count.
        """
        parts = {name: found.without(left_out) for name, found in self._asdict().items()}
        said = [
            f"{name}: {warning}" for name, found in parts.items() for warning in found.warnings()
        ]
        return (*said, *_gap(parts["validation"], parts["test"]))


def measured(job: Job, dataset: Dataset) -> Outcome:
    """Show the validation and test samples to the network as it is now, on all processes."""
    found, split, steps = [], job.split, job.recipe.training.steps
    for x, y, lengths in (
        (split.x_validation, split.y_validation, split.lengths_validation),
        (dataset.x_test, dataset.y_test, dataset.lengths_test),
    ):
        shown = evaluate_shared(job.model, x, y, job.code, steps, job.loss, job.processes, lengths)
        if dataset.predicts_values:
            found.append(PredictedValues(shown.predicted, y))
        else:
            found.append(Predictions(shown.predicted, y, dataset.classes))
    return Outcome(*found)


def _gap(validation: AnyPredictions, test: AnyPredictions) -> tuple[str, ...]:
    """What to say of accuracies that differ far more than by chance."""
    if isinstance(validation, PredictedValues) or isinstance(test, PredictedValues):
        return ()
    one, other = validation.accuracy, test.accuracy
    if one is None or other is None:
        return ()
    n, m = len(validation.predicted), len(test.predicted)
    together = (one * n + other * m) / (n + m)
    error = math.sqrt(together * (1 - together) * (1 / n + 1 / m))
    if abs(one - other) < max(LEAST, SURPRISE * error):
        return ()
    return (
        f"validation accuracy is {one:.2%} and test accuracy {other:.2%} (balanced "
        f"{validation.balanced_accuracy:.2%} and {test.balanced_accuracy:.2%}), far more apart "
        f"than {n:,} and {m:,} samples explain; the two sets differ",
    )


def data_warnings(dataset: Dataset, recipe: Recipe) -> tuple[str, ...]:
    """What is worth knowing of a recipe's data before it is trained on."""
    if dataset.predicts_values:
        return dataset.notes
    parts = {"training": dataset.y_train, "test": dataset.y_test}
    uneven = unevenness(parts, dataset.classes, recipe.data.exclude)
    weights = Setting("training.class_weights", '"balanced"')
    if uneven and uneven[0].startswith("training samples") and not recipe.training.class_weights:
        uneven = (Text(uneven[0], "; to give them equal weight, train with ", weights), *uneven[1:])
    return (*dataset.notes, *uneven)
