"""Folders of runs and deployments: made new, opened again, and the newest of them found."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from neurodeploy.artifacts.deployment import TrainingRecord
from neurodeploy.artifacts.names import COMPLETE, DEPLOYMENTS, MANIFEST, METRICS, RECIPE, RUNS
from neurodeploy.errors import InputError, Step, Text
from neurodeploy.recipe import Recipe, recipe_from_dict
from neurodeploy.support.files import (
    as_path,
    check_new_folder,
    next_free,
    read_json,
    write_json,
)
from neurodeploy.support.schema import build


def open_run(recipe: Recipe, out: Path | None) -> Path:
    """Make the run folder and write the recipe into it.

    Raises:
        InputError: the folder exists and is not empty, or cannot be written.
    """
    if out is None:
        run = _make_next_free(recipe)
    else:
        run = out
        if (run / RECIPE).is_file() and not (run / COMPLETE).exists():
            raise InputError(
                f"{run}: holds an unfinished run",
                fix=Text(
                    "choose another folder, or continue it with: ", Step("resume_run", str(run))
                ),
            )
        check_new_folder(run)
        try:
            run.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{run}: cannot be written: {error.strerror}") from None
    write_json(run / RECIPE, recipe.as_dict())
    return run


def _make_next_free(recipe: Recipe) -> Path:
    """Make ``runs/<name>-NNN`` with the next free number."""
    if not re.fullmatch(r"[\w.+-]+", recipe.name):
        raise InputError(f"recipe name {recipe.name!r} cannot name a folder; give the run folder")
    while True:
        run = next_free(RUNS, recipe.name)
        try:
            run.mkdir(parents=True)
            return run
        except FileExistsError:
            # Another run, started at the same moment, was faster.
            continue
        except OSError as error:
            raise InputError(f"{run}: cannot be written: {error.strerror}") from None


def reopen_run(recipe: Recipe, out: Path | None) -> Path:
    """Check that ``out`` is an incomplete run of the same recipe.

    Raises:
        InputError: it is not.
    """
    if out is None:
        raise InputError("resuming needs the folder of the run")
    if read_recipe(out) != as_read_back(recipe):
        raise InputError(f"{out / RECIPE}: differs from the recipe given; start a new run with it")
    if (out / COMPLETE).exists():
        raise InputError(f"{out}: this run is complete, there is nothing to resume")
    for leftover in out.glob(".*.partial"):
        # Of a file that was being written when the run was killed.
        leftover.unlink(missing_ok=True)
    return out


def read_recipe(run: Path) -> Recipe:
    """The recipe that a run folder was started with."""
    if not (run / RECIPE).is_file():
        raise InputError(f"{run}: not a run folder (no {RECIPE})")
    return recipe_from_dict(read_json(run / RECIPE), str(run / RECIPE))


def as_read_back(recipe: Recipe) -> Recipe:
    """The recipe as JSON gives it back, where tuples have become lists."""
    return recipe_from_dict(json.loads(json.dumps(recipe.as_dict())), recipe.name)


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


def read_run(path: Path | str) -> dict[str, Any]:
    """``run.json`` of a finished run.

    Raises:
        InputError: not a run, or one that did not finish.
    """
    path = as_path(path, "read_run")
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
        # Not in runs of older versions.
        table |= {name: run[name] for name in ("predictions", "warnings") if name in run}
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
