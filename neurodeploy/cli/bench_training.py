"""``neurodeploy bench train``, ``gradients`` and ``quantization``: training, measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from neurodeploy.cli.options import (
    COUNT,
    FROM_ZERO,
    PATH,
    Positive,
    recipe_data_option,
    rounds_option,
    worker_options,
)
from neurodeploy.cli.output import json_option, print_json, say, show_progress
from neurodeploy.cli.values import ANY, DEVICE, RECIPE, TARGET, WHOLE


@click.command("train")
@click.option(
    "--methods",
    default="yardstick,sltt,sltt-1,bptt",
    show_default=True,
    metavar="A,B,...",
    help="sltt, sltt-1 (or another K), bptt, ottt, eprop, rate_m, rate_s, yardstick.",
)
@click.option(
    "--network",
    metavar="NETWORK",
    default="conv-28-16-32-10",
    show_default=True,
    help="resnet18, vgg11, or layers by name.",
)
@click.option(
    "--T", "steps", type=WHOLE, default="6", show_default=True, help="Time steps per sample."
)
@click.option("--batch", type=COUNT, default=64, show_default=True, help="Samples per iteration.")
@click.option(
    "--device", type=DEVICE, default="cpu", show_default=True, help="Where to train, e.g. cuda."
)
@click.option(
    "--precision",
    default="fp32",
    show_default=True,
    metavar="A,B,...",
    help="fp32, fp64, bf16, fp16.",
)
@click.option(
    "--threads",
    type=FROM_ZERO,
    default=0,
    help="CPU threads, 0 for as many as cores are free.",
)
@click.option(
    "--time-chunk",
    type=FROM_ZERO,
    default=0,
    help="Steps computed together: more are faster, fewer take less memory; 0 to suit the network.",
)
@click.option(
    "--seconds",
    type=Positive(),
    default=2.0,
    show_default=True,
    help="How long each method is timed.",
)
@rounds_option
@json_option
def bench_train(
    methods: str,
    network: str,
    steps: list[int],
    batch: int,
    device: str,
    precision: str,
    threads: int,
    time_chunk: int,
    seconds: float,
    rounds: int,
    as_json: bool,
) -> None:
    """Measure time and memory of one training iteration by each method.

    `yardstick` is plain step-wise SLTT written with torch's own modules. Networks are named as in
    `bench simulate`, or resnet18 (3x32x32 images) or vgg11 (2x48x48 frames over time). The input of
    rnn-700-512-20 is events, at a rate of 0.01 per channel and step. Memory is what an iteration
    takes in addition to weights, optimiser and data.
    """
    from dataclasses import asdict

    from neurodeploy.bench.train import bench_train as measure
    from neurodeploy.bench.train import configurations, table

    chosen = configurations(
        methods.split(","),
        steps,
        precision.split(","),
        network=network,
        batch=batch,
        device=device,
        threads=threads,
        time_chunk=time_chunk,
    )
    rows = measure(chosen, seconds, rounds, show_progress())
    if as_json:
        print_json({"rows": [asdict(row) for row in rows]})
    else:
        click.echo(table(rows))


@click.command("gradients")
@click.option(
    "--recipe",
    type=RECIPE,
    help="Recipe to train: a name or a TOML file.  [default: digits_conv with four convolutions]",
)
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override a recipe key, e.g. training.epochs=5; repeatable.",
)
@recipe_data_option
@click.option(
    "--tau",
    "taus",
    type=ANY,
    default="1.1,2",
    show_default=True,
    help="Membrane time constants in steps.",
)
@click.option(
    "--T", "steps", type=WHOLE, default="4,16", show_default=True, help="Time steps per sample."
)
@click.option("--epochs", type=COUNT, default=8, show_default=True, help="Epochs of each training.")
@click.option(
    "--every", type=COUNT, default=7, show_default=True, help="Compare on every Nth batch."
)
@click.option(
    "--out",
    type=PATH,
    metavar="FILE",
    default="gradients.png",
    show_default=True,
    help="Picture to write.",
)
@json_option
def bench_gradients(
    recipe: str | None,
    overrides: tuple[str, ...],
    data: Path | None,
    taus: list[float],
    steps: list[int],
    epochs: int,
    every: int,
    out: Path,
    as_json: bool,
) -> None:
    """Compare gradients of SLTT, OTTT and rate-based training with those of BPTT.

    Trains by SLTT for each tau and T (Meng et al. 2023, figure 3) and compares gradients on the
    same batches with the same weights: their cosine per layer, and their length. Prints means over
    all epochs.
    """
    from dataclasses import asdict

    from neurodeploy.bench.gradients import bench_gradients as measure
    from neurodeploy.bench.gradients import choose_recipe, table
    from neurodeploy.bench.pictures import draw_gradients

    chosen = choose_recipe(recipe, overrides, data, epochs)
    rows = measure(chosen, taus, steps, every, show_progress())
    draw_gradients(f"{chosen.name}, trained by SLTT", rows, out)
    if as_json:
        print_json({"picture": str(out), "rows": [asdict(row) for row in rows]})
    else:
        click.echo(table(rows))
    say(as_json, f"Wrote {out}")


@click.command("quantization")
@click.option("--recipe", type=RECIPE, help="Recipe to train in floats.  [default: digits_conv]")
@click.option("--run", type=PATH, metavar="RUN", help="A finished run to use instead.")
@recipe_data_option
@click.option(
    "--target",
    type=TARGET,
    default="loihi2",
    show_default=True,
    help="Target whose integers are used.",
)
@click.option(
    "--bits",
    default="8,7,6,5,4,3,2,1",
    show_default=True,
    metavar="A,B,...",
    help="Widths of the weights.",
)
@click.option(
    "--modes",
    default="post-training,aware",
    show_default=True,
    metavar="A,B,...",
    help="post-training, aware or both.",
)
@click.option(
    "--scale",
    type=click.Choice(["max", "percentile", "mse", "calibrate"]),
    help="How post-training scales weights; as in export when not given.",
)
@click.option(
    "--epochs", type=COUNT, help="Epochs on integers; a fifth of the recipe's when not given."
)
@click.option(
    "--keep",
    type=PATH,
    metavar="FOLDER",
    help="Keep all runs there, and reuse those that an earlier call has kept.",
)
@click.option(
    "--out",
    type=PATH,
    metavar="FILE",
    default=Path("quantization.png"),
    show_default=True,
    help="Picture to write.",
)
@worker_options
@json_option
def bench_quantization(
    recipe: str | None,
    run: Path | None,
    data: Path | None,
    target: str,
    bits: str,
    modes: str,
    scale: Any,
    epochs: int,
    keep: Path | None,
    out: Path,
    workers: int | None,
    scheduler: str | None,
    as_json: bool,
) -> None:
    """Measure accuracy against weight bits.

    Weights are rounded after training, or trained further on the integers. Every accuracy is that
    of the deployed integers on the whole test set, on the reference engine.
    """
    from dataclasses import asdict, astuple

    from neurodeploy.bench.pictures import accuracy_curve
    from neurodeploy.bench.quantization import bench_quantization as measure
    from neurodeploy.bench.quantization import modes_named, source_named, widths_named
    from neurodeploy.reporting.text import table_text
    from neurodeploy.support.figures import write_picture
    from neurodeploy.support.files import check_place

    check_place(out)
    rows = []
    for row in measure(
        source_named(recipe, run),
        widths_named(bits),
        modes_named(modes),
        target=target,
        scale=scale,
        epochs=epochs or 0,
        data=data,
        keep=keep,
        workers=workers,
        scheduler=scheduler,
        progress=show_progress(),
    ):
        say(as_json, f"{row.bits}-bit weights, {row.mode}: {row.accuracy:.2%}")
        rows.append(row)
    title = f"{run.name if run else recipe or 'digits_conv'} on {target}"
    write_picture(accuracy_curve(title, [astuple(row) for row in rows]), out)
    if as_json:
        print_json({"rows": [asdict(row) for row in rows], "picture": str(out)})
    else:
        cells = [(r.bits, r.mode, f"{r.accuracy:.2%}", f"{r.float_accuracy:.2%}") for r in rows]
        click.echo(table_text(list(asdict(rows[0])), cells))
        click.echo(f"Wrote {out}")
