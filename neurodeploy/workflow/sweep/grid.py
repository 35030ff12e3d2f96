"""A recipe trained with every combination of values, by several seeds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from neurodeploy.errors import InputError, InterruptionError, Setting, Text
from neurodeploy.farm import Calls, Farm, Place, plan
from neurodeploy.support.files import check_writable, make_folder
from neurodeploy.workflow.sweep.keys import grid_of, keys_of
from neurodeploy.workflow.sweep.point import RECORDS, RUNS, Point, Points, SweepRow, train_point

MOST_RUNS = 10_000


def sweep(
    recipe: str,
    overrides: Sequence[str],
    out: Path,
    *,
    seeds: int = 1,
    data: Path | None = None,
    device: str | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    progress: bool = False,
    track: Sequence[str] = (),
) -> Iterator[SweepRow]:
    """Train each combination with each seed; yields the row of each as soon as it is there.

    Args:
        recipe: a name, or the path of a TOML.
        overrides: ``KEY=A,B,...`` lists values to combine; others hold for all runs.
        out: the folder. What it has is not trained again, and what it has begun is gone on with.
        seeds: runs of each combination, from the recipe's own seed upwards.
        data: where the data set lies; None for where the recipe says.
        device: as torch names it.
        workers: processes of this machine that train at the same time.
        scheduler: address of a Dask scheduler whose workers train; they share ``out``.
        progress: show bars on stderr where that is a terminal, with one run at a time.
        track: services to tell of the epochs of each run, as for ``training.run.train``.

    Raises:
        InputError: a key or value that the recipe does not take, or a run of the folder that was
            changed; nothing was trained.
        InterruptionError: Ctrl-C; the same call goes on.
    """
    keys, others = keys_of(overrides)
    if seeds < 1:
        raise InputError(Text(Setting("seeds", str(seeds)), ": needs at least 1"))
    if seeds > 1 and any(key.key == "seed" for key in keys):
        raise InputError(Text("give either ", Setting("seeds"), " or values of the key seed"))
    place = plan(workers, scheduler)
    check_writable(out / RECORDS)
    made = Points(recipe, others, data, out, device, track)
    combinations = list(grid_of(keys))
    if len(combinations) * seeds > MOST_RUNS:
        raise InputError(
            f"a sweep of {len(combinations) * seeds:,} runs; at most {MOST_RUNS:,}",
            fix=Text("list fewer values, or search with ", Setting("trials", "100")),
        )
    first = made.base.seed
    points = [
        made.point(settings, seed, progress and place is None)
        for settings in combinations
        for seed in range(first, first + seeds)
    ]
    known = {point.name: row for point in points if (row := point.known()) is not None}
    yield from (known[point.name] for point in points if point.name in known)
    pending = [point for point in points if point.name not in known]
    if not pending:
        return
    for folder in (RECORDS, RUNS):
        make_folder(out / folder)
    done = len(known)
    try:
        for row in _trained(pending, place, out):
            done += 1
            yield row
    except (KeyboardInterrupt, InterruptionError):
        raise InterruptionError(
            f"interrupted; {done} of {len(points)} runs are in {out}",
            fix="the same command continues",
        ) from None


def _trained(points: Sequence[Point], place: Place | None, out: Path) -> Iterator[SweepRow]:
    """The rows of points, one after another or side by side."""
    if place is None:
        yield from map(train_point, points)
        return
    # Workers elsewhere have a working directory of their own.
    points = [replace(point, folder=out.absolute()) for point in points]
    with Farm(place, Calls(train_point), len(points)) as farm:
        farm.check_sees(str(out.absolute()), "out")
        for number, row in farm.answers(points, lambda number: points[number].title):
            yield replace(row, run=str(out / RUNS / points[number].name))
