"""Options and output that several commands share, and the library's texts in their words.

Here alone names of the library are turned into those of the command line: settings into options,
functions into commands, and errors into a message and an exit code.
"""

from __future__ import annotations

import json
import math
import re
import shlex
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from neurodeploy.artifacts.leftovers import remove_leftovers_here
from neurodeploy.errors import (
    InterruptionError,
    Named,
    NeurodeployError,
    PictureWarning,
    Setting,
    Text,
    Value,
)
from neurodeploy.ir.per_node import ALL
from neurodeploy.support.processes import give_way, is_main
from neurodeploy.support.program import program

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


COUNT = click.IntRange(1, 2**31 - 1)


class Positive(click.FloatRange):
    """A number above 0; click lets NaN pass every range."""

    def __init__(self) -> None:
        super().__init__(min=0, min_open=True)

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        number = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value!r} is not in the range x>0.", param, ctx)
        return number


json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
ENGINE_NAMES = "reference, lava, lava-fused, netx, float or norse."
seed_option = click.option("--seed", type=int, default=0, help="Seed of random draws.")
timeout_option = click.option(
    "--timeout",
    type=Positive(),
    metavar="SECONDS",
    help="Wall-clock limit for Lava.",
)


def worker_options(command: Any) -> Any:
    """Options that spread work over processes or machines."""
    for option in (
        click.option(
            "--workers",
            type=COUNT,
            metavar="N",
            help="Share the work among N processes of this machine; the result is the same.",
        ),
        click.option(
            "--scheduler",
            metavar="ADDRESS",
            help="Share it among the workers of a Dask scheduler, as at tcp://10.0.0.1:8786.",
        ),
    ):
        command = option(command)
    return command


def sample_options(command: Any) -> Any:
    """Options that choose samples, shared by simulate and validate."""
    for option in (
        click.option("--samples", type=int, help="At most so many samples."),
        click.option(
            "--data",
            type=PATH,
            help="An .npz with x (N, T, *input) or (N, *input), integers up to the network's "
            "levels, and optional y; or one with x_test and y_test; or the folder of the data set "
            "trained on.",
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
            metavar="FRAMEWORK",
            help="What wrote the .nir file, which says how it is stepped: norse, snntorch, sinabs, "
            "spikingjelly, rockpool, spyx, nengo or lava. The options below override it.",
        ),
        click.option("--dt", type=float, help="Seconds per step."),
        _per_node(
            "--reset",
            values={word: word for word in ("zero", "subtract", "none")},
            help="What a spike does to v: of all neurons, or of one node; repeatable.",
        ),
        _per_node(
            "--reset-delay",
            values=SWITCHES,
            help="Whether snnTorch's resets come one step late; likewise.",
        ),
        _per_node(
            "--compare",
            "comparison",
            values=COMPARISONS,
            help="Fire at v > or >= threshold; likewise.",
        ),
        click.option(
            "--integrator", type=click.Choice(["euler", "exponential"]), help="How leaks step."
        ),
        click.option(
            "--gain",
            type=click.Choice(["nir", "one"]),
            help="Input enters a neuron as its r and tau say, or as it is.",
        ),
        click.option("--steps", type=int, help="Time steps per sample."),
        click.option(
            "--encoder",
            type=click.Choice(["direct", "rate", "latency", "events"]),
            help="How samples become input.",
        ),
        click.option("--levels", type=int, help="Largest integer of the input."),
        click.option(
            "--decode",
            type=click.Choice(["last_v", "sum_v", "spike_count"]),
            help="How the class is read.",
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
                raise click.BadParameter(f"{text!r}: said twice of {node or 'all nodes'}")
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
    """Human text of the main process; on stderr when stdout carries JSON."""
    if is_main():
        click.echo(text, err=as_json)


def show_progress() -> bool:
    return sys.stderr.isatty()


def print_json(value: dict[str, Any]) -> None:
    """One JSON object on stdout, from the main process."""
    if is_main():
        click.echo(json.dumps(value, default=str))


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


LONGEST_WORD = 5000
"""Characters of a message without a space: no path and no name of ours has so many."""


class Commands(click.Group):
    """Turns this package's errors into one message and an exit code, never a traceback.

    Of processes that were launched together, the main one speaks.
    """

    def main(self, *arguments: Any, standalone_mode: bool = True, **options: Any) -> Any:
        """Run, and in ``standalone_mode`` end as a program, without click's codes for its end."""
        if not standalone_mode:
            return super().main(*arguments, standalone_mode=False, **options)
        with program():
            try:
                code = super().main(*arguments, standalone_mode=False, **options)
            except click.Abort as error:
                raise error.__cause__ or KeyboardInterrupt from None
            except click.ClickException as error:
                error.show()
                code = error.exit_code
            sys.exit(code if isinstance(code, int) else 0)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            if ctx.parent is None and is_main():
                remove_leftovers_here()
            with pictures_optional():
                return super().invoke(ctx)
        except NeurodeployError as error:
            said, code = self._said(error, ctx), error.exit_code
            interrupted = isinstance(error, InterruptionError)
            message = said[0].upper() + said[1:] if interrupted else f"Error: {said}"
        except KeyboardInterrupt:
            message, code = "Interrupted.", 130
        except click.UsageError as error:
            if is_main():
                raise
            message, code = error.format_message(), error.exit_code
        if is_main():
            click.echo(message, err=True)
        else:
            give_way()
        ctx.exit(code)

    def _said(self, error: NeurodeployError, ctx: click.Context) -> str:
        name = ctx.invoked_subcommand
        command = None if name is None else self.get_command(ctx, name)
        found = worded(error.text, ctx.find_root().command, command or self)
        # A name or a value that a file holds may be as long as the file.
        return re.sub(rf"\S{{{LONGEST_WORD},}}", lambda word: f"{word[0][:200]}...", found)


@contextmanager
def pictures_optional() -> Iterator[None]:
    """Say in a line that a picture is missing."""
    said = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        if issubclass(category, PictureWarning):
            click.echo(f"Warning: {message}", err=True)
        else:
            said(message, category, *where, **more)

    with warnings.catch_warnings():
        warnings.simplefilter("always", PictureWarning)
        warnings.showwarning = show
        yield


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
