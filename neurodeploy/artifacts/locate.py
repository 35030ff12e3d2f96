"""Finding the newest output of the step before."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from neurodeploy.artifacts.names import COMPLETE, DEPLOYMENTS, MANIFEST, METRICS, RECIPE, RUNS
from neurodeploy.artifacts.records import TrainingRecord
from neurodeploy.errors import InputError, Step, Text
from neurodeploy.support.files import read_json
from neurodeploy.support.schema import build


def newest_run(folder: Path = RUNS) -> Path:
    """The complete training run that was finished last.

    Raises:
        InputError: there is none.
    """
    found = _newest(folder, COMPLETE)
    if found is None:
        raise InputError(
            f"no finished training run in {folder}/", fix=Text("make one with ", Step("train"))
        )
    return found


def newest_deployment(folder: Path = DEPLOYMENTS) -> Path:
    """The deployment that was written last.

    Raises:
        InputError: there is none.
    """
    found = _newest(folder, MANIFEST)
    if found is None:
        raise InputError(f"no deployment in {folder}/", fix=Text("make one with ", Step("export")))
    return found


def read_run(path: Path) -> dict[str, Any]:
    """``run.json`` of a finished run.

    Raises:
        InputError: not a run, or one that did not finish.
    """
    if not path.is_dir():
        raise InputError(f"{path}: no such run")
    if not (path / COMPLETE).is_file():
        if (path / RECIPE).is_file():
            raise InputError(
                f"{path}: training did not finish",
                fix=Text("go on with ", Step("resume_run", str(path))),
            )
        raise InputError(f"{path}: not a training run (no {COMPLETE})")
    return read_json(path / COMPLETE)


def read_training(path: Path) -> TrainingRecord:
    """What a finished run tells about itself, for its deployments to keep: ``run.json``, epochs.

    Raises:
        InputError: as ``read_run``, or its metrics are damaged.
    """
    run = read_run(path)
    kept = ("recipe", "test_accuracy", "validation_accuracy", "best_epoch", "epochs", "seconds")
    metrics = path / METRICS
    try:
        lines = metrics.read_text(encoding="utf-8").splitlines() if metrics.is_file() else []
        history = [json.loads(line) for line in lines]
        table = {**{name: run[name] for name in kept}, "history": history}
    except (OSError, KeyError, json.JSONDecodeError) as error:
        raise InputError(f"{path}: damaged run ({error}); train again") from None
    return build(TrainingRecord, table, str(path / COMPLETE))


def _newest(folder: Path, marker: str) -> Path | None:
    """The entry whose marker file, written last, is newest; hidden ones are unfinished."""
    if not folder.is_dir():
        return None
    entries = [
        entry
        for entry in folder.iterdir()
        if not entry.name.startswith(".") and (entry / marker).is_file()
    ]
    return max(
        entries, key=lambda entry: ((entry / marker).stat().st_mtime_ns, entry.name), default=None
    )
