"""``neurodeploy export``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from neurodeploy.cli.options import (
    PATH,
    json_option,
    print_json,
    shape_option,
    stated_options,
    worded_here,
)


@click.command()
@click.argument("source", required=False, type=PATH, metavar="[RUN, FILE.nir or FILE.net]")
@click.option("--target", required=True, help="A name from `neurodeploy targets`, or a TOML file.")
@click.option("--out", type=PATH, help="New folder.  [default: deployments/NAME-TARGET-NNN]")
@click.option(
    "--weight-bits",
    type=click.IntRange(1, 8),
    help="Width of all weights; what the network was trained for, or the target's.",
)
@click.option(
    "--scale",
    type=click.Choice(["max", "percentile", "mse", "calibrate"]),
    help="How weights are scaled to integers.  [default: as trained for, else calibrate where the "
    "training data is there, else mse]",
)
@click.option(
    "--calibrate",
    metavar="N or FILE.npz",
    help="Calibrate on N training samples, or on those of a file as --data of simulate takes it.",
)
@click.option(
    "--activity",
    type=PATH,
    metavar="DEPLOYMENT",
    help="Place neurons by the spikes counted when this deployment of the same network was "
    "simulated.",
)
@click.option(
    "--balance",
    is_flag=True,
    help="With --activity: cut populations further, onto cores that are left of the chips in use, "
    "so that steps take less time.",
)
@click.option(
    "--send-result",
    is_flag=True,
    help="Let the output send its potential at the end of each sample, as a message of 24 bits.",
)
@click.option(
    "--netx",
    is_flag=True,
    help="Round to integers that lava-dl's .net holds, and insist on writing network.net.",
)
@click.option(
    "--onnx",
    type=click.Choice(["unrolled", "scan"]),
    help="Also write the integers as network.onnx, in integer operators alone: steps one after the "
    "other, or as the body of a Scan.",
)
@click.option(
    "--input-shape",
    metavar="C,H,W",
    callback=shape_option,
    help="Shape of a sample, where a .net does not say.",
)
@click.option(
    "--layers",
    type=int,
    metavar="N",
    help="Of a .net, the first N layers alone, where a later one is not supported.",
)
@click.option(
    "--biases",
    is_flag=True,
    help="Samples of a .net whose input layer is driven by biases are these biases, or floats x "
    "from 0 to 1 that make biases 2wx - w + b, as lava-dl's PilotNet has them.",
)
@click.option(
    "--spike-exp",
    "message_exponent",
    type=int,
    metavar="N",
    help="Of a .net with sigma-delta layers, by how many bits messages are finer than the numbers "
    "in the file, as lava-dl's spike_exp.  [default: 6, as lava-dl's]",
)
@stated_options
@json_option
def export(
    source: Path | None,
    target: str,
    out: Path | None,
    weight_bits: int | None,
    scale: Any,
    calibrate: str | None,
    activity: Path | None,
    balance: bool,
    send_result: bool,
    netx: bool,
    onnx: Any,
    input_shape: tuple[int, ...] | None,
    layers: int | None,
    biases: bool,
    message_exponent: int | None,
    as_json: bool,
    **stated: Any,
) -> None:
    """Quantise a network, map it to a target and write a deployment.

    Takes the newest run in runs/ when no source is given. The semantic options (--from to --decode)
    state what a .nir file from elsewhere leaves open, or override what ours says. A .net of lava-dl
    is deployed with its integers as they are; state --steps and --encoder.
    """
    from neurodeploy.ir.stated import Stated
    from neurodeploy.workflow.export import export as export_network
    from neurodeploy.workflow.quantization import QuantizationOptions

    quantization = QuantizationOptions(weight_bits, scale, calibrate)
    result = export_network(
        source,
        target,
        out,
        activity=activity,
        balance=balance,
        send_result=send_result,
        netx=netx,
        onnx=onnx,
        input_shape=input_shape,
        layers=layers,
        biases=biases,
        message_exponent=message_exponent,
        stated=Stated(**stated),
        quantization=quantization,
    )
    if as_json:
        print_json(
            {
                "deployment": str(result.path),
                "source": str(result.source),
                "target": target,
                "report": str(result.report),
                "mapping": result.mapping.to_dict(),
                "notes": result.network.notes,
                "warnings": list(result.warnings),
                "netx": result.netx.record.to_dict(),
            }
        )
        return
    click.echo(f"Exported {result.source} to {target}")
    click.echo(result.mapping.summary())
    for where, note in result.network.notes.items():
        if note not in result.warnings:
            click.echo(f"Note: {where}: {worded_here(note)}")
    for warning in result.warnings:
        click.echo(f"Warning: {warning}")
    if result.netx.missing:
        click.echo("No network.net, which lava-dl reads; its format cannot hold")
        for reason in result.netx.missing:
            click.echo(f"  {reason}")
        if result.netx.roundable:
            click.echo("Export with --netx to round to integers that it holds.")
    report = f", with {result.report.name}" if result.report.exists() else ""
    click.echo(f"Wrote {result.path}/{report}\nNext: neurodeploy simulate")
