"""Commands that run a deployment: ``simulate``, ``validate`` and ``learn``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from neurodeploy.cli.options import (
    BITS,
    ENGINE_NAMES,
    NUMBER,
    PATH,
    WHOLE_NUMBER,
    device_for,
    device_option,
    load_with_samples,
    numbers_option,
    sample_options,
    seed_option,
    timeout_option,
    update_option,
    worker_options,
)
from neurodeploy.cli.output import json_option, print_json, say, show_progress, wrote
from neurodeploy.cli.values import ENGINE, ENGINE_LIST, TARGET
from neurodeploy.cli.wording import worded_here
from neurodeploy.errors import InputError


@click.command()
@click.argument("deployment", required=False, type=PATH)
@click.option(
    "--engine",
    type=ENGINE,
    help=f"{ENGINE_NAMES}  [default: lava, or lava-fused where only that fits into memory]",
)
@sample_options
@click.option(
    "--trace", type=PATH, metavar="FILE", help="Write the spikes of every population to an .npz."
)
@click.option("--trace-state", is_flag=True, help="Write u and v to the trace as well.")
@click.option("--strict", is_flag=True, help="Fail on any wrap of u or saturation of v.")
@click.option(
    "--metrics",
    multiple=True,
    metavar="NAME",
    help="Further metrics; repeatable. neurobench: those of the NeuroBench harness, and the memory "
    "footprint at the deployed bit widths.",
)
@click.option(
    "--forecast",
    is_flag=True,
    help="For time series: also predict the test part from the network's own predictions.",
)
@click.option(
    "--early-exit",
    type=NUMBER,
    metavar="MARGIN",
    help="Also read each class as soon as it leads the second by this margin.",
)
@click.option(
    "--resume", is_flag=True, help="Continue a simulation that was interrupted or killed."
)
@device_option
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
    device: str,
    as_json: bool,
    **choice: Any,
) -> None:
    """Simulate a deployment on its test set or on your own samples.

    Without DEPLOYMENT the newest is taken. Prints accuracy, spikes, overflow and an estimate of
    energy and time on the chip; adds a raster and report.html to the deployment.
    """
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
    shared = workers is not None or scheduler is not None
    device = device_for(device, as_json, [] if engine is None else [engine], shared)
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
        device=device,
        all_cores=True,
        resume=resume,
        progress=show_progress(),
    )
    if as_json:
        print_json({**result.as_dict(), "summary": str(result.summary)})
        return
    where = "" if result.device == "cpu" else f" on {result.device}"
    click.echo(f"Engine {result.engine}{where}: {result.samples} samples ({result.origin})")
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
    say(as_json, "Next: neurodeploy validate")


@click.command()
@click.argument("deployment", required=False, type=PATH)
@click.option(
    "--engines",
    type=ENGINE_LIST,
    metavar="A,B",
    help=f"{ENGINE_NAMES}  [default: reference,lava, or lava-fused where that fits into memory]",
)
@click.option("--strict", is_flag=True, help="Fail if a population never spiked.")
@sample_options
@device_option
@worker_options
@json_option
def validate(
    deployment: Path | None,
    engines: str | None,
    strict: bool,
    timeout: float | None,
    workers: int | None,
    scheduler: str | None,
    device: str,
    as_json: bool,
    **choice: Any,
) -> None:
    """Compare two engines on a deployment, value by value.

    Without DEPLOYMENT the newest is taken, and 64 samples. Every population, step and sample is
    compared. The exit code is 1 if integer engines differ anywhere, and with --strict if a
    population was silent, so that nothing after it was tested.
    """
    from neurodeploy.reporting.text import parity_text
    from neurodeploy.workflow.engines import check_engine, engine_remarks

    names = None if engines is None else tuple(engines.split(","))
    if names is not None and len(names) != 2:
        raise InputError(f"--engines {engines}: give two engines, for example reference,lava")
    for name in names or ():
        check_engine(name)
    shared = workers is not None or scheduler is not None
    device = device_for(device, as_json, ["reference"] if names is None else names, shared)
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
        device=device,
        progress=show_progress(),
    )
    report = result.report
    if as_json:
        places = {"picture": result.picture, "summary": result.summary, "report": result.page}
        print_json(
            {
                **result.as_dict(),
                "deployment": str(loaded.path),
                **{name: str(path) for name, path in places.items()},
            }
        )
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
@click.argument("deployment", nargs=-1, type=PATH, metavar="[DEPLOYMENT|RECIPE]")
@click.option(
    "--rule",
    type=click.Choice(["sltt", "eprop", "local", "delta", "prototypes"]),
    default="sltt",
    show_default=True,
    help="sltt trains all layers; so does eprop, with traces of earlier steps, and local, without "
    "sending errors backward; delta trains the output layer by Loihi's three-factor rule; "
    "prototypes replaces the output layer by a prototype of each class.",
)
@click.option(
    "--task",
    type=click.Choice(["continue", "drift", "new-class", "scratch"]),
    default="continue",
    show_default=True,
    help="Continue with the training samples, adapt to changed ones, learn unseen classes, or "
    "start from random weights.",
)
@click.option(
    "--samples",
    type=WHOLE_NUMBER,
    help="Samples to learn from.  [default: at most 1500, each once; drift: 500, or 1000 of a "
    "speaker; new-class: 200; scratch: all, once per epoch of the recipe]",
)
@click.option(
    "--degrees", type=NUMBER, help="Angle by which --task drift turns images.  [default: 25]"
)
@click.option(
    "--drift",
    type=click.Choice(["rotation", "noise", "dead", "gain", "speaker"]),
    default="rotation",
    show_default=True,
    help="What --task drift does: turn images, add noise, silence a quarter of the inputs, "
    "weaken all values, or switch to the speaker that training left out.",
)
@click.option(
    "--replay",
    type=WHOLE_NUMBER,
    help="Samples of known classes, or of known speakers with --drift speaker, after each new "
    "sample.  [default: new-class: 9, or 0 with --rule prototypes; speaker: 0]",
)
@click.option(
    "--classes",
    "order",
    metavar="A,B,...",
    callback=numbers_option,
    help="Classes that --task new-class learns one after the other.  [default: those that training "
    "left out, together]",
)
@click.option(
    "--rate",
    metavar="2^-K",
    help="Learning rate, a power of two.  [default: the largest that changes no potential too "
    "much; prototypes: 2^-5]",
)
@click.option(
    "--halve",
    metavar="X,...",
    help="Halve the rate after these shares of the stream, for example 0.5,0.75; or none.  "
    "[default: none; scratch: 0.5,0.75,0.9; a speaker: 0.5,0.75]",
)
@update_option
@click.option(
    "--feedback",
    type=click.Choice(["transposed", "random"]),
    default="transposed",
    show_default=True,
    help="Weights that carry errors backward: the layer's own, or fixed random ones.",
)
@seed_option
@click.option(
    "--target", type=TARGET, help="With scratch: a name from `neurodeploy targets`, or a TOML file."
)
@click.option("--weight-bits", type=BITS, help="With scratch: width of all weights, 1 to 8.")
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="With scratch: override a recipe key, e.g. training.epochs=1; repeatable.",
)
@click.option(
    "--engine",
    type=ENGINE,
    default="lava",
    show_default=True,
    help="lava, lava-fused or reference.",
)
@click.option("--data", type=PATH, help="Where the deployment's data set is now.")
@click.option(
    "--held-out",
    type=WHOLE_NUMBER,
    default=1000,
    show_default=True,
    help="Largest number of test samples.",
)
@click.option(
    "--ceiling/--no-ceiling",
    default=None,
    help="Also let PyTorch learn in floats from the same samples, for comparison.  [default: yes; "
    "scratch: no]",
)
@click.option(
    "--out", type=PATH, metavar="FOLDER", help="New folder.  [default: DEPLOYMENT-learned-NNN]"
)
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
    """Let a deployment continue learning on its integers, sample by sample.

    Without DEPLOYMENT the newest is taken; with --task scratch, give a RECIPE instead, whose
    network starts with random weights. Writes a new deployment with the learnt weights and leaves
    the old one unchanged. In Lava, weights are compared with the integer reference after every
    update; if any differ, nothing is written and the exit code is 1.
    """
    from neurodeploy.artifacts.deployment import read_deployment
    from neurodeploy.artifacts.folders import newest_deployment
    from neurodeploy.onchip.rates import parse_rate, parse_shares
    from neurodeploy.workflow.learning.learn import learn as run

    if len(deployment) > 1:
        given = " and ".join(map(str, deployment))
        raise InputError(
            f"learn starts from one network, found {given}: name a deployment, or with --task "
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
