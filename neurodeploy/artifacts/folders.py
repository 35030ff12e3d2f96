"""Folders of runs and deployments: made new, opened again, and the newest of them found."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neurodeploy.artifacts.deployment import TrainingRecord
from neurodeploy.artifacts.epochs import EpochMetrics
from neurodeploy.artifacts.names import (
    COMPLETE,
    DEPLOYMENTS,
    MANIFEST,
    METRICS,
    NIR_FILE,
    RECIPE,
    RUN_FORMAT,
    RUNS,
)
from neurodeploy.errors import InputError, Step, Text
from neurodeploy.recipe import Recipe, recipe_from_dict
from neurodeploy.support.file_names import file_name
from neurodeploy.support.files import (
    as_path,
    check_new_folder,
    check_writable,
    next_claimed,
    sha256,
    write_json,
    written,
)
from neurodeploy.support.partial import remove_leftovers
from neurodeploy.support.reading import read_json, read_json_lines
from neurodeploy.support.schema import build
from neurodeploy.support.seals import SEAL, digest_of, is_intact


@dataclass(frozen=True)
class NewFolder:
    """Where a folder is to be made.

    Attributes:
        named: what the caller named, or None.
        numbered: without a name ``numbered-NNN``, with the first number that is free in the end.
    """

    named: Path | None
    numbered: Path

    def check(self) -> None:
        """Refuse what cannot be written, before there is anything to write.

        Raises:
            InputError: the folder exists and is not empty, or cannot be made.
        """
        if self.named is None:
            check_writable(self.numbered)
        else:
            check_new_folder(self.named)

    def made(self) -> AbstractContextManager[Path]:
        """The folder; a numbered one is empty, and nobody else's until the block ends.

        Raises:
            InputError: it cannot be made.
        """
        if self.named is not None:
            return nullcontext(self.named)
        return next_claimed(self.numbered.parent, self.numbered.name)


@contextmanager
def open_run(recipe: Recipe, out: Path | None) -> Iterator[Path]:
    """Make the run folder and write the recipe into it; it is this process's until the end.

    Raises:
        InputError: the folder exists and is not empty, or cannot be written.
    """
    with ExitStack() as held:
        if out is None:
            with next_claimed(RUNS, _stem(recipe)) as run:
                held.enter_context(alone(run))
                _write_recipe(run, recipe)
        else:
            run = out
            with written(run):
                run.parent.mkdir(parents=True, exist_ok=True)
            _check_new_run(run)
            with written(run):
                run.mkdir(exist_ok=True)
            held.enter_context(alone(run))
            _check_new_run(run)
            _write_recipe(run, recipe)
        yield run


def _write_recipe(run: Path, recipe: Recipe) -> None:
    table = recipe.as_dict()
    write_json(run / RECIPE, {**table, SEAL: _recipe_digest(table)})


def _check_new_run(run: Path) -> None:
    if (run / RECIPE).is_file() and not (run / COMPLETE).exists():
        raise InputError(
            f"{run}: holds an unfinished run",
            fix=Text("choose another folder, or continue it with: ", Step("resume_run", str(run))),
        )
    check_new_folder(run)


def _stem(recipe: Recipe) -> str:
    # A run is found again by the name of its recipe, which is why it is not changed into another.
    if recipe.name != file_name(recipe.name):
        raise InputError(f"recipe name {recipe.name!r} cannot name a folder; give the run folder")
    return recipe.name


@contextmanager
def reopen_run(recipe: Recipe, out: Path | None) -> Iterator[Path]:
    """Check that ``out`` is an incomplete run of the same recipe; it is this process's until then.

    Raises:
        InputError: it is not, or another process trains it.
    """
    if out is None:
        raise InputError("resuming needs the folder of the run")
    if read_recipe(out) != as_read_back(recipe):
        raise InputError(f"{out / RECIPE}: differs from the recipe given; start a new run with it")
    with alone(out):
        if (out / COMPLETE).exists():
            raise InputError(f"{out}: this run is complete, there is nothing to resume")
        # Of files that were being written when the run was killed.
        remove_leftovers(out)
        yield out


@contextmanager
def alone(run: Path) -> Iterator[None]:
    """Keep other processes from training a run until the end of the block or of this process.

    Raises:
        InputError: one of them does already.
    """
    with written(run):
        lock = os.open(run, os.O_RDONLY)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"{run}: another process is training this run; wait for it, or stop it"
            ) from None
        except OSError:
            pass  # a file system without locks
        yield
    finally:
        os.close(lock)


def read_recipe(run: Path) -> Recipe:
    """The recipe that a run folder was started with.

    Raises:
        InputError: not a run folder, or the recipe is no longer that one.
    """
    file = run / RECIPE
    if not file.is_file():
        raise InputError(f"{run}: not a run folder (no {RECIPE})")
    table = read_json(file)
    seal = table.pop(SEAL, None)
    if seal is not None and seal != _recipe_digest(table):
        raise InputError(
            f"{file}: changed since the run began (its hash differs); put the old one back, or "
            "start a new run with it"
        )
    return recipe_from_dict(table, str(file))


def digest_of_recipe(run: Path) -> str | None:
    """Hash of the recipe in a run folder, None where there is none."""
    if not (run / RECIPE).is_file():
        return None
    table = read_json(run / RECIPE)
    return _recipe_digest({key: value for key, value in table.items() if key != SEAL})


def _recipe_digest(table: dict[str, Any]) -> str:
    """Hash of a recipe, wherever its data lie: these are known by a hash of their own.

    So a run whose data have moved can go on when its recipe says where they are now.
    """
    data = table.get("data")
    if isinstance(data, dict) and data.get("sha256"):
        table = {**table, "data": {**data, "path": ""}}
    return digest_of(table)


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
        InputError: not a run, one that did not finish, or a damaged one.
    """
    path = as_path(path, "read_run")
    if path.is_file():
        within = (path.parent / RECIPE).is_file()
        raise InputError(
            f"{path}: a file, where the folder of a run, a .nir or a .net file is expected",
            fix=f"name the run, {path.parent}" if within else None,
        )
    if not path.is_dir():
        raise InputError(f"{path}: no such run")
    if not (path / COMPLETE).is_file():
        if (path / RECIPE).is_file():
            raise InputError(
                f"{path}: training did not finish",
                fix=Text("continue it with ", Step("resume_run", str(path))),
            )
        raise InputError(f"{path}: not a training run (no {COMPLETE})")
    run = read_json(path / COMPLETE)
    if not is_intact(run) and (SEAL in run or run.get("format") == RUN_FORMAT):
        raise InputError(
            f"{path / COMPLETE}: changed since the training (its hash differs); train again, or "
            f"name {NIR_FILE} itself"
        )
    for name, kind in {"recipe": dict, "sha256": dict, "created": str}.items():
        if not isinstance(run.get(name, kind()), kind):
            raise InputError(f"{path / COMPLETE}: damaged: {name} has no meaning; train again")
    return run


def read_training(path: Path) -> TrainingRecord:
    """What a finished run tells about itself, for its deployments to keep: ``run.json``, epochs.

    Raises:
        InputError: as ``read_run``, or its metrics are damaged.
    """
    run = read_run(path)
    kept = ("recipe", "test_accuracy", "validation_accuracy", "best_epoch", "epochs", "seconds")
    metrics = path / METRICS
    hashes = run.get("sha256", {})
    if METRICS in hashes and not (metrics.is_file() and sha256(metrics) == hashes[METRICS]):
        raise InputError(f"{metrics}: missing or changed since the training; train again")
    history = read_json_lines(metrics) if metrics.is_file() else []
    for number, epoch in enumerate(history, 1):
        build(EpochMetrics, epoch, f"{metrics}, line {number}")
    try:
        table = {**{name: run[name] for name in kept}, "history": history}
        # Not in runs of older versions.
        table |= {name: run[name] for name in ("predictions", "warnings") if name in run}
    except KeyError as error:
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
