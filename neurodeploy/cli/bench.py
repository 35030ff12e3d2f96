"""``neurodeploy bench``: one sub-command for each thing that is measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from neurodeploy.cli.bench_conversion import bench_conversion
from neurodeploy.cli.bench_paper import bench_paper
from neurodeploy.cli.bench_pareto import bench_pareto
from neurodeploy.cli.bench_training import bench_gradients, bench_quantization, bench_train
from neurodeploy.cli.commands import Commands
from neurodeploy.cli.options import (
    COUNT,
    PATH,
    Positive,
    learning_rule_option,
    rounds_option,
    update_option,
)
from neurodeploy.cli.output import json_option, print_json, show_progress
from neurodeploy.cli.values import ANY, ENGINE_LIST, TARGET, Number


@click.group(cls=Commands)
def bench() -> None:
    """Measure speed, memory, accuracy and energy on this machine.

    Compare figures of one run only: they vary between machines and with their load.
    """


for command in (
    *(bench_train, bench_paper, bench_gradients, bench_quantization, bench_pareto),
    bench_conversion,
):
    bench.add_command(command)


@bench.command("simulate")
@click.option(
    "--network",
    metavar="NETWORK",
    default="mlp-784-256-10",
    show_default=True,
    help="Network, named by its layers.",
)
@click.option(
    "--T", "steps", type=COUNT, default=8, show_default=True, help="Time steps per sample."
)
@click.option(
    "--engines",
    type=ENGINE_LIST,
    help="Some of reference,lava-fused,lava and, for dense networks, yardstick.",
)
@click.option("--batch", type=COUNT, help="Samples at a time; as simulate when not given.")
@click.option(
    "--rate",
    type=Number("x", click.FloatRange(0, 1)),
    default=0.1,
    show_default=True,
    help="Probability that an input spikes in a step.",
)
@click.option(
    "--seconds",
    type=Positive(),
    default=3.0,
    show_default=True,
    help="How long each engine is timed.",
)
@rounds_option
@json_option
def bench_simulate(
    network: str,
    steps: int,
    engines: str | None,
    batch: int | None,
    rate: float,
    seconds: float,
    rounds: int,
    as_json: bool,
) -> None:
    """Measure speed and memory of each engine on a random network with random spikes.

    `yardstick` is the same network written by hand for Lava. Networks are named by their layers:
    mlp-784-256-10 is dense, conv-28-16-32-10 takes 28x28 images through two convolutions, and in
    rnn-700-512-20 hidden layers project to themselves and neurons have a current. resnet18
    (32x32 images) and vgg11 (48x48 frames) are those of the SLTT paper. Memory is that of all
    processes, what they share counted once.
    """
    from neurodeploy.bench.simulate import bench_simulate as measure

    named = [] if engines is None else engines.split(",")
    rows = measure(network, steps, named, seconds, rounds, batch, rate, show_progress())
    _show(rows, as_json)


@bench.command("learn")
@click.argument("deployment", required=False, type=PATH)
@learning_rule_option
@update_option
@click.option("--engines", type=ENGINE_LIST, help="Some of lava,lava-fused,reference.")
@click.option("--data", type=PATH, help="Where the deployment's data set is now.")
@click.option(
    "--seconds",
    type=Positive(),
    default=3.0,
    show_default=True,
    help="How long each engine is timed.",
)
@rounds_option
@json_option
def bench_learn(
    deployment: Path | None, engines: str | None, as_json: bool, **options: Any
) -> None:
    """Measure the speed of on-chip learning on each engine.

    Without DEPLOYMENT the newest is taken. Only learning is timed, in samples per second: neither
    starting Lava, nor comparing weights, nor measuring accuracy on held-out samples, which `learn`
    does too. `ratio` is relative to the slowest engine of the run.
    """
    from neurodeploy.artifacts.folders import newest_deployment
    from neurodeploy.bench.learn import bench_learn as measure

    chosen = deployment or newest_deployment()
    named = [] if engines is None else engines.split(",")
    rows = measure(chosen, engines=named, progress=show_progress(), **options)
    _show(rows, as_json)


@bench.command("mapping")
@click.option(
    "--network",
    metavar="NETWORK",
    help="A simulated deployment, resnet18, or layers by name as in bench simulate.  "
    "[default: resnet18]",
)
@click.option(
    "--neurons",
    type=ANY,
    help="Map generated networks of these numbers of neurons instead, e.g. 1e6,1e7,1e8.",
)
@click.option(
    "--target",
    type=TARGET,
    help="Target to place it on.  [default: kapoho-point; for generated networks hala-point]",
)
@json_option
def bench_mapping(
    network: str | None, neurons: list[float] | None, target: str | None, as_json: bool
) -> None:
    """Compare ways of placing a network: traffic between cores and chips, time and memory.

    `traffic` is what export uses; `first-fit` fills core after core; `round-robin` deals the parts
    of the network out to chips and tiles in turn. For a deployment, the spikes of its newest
    simulation are used; in other networks every neuron spikes once. Also says what limits the time
    of a step, on which core, and what would help.

    With `--neurons`, networks of four convolutions and four sparse layers are generated and mapped
    as export does: time, memory, and the exponents with which they grow. 100 million neurons take
    some minutes and 4 GB.
    """
    from dataclasses import asdict

    if neurons is not None:
        _bench_growth(neurons, network, target or "hala-point", as_json)
        return

    from neurodeploy.bench.mapping import bench_mapping as measure
    from neurodeploy.bench.mapping import mapping_text

    rows = list(measure(network or "resnet18", target or "kapoho-point"))
    if as_json:
        print_json({"rows": [asdict(row) for row in rows]})
    else:
        click.echo(mapping_text(rows))


def _bench_growth(neurons: list[float], network: str | None, target: str, as_json: bool) -> None:
    from dataclasses import asdict

    from neurodeploy.bench.growth import bench_growth as measure
    from neurodeploy.bench.growth import fitted, growth_text

    if network is not None:
        raise click.UsageError("give either --network or --neurons")
    rows = list(measure(neurons, target))
    if as_json:
        growth = fitted(rows)
        found = {"growth": growth and asdict(growth)}
        print_json({"rows": [asdict(row) for row in rows], **found})
    else:
        click.echo(growth_text(rows))


@bench.command("estimates")
@click.option(
    "--target",
    "targets",
    type=TARGET,
    multiple=True,
    help="Target whose measured figures are compared; repeatable.  [default: loihi1, loihi2]",
)
@json_option
def bench_estimates(targets: tuple[str, ...], as_json: bool) -> None:
    """Compare estimates of energy and time with measurements published for chips.

    Two networks are simulated as they were measured, from files that lava-dl installs. Only the
    sizes of the others are published, so they are estimated at a low and at a high spike rate.
    `ratio` is estimate divided by measurement. Also says what was fitted to a measurement, and what
    is skipped.
    """
    from dataclasses import asdict

    from neurodeploy.bench.estimates import CHIPS, estimates_text
    from neurodeploy.bench.estimates import bench_estimates as measure

    found = measure(targets or CHIPS)
    if as_json:
        print_json(asdict(found))
    else:
        click.echo(estimates_text(found))


@bench.command("busy")
@click.option(
    "--network",
    metavar="NETWORK",
    default="conv-28-16-32-10",
    show_default=True,
    help="Network, named by its layers.",
)
@click.option(
    "--T", "steps", type=COUNT, default=4, show_default=True, help="Time steps per sample."
)
@click.option(
    "--batch", type=COUNT, default=64, show_default=True, help="Samples per iteration of training."
)
@click.option(
    "--subjects",
    default="sltt,reference,lava-fused",
    show_default=True,
    metavar="A,B,...",
    help="sltt for an iteration of training, or engines as in bench simulate.",
)
@click.option(
    "--seconds", type=Positive(), default=3.0, show_default=True, help="How long each is timed."
)
@rounds_option
@json_option
def bench_busy(subjects: str, as_json: bool, **options: Any) -> None:
    """Compare speed with and without another program on one core."""
    from neurodeploy.bench.busy import bench_busy as measure

    rows = measure(subjects=subjects.split(","), progress=show_progress(), **options)
    _show(rows, as_json)


def _show(rows: Sequence[Any], as_json: bool) -> None:
    """Rows of a dataclass, as JSON or as a table with its fields as headings."""
    from dataclasses import asdict, astuple

    from neurodeploy.reporting.text import table_text

    if as_json:
        print_json({"rows": [asdict(row) for row in rows]})
    else:
        click.echo(table_text(list(asdict(rows[0])), [astuple(row) for row in rows]))
