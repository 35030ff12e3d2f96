"""``neurodeploy sweep``."""

from __future__ import annotations

from pathlib import Path

import click

from neurodeploy.cli.options import COUNT, PATH, recipe_data_option, track_option, worker_options
from neurodeploy.cli.output import json_option, print_json, say, show_progress
from neurodeploy.cli.values import DEVICE, RECIPE
from neurodeploy.errors import InputError


@click.command()
@click.argument("recipe", type=RECIPE)
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=A,B,...",
    help="A recipe key and the values to try, combined with those of other keys; with --trials "
    "also a range, KEY=LOW..HIGH, or LOW..HIGH@log. A single value holds for all runs.",
)
@click.option("--seeds", type=COUNT, default=1, show_default=True, help="Runs of each combination.")
@click.option(
    "--trials",
    type=COUNT,
    help="Search instead of trying all combinations: N runs, chosen by Optuna.",
)
@recipe_data_option
@click.option("--device", type=DEVICE, help="Where to train, e.g. cuda.  [default: cpu]")
@click.option(
    "--out",
    type=PATH,
    metavar="FOLDER",
    help="Folder for the runs; those that are there already are not repeated.  [default: "
    "sweeps/RECIPE]",
)
@track_option
@worker_options
@json_option
def sweep(
    recipe: str,
    overrides: tuple[str, ...],
    seeds: int,
    trials: int | None,
    data: Path | None,
    device: str | None,
    out: Path | None,
    track: tuple[str, ...],
    workers: int | None,
    scheduler: str | None,
    as_json: bool,
) -> None:
    """Train a recipe with many settings.

    RECIPE is a name from `neurodeploy models` or a TOML file. All runs stay in a folder. After an
    interruption the same command continues, also within the run that was interrupted; with more
    values or trials it trains only the new ones. With --trials a run is stopped early when its
    validation score falls below the median of the others at the same epoch.
    """
    from neurodeploy.artifacts.names import SWEEP_PICTURE, SWEEPS
    from neurodeploy.support.figures import ornament, write_picture
    from neurodeploy.workflow.sweep.grid import sweep as over_grid
    from neurodeploy.workflow.sweep.search import search
    from neurodeploy.workflow.sweep.summary import draw, summarized, table

    if trials is not None and seeds > 1:
        raise InputError("--seeds goes with a grid; a search with --trials has one run of each")
    folder = out or SWEEPS / Path(recipe).stem
    options = {
        "data": data,
        "device": device,
        "workers": workers,
        "scheduler": scheduler,
        "progress": show_progress(),
        "track": track,
    }
    found = (
        over_grid(recipe, overrides, folder, seeds=seeds, **options)
        if trials is None
        else search(recipe, overrides, folder, trials, **options)
    )
    rows = []
    for row in found:
        rows.append(row)
        settings = ", ".join(f"{key}={value}" for key, value in row.settings.items())
        if row.smape is not None:
            score = f"sMAPE {row.smape:.3f}"
        else:
            score = row.ended if row.accuracy is None else f"accuracy {row.accuracy:.2%}"
        say(as_json, f"{settings or 'as it is'}, seed {row.seed}: {score}")
    summary = summarized(rows)
    picture = folder / SWEEP_PICTURE
    if any(row.score is not None for row in rows):
        with ornament(picture):
            write_picture(draw(f"sweep of {recipe}", rows, searched=trials is not None), picture)
    if as_json:
        print_json(
            {
                "folder": str(folder),
                "rows": [row.as_dict() for row in rows],
                "summary": [one.as_dict() for one in summary],
                "picture": str(picture) if picture.exists() else None,
            }
        )
        return
    click.echo(table(summary))
    made = f", with the picture in {picture.name}" if picture.exists() else ""
    click.echo(f"Wrote {folder}{made}")
