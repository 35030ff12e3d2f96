"""Runs that a bench or a sweep trains: where they go, and those that an earlier one has left."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from neurodeploy.artifacts.epochs import EpochMetrics
from neurodeploy.artifacts.names import COMPLETE, RECIPE
from neurodeploy.errors import InputError, InterruptionError, Setting, Text
from neurodeploy.farm import Place
from neurodeploy.recipe import Recipe
from neurodeploy.support.partial import temporary_folder


def with_data_at(recipe: Recipe, place: Path | None) -> Recipe:
    """The recipe on the data at a place that a user names, whatever it was trained on before."""
    if place is None:
        return recipe
    return replace(recipe, data=replace(recipe.data, path=str(place.absolute()), sha256=""))


def check_kept(place: Place | None, keep: Path | None) -> None:
    """Refuse workers elsewhere without a folder that they may share.

    Raises:
        InputError: saying so.
    """
    if place is not None and not place.here and keep is None:
        raise InputError(
            Text(
                Setting("scheduler", str(place.scheduler)),
                ": its workers need a folder that all machines share; name one with ",
                Setting("keep"),
            )
        )


@contextmanager
def folder_for_runs(keep: Path | None) -> Iterator[Path]:
    """Where runs go: a folder of the user's, or one that is gone afterwards.

    Raises:
        InterruptionError: of one that is gone, saying that runs may be kept.
    """
    if keep is not None:
        yield keep
        return
    with temporary_folder() as folder:
        try:
            yield folder
        except InterruptionError:
            raise InterruptionError(
                "interrupted",
                fix=Text(
                    "with ",
                    Setting("keep", "FOLDER"),
                    " the runs stay, and the same command continues",
                ),
            ) from None


def trained(
    recipe: Recipe,
    run: Path,
    progress: bool,
    *,
    device: str | None = None,
    after_epoch: Callable[[EpochMetrics], None] | None = None,
    track: Sequence[str] = (),
) -> Path:
    """The run of a recipe in this folder: the one that is there, gone on with, or a new one.

    Args:
        device, after_epoch, track: as for ``training.run.train``.

    Raises:
        InputError: a run of another recipe is there.
    """
    from neurodeploy.training.run import is_run_of, train

    if not (run / COMPLETE).is_file():
        given: dict[str, Any] = {
            "device": device,
            "progress": progress,
            "after_epoch": after_epoch,
            "track": track,
        }
        return train(recipe, run, resume=(run / RECIPE).is_file(), **given).path
    if not is_run_of(recipe, run):
        raise InputError(
            f"{run}: a run of another recipe, of other data or with other options",
            fix=Text("name another folder with ", Setting("keep")),
        )
    return run
