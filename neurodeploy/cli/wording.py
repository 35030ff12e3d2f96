"""What the library says, in the command line's words: settings as options, functions as commands.

Here alone names of the library are turned into those of the command line, and errors into a message
and an exit code.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Any

import click

from neurodeploy.cli.options import COMPARISONS, KEYS
from neurodeploy.errors import Named, NeurodeployError, Setting, Text, Value
from neurodeploy.support.processes import give_way, is_main

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


class Commands(click.Group):
    """Turns this package's errors into one message and an exit code, never a traceback.

    Of processes that were launched together, the main one speaks.
    """

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except NeurodeployError as error:
            message, code = f"Error: {self._said(error, ctx)}", error.exit_code
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
        return worded(error.text, ctx.find_root().command, command or self)


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
    taken = {sign: word for word, sign in COMPARISONS.items()}
    return taken.get(value, value) if name == "comparison" else value
