"""The command line: parse, call one library function, print.

Imports stay inside the commands, so that ``--help`` does not wait for torch or Lava.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from neurodeploy.errors import InputError, NeurodeployError

PATH = click.Path(path_type=Path)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
ENGINE_NAMES = "reference, lava, lava-fused or float."
seed_option = click.option("--seed", type=int, default=0, help="Seed of random draws.")


class _Commands(click.Group):
    """Turns this package's errors into one message and an exit code, never a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except NeurodeployError as error:
            click.echo(f"Error: {error}", err=True)
            ctx.exit(error.exit_code)
        except KeyboardInterrupt:
            click.echo("Interrupted.", err=True)
            ctx.exit(130)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="neurodeploy")
def main() -> None:
    """Train spiking networks, deploy them to Loihi-style targets, and know that they match.

    Without arguments each command takes the newest output of the one before:

    \b
        neurodeploy train
        neurodeploy export --target loihi2
        neurodeploy simulate
        neurodeploy validate
    """


@main.command()
@click.argument("recipe", required=False)
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override a recipe key, e.g. training.epochs=5.",
)
@click.option(
    "--rule",
    metavar="NAME",
    help="Train by this rule instead: sltt, sltt-k, bptt, ottt or rate, with its default options; "
    "--set rule.K=2 sets one.",
)
@click.option("--seed", type=int, help="Seed; the recipe's when not given.")
@click.option(
    "--data",
    type=PATH,
    metavar="FILE or FOLDER",
    help="Where the recipe's data set lies: an .npz with x_train, y_train, x_test and y_test, or a "
    "folder with the official files.",
)
@click.option(
    "--init",
    metavar="RUN",
    help="Start with the best weights of this run, or of the newest run of this recipe.",
)
@click.option("--device", default="cpu", show_default=True, help="Where to train, e.g. cuda.")
@click.option("--out", type=PATH, help="Run folder.  [default: runs/RECIPE-NNN]")
@click.option("--resume", type=PATH, metavar="RUN", help="Go on with an interrupted run.")
@json_option
def train(
    recipe: str | None,
    overrides: tuple[str, ...],
    rule: str | None,
    seed: int | None,
    data: Path | None,
    init: str | None,
    device: str,
    out: Path | None,
    resume: Path | None,
    as_json: bool,
) -> None:
    """Train RECIPE (a name from `neurodeploy models` or a TOML file; default digits_conv)."""
    options = (recipe, overrides, rule, data, init, out)
    if resume and (any(options) or seed is not None):
        raise InputError("--resume takes everything from the run; give it alone (or with --device)")
    from neurodeploy.recipe import load_recipe

    if resume is None:
        if seed is not None:
            overrides = (*overrides, f"seed={seed}")
        if data is not None:
            overrides = (*overrides, f"data.path={json.dumps(str(data.absolute()))}")
        if init is not None:
            overrides = (*overrides, f"training.start_from={json.dumps(init)}")
        if rule is not None:
            # The whole table, and first: options of the recipe's rule are not this one's.
            overrides = (f"rule={{name = {json.dumps(rule)}}}", *overrides)
        chosen = load_recipe(recipe or "digits_conv", overrides)
        _say(as_json, f"Training {chosen.name}: {chosen.description}")
        from neurodeploy.training.run import train as train_recipe

        result = train_recipe(chosen, out, device=device)
    else:
        _say(as_json, f"Resuming {resume}")
        from neurodeploy.training.run import resume_run

        result = resume_run(resume, device=device)
    if as_json:
        _print_json(
            {
                "run": str(result.path),
                "test_accuracy": result.test_accuracy,
                "validation_accuracy": result.validation_accuracy,
                "best_epoch": result.best_epoch,
                "epochs": result.epochs,
                "seconds": result.seconds,
            }
        )
        return
    click.echo(
        f"Test accuracy {result.test_accuracy:.2%} with the weights of epoch {result.best_epoch} "
        f"of {result.epochs} (validation {result.validation_accuracy:.2%}), "
        f"{result.seconds:.1f} s of training\n"
        f"Wrote {result.path}/ (network.nir, learning_curve.png, metrics.jsonl)\n"
        "Next: neurodeploy export --target loihi2"
    )


