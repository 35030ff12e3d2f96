"""``neurodeploy bench train``, ``gradients`` and ``quantization``: training, measured."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from neurodeploy.cli.options import (
    COUNT,
    PATH,
    Positive,
    json_option,
    print_json,
    say,
    show_progress,
    worker_options,
)


class _Numbers(click.ParamType):
    """A list of numbers, as in 4,32."""

    name = "numbers"

    def __init__(self, kind: Callable[[str], float]) -> None:
        self.kind = kind

    def convert(self, value: Any, param: Any, ctx: Any) -> list[Any]:
        try:
            return [self.kind(number) for number in value.split(",")]
        except ValueError:
            whole = "whole " if self.kind is int else ""
            self.fail(f"{value!r}: expected {whole}numbers, as in 2,16", param, ctx)


WHOLE, ANY = _Numbers(int), _Numbers(float)


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
    default="conv-28-16-32-10",
    show_default=True,
    help="resnet18, vgg11, or layers by name.",
)
@click.option(
    "--T", "steps", type=WHOLE, default="6", show_default=True, metavar="A,B,...", help="Steps."
)
@click.option("--batch", type=COUNT, default=64, show_default=True, help="Samples per iteration.")
@click.option("--device", default="cpu", show_default=True, help="Where to train, e.g. cuda.")
@click.option(
    "--precision",
    default="fp32",
    show_default=True,
    metavar="A,B,...",
    help="fp32, fp64, bf16, fp16.",
)
@click.option(
    "--threads",
    type=click.IntRange(0),
    default=0,
    help="CPU threads, 0 for as many as cores are free.",
)
@click.option(
    "--time-chunk",
    type=click.IntRange(0),
    default=0,
    help="Steps run at once (time against memory): 0 as suits the network, 1 for least memory.",
)
@click.option(
    "--seconds", type=Positive(), default=2.0, show_default=True, help="Time each method so long."
)
@click.option(
    "--rounds", type=COUNT, default=3, show_default=True, help="Take turns; the median counts."
)
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
    """Time and memory of one training iteration by each method.

    `yardstick` is plain step-wise SLTT written with torch's own modules. Networks are named as in
    `bench simulate`, or resnet18 (3x32x32 images) or vgg11 (2x48x48 frames over time). That of
    rnn-700-512-20 gets events, a spike in a hundred inputs and steps. Memory is what an iteration
    takes above weights, optimiser and data.
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
    help="What to train, a name or TOML file.  [default: digits_conv with four convolutions]",
)
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a recipe key."
)
@click.option("--data", type=PATH, help="Where the recipe's data set lies, as for train.")
@click.option("--tau", "taus", type=ANY, default="1.1,2", show_default=True, metavar="A,B,...")
@click.option(
    "--T", "steps", type=WHOLE, default="4,16", show_default=True, metavar="A,B,...", help="Steps."
)
@click.option("--epochs", type=COUNT, default=8, show_default=True, help="Epochs of each training.")
@click.option(
    "--every", type=COUNT, default=7, show_default=True, help="Compare on one of so many batches."
)
@click.option("--out", type=PATH, default="gradients.png", show_default=True, help="The picture.")
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
    """How well SLTT's, OTTT's and rate-based gradients agree with BPTT's during training.

    Trains by SLTT for each tau and T (Meng et al. 2023, figure 3) and compares on the same batches
    with the same weights: cosine of the angle per layer, and length. Prints means over all epochs.
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
@click.option("--recipe", help="What to train in floats.  [default: digits_conv]")
@click.option("--run", type=PATH, help="A trained run instead.")
@click.option("--data", type=PATH, help="Where the data set of the recipe or the run lies.")
@click.option("--target", default="loihi2", show_default=True, help="Whose integers.")
@click.option("--bits", default="8,7,6,5,4,3,2,1", show_default=True, metavar="B,B,...")
@click.option("--modes", default="post-training,aware", show_default=True, metavar="MODE,...")
@click.option(
    "--scale",
    type=click.Choice(["max", "percentile", "mse", "calibrate"]),
    help="Of post-training; as in export when not given.",
)
@click.option("--epochs", type=COUNT, help="On integers; a fifth of the recipe's when not given.")
@click.option(
    "--keep",
    type=PATH,
    metavar="FOLDER",
    help="Leave all runs there, and take those that an earlier bench has left.",
)
@click.option(
    "--out", type=PATH, default=Path("quantization.png"), show_default=True, help="Picture."
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
    """Accuracy against weight bits: rounded after training, and trained further on the integers.

    Every accuracy is that of the deployed integers on the whole test set, on the reference engine.
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
