"""Trainings in Weights & Biases: one run each, in a project with the name of the recipe."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from neurodeploy.recipe import Recipe
from neurodeploy.training.trackers.tracker import Ending

EXIT_CODES: dict[Ending, int] = {"finished": 0, "stopped": 130, "failed": 1}

REFUSED = re.compile(r"[/\\#?%:]")
"""What the name of a project may not contain."""


class WandbTracker:
    """A run of Weights & Biases beside those that the caller has open."""

    def __init__(self) -> None:
        import wandb  # pyright: ignore[reportMissingImports]

        self._wandb: Any = wandb
        self._run: Any = None

    def start(self, run: Path, recipe: Recipe, known: str | None) -> str:
        """Begin a run with the recipe as its config, or go on with the known one."""
        self._run = self._wandb.init(
            project=os.environ.get("WANDB_PROJECT") or REFUSED.sub("_", recipe.name),
            name=run.name,
            config=recipe.as_dict(),
            id=known,
            resume="allow",
            reinit="create_new",
        )
        return self._run.id

    def log(self, epoch: int, values: Mapping[str, float]) -> None:
        """Record values whose step is the epoch, to be seen at once."""
        self._run.log(dict(values), step=epoch, commit=True)

    def finish(self, summary: Mapping[str, float], ended: Ending) -> None:
        """Put the summary into that of the run, and end it."""
        if self._run is None:
            return
        self._run.summary.update(dict(summary))
        self._run.finish(exit_code=EXIT_CODES[ended])
