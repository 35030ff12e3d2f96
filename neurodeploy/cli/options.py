"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from neurodeploy.cli.defaults import was_typed
from neurodeploy.cli.output import say
from neurodeploy.cli.values import (
    DEVICE,
    ENGINES,
    FRAMEWORK,
    FRAMEWORKS,
    TRACKER,
    TRACKERS,
    Number,
    listed,
)
from neurodeploy.cli.wording import COMPARISONS, SWITCHES
from neurodeploy.ir.per_node import ALL

PATH = click.Path(path_type=Path)

COUNT = Number("n", click.IntRange(1, 2**31 - 1))
BITS = Number("n", click.IntRange(1, 8))
FROM_ZERO = Number("n", click.IntRange(0))
WHOLE_NUMBER = Number("n", click.INT)
NUMBER = Number("x", click.FLOAT)


class Positive(Number):
    """A number above 0."""

    def __init__(self) -> None:
        super().__init__("x", click.FloatRange(min=0, min_open=True))


ENGINE_NAMES = f"{listed(ENGINES)}."
seed_option = click.option("--seed", type=WHOLE_NUMBER, default=0, help="Seed of random draws.")
timeout_option = click.option(
    "--timeout",
    type=Positive(),
    metavar="SECONDS",
    help="Wall-clock limit for Lava.",
)


learning_rule_option = click.option(
    "--rule",
    type=click.Choice(["sltt", "local", "delta"]),
    default="sltt",
    show_default=True,
    help="sltt trains all layers; local does so without sending errors backward; delta trains the "
    "output layer by Loihi's three-factor rule.",
)
update_option = click.option(
    "--update",
    type=click.Choice(["sample", "step"]),
    default="sample",
    show_default=True,
    help="Change weights once per sample, or after each of its steps.",
)
rounds_option = click.option(
    "--rounds",
    type=COUNT,
    default=3,
    show_default=True,
    help="How often each is timed, in turns; the median counts.",
)
recipe_data_option = click.option(
    "--data", type=PATH, help="Where the recipe's data set is, as for train."
)
track_option = click.option(
    "--track",
    type=TRACKER,
    multiple=True,
    help=f"Also log the epochs to {listed(TRACKERS)}; repeatable. The service's own environment "
    "variables say where it is.",
)


def worker_options(command: Any) -> Any:
    """Options that spread work over processes or machines."""
    for option in (
        click.option(
            "--workers",
            type=COUNT,
            help="Share the work among N processes of this machine; the result is the same.",
        ),
        click.option(
            "--scheduler",
            metavar="ADDRESS",
            help="Share the work among the workers of a Dask scheduler, e.g. tcp://10.0.0.1:8786.",
        ),
    ):
        command = option(command)
    return command


device_option = click.option(
    "--device",
    type=DEVICE,
    default="cpu",
    show_default=True,
    help="Where engine reference computes: cpu, cuda, cuda:1, or auto for a GPU if there is one.",
)


def device_for(device: str, as_json: bool, engines: Sequence[str], shared: bool) -> str:
    """The device asked for; the CPU where it is a mere default, and does not go with the rest.

    Args:
        engines: that were named.
        shared: whether other processes do the work.
    """
    fits = "reference" in engines and not shared
    if device == "cpu" or fits or was_typed("device"):
        return device
    if device != "auto":
        say(as_json, f"The default device {device} cannot be used for this; computing on the CPU")
    return "cpu"


def sample_options(command: Any) -> Any:
    """Options that choose samples, shared by simulate and validate."""
    for option in (
        click.option("--samples", type=WHOLE_NUMBER, help="Largest number of samples."),
        click.option(
            "--data",
            type=PATH,
            help="Samples: an .npz with x, of shape (N, T, *input) or (N, *input), integers up to "
            "the network's levels, and optional y; or one with x_test and y_test; or the folder of "
            "the data set trained on.",
        ),
        click.option(
            "--scale-floats",
            is_flag=True,
            help="With --data: multiply floats from 0 to 1 by the network's levels, and round.",
        ),
        click.option(
            "--random",
            "random_count",
            type=WHOLE_NUMBER,
            help="N random samples instead of data.",
        ),
        click.option(
            "--rate",
            type=NUMBER,
            default=0.1,
            show_default=True,
            help="With --random: probability of a spike.",
        ),
        seed_option,
        timeout_option,
    ):
        command = option(command)
    return command


