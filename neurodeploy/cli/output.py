"""What commands print: remarks for people, and one JSON object for programs."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from neurodeploy.support.processes import is_main
from neurodeploy.support.system import version_of

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


def wrote(*paths: Path | None) -> str:
    """A line that names the files, but for those that could not be made; at least one is there."""
    *first, last = [str(path) for path in paths if path is not None and path.exists()]
    return f"Wrote {', '.join(first)} and {last}" if first else f"Wrote {last}"
