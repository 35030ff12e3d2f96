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
@click.option("--steps", "--T", type=COUNT, help="Time steps per sample, of spikes.")
@click.option(
    "--sigma-delta",
    is_flag=True,
    help="Neurons that send changes of their activation instead of spikes, as a deployment for "
    "--target.",
)
@click.option("--target", help="Of --sigma-delta: a name from `neurodeploy targets`, or a TOML.")
@click.option(
    "--deviation",
    type=click.FloatRange(0),
    default=0.02,
    show_default=True,
    help="Of --sigma-delta: how far outputs may be off for thresholds, as a share of how far they "
    "spread.",
)
@click.option(
    "--weight-bits", type=click.IntRange(1, 8), help="Of --sigma-delta: width of all weights."
)
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
    steps: int | None,
    sigma_delta: bool,
    target: str | None,
    deviation: float,
    weight_bits: int | None,
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

    With --sigma-delta they become sigma-delta neurons, which compute the same in one step and send
    changes alone; NIR has none such, so a deployment is written. Thresholds are the largest within
    --deviation; what each would cost and save is printed.
    """
    if sigma_delta:
        if target is None or steps is not None:
            raise click.UsageError("--sigma-delta needs --target, and takes no --steps")
        _sigma_delta(
            network, weights, data, samples, test, target, deviation, weight_bits, out, as_json
        )
        return
    if steps is None or target is not None:
        raise click.UsageError("give --steps T for spikes, or --sigma-delta and --target")
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


def _sigma_delta(
    network: str,
    weights: Path | None,
    data: str,
    samples: int | None,
    test: int,
    target: str,
    deviation: float,
    weight_bits: int | None,
    out: Path | None,
    as_json: bool,
) -> None:
    from dataclasses import asdict

    from neurodeploy.workflow.conversion import read_source
    from neurodeploy.workflow.sigma_delta import SAMPLES, deploy_sigma_delta

    source = read_source(network, weights, data, samples=samples or SAMPLES, test=test)
    found = deploy_sigma_delta(source, target, out, deviation=deviation, weight_bits=weight_bits)
    if as_json:
        print_json(
            {
                "deployment": str(found.deployment.path),
                "target": target,
                "factor": found.chosen.factor,
                "trades": [asdict(trade) for trade in found.trades],
                "ann_accuracy": found.ann_accuracy,
                "accuracy": found.accuracy,
                "samples": found.samples,
            }
        )
        return
    for trade in found.trades:
        mark = "  <- taken" if trade == found.chosen else ""
        click.echo(f"{trade.line()}{mark}")
    click.echo(
        f"Accuracy on {found.samples:,} test samples: {found.ann_accuracy:.2%} with ReLUs in "
        f"floats, {found.accuracy:.2%} with sigma-delta neurons in integers"
    )
    click.echo(f"Wrote {found.deployment.path}/\nNext: neurodeploy simulate")
