"""``neurodeploy convert``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from neurodeploy.cli.options import COUNT, PATH, json_option, print_json

METHODS = ("mmse", "percentile", "max")


def source_options(command: Any) -> Any:
    """What names a network of ReLUs and its data, shared with the bench."""
    options = (
        click.argument("network", metavar="FILE.py:FUNCTION"),
        click.option(
            "--weights",
            type=PATH,
            help="The module's state_dict, as torch.save or safetensors wrote it, where the "
            "function does not load it.",
        ),
        click.option(
            "--data",
            required=True,
            metavar="NAME or FILE.npz",
            help="The data that it was trained on; an .npz has x_train, y_train, x_test and "
            "y_test.",
        ),
        click.option(
            "--samples",
            type=COUNT,
            help="Training samples to balance thresholds on.  [default: 500]",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.command()
@source_options
@click.option("--steps", "--T", type=COUNT, required=True, help="Time steps per sample.")
@click.option(
    "--method",
    type=click.Choice(METHODS),
    default="mmse",
    show_default=True,
    help="Thresholds: of the smallest squared error of an activation in T + 1 levels, a percentile "
    "of activations, or the largest.",
)
@click.option(
    "--percentile",
    type=click.FloatRange(0, 100, min_open=True),
    default=99.9,
    show_default=True,
    help="Of --method percentile.",
)
@click.option(
    "--half/--no-half",
    default=True,
    help="Add half a threshold over T steps, so that levels are rounded to the nearest.  "
    "[default: half]",
)
@click.option(
    "--encoder",
    type=click.Choice(["direct", "rate"]),
    default="direct",
    show_default=True,
    help="How samples become input.",
)
@click.option(
    "--test",
    type=COUNT,
    default=1000,
    show_default=True,
    help="Test samples that both accuracies are of.",
)
@click.option("--out", type=PATH, help="The file.  [default: FUNCTION.nir]")
@json_option
def convert(
    network: str,
    weights: Path | None,
    data: str,
    samples: int | None,
    steps: int,
    method: Any,
    percentile: float,
    half: bool,
    encoder: Any,
    test: int,
    out: Path | None,
    as_json: bool,
) -> None:
    """Make a spiking network of a trained network of ReLUs, and write it as a .nir file.

    FILE.py:FUNCTION names a function without arguments that returns the torch module. Its ReLUs
    become integrate-and-fire neurons with soft reset, whose rates over T steps are its activations.
    `export FILE.nir` deploys the result; `train --init FILE.nir` trains it further, for which few
    steps do.
    """
    from neurodeploy.nn.conversion import Balance
    from neurodeploy.workflow.conversion import convert as convert_network
    from neurodeploy.workflow.conversion import read_source

    balance = Balance(method, percentile, half)
    source = read_source(network, weights, data, samples=samples, test=test)
    found = convert_network(source, steps, balance, encoder, out)
    if as_json:
        print_json(
            {
                "file": str(found.path),
                "steps": steps,
                "method": method,
                "half": half,
                "thresholds": found.thresholds,
                "ann_accuracy": found.ann_accuracy,
                "accuracy": found.accuracy,
                "samples": found.samples,
            }
        )
        return
    for name, threshold in found.thresholds.items():
        click.echo(f"{name}: threshold {threshold:.4g}")
    click.echo(
        f"Accuracy on {found.samples:,} test samples: {found.ann_accuracy:.2%} with ReLUs, "
        f"{found.accuracy:.2%} with spikes in {steps} steps, in floats"
    )
    click.echo(f"Wrote {found.path}\nNext: neurodeploy export {found.path} --target loihi2")
