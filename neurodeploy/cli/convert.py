"""``neurodeploy convert``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from neurodeploy.cli.defaults import was_typed
from neurodeploy.cli.options import BITS, COUNT, PATH
from neurodeploy.cli.output import json_option, print_json, say
from neurodeploy.cli.values import DATA, TARGET, Number

METHODS = ("mmse", "percentile", "max")


def source_options(command: Any) -> Any:
    """What names a network of ReLUs and its data, shared with the bench."""
    options = (
        click.argument("network", metavar="FILE.PY:FUNCTION"),
        click.option(
            "--weights",
            type=PATH,
            metavar="FILE",
            help="The module's state_dict, written by torch.save or safetensors, where the "
            "function does not load it.",
        ),
        click.option(
            "--data",
            type=DATA,
            required=True,
            help="The data it was trained on: a data set by name, or an .npz with x_train, "
            "y_train, x_test and y_test.",
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
@click.option("--steps", "--T", type=COUNT, help="Time steps per sample of the spiking network.")
@click.option(
    "--sigma-delta",
    is_flag=True,
    help="Use neurons that send changes of their activation instead of spikes, and write a "
    "deployment for --target.",
)
@click.option(
    "--target",
    type=TARGET,
    help="With --sigma-delta: a name from `neurodeploy targets`, or a TOML file.",
)
@click.option(
    "--deviation",
    type=Number("x", click.FloatRange(0)),
    default=0.02,
    show_default=True,
    help="With --sigma-delta: largest error of the outputs that thresholds may cause, as a share "
    "of the outputs' standard deviation.",
)
@click.option(
    "--weight-bits",
    type=BITS,
    help="With --sigma-delta: width of all weights, 1 to 8.",
)
@click.option(
    "--method",
    type=click.Choice(METHODS),
    default="mmse",
    show_default=True,
    help="How thresholds are chosen: smallest squared error of activations in T + 1 levels, a "
    "percentile of the activations, or their maximum.",
)
@click.option(
    "--percentile",
    type=Number("x", click.FloatRange(0, 100, min_open=True)),
    default=99.9,
    show_default=True,
    help="The percentile of --method percentile.",
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
    help="How samples become input spikes or values.",
)
@click.option(
    "--test",
    type=COUNT,
    default=1000,
    show_default=True,
    help="Test samples that both accuracies are measured on.",
)
@click.option(
    "--out",
    type=PATH,
    metavar="PATH",
    help="File, or with --sigma-delta folder, to write.  [default: FUNCTION.nir]",
)
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
    """Convert a trained ReLU network into a spiking network.

    FILE.PY:FUNCTION names a function without arguments that returns the torch module. Its ReLUs
    become integrate-and-fire neurons with soft reset, whose rates over T steps are its activations.
    The result is a .nir file: `export FILE.nir` deploys it, and `train --init FILE.nir` trains it
    further, which needs few time steps.

    With --sigma-delta they become sigma-delta neurons, which compute the same in one step and send
    only changes. NIR has no such neurons, so a deployment is written. Thresholds are the largest
    within --deviation; what each would cost and save is printed.
    """
    if sigma_delta:
        if target is None or was_typed("steps"):
            raise click.UsageError("--sigma-delta needs --target, and takes no --steps")
        _sigma_delta(
            network, weights, data, samples, test, target, deviation, weight_bits, out, as_json
        )
        return
    if steps is None or was_typed("target"):
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
    click.echo(f"Wrote {found.path}")
    say(as_json, f"Next: neurodeploy export {found.path} --target loihi2")


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
    click.echo(f"Wrote {found.deployment.path}/")
    say(as_json, "Next: neurodeploy simulate")
