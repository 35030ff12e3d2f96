"""Options and output that several commands share."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from neurodeploy.support.processes import is_main

PATH = click.Path(path_type=Path)

COMPARISONS = {"gt": ">", "ge": ">="}
"""When a neuron fires, in words that no shell takes for a redirection."""

KEYS = {
    "seed": "seed",
    "data.path": "data",
    "training.start_from": "init",
    "training.precision": "precision",
    "quantize.target": "target",
}
"""Keys of a recipe that have options of their own."""

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
ENGINE_NAMES = "reference, lava, lava-fused, netx, float or norse."
seed_option = click.option("--seed", type=int, default=0, help="Seed of random draws.")
timeout_option = click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Wall-clock limit for Lava.",
)


def sample_options(command: Any) -> Any:
    """Options that choose samples, shared by simulate and validate."""
    for option in (
        click.option("--samples", type=int, help="At most so many samples."),
        click.option(
            "--data",
            type=PATH,
            help="An .npz with x (N, T, *input) or (N, *input), and optional y; or one with x_test "
            "and y_test; or the folder of the data set trained on.",
        ),
        click.option(
            "--random",
            "random_count",
            type=int,
            metavar="N",
            help="N random samples instead of data.",
        ),
        click.option(
            "--rate",
            type=float,
            default=0.1,
            show_default=True,
            help="Spike probability of --random.",
        ),
        seed_option,
        timeout_option,
    ):
        command = option(command)
    return command


def shape_option(
    context: click.Context, parameter: click.Parameter, text: str | None
) -> tuple[int, ...] | None:
    """Positive numbers between commas."""
    if text is None:
        return None
    numbers = text.split(",")
    if not all(number.isdecimal() and int(number) > 0 for number in numbers):
        raise click.BadParameter("expected positive numbers such as 1,28,28")
    return tuple(map(int, numbers))


def load_with_samples(
    path: Path | None, as_json: bool, choice: dict[str, Any], default_count: int | None
) -> tuple[Any, Any]:
    """The deployment and the samples that the options mean."""
    from neurodeploy.artifacts.deployment import read_deployment
    from neurodeploy.artifacts.locate import newest_deployment
    from neurodeploy.workflow.samples import choose_samples

    chosen = path or newest_deployment()
    loaded = read_deployment(chosen)
    say(as_json, f"Deployment {chosen}")
    return loaded, choose_samples(loaded.network, default_count=default_count, **choice)


def say(as_json: bool, text: str) -> None:
    """Human text of the main process; on stderr when stdout carries JSON."""
    if is_main():
        click.echo(text, err=as_json)


def show_progress() -> bool:
    return sys.stderr.isatty()


def print_json(value: dict[str, Any]) -> None:
    """One JSON object on stdout, from the main process."""
    if is_main():
        click.echo(json.dumps(value, default=str))
