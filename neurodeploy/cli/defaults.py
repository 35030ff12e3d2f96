"""Defaults of one's own: environment variables, and ``[tool.neurodeploy]`` of the project here.

The command line comes before the environment, the environment before ``pyproject.toml`` in the
current folder, that before what is built in. ``NEURODEPLOY_TRAIN_DEVICE`` is the ``--device`` of
``train``, ``NEURODEPLOY_DEVICE`` that of every command that has one; so are ``device`` in
``[tool.neurodeploy.train]`` and in ``[tool.neurodeploy]``.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from neurodeploy.errors import InputError, nearest
from neurodeploy.support.reading import read_toml

PREFIX = "NEURODEPLOY"
PROJECT = Path("pyproject.toml")
TABLE = "tool.neurodeploy"


def stated_defaults(root: click.Group) -> dict[str, Any]:
    """click's ``default_map``: by command, and by parameter in it.

    Raises:
        click.UsageError: a key that no option is called by, or a value that the option refuses.
    """
    found: dict[str, Any] = {}
    table = _project_table()
    for path, command, place in _places(root, found):
        here: Any = table
        levels = [here]
        for name in path:
            here = here.get(name, {}) if isinstance(here, Mapping) else {}
            levels.append(here)
        for level, stated in enumerate(levels):
            where = f"{PROJECT}: [{'.'.join((TABLE, *path[:level]))}]"
            for option, value in stated.items():
                if option in _options(command) and not isinstance(value, Mapping):
                    _set(place, command, option, value, f"{where} {option}")
        for prefix in (PREFIX, "_".join((PREFIX, *path))):
            for option in _options(command):
                variable = _variable(prefix, option)
                if os.environ.get(variable):
                    _set(place, command, option, os.environ[variable], variable)
    _check_table(root, table, TABLE)
    _remark_on_variables(root)
    return found


def was_typed(name: str) -> bool:
    """Whether an option of the command that runs stands on the command line, not in defaults."""
    source = click.get_current_context().get_parameter_source(name)
    return source is ParameterSource.COMMANDLINE


def _project_table() -> Mapping[str, Any]:
    """The table in the project file of the current folder, empty where there is none."""
    try:
        text = PROJECT.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return {}
    if TABLE not in text:
        # Somebody else's, whose mistakes are none of our business.
        return {}
    try:
        table: Any = read_toml(PROJECT)
    except InputError as error:
        raise click.UsageError(str(error)) from None
    for part in TABLE.split("."):
        table = table.get(part, {})
        if not isinstance(table, Mapping):
            raise click.UsageError(f"{PROJECT}: [{TABLE}] is not a table")
    return table


def _places(
    group: click.Group, found: dict[str, Any], path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command, dict[str, Any]]]:
    """Every command with its path, and its place in a ``default_map``."""
    for name, command in group.commands.items():
        place = found.setdefault(name, {})
        if isinstance(command, click.Group):
            yield from _places(command, place, (*path, name))
        else:
            yield (*path, name), command, place


def _set(
    place: dict[str, Any], command: click.Command, option: str, value: Any, where: str
) -> None:
    """Note one default, if the option takes it.

    Raises:
        click.UsageError: it does not.
    """
    parameter = _options(command)[option]
    if parameter.multiple:
        given: Any = list(map(str, value)) if isinstance(value, list) else str(value).split()
    else:
        given = value if isinstance(value, bool) else str(value)
    try:
        parameter.type_cast_value(click.Context(command), given)
    except click.BadParameter as error:
        raise click.UsageError(f"{where}: {error.message}") from None
    place[parameter.name or option] = given


def _check_table(group: click.Group, table: Mapping[str, Any], where: str) -> None:
    """Refuse what nothing is called by.

    Raises:
        click.UsageError: naming it.
    """
    known = _names(group)
    for name, value in table.items():
        command = group.commands.get(name)
        if isinstance(value, Mapping) and command is None:
            raise click.UsageError(
                f"{PROJECT}: [{where}.{name}]: no such command{nearest(name, group.commands)}"
            )
        if isinstance(value, Mapping) and isinstance(command, click.Group):
            _check_table(command, value, f"{where}.{name}")
        elif isinstance(value, Mapping) and command is not None:
            for option in value.keys() - _options(command).keys():
                raise click.UsageError(
                    f"{PROJECT}: [{where}.{name}] {option}: no option of {name} has this name"
                    f"{nearest(option, _options(command))}"
                )
        elif name not in known:
            raise click.UsageError(
                f"{PROJECT}: [{where}] {name}: no option has this name{nearest(name, known)}"
            )


def _remark_on_variables(root: click.Group) -> None:
    """Warn of variables that look like a misspelt option's."""
    known = {_variable(PREFIX, name) for name in _names(root)} | {
        _variable("_".join((PREFIX, *path)), option)
        for path, command, _ in _places(root, {})
        for option in _options(command)
    }
    for variable in sorted(os.environ):
        if variable.startswith(f"{PREFIX}_") and variable not in known:
            close = difflib.get_close_matches(variable, known, n=1, cutoff=0.9)
            if close:
                click.echo(
                    f"Warning: {variable} names no option and is ignored; did you mean {close[0]}?",
                    err=True,
                )


def _variable(prefix: str, option: str) -> str:
    return f"{prefix}_{option}".replace("-", "_").upper()


def _names(group: click.Group) -> set[str]:
    return {option for _, command, _ in _places(group, {}) for option in _options(command)}


def _options(command: click.Command) -> dict[str, click.Option]:
    """A command's options by the names that they have behind the dashes."""
    return {
        name.removeprefix("--"): parameter
        for parameter in command.params
        if isinstance(parameter, click.Option)
        for name in parameter.opts
        if name.startswith("--")
    }
