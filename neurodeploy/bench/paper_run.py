"""One combination of the comparison over T and tau, trained or measured in a process of its own."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from neurodeploy.artifacts.folders import read_training
from neurodeploy.artifacts.names import COMPLETE, RECIPE
from neurodeploy.bench.iteration import Iteration, measure
from neurodeploy.bench.process import answer
from neurodeploy.data import Dataset
from neurodeploy.errors import DivergedError
from neurodeploy.recipe import Recipe, recipe_from_dict
from neurodeploy.training.assembly import load_data, split_of
from neurodeploy.training.run import train

TRIED = 2
"""Samples that ``try_out`` trains on."""


@dataclass(frozen=True)
class OneBatch:
    """What ``bench.iteration`` asks for, of a recipe on its own data.

    Attributes:
        recipe: of which one iteration is run, all its T steps.
        whole: its data set.
        device: as torch names it.
        batch: samples of the iteration.
    """

    recipe: Recipe
    whole: Dataset
    device: str
    batch: int
    method: str = "recipe"

    @property
    def threads(self) -> int:
        """As the recipe has it."""
        return self.recipe.training.threads

    def dataset(self) -> Dataset:
        """The first samples of the training part, as many as the batch has."""
        split = split_of(self.recipe, self.whole)
        first = list(range(min(self.batch, len(split.y_train))))
        x = split.x_train[first[0] : first[-1] + 1]
        return replace(self.whole, x_train=x, y_train=split.y_train[first])


def try_out(recipe: Recipe, dataset: Dataset) -> None:
    """Train one iteration on few samples, before time is spent on many.

    Raises:
        InputError, UnsupportedError: the rule or the network cannot be trained so.
    """
    Iteration(OneBatch(recipe, dataset, "cpu", TRIED))(epoch=1)


def trained(recipe: Recipe, run: Path, device: str) -> dict[str, Any]:
    """Train into a run folder, or go on there; what came out.

    Returns:
        Accuracies of the best epoch's weights, 0 to 1, and the median time of an epoch in seconds;
        or ``diverged``, why.
    """
    try:
        if not (run / COMPLETE).is_file():
            resume = (run / RECIPE).is_file()
            train(recipe, run, device=device, resume=resume, progress=False)
    except DivergedError as error:
        return {"diverged": str(error)}
    found = read_training(run)
    return {
        "accuracy": found.test_accuracy,
        "validation_accuracy": found.validation_accuracy,
        "seconds": median(epoch["seconds"] for epoch in found.history),
    }


def memory(recipe: Recipe, device: str) -> dict[str, Any]:
    """Peak memory of an iteration in MiB, beside weights, optimiser and data."""
    one = OneBatch(recipe, load_data(recipe), device, recipe.training.batch_size)
    return measure(one, 0, exact=True)


if __name__ == "__main__":
    task, table, device, where = json.loads(sys.argv[1])
    recipe = recipe_from_dict(table, table["name"])
    if task == "memory":
        answer(lambda: memory(recipe, device))
    else:
        answer(lambda: trained(recipe, Path(where), device))
