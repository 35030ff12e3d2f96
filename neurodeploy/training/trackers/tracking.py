"""The services that one training tells of its epochs, and what its run folder keeps of them."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType

from neurodeploy.artifacts.epochs import EpochMetrics
from neurodeploy.artifacts.names import TRACKERS as FILE
from neurodeploy.errors import (
    DivergedError,
    InputError,
    MissingDependencyError,
    PictureWarning,
    Setting,
    Step,
    Text,
    nearest,
)
from neurodeploy.recipe import Recipe
from neurodeploy.support.files import write_json
from neurodeploy.support.reading import read_json
from neurodeploy.support.schema import build
from neurodeploy.training.metrics import tagged
from neurodeploy.training.trackers.mlflow_runs import MLflowTracker
from neurodeploy.training.trackers.tracker import Ending, Tracker
from neurodeploy.training.trackers.wandb_runs import WandbTracker

TRACKERS: dict[str, type[Tracker]] = {"mlflow": MLflowTracker, "wandb": WandbTracker}
"""Every service by the name that it is asked for, which is that of the extra to install."""


@dataclass(frozen=True)
class Told:
    """What a service knows of a training.

    Attributes:
        run: what it knows the training by; None while it has not begun.
        epochs: how many it was told of.
    """

    run: str | None = None
    epochs: int = 0

    def __post_init__(self) -> None:
        if self.epochs < 0:
            raise ValueError(f"told of {self.epochs} epochs")


def check_trackers(names: Iterable[str]) -> dict[str, Tracker]:
    """One tracker of each name, with its package loaded and nothing begun.

    Raises:
        InputError: there is none of this name.
        MissingDependencyError: its package is not installed.
    """
    found: dict[str, Tracker] = {}
    for name in dict.fromkeys(names):
        given = Setting("track", name)
        if name not in TRACKERS:
            raise InputError(Text(given, ": no such service", nearest(name, TRACKERS)))
        try:
            found[name] = TRACKERS[name]()
        except ImportError as error:
            raise MissingDependencyError(
                Text(given, f": its package cannot be imported ({error})"),
                fix=f"install it with: pip install 'neurodeploy[{name}]'",
            ) from None
    return found


class Tracking:
    """Trackers of one training. As a context, it says at the end how that went.

    Once a service fails in mid-training, that is a ``PictureWarning`` and it is told no more: it is
    an ornament. A training that is gone on with tells it what it missed.
    """

    def __init__(self) -> None:
        self._trackers: dict[str, Tracker] = {}
        self._told: dict[str, Told] = {}
        self._run = Path()
        self._failed: set[str] = set()
        self._begun: list[str] = []
        self._summary: dict[str, float] = {}

    def check(self, names: Sequence[str], kept: Path | None) -> None:
        """Find what is to be told, before anything is trained.

        Args:
            names: of services.
            kept: folder of a run to go on with, whose services are told again.

        Raises:
            InputError, MissingDependencyError: as ``check_trackers``.
        """
        told = {} if kept is None else _read(kept / FILE)
        self._trackers = check_trackers((*told, *names))
        self._told = {name: told.get(name, Told()) for name in self._trackers}

    def begin(self, run: Path, recipe: Recipe, history: Sequence[EpochMetrics]) -> None:
        """Begin, or go on, and make up for epochs done that a service was not told of.

        Raises:
            InputError: a service does not take the training.
        """
        self._run = run
        # First, so that a training that is gone on with tells those that did not answer now.
        self._keep()
        for name, tracker in self._trackers.items():
            try:
                identity = tracker.start(run, recipe, self._told[name].run)
            except Exception as error:  # whatever its package or the network raises
                raise InputError(
                    f"{name}: {_reason(error)}",
                    fix=Text(
                        f"mend that, or remove {run / FILE} to do without, and continue with: ",
                        Step("resume_run", str(run)),
                    ),
                ) from None
            self._begun.append(name)
            self._note(name, run=identity)
            for metrics in history[self._told[name].epochs :]:
                self._log_to(name, metrics)

    def log(self, metrics: EpochMetrics) -> None:
        """Tell every service of an epoch that is on disk."""
        for name in self._begun:
            self._log_to(name, metrics)

    def summarize(self, scores: Mapping[str, object]) -> None:
        """Note the numbers among these for the end."""
        self._summary = {
            name: value for name, value in scores.items() if isinstance(value, int | float)
        }

    def __enter__(self) -> Tracking:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        ended: Ending = "stopped"
        if kind is None:
            ended = "finished"
        elif issubclass(kind, DivergedError):
            ended = "failed"
        for name in self._begun:
            with self._optional(name):
                self._trackers[name].finish(self._summary, ended)

    def _log_to(self, name: str, metrics: EpochMetrics) -> None:
        if name in self._failed:
            return
        with self._optional(name):
            self._trackers[name].log(metrics.epoch, tagged(metrics))
        if name not in self._failed:
            self._note(name, epochs=metrics.epoch)

    def _note(self, name: str, **found: str | int) -> None:
        self._told[name] = replace(self._told[name], **found)
        self._keep()

    def _keep(self) -> None:
        if self._told:
            write_json(self._run / FILE, {name: asdict(told) for name, told in self._told.items()})

    @contextmanager
    def _optional(self, name: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # whatever its package or the network raises
            if name not in self._failed:
                self._failed.add(name)
                warnings.warn(
                    f"{name}: epochs are missing there: {_reason(error)}",
                    PictureWarning,
                    stacklevel=2,
                )


def _read(file: Path) -> dict[str, Told]:
    """What services knew of a run when it was interrupted.

    Raises:
        InputError: the file is damaged.
    """
    if not file.is_file():
        return {}
    found: dict[str, Told] = {}
    for name, table in read_json(file).items():
        if name not in TRACKERS:
            raise InputError(f"{file}: {name!r}: no such service{nearest(name, TRACKERS)}")
        if not isinstance(table, dict):
            raise InputError(f"{file}: {name}: expected a table")
        found[name] = build(Told, table, f"{file}: {name}")
    return found


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
