"""Commands that run a deployment: ``simulate``, ``validate`` and ``learn``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from neurodeploy.cli.options import (
    ENGINE_NAMES,
    PATH,
    json_option,
    load_with_samples,
    print_json,
    sample_options,
    say,
    seed_option,
    show_progress,
    timeout_option,
    worded_here,
    worker_options,
    wrote,
)
from neurodeploy.errors import InputError


@click.command()
@click.argument("deployment", required=False, type=PATH)
@click.option("--engine", help=f"{ENGINE_NAMES}  [default: lava, or what fits into memory]")
@sample_options
@click.option(
    "--trace", type=PATH, metavar="FILE.npz", help="Write the spikes of every population."
)
@click.option("--trace-state", is_flag=True, help="Write u and v to the trace as well.")
@click.option("--strict", is_flag=True, help="Fail on any wrap of u or saturation of v.")
@click.option(
    "--metrics",
    multiple=True,
    metavar="NAME",
    help="Also count: neurobench, the metrics of its harness and a footprint at the real widths.",
)
@click.option(
    "--forecast",
    is_flag=True,
    help="Also predict the test part of a series from the network's own predictions.",
)
@click.option(
    "--early-exit",
    type=float,
    metavar="MARGIN",
    help="Also read each class once it is so far above the second.",
)
@click.option(
    "--resume", is_flag=True, help="Go on where this simulation was interrupted or killed."
)
@worker_options
@json_option
def simulate(
    deployment: Path | None,
    engine: str | None,
    trace: Path | None,
    trace_state: bool,
    strict: bool,
    metrics: tuple[str, ...],
    forecast: bool,
    early_exit: float | None,
    resume: bool,
    timeout: float | None,
    workers: int | None,
    scheduler: str | None,
    as_json: bool,
    **choice: Any,
) -> None:
    """Simulate DEPLOYMENT (default: the newest) on its test set or on samples of yours."""
    from neurodeploy.reporting.cost_text import estimate_text
    from neurodeploy.reporting.neurobench import neurobench_text
    from neurodeploy.reporting.text import (
        by_class_text,
        early_exit_text,
        overflow_text,
        spikes_text,
    )
    from neurodeploy.workflow.engines import check_engine, engine_remarks

    if engine is not None:
        check_engine(engine)
    if trace_state and trace is None:
        raise InputError("--trace-state needs --trace FILE.npz")
    loaded, samples = load_with_samples(deployment, as_json, choice, None)
    from neurodeploy.workflow.simulate import simulate as run

    result = run(
        loaded,
        samples,
        engine,
        trace=trace,
        trace_state=trace_state,
        strict=strict,
        metrics=metrics,
        forecast=forecast,
        early_exit=early_exit,
        timeout=timeout,
        workers=workers,
        scheduler=scheduler,
        resume=resume,
        progress=show_progress(),
    )
    if as_json:
        print_json(result.as_dict())
        return
    click.echo(f"Engine {result.engine}: {result.samples} samples ({result.origin})")
    for remark in engine_remarks([result.engine], loaded):
        click.echo(remark)
    if result.accuracy is not None:
        click.echo(f"Accuracy {result.accuracy:.2%}")
    if scored := by_class_text(result.predictions.summary()):
        click.echo(scored)
    if result.forecast is not None:
        click.echo(f"Forecast from its own predictions: {by_class_text(result.forecast.summary())}")
    click.echo(f"{result.samples_per_second:,.1f} samples/s ({result.seconds:.2f} s)")
    for name, spikes in result.spikes_per_sample.items():
        overflow = overflow_text(result.wraps.get(name, 0), result.saturations.get(name, 0))
        events = spikes_text(spikes, result.values_per_sample[name])
        click.echo(f"  {name:<16} {events}{overflow}")
    for name, count in result.clipped_weights.items():
        if count:
            click.echo(f"  {name}: {count:,} weights clipped when quantised")
    for warning in result.warnings:
        click.echo(f"Warning: {worded_here(warning)}")
    click.echo(estimate_text(result.estimate))
    if result.early_exit is not None:
        click.echo(early_exit_text(result.early_exit, result.estimate.checks))
    for found in result.metrics.values():
        click.echo(neurobench_text(found.as_dict()))
    click.echo(wrote(result.raster, trace, result.summary, result.report))
    click.echo("Next: neurodeploy validate")


@click.command()
@click.argument("deployment", required=False, type=PATH)
@click.option(
    "--engines",
    metavar="A,B",
    help=f"{ENGINE_NAMES}  [default: reference,lava, or lava-fused where that fits into memory]",
)
@click.option("--strict", is_flag=True, help="Fail where a population never spiked.")
@sample_options
@worker_options
@json_option
def validate(
    deployment: Path | None,
    engines: str | None,
    strict: bool,
    timeout: float | None,
    workers: int | None,
    scheduler: str | None,
    as_json: bool,
    **choice: Any,
) -> None:
    """Compare two engines on DEPLOYMENT (default: the newest): every population, step, sample.

    Exits with 1 when integer engines differ anywhere, and with --strict when a population is
    silent, so that nothing behind it was compared. Takes 64 samples unless told otherwise.
    """
    from neurodeploy.reporting.text import parity_text
    from neurodeploy.workflow.engines import check_engine, engine_remarks

    names = None if engines is None else tuple(engines.split(","))
    if names is not None and len(names) != 2:
        raise InputError(f"--engines {engines}: give two engines, for example reference,lava")
    for name in names or ():
        check_engine(name)
    loaded, samples = load_with_samples(deployment, as_json, choice, 64)
    from neurodeploy.workflow.validate import check_strict
    from neurodeploy.workflow.validate import validate as run

    result = run(
        loaded,
        samples,
        names,
        timeout=timeout,
        workers=workers,
        scheduler=scheduler,
        progress=show_progress(),
    )
    report = result.report
    if as_json:
        print_json({**result.as_dict(), "picture": str(result.picture)})
    else:
        for remark in engine_remarks(report.engines, loaded):
            click.echo(remark)
        click.echo(parity_text(report))
        for warning in result.warnings:
            click.echo(f"Warning: {worded_here(warning)}")
        click.echo(wrote(result.picture, result.summary, result.page))
    if report.exact and report.mismatches:
        sys.exit(1)
    if strict:
        check_strict(report)


@click.command()
@click.argument("deployment", nargs=-1, type=PATH, metavar="[DEPLOYMENT | RECIPE]")
@click.option(
    "--rule",
    type=click.Choice(["sltt", "delta"]),
    default="sltt",
    show_default=True,
    help="All layers by SLTT, or the output layer alone by Loihi's own three-factor rule.",
)
@click.option(
    "--task",
    type=click.Choice(["continue", "drift", "new-class", "scratch"]),
    default="continue",
    show_default=True,
    help="Go on with the training samples, meet them rotated, meet a class never seen, or begin "
    "with random weights.",
)
@click.option(
    "--samples",
    type=int,
    help="Samples to learn from.  [default: 1500, but none twice; drift: 500; new-class: 200; "
    "scratch: all, as often as the recipe has epochs]",
)
@click.option(
    "--degrees", type=float, help="Angle by which --task drift turns images.  [default: 25]"
)
@click.option(
    "--rate",
    metavar="2^-K",
    help="Learning rate, a power of two.  [default: the largest that moves no neuron too far]",
)
@click.option(
    "--halve",
    metavar="SHARE,...",
    help="Halve the rate after these shares of the stream, as 0.5,0.75, or none.  [default: none; "
    "scratch: 0.5,0.75,0.9]",
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
@click.option("--data", type=PATH, help="Where the data set lies now.")
@click.option("--target", help="With scratch: a chip, as for export.")
@click.option("--weight-bits", type=int, help="With scratch: width of all weights.")
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="With scratch: override a recipe key, e.g. training.epochs=1.",
)
@click.option(
    "--held-out", type=int, default=1000, show_default=True, help="At most so many test samples."
)
@click.option(
    "--ceiling/--no-ceiling",
    default=None,
    help="Have PyTorch learn in floats from the same samples, to compare with.  [default: yes; "
    "scratch: no]",
)
@click.option("--out", type=PATH, help="New folder.  [default: DEPLOYMENT-learned-NNN]")
@timeout_option
@json_option
def learn(
    deployment: tuple[Path, ...],
    task: str,
    rate: str | None,
    halve: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Let DEPLOYMENT (default: the newest) go on learning, sample by sample, on its integers.

    With --task scratch a RECIPE takes its place, whose network begins with random weights.

    Writes a new deployment with the learnt weights and leaves the old one as it is. In Lava,
    weights are compared with the integer reference after every update; exits with 1 when any
    differ, and writes nothing.
    """
    from neurodeploy.artifacts.deployment import read_deployment
    from neurodeploy.artifacts.folders import newest_deployment
    from neurodeploy.onchip.rates import parse_rate, parse_shares
    from neurodeploy.workflow.learning.learn import learn as run

    if len(deployment) > 1:
        given = " and ".join(map(str, deployment))
        raise InputError(
            f"learn begins with one network, found {given}: name a deployment, or with --task "
            "scratch a recipe"
        )
    options["rate"] = None if rate is None else parse_rate(rate)
    options["halve"] = None if halve is None else parse_shares(halve)
    chosen = next(iter(deployment), None)
    if task == "scratch":
        say(as_json, f"Recipe {chosen}, random weights")
        result = run(chosen, task, progress=show_progress(), **options)
    else:
        chosen = chosen or newest_deployment()
        loaded = read_deployment(chosen)
        say(as_json, f"Deployment {chosen}")
        result = run(loaded, task, progress=show_progress(), **options)
    if as_json:
        print_json(result.as_dict())
    else:
        click.echo(worded_here(result.text()))
    if result.mismatches:
        sys.exit(1)
