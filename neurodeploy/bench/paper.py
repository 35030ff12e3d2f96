"""Accuracy, memory and time of the rules over T and tau, as Meng et al. 2023 compare theirs.

Every combination of recipe, rule, T, tau and seed is a training run in a process of its own; what
an iteration of it takes is measured in another one, which allocates exactly. Both stay in a folder,
so that a comparison that was interrupted, or gets one more rule, goes on where it was.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from neurodeploy.artifacts.folders import as_read_back
from neurodeploy.bench import paper_run
from neurodeploy.bench.configuration import METHODS, YARDSTICK, rule_options
from neurodeploy.bench.side_by_side import Task, on_workers, side_by_side
from neurodeploy.errors import InputError, InterruptionError, Setting, Text, UnsupportedError
from neurodeploy.farm import plan
from neurodeploy.recipe import Recipe, load_recipe, recipe_from_dict
from neurodeploy.rules import RULES
from neurodeploy.support.file_names import file_name
from neurodeploy.support.files import check_writable, make_folder, write_json
from neurodeploy.support.reading import read_json
from neurodeploy.training.assembly import load_data
from neurodeploy.training.run import with_data_as_found
from neurodeploy.workflow.task import check_tells_classes

RUN = "neurodeploy.bench.paper_run"
RUNS, RECORDS = "runs", "measured"
"""Folders in that of a comparison: its training runs, and what was measured of each."""


@dataclass(frozen=True)
class PaperRow:
    """One training run and what it took.

    Attributes:
        recipe: its name.
        rule: as it was asked for, a key of ``METHODS`` or of ``RULES``, or ``sltt-2`` and so on.
        T: steps per sample.
        tau: membrane time constant in steps; None as the recipe has it, where that is no number.
        seed: of every draw.
        accuracy, validation_accuracy: of the best epoch's weights, 0 to 1; None without a result.
        memory_mb: peak in MiB of an iteration of all T steps, beside weights, optimiser and data.
        seconds: median time of an epoch, with its validation.
        epochs, batch: of the training.
        device: where it was.
        refused: why the rule cannot train this network, or how the training diverged; empty for a
            result.
    """

    recipe: str
    rule: str
    T: int
    tau: float | None
    seed: int
    accuracy: float | None
    validation_accuracy: float | None
    memory_mb: float | None
    seconds: float | None
    epochs: int
    batch: int
    device: str
    refused: str = ""


@dataclass(frozen=True)
class Combination:
    """What is trained: a recipe with everything set."""

    recipe: Recipe
    rule: str
    T: int
    tau: float | None
    device: str

    @property
    def name(self) -> str:
        """Of its folder and record."""
        tau = "" if self.tau is None else f"-tau{self.tau:g}"
        return file_name(f"{self.recipe.name}-{self.rule}-T{self.T}{tau}-seed{self.recipe.seed}")

    def row(self, found: dict[str, Any], refused: str = "") -> PaperRow:
        """Its row with what was found."""
        training = self.recipe.training
        return PaperRow(
            recipe=self.recipe.name,
            rule=self.rule,
            T=self.T,
            tau=self.tau,
            seed=self.recipe.seed,
            accuracy=found.get("accuracy"),
            validation_accuracy=found.get("validation_accuracy"),
            memory_mb=found.get("memory_mb"),
            seconds=found.get("seconds"),
            epochs=training.epochs,
            batch=training.batch_size,
            device=self.device,
            refused=found.get("diverged", refused),
        )


def combinations(
    recipe: Recipe,
    rules: Sequence[str],
    steps: Sequence[int] = (),
    taus: Sequence[float] = (),
    seeds: int = 3,
    device: str = "cpu",
) -> list[Combination]:
    """A recipe by every rule at every T and tau, with seeds from the recipe's own upwards.

    Where steps have a duration (``bins = "dt"``), another T is another duration: T dt, the time
    that a sample may last, stays as it is. Without T or tau, they are the recipe's. Its
    ``loss_over`` becomes ``steps``, which every rule learns from.

    Raises:
        InputError: an unknown rule, or a value that the recipe does not take.
    """
    if seeds < 1:
        raise InputError(Text(Setting("seeds", str(seeds)), ": needs at least 1"))
    if recipe.quantize.bits:
        raise InputError(
            f"recipe {recipe.name} trains on integers, whose memory is not measured here",
            fix=Text("compare rules with ", Setting("quantize.bits", "0")),
        )
    tables = {rule: rule_named(rule) for rule in rules}
    own = recipe.neuron.tau if isinstance(recipe.neuron.tau, float) else None
    found = []
    for T, tau, rule in itertools.product(
        steps or (recipe.training.steps,), taus or (own,), tables
    ):
        variant = _with_steps(recipe, T)
        variant = replace(variant, training=replace(variant.training, loss_over="steps"))
        try:
            neuron = variant.neuron if tau is None else replace(variant.neuron, tau=float(tau))
        except ValueError as error:
            raise InputError(Text(Setting("tau", f"{tau:g}"), f": {error}")) from None
        for seed in range(recipe.seed, recipe.seed + seeds):
            trained = replace(variant, neuron=neuron, rule=tables[rule], seed=seed)
            found.append(Combination(trained, rule, T, tau, device))
    return found


def rule_named(name: str) -> dict[str, Any]:
    """The ``[rule]`` table of a rule as ``bench train`` or a recipe names it.

    Raises:
        InputError: there is none of that name.
    """
    if name in RULES:
        return {"name": name}
    if name != YARDSTICK and (name in METHODS or re.fullmatch(r"sltt-[1-9]\d*", name)):
        return rule_options(name)
    known = ", ".join(dict.fromkeys([*RULES, *(m for m in METHODS if m != YARDSTICK)]))
    raise InputError(
        Text(Setting("rules"), f": {name!r} is not one of {known}, nor sltt-K as in sltt-1")
    )


def recipes_named(
    names: Sequence[str], data: Sequence[str], overrides: Sequence[str], epochs: int | None
) -> list[Recipe]:
    """The recipes to compare on, each with its place of data.

    Args:
        names: built-in ones or paths.
        data: ``PLACE`` for all of them, or ``RECIPE=PLACE``.
        overrides: ``key=value``, for all of them.
        epochs: of each training; the recipe's own when None.

    Raises:
        InputError: no such recipe, or a key or value that it does not take.
    """
    places: dict[str, str] = {}
    for given in data:
        name, equals, place = given.partition("=")
        places |= {name: place} if equals and name in names else dict.fromkeys(names, given)
    found = []
    for name in dict.fromkeys(names):
        own = []
        if name in places:
            own.append(f"data.path={json.dumps(str(Path(places[name]).absolute()))}")
        if epochs is not None:
            own.append(f"training.epochs={epochs}")
        found.append(load_recipe(name, [*own, *overrides]))
    return found


def _with_steps(recipe: Recipe, T: int) -> Recipe:
    if recipe.training.steps == T:
        return recipe
    data = recipe.data
    if data.bins == "dt":
        if data.dt is None:
            raise InputError(
                f"recipe {recipe.name}: another T is another duration of its steps, which it does "
                "not state",
                fix=Text("give it with ", Setting("data.dt", "1e-3")),
            )
        data = replace(data, dt=round(data.dt * recipe.training.steps / T, 12))
    try:
        return replace(recipe, data=data, training=replace(recipe.training, steps=T))
    except ValueError as error:
        raise InputError(Text(Setting("steps", str(T)), f": {error}")) from None


def bench_paper(
    chosen: Sequence[Combination],
    out: Path,
    processes: int = 1,
    *,
    workers: int | None = None,
    scheduler: str | None = None,
) -> Iterator[PaperRow]:
    """Measure the combinations; yields the row of each as soon as it is there.

    Args:
        chosen: what to measure. What the folder has of it is not measured again.
        out: the folder, made where it is not there.
        processes: how many run at a time; more than one makes times longer.
        workers: the same, where one that is killed is tried again.
        scheduler: address of a Dask scheduler whose workers measure; they share ``out``.

    Raises:
        InputError: a combination cannot be trained, or the folder has it with other options;
            nothing was measured.
        InterruptionError: Ctrl-C; what was measured is in the folder.
        SimulationError: a measurement failed.
    """
    if processes < 1:
        raise InputError(Text(Setting("processes", str(processes)), ": needs at least 1"))
    if processes > 1 and (workers or scheduler):
        raise InputError(Text("give either ", Setting("processes"), " or ", Setting("workers")))
    place = plan(workers, scheduler)
    check_writable(out / RECORDS)
    pending: list[Combination] = []
    for combination, refused in _checked(chosen):
        known = _known(out, combination)
        if refused:
            yield combination.row({}, refused)
        elif known is not None:
            yield combination.row(known)
        else:
            pending.append(combination)
    if not pending:
        return
    make_folder(out / RECORDS)
    # Memory depends neither on the seed nor on tau.
    alike = {_memory_key(combination): combination for combination in reversed(pending)}
    tasks = [_task("memory", one, "") for one in alike.values()]
    # Workers elsewhere have a working directory of their own.
    base = out if place is None else out.absolute()
    tasks += [_task("train", one, str(base / RUNS / one.name)) for one in pending]
    peaks: dict[tuple[Any, ...], float] = {}
    trained: dict[int, dict[str, Any]] = {}
    try:
        found = (
            side_by_side(tasks, processes)
            if place is None
            else on_workers(place, tasks, out.absolute())
        )
        for number, answer in found:
            if number < len(alike):
                peaks[[*alike][number]] = answer["peak_mb_above_model"]
            else:
                trained[number - len(alike)] = answer
            for done in [n for n in trained if _memory_key(pending[n]) in peaks]:
                combination = pending[done]
                memory = {"memory_mb": peaks[_memory_key(combination)]}
                yield _recorded(out, combination, {**trained.pop(done), **memory})
    except KeyboardInterrupt:
        raise InterruptionError(
            f"interrupted; what was measured is in {out}", fix="the same command continues"
        ) from None


def _checked(chosen: Sequence[Combination]) -> Iterator[tuple[Combination, str]]:
    """The combinations on their data as found, each with why its rule refuses it, or nothing.

    Raises:
        InputError: one cannot be trained.
        UnsupportedError: one predicts values, which have no accuracy.
    """
    found: dict[str, Any] = {}
    why: dict[tuple[Any, ...], str] = {}
    checked = []
    for combination in chosen:
        check_tells_classes(combination.recipe, "bench paper")
        data = repr((combination.recipe.data, combination.T))
        if data not in found:
            found = {data: load_data(combination.recipe)}  # one at a time in memory
        dataset = found[data]
        key = _memory_key(combination)
        if key not in why:
            try:
                paper_run.try_out(combination.recipe, dataset)
                why[key] = ""
            except UnsupportedError as error:
                why[key] = str(error)
        recipe = with_data_as_found(combination.recipe, dataset)
        checked.append((replace(combination, recipe=recipe), why[key]))
    yield from checked


def _memory_key(combination: Combination) -> tuple[Any, ...]:
    return combination.recipe.name, combination.rule, combination.T


def _task(kind: str, combination: Combination, where: str) -> Task:
    given = json.dumps([kind, combination.recipe.as_dict(), combination.device, where])
    return Task(RUN, (given,), f"{combination.name} ({kind})")


def _record(out: Path, combination: Combination) -> Path:
    return out / RECORDS / f"{combination.name}.json"


def _recorded(out: Path, combination: Combination, found: dict[str, Any]) -> PaperRow:
    table = {"recipe": combination.recipe.as_dict(), "device": combination.device, "found": found}
    write_json(_record(out, combination), table)
    return combination.row(found)


def _known(out: Path, combination: Combination) -> dict[str, Any] | None:
    """What an earlier comparison found of a combination; None if there is nothing.

    Raises:
        InputError: it was another recipe, on other data or with other options.
    """
    path = _record(out, combination)
    if not path.is_file():
        return None
    table = read_json(path)
    try:
        theirs = recipe_from_dict(table["recipe"], str(path)), table["device"]
        found = dict(table["found"])
    except (KeyError, TypeError, ValueError):
        raise InputError(f"{path}: damaged; remove it to measure again") from None
    if theirs != (as_read_back(combination.recipe), combination.device):
        raise InputError(
            f"{path}: measured for another recipe, on other data or with other options",
            fix=Text("name another folder with ", Setting("out")),
        )
    return found
