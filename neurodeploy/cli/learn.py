"""``neurodeploy learn``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from neurodeploy.cli.options import (
    PATH,
    json_option,
    print_json,
    say,
    seed_option,
    show_progress,
    timeout_option,
)
from neurodeploy.cli.wording import worded_here


@click.command()
@click.argument("deployment", required=False, type=PATH)
@click.option(
    "--rule",
    type=click.Choice(["sltt", "delta"]),
    default="sltt",
    show_default=True,
    help="All layers by SLTT, or the output layer alone by Loihi's own three-factor rule.",
)
@click.option(
    "--task",
    type=click.Choice(["continue", "drift", "new-class"]),
    default="continue",
    show_default=True,
    help="Go on with the training samples, meet them rotated, or meet a class never seen.",
)
@click.option(
    "--samples",
    type=int,
    help="Samples to learn from.  [default: 1500, but none twice; drift: 500; new-class: 200]",
)
@click.option(
    "--degrees", type=float, help="Angle by which --task drift turns images.  [default: 25]"
)
@click.option(
    "--rate",
    metavar="2^-K",
    help="Learning rate, a power of two.  [default: one that suits the network's activity]",
)
@click.option(
    "--update",
    type=click.Choice(["sample", "step"]),
    default="sample",
    show_default=True,
    help="Change weights once per sample, or after each of its steps.",
)
@click.option(
    "--feedback",
    type=click.Choice(["transposed", "random"]),
    default="transposed",
    show_default=True,
    help="Weights that errors go back through: the layer's own, or fixed random ones.",
)
@seed_option
@click.option("--engine", default="lava", show_default=True, help="lava, lava-fused or reference.")
@click.option("--data", type=PATH, help="Where the deployment's data set lies now.")
@click.option(
    "--held-out", type=int, default=1000, show_default=True, help="At most so many test samples."
)
@click.option(
    "--ceiling/--no-ceiling",
    default=True,
    show_default=True,
    help="Have PyTorch learn in floats from the same samples, to compare with.",
)
@click.option("--out", type=PATH, help="New folder.  [default: DEPLOYMENT-learned-NNN]")
@timeout_option
@json_option
def learn(
    deployment: Path | None, task: str, rate: str | None, as_json: bool, **options: Any
) -> None:
    """Let DEPLOYMENT (default: the newest) go on learning, sample by sample, on its integers.

    Writes a new deployment with the learnt weights and leaves the old one as it is. In Lava,
    weights are compared with the integer reference after every update; exits with 1 when any
    differ, and writes nothing.
    """
    from neurodeploy.artifacts.deployment import read_deployment
    from neurodeploy.artifacts.locate import newest_deployment
    from neurodeploy.onchip.rates import parse_rate
    from neurodeploy.workflow.learn import learn as run

    number = None if rate is None else parse_rate(rate)
    chosen = deployment or newest_deployment()
    loaded = read_deployment(chosen)
    say(as_json, f"Deployment {chosen}")
    result = run(loaded, task, rate=number, progress=show_progress(), **options)
    if as_json:
        print_json(result.as_dict())
    else:
        click.echo(worded_here(result.text()))
    if result.mismatches:
        sys.exit(1)
