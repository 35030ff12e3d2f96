"""``neurodeploy export``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from neurodeploy.cli.options import (
    BITS,
    PATH,
    WHOLE_NUMBER,
    shape_option,
    stated_options,
    worker_options,
)
from neurodeploy.cli.output import json_option, print_json, say
from neurodeploy.cli.values import TARGET
from neurodeploy.cli.wording import worded_here

if TYPE_CHECKING:
    from neurodeploy.workflow.netx import NetxPart


@click.command()
@click.argument("source", required=False, type=PATH, metavar="[RUN|FILE]")
@click.option(
    "--target",
    type=TARGET,
    required=True,
    help="A name from `neurodeploy targets`, or a TOML file.",
)
@click.option(
    "--out",
    type=PATH,
    metavar="FOLDER",
    help="New folder.  [default: deployments/NAME-TARGET-NNN]",
)
@click.option(
    "--dry-run",
    is_flag=True,
    help="Say whether the network fits the target, and write nothing.",
)
@click.option(
    "--weight-bits",
    type=BITS,
    help="Width of all weights, 1 to 8.  [default: what the network was trained for, else the "
    "target's]",
)
@click.option(
    "--scale",
    type=click.Choice(["max", "percentile", "mse", "calibrate"]),
    help="How weights are scaled to integers.  [default: as trained for, else calibrate where the "
    "training data is there, else mse]",
)
@click.option(
    "--calibrate",
    metavar="N|FILE",
    help="Calibrate on N training samples, or on the samples of an .npz as --data of simulate "
    "takes it.",
)
@click.option(
    "--activity",
    type=PATH,
    metavar="DEPLOYMENT",
    help="Place neurons by the spikes that a simulation of this deployment of the same network "
    "counted.",
)
@click.option(
    "--balance",
    is_flag=True,
    help="With --activity: also split populations over unused cores of the chips in use, so that "
    "steps take less time.",
)
@click.option(
    "--send-result",
    is_flag=True,
    help="Let the output send its potential at the end of each sample, as a 24-bit message.",
)
@click.option(
    "--netx",
    is_flag=True,
    help="Round to integers that lava-dl's .net format can hold, and require that network.net is "
    "written.",
)
@click.option(
    "--onnx",
    type=click.Choice(["unrolled", "scan"]),
    help="Also write the integers as network.onnx, in integer operators only, with the steps "
    "unrolled or as the body of a Scan.",
)
@click.option(
    "--input-shape",
    metavar="C,H,W",
    callback=shape_option,
    help="Shape of a sample, for a .net that does not state it.",
)
@click.option(
    "--layers",
    type=WHOLE_NUMBER,
    help="Take only the first N layers of a .net, where a later one is not supported.",
)
@click.option(
    "--biases",
    is_flag=True,
    help="For a .net whose input layer is driven by biases: samples are these biases, or floats x "
    "from 0 to 1 that give biases 2wx - w + b, as in lava-dl's PilotNet.",
)
@click.option(
    "--spike-exp",
    "message_exponent",
    type=WHOLE_NUMBER,
    help="For a .net with sigma-delta layers: fractional bits of messages, lava-dl's spike_exp.  "
    "[default: 6, as in lava-dl]",
)
@stated_options
@worker_options
@json_option
def export(
    source: Path | None,
    target: str,
    out: Path | None,
    dry_run: bool,
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
    workers: int | None,
    scheduler: str | None,
    as_json: bool,
    **stated: Any,
) -> None:
    """Quantise a network, map it to a target and write a deployment.

    The source is a run, a .nir file or a .net file; without one, the newest run in runs/. The
    options --from to --decode state what a .nir file from elsewhere leaves open, or override what
    one of ours says. A .net of lava-dl is deployed with its integers unchanged; state --steps and
    --encoder.
    """
    from neurodeploy.ir.stated import Stated
    from neurodeploy.workflow.export import write_export
    from neurodeploy.workflow.export_plan import Plan, plan_export
    from neurodeploy.workflow.quantization import QuantizationOptions

    plan = plan_export(
        source,
        target,
        out,
        activity=activity,
        balance=balance,
        send_result=send_result,
        netx=netx,
        input_shape=input_shape,
        layers=layers,
        biases=biases,
        message_exponent=message_exponent,
        stated=Stated(**stated),
        quantization=QuantizationOptions(weight_bits, scale, calibrate),
        workers=workers,
        scheduler=scheduler,
    )
    result = plan if dry_run else write_export(plan, onnx)
    written = None if isinstance(result, Plan) else result
    if as_json:
        print_json(
            {
                "deployment": written and str(written.path),
                "source": str(result.source),
                "target": target,
                "report": written and str(written.report),
                "mapping": result.mapping.to_dict(),
                "notes": result.network.notes,
                "warnings": list(result.warnings),
                "netx": result.netx.record.to_dict(),
            }
        )
        return
    if written:
        click.echo(f"Exported {written.source} to {target}")
    else:
        click.echo(f"{plan.source} fits {target}; nothing was written")
    click.echo(result.mapping.summary())
    for where, note in result.network.notes.items():
        if note not in result.warnings:
            say(as_json, f"Note: {where}: {worded_here(note)}")
    for warning in result.warnings:
        click.echo(f"Warning: {warning}")
    if result.netx.missing and written:
        say(as_json, without_net(written.path, result.netx))
    if written:
        report = f", with {written.report.name}" if written.report.exists() else ""
        click.echo(f"Wrote {written.path}/{report}")
        say(as_json, "Next: neurodeploy simulate")


def without_net(deployment: Path, netx: NetxPart) -> str:
    """The line about a file that lava-dl would read, and that is not there."""
    count = len(netx.missing)
    reasons = "1 reason" if count == 1 else f"{count} reasons"
    rounding = "; --netx rounds to integers that it can hold" if netx.roundable else ""
    shown = shlex.quote(str(deployment))
    return f"No network.net for lava-dl: {reasons}, listed by neurodeploy inspect {shown}{rounding}"
