"""Groups of commands: their help, their defaults, and their errors as messages and exit codes."""

from __future__ import annotations

import logging
import re
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click

from neurodeploy.artifacts.leftovers import remove_leftovers_here
from neurodeploy.cli.defaults import stated_defaults
from neurodeploy.cli.output import VERBOSITY, print_error, wants_json
from neurodeploy.cli.wording import worded
from neurodeploy.errors import InterruptionError, NeurodeployError, PictureWarning
from neurodeploy.support.log import level_here, told
from neurodeploy.support.processes import give_way, is_main
from neurodeploy.support.program import program

LONGEST_WORD = 5000
"""Characters of a message without a space: no path and no name of ours has so many."""


def _chosen_level(level: int) -> Any:
    def note(context: click.Context, parameter: click.Parameter, chosen: bool) -> None:
        if chosen:
            context.meta[VERBOSITY] = level

    return note


def _output_options() -> list[click.Option]:
    """What every command takes."""
    return [
        click.Option(
            ["-q", "--quiet"],
            is_flag=True,
            expose_value=False,
            callback=_chosen_level(logging.WARNING),
            help="Print results, warnings and errors only.",
        ),
        click.Option(
            ["-v", "--verbose"],
            is_flag=True,
            expose_value=False,
            callback=_chosen_level(logging.DEBUG),
            help="Also print each stage and its details, on stderr.",
        ),
    ]


class Commands(click.Group):
    """Turns this package's errors into one message and an exit code, never a traceback.

    Of processes that were launched together, the main one speaks.
    """

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        """Add a command, with the options that all have; one may be in several groups."""
        if not isinstance(cmd, click.Group):
            held = {parameter.name for parameter in cmd.params}
            cmd.params += [option for option in _output_options() if option.name not in held]
        super().add_command(cmd, name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands, each with the whole first sentence of its help."""
        found = {name: self.get_command(ctx, name) for name in self.list_commands(ctx)}
        rows = [(name, summary(command)) for name, command in found.items() if command]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        """Begin with the defaults of the project and the environment."""
        if parent is None and "default_map" not in extra:
            extra["default_map"] = stated_defaults(self)
        return super().make_context(info_name, args, parent, **extra)

    def main(
        self,
        args: Sequence[str] | None = None,
        *arguments: Any,
        standalone_mode: bool = True,
        **options: Any,
    ) -> Any:
        """Run, and in ``standalone_mode`` end as a program, without click's codes for its end."""
        if not standalone_mode:
            return super().main(args, *arguments, standalone_mode=False, **options)
        with program():
            try:
                code = super().main(args, *arguments, standalone_mode=False, **options)
            except click.Abort as error:
                raise error.__cause__ or KeyboardInterrupt from None
            except click.ClickException as error:
                error.show()
                code = error.exit_code
                context = getattr(error, "ctx", None)
                if "--json" in (sys.argv if args is None else args) or wants_json(context):
                    print_error(context, "UsageError", error.format_message(), code)
            sys.exit(code if isinstance(code, int) else 0)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that was asked for."""
        try:
            if ctx.parent is None and is_main():
                remove_leftovers_here()
            with pictures_optional(), told(lambda: ctx.meta.get(VERBOSITY) or level_here()):
                return super().invoke(ctx)
        except NeurodeployError as error:
            said, code, kind = self._said(error, ctx), error.exit_code, type(error).__name__
            interrupted = isinstance(error, InterruptionError)
            message = said[0].upper() + said[1:] if interrupted else f"Error: {said}"
        except KeyboardInterrupt:
            message, code, kind = "Interrupted.", 130, "KeyboardInterrupt"
        except click.UsageError as error:
            if is_main():
                raise
            message, code, kind = error.format_message(), error.exit_code, "UsageError"
        if is_main():
            click.echo(message, err=True)
            if wants_json(ctx):
                print_error(ctx, kind, message.removeprefix("Error: "), code)
        else:
            give_way()
        ctx.exit(code)

    def _said(self, error: NeurodeployError, ctx: click.Context) -> str:
        name = ctx.invoked_subcommand
        command = None if name is None else self.get_command(ctx, name)
        found = worded(error.text, ctx.find_root().command, command or self)
        # A name or a value that a file holds may be as long as the file.
        return re.sub(rf"\S{{{LONGEST_WORD},}}", lambda word: f"{word[0][:200]}...", found)


def summary(command: click.Command) -> str:
    """The first sentence of a command's help, as a list of commands has it."""
    first = (command.help or "").partition("\n\n")[0].replace("\n", " ")
    return re.split(r"\.\s", first + " ", maxsplit=1)[0].strip().removesuffix(".") + "."


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
