"""The folder of a run: made new, or opened again to go on."""

from __future__ import annotations

import json
import re
from pathlib import Path

from neurodeploy.artifacts.names import COMPLETE, RECIPE, RUNS
from neurodeploy.errors import InputError, Step, Text
from neurodeploy.recipe import Recipe, recipe_from_dict
from neurodeploy.support.files import check_new_folder, next_free, read_json, write_json


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