@main.command()
@click.argument("source", required=False, type=PATH, metavar="[RUN or FILE.nir]")
@click.option("--target", required=True, help="A name from `neurodeploy targets`, or a TOML file.")
@click.option("--out", type=PATH, help="New folder.  [default: deployments/NAME-TARGET-NNN]")
@click.option(
    "--weight-bits",
    type=click.IntRange(1, 8),
    help="Width of all weights; the target's when not given.",
)
@click.option("--dt", type=float, help="Seconds per step.")
@click.option("--reset", type=click.Choice(["zero", "subtract"]), help="What a spike does to v.")
@click.option("--compare", type=click.Choice(["gt", "ge"]), help="Fire at v > or >= threshold.")
@click.option("--integrator", type=click.Choice(["euler", "exponential"]), help="How leaks step.")
@click.option("--steps", type=int, help="Time steps per sample.")
@click.option(
    "--encoder",
    type=click.Choice(["direct", "rate", "latency", "events"]),
    help="How samples become input.",
)
@click.option("--levels", type=int, help="Largest integer of the input.")
@click.option(
    "--decode", type=click.Choice(["last_v", "sum_v", "spike_count"]), help="How the class is read."
)
@json_option
def export(
    source: Path | None,
    target: str,
    out: Path | None,
    weight_bits: int | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Quantise a network, map it to a target and write a deployment.

    Takes the newest run in runs/ when no source is given. The semantic options (--dt to --decode)
    state what a .nir file from elsewhere leaves open, or override what ours says.
    """
    from neurodeploy.workflow.export import ContractOptions
    from neurodeploy.workflow.export import export as export_network

    result = export_network(
        source, target, out, weight_bits=weight_bits, options=ContractOptions(**options)
    )
    if as_json:
        _print_json(
            {
                "deployment": str(result.path),
                "source": str(result.source),
                "target": target,
                "mapping": result.mapping.to_dict(),
                "notes": result.network.notes,
            }
        )
        return
    click.echo(f"Exported {result.source} to {target}")
    click.echo(result.mapping.summary())
    for where, note in result.network.notes.items():
        click.echo(f"Note: {where}: {note}")
    click.echo(f"Wrote {result.path}/\nNext: neurodeploy simulate")


def _sample_options(command: Any) -> Any:
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
        click.option("--timeout", type=float, metavar="SECONDS", help="Wall-clock limit for Lava."),
    ):
        command = option(command)
    return command


@main.command()
@click.argument("deployment", required=False, type=PATH)
@click.option(
    "--engine", default="lava", show_default=True, help="reference, lava, lava-fused or float."
)
@_sample_options
@click.option(
    "--trace", type=PATH, metavar="FILE.npz", help="Write the spikes of every population."
)
@click.option("--trace-state", is_flag=True, help="Write u and v to the trace as well.")
@click.option("--strict", is_flag=True, help="Fail on any wrap, saturation or clipped weight.")
@json_option
def simulate(
    deployment: Path | None,
    engine: str,
    trace: Path | None,
    trace_state: bool,
    strict: bool,
    timeout: float | None,
    as_json: bool,
    **choice: Any,
) -> None:
    """Simulate DEPLOYMENT (default: the newest) on its test set or on samples of yours."""
    from neurodeploy.reporting.text import overflow_text
    from neurodeploy.workflow.engines import check_engine

    check_engine(engine)
    if trace_state and trace is None:
        raise InputError("--trace-state needs --trace FILE.npz")
    loaded, samples = _load(deployment, as_json, choice, None)
    from neurodeploy.workflow.simulate import simulate as run

    result = run(
        loaded,
        samples,
        engine,
        trace=trace,
        trace_state=trace_state,
        strict=strict,
        timeout=timeout,
        progress=_show_progress(),
    )
    if as_json:
        _print_json(result.as_dict())
        return
    click.echo(f"Engine {result.engine}: {result.samples} samples ({result.origin})")
    if result.accuracy is not None:
        click.echo(f"Accuracy {result.accuracy:.2%}")
    click.echo(f"{result.samples_per_second:,.1f} samples/s ({result.seconds:.2f} s)")
    for name, spikes in result.spikes_per_sample.items():
        overflow = overflow_text(result.wraps.get(name, 0), result.saturations.get(name, 0))
        click.echo(f"  {name:<16} {spikes:12,.1f} spikes per sample{overflow}")
    for name, count in result.clipped_weights.items():
        if count:
            click.echo(f"  {name}: {count:,} weights clipped when quantised")
    click.echo(f"Wrote {result.raster}" + (f" and {trace}" if trace else ""))
    click.echo("Next: neurodeploy validate")


@main.command()
@click.argument("deployment", required=False, type=PATH)
@click.option(
    "--engines", default="reference,lava", show_default=True, metavar="A,B", help=ENGINE_NAMES
)
@_sample_options
@json_option
def validate(
    deployment: Path | None, engines: str, timeout: float | None, as_json: bool, **choice: Any
) -> None:
    """Compare two engines on DEPLOYMENT (default: the newest): every population, step, sample.

    Exits with 1 when integer engines differ anywhere. Takes 64 samples unless told otherwise.
    """
    from neurodeploy.reporting.text import parity_text
    from neurodeploy.workflow.engines import check_engine

    names = tuple(engines.split(","))
    if len(names) != 2:
        raise InputError(f"--engines {engines}: give two engines, for example reference,lava")
    for name in names:
        check_engine(name)
    loaded, samples = _load(deployment, as_json, choice, 64)
    from neurodeploy.workflow.validate import validate as run

    result = run(loaded, samples, names, timeout=timeout, progress=_show_progress())
    report = result.report
    if as_json:
        _print_json({**report.as_dict(), "picture": str(result.picture)})
    else:
        click.echo(parity_text(report))
        click.echo(f"Wrote {result.picture} and {result.summary}")
    if report.exact and report.mismatches:
        sys.exit(1)


@main.command()
@json_option
def targets(as_json: bool) -> None:
    """List the built-in targets with their limits."""
    from dataclasses import asdict

    from neurodeploy.target import builtin_targets

    found = builtin_targets()
    if as_json:
        _print_json({name: asdict(target) for name, target in found.items()})
        return
    for name, target in found.items():
        cores = target.chip.cores.value * target.chip.chips.value
        neurons = target.core.neurons.value
        click.echo(f"{name:<14} {target.description}: {cores:,} cores of {neurons:,} neurons")


@main.command()
@json_option
def models(as_json: bool) -> None:
    """List the built-in training recipes."""
    from neurodeploy.recipe import builtin_recipes

    found = builtin_recipes()
    if as_json:
        _print_json({name: recipe.as_dict() for name, recipe in found.items()})
        return
    width = max(map(len, found))
    for name, recipe in found.items():
        click.echo(f"{name:<{width}} {recipe.description}")


@main.command()
@click.argument("file", type=PATH)
def inspect(file: Path) -> None:
    """Say what is in a .nir file, a training run or a deployment."""
    from neurodeploy.workflow.inspection import describe

    click.echo(describe(file))


@main.command()
@json_option
def doctor(as_json: bool) -> None:
    """Say which versions are here, what works, and how to get what is missing."""
    from dataclasses import asdict

    from neurodeploy.workflow.doctor import examine

    findings = examine()
    if as_json:
        _print_json({"findings": [asdict(finding) for finding in findings]})
    else:
        for finding in findings:
            state = "ok" if finding.works else ("MISSING" if finding.needed else "absent")
            click.echo(f"{finding.name:<14} {finding.detail:<16} {state}")
            if not finding.works:
                click.echo(f"{'':<14} {finding.advice}")
    if any(finding.needed and not finding.works for finding in findings):
        sys.exit(1)


@main.group()
def bench() -> None:
    """Measure on this machine; compare figures of one run, machines are noisy."""


@bench.command("simulate")
@click.option("--network", default="mlp-784-256-10", show_default=True, help="Layers, by name.")
@click.option("--T", "steps", default=8, show_default=True, help="Steps per sample.")
@click.option(
    "--engines", default="reference,lava-fused,lava,yardstick", show_default=True, metavar="A,B,..."
)
@click.option("--seconds", default=3.0, show_default=True, help="Time each engine so long.")
@click.option("--rounds", default=3, show_default=True, help="Take turns; the median counts.")
@json_option
def bench_simulate(
    network: str, steps: int, engines: str, seconds: float, rounds: int, as_json: bool
) -> None:
    """Samples per second and memory of each engine on a random network with random spikes.

    `yardstick` is the same network written by hand for Lava. Networks are named by their layers:
    mlp-784-256-10 is dense, conv-28-16-32-10 takes 28x28 images through two convolutions.
    """
    from dataclasses import asdict, astuple

    from neurodeploy.bench.simulate import bench_simulate as measure
    from neurodeploy.reporting.text import table_text

    rows = list(measure(network, steps, engines.split(","), seconds, rounds))
    if as_json:
        _print_json({"rows": [asdict(row) for row in rows]})
    else:
        click.echo(table_text(list(asdict(rows[0])), [astuple(row) for row in rows]))


def _load(
    path: Path | None, as_json: bool, choice: dict[str, Any], default_count: int | None
) -> tuple[Any, Any]:
    """The deployment and the samples that the options mean."""
    from neurodeploy.deployment import read_deployment
    from neurodeploy.workflow.locate import newest_deployment
    from neurodeploy.workflow.samples import choose_samples

    chosen = path or newest_deployment()
    loaded = read_deployment(chosen)
    _say(as_json, f"Deployment {chosen}")
    return loaded, choose_samples(loaded.network, default_count=default_count, **choice)


def _say(as_json: bool, text: str) -> None:
    """Human text; on stderr when stdout carries JSON."""
    click.echo(text, err=as_json)


def _show_progress() -> bool:
    return sys.stderr.isatty()


def _print_json(value: dict[str, Any]) -> None:
    click.echo(json.dumps(value, default=str))
