"""The library's texts in the command line's words.

Here alone names of the library are turned into those of the command line: settings into options,
functions into commands.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator

import click

from neurodeploy.errors import Named, Setting, Text, Value

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
