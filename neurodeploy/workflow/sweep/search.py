"""A search by Optuna: settings chosen from what earlier ones came to, bad runs given up early."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurodeploy.artifacts.epochs import EpochMetrics
from neurodeploy.artifacts.folders import as_read_back
from neurodeploy.errors import (
    DivergedError,
    InputError,
    InterruptionError,
    MissingDependencyError,
    Setting,
    Text,
)
from neurodeploy.farm import Calls, Farm, Place, plan
from neurodeploy.support.files import check_writable, make_folder
from neurodeploy.workflow.kept_runs import trained
from neurodeploy.workflow.sweep.keys import Key, Range, keys_of
from neurodeploy.workflow.sweep.point import RECORDS, RUNS, Point, Points, SweepRow, found_in

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.study import Study

JOURNAL = "search.journal"
"""What Optuna keeps of the trials, in the folder of a sweep."""

STUDY = "search"
INSTALL_COMMAND = "pip install 'neurodeploy[optuna]'"
MOST_TRIALS = 100_000

UNPRUNED = 4
"""Trials of which none is given up: there is nothing to compare them with."""


class _GivenUpError(Exception):
    """The search wants no more of a run."""


@dataclass(frozen=True, eq=False)
class _Trial:
    """A point that the search has chosen.

    Attributes:
        number: Optuna's, counted from 0.
        identity: by which its storage knows it.
    """

    point: Point
    number: int
    identity: int


def search(
    recipe: str,
    overrides: Sequence[str],
    out: Path,
    trials: int,
    *,
    data: Path | None = None,
    device: str | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    progress: bool = False,
    track: Sequence[str] = (),
) -> Iterator[SweepRow]:
    """Train as many runs as asked for, each with settings that promise most; yields their rows.

    The validation score decides: accuracy, or of values their error. After each epoch a run whose
    score is below the median of the earlier ones at that epoch is given up.

    Args:
        recipe, out, data, device, workers, scheduler, progress, track: as for ``grid.sweep``.
        overrides: as there; ``KEY=LOW..HIGH`` is a range, with ``@log`` behind it of logarithms.
        trials: runs in all, with those that the folder has already.

    Raises:
        InputError: as ``grid.sweep``, or the folder has a search of something else.
        MissingDependencyError: Optuna, or the package of a service, is not installed.
        InterruptionError: Ctrl-C; the same call goes on.
    """
    keys, others = keys_of(overrides)
    if not keys:
        raise InputError(
            Text("a search needs keys to vary, as ", Setting("overrides", "neuron.tau=1.5..4"))
        )
    if not 1 <= trials <= MOST_TRIALS:
        raise InputError(
            Text(Setting("trials", str(trials)), f": needs a number from 1 to {MOST_TRIALS:,}")
        )
    place = plan(workers, scheduler)
    require_optuna()
    check_writable(out / RECORDS)
    made = Points(recipe, others, data, out.absolute(), device, track)
    for settings in ends_of(keys):
        made.point(settings, made.base.seed)  # refused before anything is trained
    for folder in (RECORDS, RUNS):
        make_folder(out / folder)
    with _quiet():
        study = _study(out, made, keys)
        asked = _Asked(study, made, keys, trials, progress and place is None)
        rows = [asked.row(number) for number in asked.finished]
    yield from (_named_in(row, out) for row in rows)
    try:
        for trial, row in _trained(asked, place, out):
            with _quiet():
                _tell(study, trial.number, row)
            yield _named_in(row, out)
    except (KeyboardInterrupt, InterruptionError):
        raise InterruptionError(
            f"interrupted; {len(asked.finished)} of {trials} runs are in {out}",
            fix="the same command continues",
        ) from None


def require_optuna() -> None:
    """Refuse where Optuna is not installed.

    Raises:
        MissingDependencyError: with the command that installs it.
    """
    try:
        import optuna
    except ImportError:
        raise MissingDependencyError(
            Text(Setting("trials"), f" needs Optuna: {INSTALL_COMMAND}")
        ) from None
    _ = optuna


def ends_of(keys: Sequence[Key]) -> Iterator[dict[str, str]]:
    """Settings in which every value and end of a range occurs once at least."""
    columns = [
        [_number(key, key.low), _number(key, key.high)] if isinstance(key, Range) else key.values
        for key in keys
    ]
    for row in range(max(len(column) for column in columns)):
        chosen = [column[min(row, len(column) - 1)] for column in columns]
        yield dict(zip([key.key for key in keys], chosen, strict=True))


def _number(key: Range, value: float) -> str:
    """A number as a recipe is given it: four digits tell enough, and can be read."""
    if key.whole:
        return str(int(value))
    return f"{min(max(float(f'{value:.4g}'), key.low), key.high):g}"


def _distribution(key: Key) -> BaseDistribution:
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    if not isinstance(key, Range):
        return CategoricalDistribution(key.values)
    if key.whole:
        return IntDistribution(int(key.low), int(key.high), log=key.log)
    return FloatDistribution(key.low, key.high, log=key.log)


def _storage(out: Path) -> Any:
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    return JournalStorage(JournalFileBackend(str(out / JOURNAL)))


def _study(out: Path, made: Points, keys: Sequence[Key]) -> Study:
    """The search of the folder, a new one or that of an earlier call.

    Raises:
        InputError: it is of another recipe or other keys.
    """
    import optuna

    storage = _storage(out)
    values = made.point(next(iter(ends_of(keys))), made.base.seed).recipe
    what = json.dumps(
        {
            "recipe": as_read_back(made.base).as_dict(),
            "data": values.data.sha256,
            "keys": [repr(key) for key in keys],
        },
        sort_keys=True,
    )
    study = optuna.create_study(
        storage=storage, study_name=STUDY, direction="maximize", load_if_exists=True
    )
    if study.user_attrs.setdefault("what", what) != what:
        raise InputError(
            f"{out / JOURNAL}: a search of another recipe, on other data or over other keys",
            fix=Text("name another folder with ", Setting("out")),
        )
    study.set_user_attr("what", what)
    begun = len(study.get_trials(deepcopy=False))
    # Seeded anew at each call, and never so that it draws what it drew before.
    study.sampler = optuna.samplers.TPESampler(seed=made.base.seed + begun)
    return study


class _Asked:
    """The trials of a search: those there are, those begun and left, and new ones.

    Attributes:
        finished: numbers of those that are over.
    """

    def __init__(
        self, study: Study, made: Points, keys: Sequence[Key], trials: int, progress: bool
    ) -> None:
        self._study, self._made, self._keys = study, made, keys
        self._trials, self._progress = trials, progress
        found = study.get_trials(deepcopy=False)
        self.finished = [trial.number for trial in found if trial.state.is_finished()]
        self._begun = [trial for trial in found if not trial.state.is_finished()]

    def coming(self) -> Iterator[_Trial]:
        """What is to be trained, each chosen when it is asked for."""
        for trial in self._begun:
            yield self._made_of(trial.params, trial.number, trial._trial_id)
        known = len(self.finished) + len(self._begun)
        for _ in range(known, self._trials):
            with _quiet():
                trial = self._study.ask({key.key: _distribution(key) for key in self._keys})
            yield self._made_of(trial.params, trial.number, trial._trial_id)

    def row(self, number: int) -> SweepRow:
        """The row of a trial that is over."""
        trial = self._study.get_trials(deepcopy=False)[number]
        point = self._made_of(trial.params, number, trial._trial_id).point
        row = point.known()
        if row is None:
            raise InputError(f"{point.record}: missing, of trial {number} of {JOURNAL}")
        return row

    def _made_of(self, params: dict[str, Any], number: int, identity: int) -> _Trial:
        chosen = {
            key.key: _number(key, params[key.key]) if isinstance(key, Range) else params[key.key]
            for key in self._keys
        }
        point = self._made.point(chosen, self._made.base.seed, self._progress)
        return _Trial(point, number, identity)


def _trained(asked: _Asked, place: Place | None, out: Path) -> Iterator[tuple[_Trial, SweepRow]]:
    if place is None:
        for trial in asked.coming():
            row = train_trial(trial)
            asked.finished.append(trial.number)
            yield trial, row
        return
    given: list[_Trial] = []

    def noted() -> Iterator[_Trial]:
        for trial in asked.coming():
            given.append(trial)
            yield trial

    with Farm(place, Calls(train_trial)) as farm:
        farm.check_sees(str(out.absolute()), "out")
        for number, row in farm.answers(noted(), lambda number: given[number].point.title):
            asked.finished.append(given[number].number)
            yield given[number], row


def train_trial(trial: _Trial) -> SweepRow:
    """Train a point as long as it promises something; its row, which is on disk then."""
    point = trial.point
    known = point.known()
    if known is not None:
        return known
    try:
        with _quiet():
            judge = _judge(trial)
        given: dict[str, Any] = {"device": point.device, "track": point.track}
        trained(point.recipe, point.run, point.progress, after_epoch=judge, **given)
    except DivergedError as error:
        row = point.row(ended=f"diverged: {error}")
    except _GivenUpError as error:
        row = point.row(ended=str(error))
    else:
        row = point.row(**found_in(point.run))
    point.keep(row)
    return row


def _judge(trial: _Trial) -> Any:
    """What reports each epoch to Optuna and gives a run up where that advises it."""
    import optuna

    pruner = optuna.pruners.MedianPruner(n_startup_trials=UNPRUNED)
    study = optuna.load_study(storage=_storage(trial.point.folder), study_name=STUDY, pruner=pruner)
    of_optuna = optuna.trial.Trial(study, trial.identity)

    def judge(metrics: EpochMetrics) -> None:
        with _quiet():
            score = (
                -metrics.validation_smape
                if metrics.validation_smape is not None
                else metrics.validation_accuracy or 0.0
            )
            of_optuna.report(score, metrics.epoch)
            last = metrics.epoch == trial.point.recipe.training.epochs
            if not last and of_optuna.should_prune():
                raise _GivenUpError(
                    f"stopped after epoch {metrics.epoch}: {metrics.validation_text}, below the "
                    "median"
                )

    return judge


def _tell(study: Study, number: int, row: SweepRow) -> None:
    from optuna.trial import TrialState

    if row.score is not None:
        study.tell(number, row.score)
    else:
        # What diverged comes with no score of an epoch, and counts as the worst there is.
        state = TrialState.FAIL if row.ended.startswith("diverged") else TrialState.PRUNED
        study.tell(number, state=state)


@contextmanager
def _quiet() -> Iterator[None]:
    """Optuna without its log, and without words on what it may change one day."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            # Of an epoch that was reported before an interruption.
            warnings.filterwarnings("ignore", "The reported value is ignored")
            yield
    finally:
        optuna.logging.set_verbosity(before)


def _named_in(row: SweepRow, out: Path) -> SweepRow:
    """The row with its run named as the caller names the folder."""
    return replace(row, run=str(out / RUNS / Path(row.run).name))
