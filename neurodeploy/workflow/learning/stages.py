"""Classes that arrive one after the other: accuracy after each, and how much was forgotten."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from neurodeploy.reporting.text import table_text


@dataclass(frozen=True)
class Stage:
    """What was known after a class had arrived.

    Attributes:
        met: classes that have arrived so far, in this order; none before the first.
        accuracies: on the held-out samples of each class.
    """

    met: tuple[int, ...]
    accuracies: dict[int, float]


@dataclass(frozen=True)
class Retention:
    """How a stage stands beside those before it.

    Attributes:
        met: as of the stage.
        accuracy: mean over the classes known so far, of those from before and those met.
        newest: accuracy on the class that arrived last; None before the first.
        forgetting: mean over the tasks before the last, which are the classes from before together
            and each class that arrived, of what is missing from the best accuracy it ever had since
            it was met (Chaudhry et al. 2018, "Riemannian walk for incremental learning");
            negative where it became better. None where there is no task before the last.
    """

    met: tuple[int, ...]
    accuracy: float | None
    newest: float | None
    forgetting: float | None


def retention(stages: Sequence[Stage]) -> list[Retention]:
    """One for each stage, of which the last has met all that arrive."""
    arriving = stages[-1].met
    before = tuple(label for label in stages[0].accuracies if label not in arriving)
    tasks = [before] * bool(before) + [(label,) for label in arriving]
    first = int(bool(before))

    def of(stage: Stage, task: tuple[int, ...]) -> float:
        return float(np.mean([stage.accuracies[label] for label in task]))

    found = []
    for number, stage in enumerate(stages):
        known = [label for task in tasks[: first + number] for label in task]
        lost = [
            max(of(earlier, task) for earlier in stages[max(place - first + 1, 0) : number])
            - of(stage, task)
            for place, task in enumerate(tasks[: max(first + number - 1, 0)])
        ]
        found.append(
            Retention(
                stage.met,
                of(stage, tuple(known)) if known else None,
                stage.accuracies[stage.met[-1]] if stage.met else None,
                float(np.mean(lost)) if lost else None,
            )
        )
    return found


def stages_text(stages: Sequence[Stage]) -> str:
    """A table for people to read."""

    def cell(value: float | None) -> str:
        return "" if value is None else f"{value:.2%}"

    return table_text(
        ["after class", "accuracy so far", "on it", "forgetting"],
        [
            (str(r.met[-1]) if r.met else "none", cell(r.accuracy), cell(r.newest),
             cell(r.forgetting))
            for r in retention(stages)
        ],
    )  # fmt: skip
