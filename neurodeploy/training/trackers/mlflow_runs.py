"""Trainings in MLflow: one run each, in an experiment with the name of the recipe."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from neurodeploy.recipe import Recipe
from neurodeploy.training.trackers.tracker import Ending, flat

STATUS: dict[Ending, str] = {"finished": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}

REFUSED = re.compile(r"[^/\w.\- ]")
"""What MLflow takes in no name of a metric; names of layers may come from files of others."""


class MLflowTracker:
    """A run of MLflow, by its client: the caller's own active run is left alone."""

    def __init__(self) -> None:
        import mlflow  # pyright: ignore[reportMissingImports]
        from mlflow.entities import Metric, Param  # pyright: ignore[reportMissingImports]

        self._mlflow: Any = mlflow
        self._metric: Any = Metric
        self._param: Any = Param
        self._client: Any = None
        self._run = ""
        self._epoch = 0

    def start(self, run: Path, recipe: Recipe, known: str | None) -> str:
        """Create a run with the recipe as its parameters, or open the known one again."""
        # Not before: it connects to the server.
        self._client = self._mlflow.MlflowClient()
        if known is not None:
            self._client.update_run(known, status="RUNNING")
            self._run = known
            return known
        experiment = self._experiment(recipe.name)
        self._run = self._client.create_run(experiment, run_name=run.name).info.run_id
        params = [
            self._param(key, value if isinstance(value, str) else json.dumps(value))
            for key, value in flat(recipe).items()
        ]
        self._client.log_batch(self._run, params=params)
        return self._run

    def log(self, epoch: int, values: Mapping[str, float]) -> None:
        """Record metrics whose step is the epoch."""
        now = int(1000 * time.time())
        metrics = [
            self._metric(REFUSED.sub("_", tag), value, now, epoch) for tag, value in values.items()
        ]
        self._client.log_batch(self._run, metrics=metrics)
        self._epoch = epoch

    def finish(self, summary: Mapping[str, float], ended: Ending) -> None:
        """Record the summary as metrics of the last epoch, and end the run."""
        if not self._run:
            return
        if summary:
            self.log(self._epoch, summary)
        # It prints the address of the run, where a command may be printing JSON.
        with redirect_stdout(sys.stderr):
            self._client.set_terminated(self._run, status=STATUS[ended])

    def _experiment(self, name: str) -> str:
        """The experiment that MLflow's own variables name, or that of this name, which is made."""
        identity = os.environ.get("MLFLOW_EXPERIMENT_ID")
        if identity:
            return identity
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or name
        found = self._client.get_experiment_by_name(name)
        if found is None:
            try:
                return self._client.create_experiment(name)
            except self._mlflow.MlflowException:
                # Another training may have made it in between.
                found = self._client.get_experiment_by_name(name)
                if found is None:
                    raise
        return found.experiment_id
