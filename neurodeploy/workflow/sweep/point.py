"""One run of a sweep: its recipe, its folder, and what came of it, kept as a record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from neurodeploy.artifacts.folders import as_read_back, read_training
from neurodeploy.data import Dataset
from neurodeploy.errors import DivergedError, InputError
from neurodeploy.recipe import Recipe, load_recipe, recipe_from_dict
from neurodeploy.support.file_names import file_name
from neurodeploy.support.files import write_json
from neurodeploy.support.reading import read_json
from neurodeploy.support.seals import digest_of
from neurodeploy.workflow.kept_runs import trained, with_data_at

RUNS, RECORDS = "runs", "results"
"""Folders in that of a sweep."""

DIGITS = 8
"""Of the hash in a name: two recipes with the same settings have runs of their own."""


@dataclass(frozen=True)
class SweepRow:
    """One run.

    Attributes:
        settings: key to value, as they were written.
        seed: of every draw.
        accuracy, validation_accuracy: of the best epoch's weights, 0 to 1; None where values are
            predicted, and without a result.
        smape, validation_smape: of predicted values, 0 to 200; else None.
        best_epoch, epochs: counted from 1, and how many were trained.
        seconds: of training.
        run: its folder.
        ended: why there is no result: how training diverged, or that the search gave it up.
    """

    settings: dict[str, str]
    seed: int
    accuracy: float | None = None
    validation_accuracy: float | None = None
    smape: float | None = None
    validation_smape: float | None = None
    best_epoch: int | None = None
    epochs: int | None = None
    seconds: float | None = None
    run: str = ""
    ended: str = ""

    @property
    def score(self) -> float | None:
        """On the validation samples; the higher, the better."""
        if self.validation_smape is not None:
            return -self.validation_smape
        return self.validation_accuracy

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as JSON holds them."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class Point:
    """What is to be trained.

    Attributes:
        settings: key to value, as they were written.
        recipe: with all of them, on its data as found.
        folder: of the sweep.
        device: as torch names it, None for the CPU.
        progress: show a bar on stderr where that is a terminal.
        track: services to tell of the epochs.
    """

    settings: Mapping[str, str]
    recipe: Recipe
    folder: Path
    device: str | None = None
    progress: bool = False
    track: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Of its run and record."""
        said = "-".join(f"{key}={value}" for key, value in self.settings.items())
        digest = digest_of(as_read_back(self.recipe).as_dict())[:DIGITS]
        return f"{file_name(f'{said}-seed{self.recipe.seed}')}-{digest}"

    @property
    def title(self) -> str:
        """For people to read."""
        said = ", ".join(f"{key}={value}" for key, value in self.settings.items())
        return f"{said}, seed {self.recipe.seed}" if said else f"seed {self.recipe.seed}"

    @property
    def run(self) -> Path:
        """Its run folder."""
        return self.folder / RUNS / self.name

    @property
    def record(self) -> Path:
        """What came of it."""
        return self.folder / RECORDS / f"{self.name}.json"

    def row(self, **found: Any) -> SweepRow:
        """Its row with what was found."""
        return SweepRow(dict(self.settings), self.recipe.seed, run=str(self.run), **found)

    def known(self) -> SweepRow | None:
        """What an earlier sweep found of it; None if there is nothing.

        Raises:
            InputError: the record is damaged, or of another recipe.
        """
        if not self.record.is_file():
            return None
        table = read_json(self.record)
        try:
            theirs = recipe_from_dict(table["recipe"], str(self.record))
            row = self.row(**table["found"])
        except (KeyError, TypeError, ValueError):
            raise InputError(f"{self.record}: damaged; remove it to train again") from None
        if theirs != as_read_back(self.recipe):
            raise InputError(f"{self.record}: of another recipe; remove it to train again")
        return row

    def keep(self, row: SweepRow) -> None:
        """Put what came of it on disk."""
        known = ("settings", "seed", "run")
        found = {key: value for key, value in row.as_dict().items() if key not in known}
        write_json(self.record, {"recipe": self.recipe.as_dict(), "found": found})


def train_point(point: Point) -> SweepRow:
    """Train a point, or go on where its run is; its row, which is on disk then."""
    try:
        given: dict[str, Any] = {"device": point.device, "track": point.track}
        trained(point.recipe, point.run, point.progress, **given)
    except DivergedError as error:
        row = point.row(ended=f"diverged: {error}")
    else:
        row = point.row(**found_in(point.run))
    point.keep(row)
    return row


def found_in(run: Path) -> dict[str, Any]:
    """What a finished run says, by the names of a row."""
    found = read_training(run)
    scores = found.scores
    return {
        "accuracy": found.test_accuracy,
        "validation_accuracy": found.validation_accuracy,
        "smape": scores.get("test_smape"),
        "validation_smape": scores.get("validation_smape"),
        "best_epoch": found.best_epoch,
        "epochs": found.epochs,
        "seconds": found.seconds,
    }


class Points:
    """Makes points of one recipe, each on its data as found, which are read once.

    Args:
        recipe: a name, or the path of a TOML.
        overrides: that hold for all points.
        data: where the data set lies; None for where the recipe says.
        folder: of the sweep.
        device: as torch names it.
        track: services to tell of the epochs.

    Raises:
        InputError: as ``load_recipe``, or there is no such service.
        MissingDependencyError: the package of a service is not installed.
    """

    def __init__(
        self,
        recipe: str,
        overrides: Sequence[str],
        data: Path | None,
        folder: Path,
        device: str | None = None,
        track: Sequence[str] = (),
    ) -> None:
        from neurodeploy.training.trackers.tracking import check_trackers

        self._track = tuple(check_trackers(track))
        self._recipe, self._overrides, self._data = recipe, tuple(overrides), data
        self._folder, self._device = folder, device
        self._data_sets: dict[str, Dataset] = {}
        self.base = self._loaded(())

    def _loaded(self, more: Sequence[str]) -> Recipe:
        recipe = load_recipe(self._recipe, (*self._overrides, *more))
        return with_data_at(recipe, self._data)

    def point(self, settings: Mapping[str, str], seed: int, progress: bool = False) -> Point:
        """The point with these settings.

        Raises:
            InputError: a key or value that the recipe does not take, or no such data.
        """
        from neurodeploy.training.assembly import load_data
        from neurodeploy.training.run import with_data_as_found

        given = [f"{key}={value}" for key, value in settings.items()]
        # The keys that vary may be the seed itself.
        seeds = [] if "seed" in settings else [f"seed={seed}"]
        recipe = self._loaded((*given, *seeds))
        # All that the place and the content of the data depend on.
        data = repr((recipe.data, recipe.encoder.name, recipe.training.steps))
        if data not in self._data_sets:
            self._data_sets = {data: load_data(recipe)}  # one at a time in memory
        found = with_data_as_found(recipe, self._data_sets[data])
        return Point(dict(settings), found, self._folder, self._device, progress, self._track)
