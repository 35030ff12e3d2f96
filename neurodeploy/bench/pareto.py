"""Accuracy against energy over one key of a recipe, each point trained, exported and simulated."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from neurodeploy.artifacts.deployment import read_deployment
from neurodeploy.artifacts.folders import read_run
from neurodeploy.artifacts.names import MANIFEST
from neurodeploy.errors import InputError, Setting, Text
from neurodeploy.farm import Calls, Farm, plan
from neurodeploy.mapping.readings import error_text
from neurodeploy.recipe import Recipe, load_recipe
from neurodeploy.support.files import make_folder
from neurodeploy.target import load_target
from neurodeploy.workflow.export import export
from neurodeploy.workflow.kept_runs import check_kept, folder_for_runs, trained, with_data_at
from neurodeploy.workflow.simulate import simulate
from neurodeploy.workflow.sweep.keys import values_of
from neurodeploy.workflow.task import check_tells_classes


@dataclass(frozen=True)
class ParetoRow:
    """One value of the key.

    Attributes:
        key, value: what was set, as it was written.
        accuracy: of the deployed integers on the test set, 0 to 1.
        trained_accuracy: of the network as it was trained, likewise.
        energy_low_nj, energy_high_nj: estimated dynamic energy of a sample; None where the target
            has no figures.
        synaptic_ops: of a sample.
        synapse_words: words of synapse memory, all cores together.
        zero_weights: share of the deployed weights that are zero, 0 to 1.
        steps: T.
        ann_nj, ann_8bit_nj: the same network as an ANN, of 32-bit floats and of 8-bit integers.
        energy_error: how far off such energies were on whole networks that the chip was read on.
        best: whether no other point is as accurate with fewer synaptic operations, or as cheap with
            a higher accuracy.
    """

    key: str
    value: str
    accuracy: float
    trained_accuracy: float
    energy_low_nj: float | None
    energy_high_nj: float | None
    synaptic_ops: float
    synapse_words: int
    zero_weights: float
    steps: int
    ann_nj: float
    ann_8bit_nj: float
    energy_error: str = ""
    best: bool = False


@dataclass(frozen=True)
class Knob:
    """A key of a recipe, and the values it takes in turn."""

    key: str
    values: tuple[str, ...]

    def set_to(self, value: str) -> str:
        """As an override of a recipe."""
        return f"{self.key}={value}"


def knob_of(overrides: Sequence[str]) -> tuple[Knob, tuple[str, ...]]:
    """The one override that lists several values, and the others.

    Args:
        overrides: ``KEY=VALUE``, one of them ``KEY=A,B,...``.

    Raises:
        InputError: none lists several values, or more than one does.
    """
    listed = [(text, values) for text in overrides if len(values := values_of(text)) > 1]
    if len(listed) != 1:
        found = ", ".join(text for text, _ in listed) or "none"
        raise InputError(
            Text(
                "one ",
                Setting("overrides", "KEY=A,B,..."),
                f" lists the values to compare, found {found}; for example "
                "regularisers.synaptic_operations.weight=0,0.3,1",
            )
        )
    ((text, values),) = listed
    return Knob(text.partition("=")[0], values), tuple(t for t in overrides if t != text)


def bench_pareto(
    recipe: str,
    overrides: Sequence[str],
    *,
    target: str = "loihi2",
    data: Path | None = None,
    keep: Path | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    progress: bool = False,
) -> Iterator[ParetoRow]:
    """Train, export and simulate a recipe for each value; yields each as soon as it is there.

    Every simulation is of the whole test set, on the reference engine.

    Args:
        recipe: a name, or the path of a TOML.
        overrides: one lists the values, see ``knob_of``; the others hold for all points.
        target: a name, or the path of a TOML.
        data: where the data set lies; None for where the recipe says.
        keep: folder that runs and deployments are left in. Runs that are there are taken, or
            finished where they were interrupted.
        workers: processes of this machine that take points at the same time.
        scheduler: address of a Dask scheduler whose workers take them; they share ``keep``.
        progress: show bars on stderr where that is a terminal, with one point at a time.

    Raises:
        InputError: no knob, or a kept run of another recipe.
        UnsupportedError: a recipe that does not tell classes apart.
        CheckFailedError: a network does not fit the target.
    """
    knob, others = knob_of(overrides)
    load_target(target)
    # All of them before the first is trained.
    recipes = {value: _recipe(recipe, (*others, knob.set_to(value)), data) for value in knob.values}
    place = plan(workers, scheduler)
    check_kept(place, keep)
    with folder_for_runs(keep) as folder:
        # Workers elsewhere have a working directory of their own.
        base = folder if place is None else folder.absolute()
        points = [
            _Point(knob, value, chosen, base / f"{number:02}", target)
            for number, (value, chosen) in enumerate(recipes.items(), start=1)
        ]
        if place is None:
            for point in points:
                yield _measured(replace(point, progress=progress))
            return
        make_folder(folder)
        with Farm(place, Calls(_measured), len(points)) as farm:
            farm.check_sees(str(folder.absolute()), "keep")
            yield from farm.in_order(
                points, lambda number: f"{knob.key}={points[number].value}", lambda row: None
            )


def _recipe(name: str, overrides: Sequence[str], data: Path | None) -> Recipe:
    recipe = load_recipe(name, overrides)
    check_tells_classes(recipe, "bench pareto")
    return with_data_at(recipe, data)


@dataclass(frozen=True)
class _Point:
    """What is trained, exported and simulated for one value."""

    knob: Knob
    value: str
    recipe: Recipe
    folder: Path
    target: str
    progress: bool = False


def _measured(point: _Point) -> ParetoRow:
    knob, recipe = point.knob, point.recipe
    run = trained(recipe, point.folder / "run", point.progress)
    deployed = point.folder / "deployed"
    if not (deployed / MANIFEST).is_file():
        export(run, point.target, deployed)
    deployment = read_deployment(deployed)
    found = simulate(deployment, engine_name="reference", progress=False)
    if found.accuracy is None:
        raise InputError(f"recipe {recipe.name} does not classify, so it has no accuracy")
    cost, weights = found.estimate, [p.operator.weights for p in deployment.network.projections]
    energy = None if cost.energy is None else cost.energy.total
    return ParetoRow(
        key=knob.key,
        value=point.value,
        accuracy=found.accuracy,
        trained_accuracy=read_run(run)["test_accuracy"],
        energy_low_nj=energy and energy.low,
        energy_high_nj=energy and energy.high,
        synaptic_ops=cost.synaptic_ops,
        synapse_words=sum(use.synapse_words for use in deployment.mapping.uses),
        zero_weights=float(np.mean(np.concatenate([w.ravel() for w in weights]) == 0)),
        steps=found.steps,
        ann_nj=cost.ann_nj,
        ann_8bit_nj=cost.ann_8bit_nj,
        energy_error="" if energy is None else error_text(cost.checks, "energy"),
    )


def with_best(rows: Sequence[ParetoRow]) -> list[ParetoRow]:
    """The rows, those marked that no other one beats."""

    def beats(one: ParetoRow, other: ParetoRow) -> bool:
        better = one.accuracy >= other.accuracy and one.synaptic_ops <= other.synaptic_ops
        return better and (one.accuracy, one.synaptic_ops) != (other.accuracy, other.synaptic_ops)

    return [replace(row, best=not any(beats(other, row) for other in rows)) for row in rows]
