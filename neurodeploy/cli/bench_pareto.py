"""``neurodeploy bench pareto``."""

from __future__ import annotations

from pathlib import Path

import click

from neurodeploy.cli.options import PATH, recipe_data_option, worker_options
from neurodeploy.cli.output import json_option, print_json, say, show_progress
from neurodeploy.cli.values import RECIPE, TARGET


@click.command("pareto")
@click.option(
    "--recipe", type=RECIPE, default="digits_conv", show_default=True, help="Recipe to train."
)
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=A,B,...",
    help="The recipe key to vary, and its values; a key with one value holds for all points.",
)
@recipe_data_option
@click.option(
    "--target", type=TARGET, default="loihi2", show_default=True, help="Target to deploy on."
)
@click.option(
    "--keep",
    type=PATH,
    metavar="FOLDER",
    help="Keep all runs and deployments there, and reuse runs that an earlier call has kept.",
)
@click.option(
    "--out",
    type=PATH,
    metavar="FILE",
    default=Path("pareto.png"),
    show_default=True,
    help="Picture to write.",
)
@worker_options
@json_option
def bench_pareto(
    recipe: str,
    overrides: tuple[str, ...],
    data: Path | None,
    target: str,
    keep: Path | None,
    out: Path,
    workers: int | None,
    scheduler: str | None,
    as_json: bool,
) -> None:
    """Measure accuracy against energy and synaptic operations over one key of a recipe.

    For each value, such as the weight of a regulariser, a share to prune, bits or steps, a network
    is trained, exported and simulated on the whole test set by the reference engine. `best` marks
    the points that no other beats in both accuracy and operations.
    """
    from dataclasses import asdict

    from neurodeploy.bench.pareto import bench_pareto as measure
    from neurodeploy.bench.pareto import with_best
    from neurodeploy.bench.pictures import pareto_picture
    from neurodeploy.reporting.text import table_text
    from neurodeploy.support.files import check_place

    check_place(out)
    rows = []
    chosen = {"target": target, "data": data, "keep": keep, "progress": show_progress()}
    chosen |= {"workers": workers, "scheduler": scheduler}
    for row in measure(recipe, overrides, **chosen):
        say(
            as_json,
            f"{row.key}={row.value}: {row.accuracy:.2%}, {row.synaptic_ops:,.0f} operations",
        )
        rows.append(row)
    rows = with_best(rows)
    pareto_picture(f"{recipe} on {target}", rows, out)
    if as_json:
        print_json({"rows": [asdict(row) for row in rows], "picture": str(out)})
        return
    cells = [
        (
            row.value,
            f"{row.accuracy:.2%}",
            f"{row.synaptic_ops:,.0f}",
            ""
            if row.energy_low_nj is None or row.energy_high_nj is None
            else f"{row.energy_low_nj:,.0f} to {row.energy_high_nj:,.0f}",
            f"{row.synapse_words:,}",
            f"{row.zero_weights:.1%}",
            row.steps,
            "best" if row.best else "",
        )
        for row in rows
    ]
    columns = (
        *(rows[0].key, "accuracy", "synaptic operations", "energy, nJ", "synapse words"),
        *("zero weights", "T", ""),
    )
    click.echo(table_text(columns, cells))
    if rows[0].energy_error:
        click.echo(f"Energies against the chip: {rows[0].energy_error}")
    click.echo(
        f"The same network as an ANN: {rows[0].ann_nj:,.0f} nJ in 32-bit floating point, "
        f"{rows[0].ann_8bit_nj:,.0f} nJ in 8-bit integers"
    )
    click.echo(f"Wrote {out}")
