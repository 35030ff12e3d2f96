"""``neurodeploy bench``: one sub-command for each thing that is measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from neurodeploy.cli.options import (
    PATH,
    data_override,
    json_option,
    print_json,
    say,
    show_progress,
)


@click.group()
def bench() -> None:
    """Measure on this machine; compare figures of one run, machines are noisy."""


@bench.command("simulate")
@click.option("--network", default="mlp-784-256-10", show_default=True, help="Layers, by name.")
@click.option("--T", "steps", default=8, show_default=True, help="Steps per sample.")
@click.option(
    "--engines", default="reference,lava-fused,lava,yardstick", show_default=True, metavar="A,B,..."
)
@click.option("--seconds", default=3.0, show_default=True, help="Time each engine so long.")
@click.option("--rounds", default=3, show_default=True, help="Take turns; the median counts.")
@json_option
def bench_simulate(
    network: str, steps: int, engines: str, seconds: float, rounds: int, as_json: bool
) -> None:
    """Samples per second and memory of each engine on a random network with random spikes.

    `yardstick` is the same network written by hand for Lava. Networks are named by their layers:
    mlp-784-256-10 is dense, conv-28-16-32-10 takes 28x28 images through two convolutions.
    """
    from dataclasses import asdict, astuple

    from neurodeploy.bench.simulate import bench_simulate as measure
    from neurodeploy.reporting.text import table_text

    rows = list(measure(network, steps, engines.split(","), seconds, rounds))
    if as_json:
        print_json({"rows": [asdict(row) for row in rows]})
    else:
        click.echo(table_text(list(asdict(rows[0])), [astuple(row) for row in rows]))


@bench.command("mapping")
@click.option(
    "--network",
    default="resnet18",
    show_default=True,
    help="A simulated deployment, resnet18, or layers by name as in bench simulate.",
)
@click.option("--target", default="kapoho-point", show_default=True, help="Where to place it.")
@json_option
def bench_mapping(network: str, target: str, as_json: bool) -> None:
    """Traffic between cores and chips for each way of placing a network, and its time and memory.

    `traffic` is what export uses; `first-fit` fills core after core, `round-robin` deals the parts
    of the network to chips and tiles in turn. A deployment brings the spikes of its newest
    simulation; in the other networks every neuron spikes once.
    """
    from dataclasses import asdict, astuple

    from neurodeploy.bench.mapping import bench_mapping as measure
    from neurodeploy.reporting.text import table_text

    rows = list(measure(network, target))
    if as_json:
        print_json({"rows": [asdict(row) for row in rows]})
    else:
        click.echo(table_text(list(asdict(rows[0])), [astuple(row) for row in rows]))


@bench.command("quantization")
@click.option("--recipe", default="digits_conv", show_default=True, help="What to train in floats.")
@click.option("--run", type=PATH, help="A trained run instead.")
@click.option("--data", type=PATH, help="Where the recipe's data set lies.")
@click.option("--target", default="loihi2", show_default=True, help="Whose integers.")
@click.option("--bits", default="8,7,6,5,4,3,2,1", show_default=True, metavar="B,B,...")
@click.option("--modes", default="post-training,aware", show_default=True, metavar="MODE,...")
@click.option(
    "--scale",
    type=click.Choice(["max", "percentile", "mse", "calibrate"]),
    help="Of post-training; as in export when not given.",
)
@click.option("--epochs", default=0, help="On integers; a fifth of the recipe's when not given.")
@click.option(
    "--out", type=PATH, default=Path("quantization.png"), show_default=True, help="Picture."
)
@json_option
def bench_quantization(
    recipe: str,
    run: Path | None,
    data: Path | None,
    target: str,
    bits: str,
    modes: str,
    scale: Any,
    epochs: int,
    out: Path,
    as_json: bool,
) -> None:
    """Accuracy against weight bits: rounded after training, and trained further on the integers.

    Every accuracy is that of the deployed integers on the whole test set, on the reference engine.
    """
    from dataclasses import asdict, astuple

    from neurodeploy.bench.quantization import bench_quantization as measure
    from neurodeploy.bench.quantization import modes_named, widths_named
    from neurodeploy.recipe import load_recipe
    from neurodeploy.reporting.accuracy_curve import accuracy_curve
    from neurodeploy.reporting.picture import write_picture
    from neurodeploy.reporting.text import table_text

    rows = []
    for row in measure(
        run or load_recipe(recipe, data_override(data)),
        widths_named(bits),
        modes_named(modes),
        target=target,
        scale=scale,
        epochs=epochs,
        progress=show_progress(),
    ):
        say(as_json, f"{row.bits}-bit weights, {row.mode}: {row.accuracy:.2%}")
        rows.append(row)
    title = f"{run.name if run else recipe} on {target}"
    write_picture(accuracy_curve(title, [astuple(row) for row in rows]), out)
    if as_json:
        print_json({"rows": [asdict(row) for row in rows], "picture": str(out)})
    else:
        cells = [(r.bits, r.mode, f"{r.accuracy:.2%}", f"{r.float_accuracy:.2%}") for r in rows]
        click.echo(table_text(list(asdict(rows[0])), cells))
        click.echo(f"Wrote {out}")
