"""``neurodeploy bench conversion``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from neurodeploy.cli.convert import source_options
from neurodeploy.cli.options import COUNT, PATH
from neurodeploy.cli.output import json_option, print_json, say
from neurodeploy.cli.values import WHOLE


@click.command("conversion")
@source_options
@click.option(
    "--T",
    "steps",
    type=WHOLE,
    default="2,4,8,16,32,64",
    show_default=True,
    help="Time steps per sample.",
)
@click.option(
    "--methods",
    default="mmse,percentile,percentile-floor,max-floor",
    show_default=True,
    metavar="A,B,...",
    help="mmse, percentile or max; with -floor appended, without half a threshold.",
)
@click.option("--test", type=COUNT, help="Test samples; all when not given.")
@click.option(
    "--out",
    type=PATH,
    metavar="FILE",
    default=Path("conversion.png"),
    show_default=True,
    help="Picture to write.",
)
@json_option
def bench_conversion(
    network: str,
    weights: Path | None,
    data: str,
    samples: int | None,
    steps: list[int],
    methods: str,
    test: int | None,
    out: Path,
    as_json: bool,
) -> None:
    """Measure the accuracy of a converted ReLU network against T.

    For each T and each way of choosing thresholds, the network is converted again, as `convert`
    does, and simulated in floats.
    """
    from dataclasses import asdict

    from neurodeploy.bench.conversion import bench_conversion as measure
    from neurodeploy.bench.pictures import conversion_curve
    from neurodeploy.reporting.text import table_text
    from neurodeploy.support.figures import write_picture
    from neurodeploy.support.files import check_place
    from neurodeploy.workflow.conversion import read_source

    check_place(out)
    source = read_source(network, weights, data, samples=samples, test=test)
    rows: list[Any] = []
    for row in measure(source, steps, methods.split(",")):
        say(as_json, f"T = {row.T}, {row.method}: {row.accuracy:.2%}")
        rows.append(row)
    title = f"{network}, {len(source.x):,} test samples of {source.relus.dataset}"
    write_picture(conversion_curve(title, rows), out)
    if as_json:
        print_json({"rows": [asdict(row) for row in rows], "picture": str(out)})
    else:
        cells = [(r.T, r.method, f"{r.accuracy:.2%}", f"{r.ann_accuracy:.2%}") for r in rows]
        click.echo(table_text(list(asdict(rows[0])), cells))
        click.echo(f"Wrote {out}")
