"""``neurodeploy bench paper``: the rules compared over T and tau."""

from __future__ import annotations

from pathlib import Path

import click

from neurodeploy.cli.options import COUNT, PATH, worker_options
from neurodeploy.cli.output import json_option, print_json, say
from neurodeploy.cli.values import ANY, DEVICE, RECIPE, RULE_LIST, WHOLE


@click.command("paper")
@click.argument("recipes", nargs=-1, required=True, type=RECIPE, metavar="RECIPE...")
@click.option(
    "--rules",
    type=RULE_LIST,
    default="bptt,sltt,sltt-1,ottt,rate,eprop",
    show_default=True,
    help="Rules by name; sltt-2 is sltt-k with K = 2, and so on; also rate_m and rate_s.",
)
@click.option(
    "--T", "steps", type=WHOLE, help="Time steps per sample; the recipe's when not given."
)
@click.option(
    "--tau",
    "taus",
    type=ANY,
    help="Membrane time constants in steps; the recipe's when not given.",
)
@click.option("--seeds", type=COUNT, default=3, show_default=True, help="Runs of each combination.")
@click.option("--epochs", type=COUNT, help="Epochs of each run; the recipe's when not given.")
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override a key of all recipes; repeatable.",
)
@click.option(
    "--data",
    multiple=True,
    metavar="[RECIPE=]PATH",
    help="Where the data set of all recipes is, or of one recipe; repeatable.",
)
@click.option(
    "--device", type=DEVICE, default="cpu", show_default=True, help="Where to train, e.g. cuda."
)
@click.option(
    "--processes",
    type=COUNT,
    default=1,
    show_default=True,
    help="How many runs at a time; each gets slower.",
)
@click.option(
    "--out",
    type=PATH,
    metavar="FOLDER",
    default=Path("paper"),
    show_default=True,
    help="Folder for the runs and the picture; runs that are there already are not repeated.",
)
@worker_options
@json_option
def bench_paper(
    recipes: tuple[str, ...],
    rules: str,
    steps: list[int] | None,
    taus: list[float] | None,
    seeds: int,
    epochs: int | None,
    overrides: tuple[str, ...],
    data: tuple[str, ...],
    device: str,
    processes: int,
    out: Path,
    workers: int | None,
    scheduler: str | None,
    as_json: bool,
) -> None:
    """Compare training rules over T and tau: accuracy, memory and time.

    Repeats tables 1 and 2 and figure 4 of Meng et al. 2023 with any recipes. A combination that a
    rule refuses is a row that says why. `gap closed` is how far a rule gets from sltt's accuracy to
    bptt's. Where the steps of a recipe have a duration, a larger T makes them shorter. All rules
    learn from the loss of every step (training.loss_over).
    """
    from dataclasses import asdict

    from neurodeploy.bench.paper import bench_paper as measure
    from neurodeploy.bench.paper import combinations, recipes_named
    from neurodeploy.bench.paper_summary import draw, summarized, table
    from neurodeploy.support.figures import write_picture

    chosen = [
        combination
        for recipe in recipes_named(recipes, data, overrides, epochs)
        for combination in combinations(
            recipe, rules.split(","), steps or (), taus or (), seeds, device
        )
    ]
    rows = []
    for row in measure(chosen, out, processes, workers=workers, scheduler=scheduler):
        rows.append(row)
        found = f"accuracy {row.accuracy:.2%}" if row.accuracy is not None else row.refused
        tau = "" if row.tau is None else f", tau = {row.tau:g}"
        say(as_json, f"{row.recipe} by {row.rule}, T = {row.T}{tau}, seed {row.seed}: {found}")
    summary = summarized(rows)
    picture = out / "paper.png"
    if any(row.accuracy is not None for row in rows):
        write_picture(draw(summary), picture)
    if as_json:
        print_json(
            {
                "rows": [asdict(row) for row in rows],
                "summary": [asdict(row) for row in summary],
                "picture": str(picture) if picture.exists() else None,
            }
        )
        return
    click.echo(table(summary))
    if picture.exists():
        click.echo(f"Wrote {picture}")