def stated_options(command: Any) -> Any:
    """Options that state what a .nir file leaves open, shared by export and train."""
    options = (
        click.option(
            "--from",
            "framework",
            type=FRAMEWORK,
            help="The framework that wrote the .nir file, which says how neurons are stepped: "
            f"{listed(FRAMEWORKS)}. The options below override it.",
        ),
        click.option("--dt", type=NUMBER, help="Seconds per step."),
        _per_node(
            "--reset",
            values={word: word for word in ("zero", "subtract", "none")},
            help="What a spike does to v, for all nodes or one; repeatable.",
        ),
        _per_node(
            "--reset-delay",
            values=SWITCHES,
            help="Whether resets come one step late, as in snnTorch; for all nodes or one.",
        ),
        _per_node(
            "--compare",
            "comparison",
            values=COMPARISONS,
            help="Fire at v > threshold (gt) or v >= threshold (ge); for all nodes or one.",
        ),
        click.option(
            "--integrator",
            type=click.Choice(["euler", "exponential"]),
            help="How leaks are discretised.",
        ),
        click.option(
            "--gain",
            type=click.Choice(["nir", "one"]),
            help="Scale a neuron's input by its r and tau, as NIR says, or by one.",
        ),
        click.option("--steps", type=WHOLE_NUMBER, help="Time steps per sample."),
        click.option(
            "--encoder",
            type=click.Choice(["direct", "rate", "latency", "events"]),
            help="How samples become input spikes or values.",
        ),
        click.option("--levels", type=WHOLE_NUMBER, help="Largest integer of the input."),
        click.option(
            "--decode",
            type=click.Choice(["last_v", "sum_v", "spike_count"]),
            help="How the class is read from the output.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def _per_node(*names: str, values: Mapping[str, Any], help: str) -> Any:
    """An option that takes VALUE for all nodes and NODE=VALUE for one, any number of times.

    The function gets what the library takes: None, one value, or a table by node.
    """

    def read(context: click.Context, parameter: click.Parameter, given: tuple[str, ...]) -> Any:
        found: dict[str, Any] = {}
        for text in given:
            node, _, word = text.rpartition("=")
            if word not in values:
                choices = ", ".join(values)
                raise click.BadParameter(
                    f"{text!r}: expected one of {choices}, for all nodes, or NODE= before it"
                )
            if (node or ALL) in found:
                raise click.BadParameter(f"{text!r}: stated twice for {node or 'all nodes'}")
            found[node or ALL] = values[word]
        return found.get(ALL) if found.keys() <= {ALL} else found

    metavar = f"[NODE=]{'|'.join(values)}"
    return click.option(*names, multiple=True, metavar=metavar, callback=read, help=help)


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


def numbers_option(
    context: click.Context, parameter: click.Parameter, text: str | None
) -> tuple[int, ...]:
    """Numbers from 0 between commas; none when the option is not given."""
    numbers = [] if text is None else [number.strip() for number in text.split(",")]
    if not all(number.isdecimal() and len(number) < 10 for number in numbers):
        raise click.BadParameter("expected numbers of classes such as 5,6,7")
    return tuple(map(int, numbers))


def load_with_samples(
    path: Path | None, as_json: bool, choice: dict[str, Any], default_count: int | None
) -> tuple[Any, Any]:
    """The deployment and the samples that the options mean."""
    from neurodeploy.artifacts.deployment import read_deployment
    from neurodeploy.artifacts.folders import newest_deployment
    from neurodeploy.workflow.samples import choose_samples

    chosen = path or newest_deployment()
    loaded = read_deployment(chosen)
    say(as_json, f"Deployment {chosen}")
    return loaded, choose_samples(loaded.network, default_count=default_count, **choice)
