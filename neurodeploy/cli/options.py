"""Options and output that several commands share, and the library's texts in their words.

Here alone names of the library are turned into those of the command line: settings into options,
functions into commands, and errors into a message and an exit code.
"""

from __future__ import annotations

import json
import logging
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from neurodeploy.cli.defaults import was_typed
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
from neurodeploy.errors import Named, Setting, Text, Value
from neurodeploy.ir.per_node import ALL
from neurodeploy.support.processes import is_main
from neurodeploy.support.system import version_of

PATH = click.Path(path_type=Path)

COMPARISONS = {"gt": ">", "ge": ">="}
"""When a neuron fires, in words that no shell takes for a redirection."""

SWITCHES = {"yes": True, "no": False}

KEYS = {
    "seed": "seed",
    "data.path": "data",
    "training.start_from": "init",
    "training.precision": "precision",
    "quantize.target": "target",
}
"""Keys of a recipe that have options of their own."""


COUNT = Number("n", click.IntRange(1, 2**31 - 1))
BITS = Number("n", click.IntRange(1, 8))
FROM_ZERO = Number("n", click.IntRange(0))
WHOLE_NUMBER = Number("n", click.INT)
NUMBER = Number("x", click.FLOAT)


class Positive(Number):
    """A number above 0."""

    def __init__(self) -> None:
        super().__init__("x", click.FloatRange(min=0, min_open=True))


VERBOSITY = "neurodeploy.verbosity"
"""Key in a context's ``meta``: the level of what is told on stderr, where it was chosen."""

_JSON = "neurodeploy.json"

PATHS = (
    *("run", "source", "deployment", "file", "folder", "network"),
    *("summary", "raster", "picture", "report", "trace", "log"),
)
"""Keys of a command's JSON that name a file or folder: the envelope's ``paths`` repeat them."""


def _note_json(context: click.Context, parameter: click.Parameter, given: bool) -> bool:
    context.meta[_JSON] = given
    return given


json_option = click.option(
    "--json",
    "as_json",
    is_flag=True,
    is_eager=True,
    callback=_note_json,
    help="Print one JSON object.",
)
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


def say(as_json: bool, text: str) -> None:
    """A remark for people, of the main process; on stderr when stdout carries JSON."""
    if is_main() and not is_quiet():
        click.echo(text, err=as_json)


def is_quiet() -> bool:
    """Whether only results, warnings and errors are asked for."""
    context = click.get_current_context(silent=True)
    return context is not None and context.meta.get(VERBOSITY) == logging.WARNING


def show_progress() -> bool:
    """Whether a progress bar has somebody to see it."""
    return sys.stderr.isatty() and not is_quiet()


def wants_json(context: click.Context | None) -> bool:
    """Whether the command is to print JSON."""
    return context is not None and bool(context.meta.get(_JSON))


def print_json(value: Mapping[str, Any]) -> None:
    """One JSON object on stdout, from the main process: the command's own keys in an envelope."""
    context = click.get_current_context()
    found = {name: value.get(name) for name in PATHS}
    paths = {
        name: str(path) for name, path in found.items() if path and isinstance(path, str | Path)
    }
    _print_envelope(_path_of(context), paths, value)


def print_error(context: click.Context | None, kind: str, message: str, exit_code: int) -> None:
    """The object in place of a command's, when it fails."""
    error = {"kind": kind, "message": message, "exit_code": exit_code}
    name = [] if context is None else _path_of(context)
    if context is not None and isinstance(context.command, click.Group):
        name += [context.invoked_subcommand] if context.invoked_subcommand else []
    _print_envelope(name, {}, {"error": error})


def _print_envelope(command: list[str], paths: dict[str, str], value: Mapping[str, Any]) -> None:
    envelope = {
        "version": version_of("neurodeploy") or "unknown",
        "command": " ".join(command),
        "paths": paths,
    }
    if is_main():
        click.echo(json.dumps({**envelope, **value}, default=str))


def _path_of(context: click.Context) -> list[str]:
    """The names that lead to a command, without the program's."""
    found: list[str] = []
    here: click.Context | None = context
    while here is not None and here.parent is not None:
        found.insert(0, here.info_name or "")
        here = here.parent
    return found


COMMANDS = {"resume_run": "train --resume"}
"""Functions whose command has another name."""


def worded(text: str, root: click.Command, command: click.Command) -> str:
    """A text with options of a command in place of settings.

    Args:
        text: of the library; a plain ``str`` stays as it is.
        root: all commands: what ``command`` has no option for, another one has.
        command: the one that was run.
    """
    if not isinstance(text, Text):
        return text
    commands = [command, *_leaves(root)]
    return text.worded(lambda named: _worded(named, commands))


def worded_here(text: str) -> str:
    """``worded`` for the command that runs."""
    context = click.get_current_context()
    return worded(text, context.find_root().command, context.command)


def wrote(*paths: Path | None) -> str:
    """A line that names the files, but for those that could not be made; at least one is there."""
    *first, last = [str(path) for path in paths if path is not None and path.exists()]
    return f"Wrote {', '.join(first)} and {last}" if first else f"Wrote {last}"


def _leaves(command: click.Command) -> Iterator[click.Command]:
    """The command, or the commands of a group and of the groups in it."""
    if not isinstance(command, click.Group):
        yield command
        return
    for inner in command.commands.values():
        yield from _leaves(inner)


def _worded(named: Named, commands: list[click.Command]) -> str:
    if isinstance(named, Setting):
        return _option(named, commands)
    if isinstance(named, Value):
        return _value(named.setting, named.value)
    command = f"neurodeploy {COMMANDS.get(named.name, named.name)}"
    return f"{command} {named.subject}" if named.subject else command


def _option(setting: Setting, commands: list[click.Command]) -> str:
    name = KEYS.get(setting.name, setting.name)
    takes = [parameter.name for parameter in commands[0].params]
    if name == "engine" and setting.value and "engine" not in takes and "engines" in takes:
        # Of two engines: the one that is meant, beside one that always runs.
        beside = "float" if setting.value == "reference" else "reference"
        return f"--engines {setting.value},{beside}"
    if "." in name:
        return f"--set {shlex.quote(str(setting))}"
    options = (
        parameter.opts[0]
        for command in commands
        for parameter in command.params
        if parameter.name == name and isinstance(parameter, click.Option)
    )
    found = next(options, f"--{name.replace('_', '-')}")
    return found if setting.value is None else f"{found} {_value(name, setting.value)}"


def _value(name: str, value: str) -> str:
    """The value as the option takes it."""
    words = {"comparison": COMPARISONS, "reset_delay": SWITCHES}.get(name, {})
    for word, meant in words.items():
        before = value.removesuffix(str(meant))
        # Of one node it is NODE=VALUE.
        if before == "" or (before != value and before.endswith("=") and before != "="):
            return before + word
    return value
