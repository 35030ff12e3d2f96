"""``neurodeploy runs`` and ``neurodeploy deployments``: what lies on the disk."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from neurodeploy.artifacts.names import DEPLOYMENTS, RUNS
from neurodeploy.cli.commands import Commands
from neurodeploy.cli.compare import compare
from neurodeploy.cli.options import PATH
from neurodeploy.cli.output import json_option, print_json, say
from neurodeploy.errors import InputError

yes_option = click.option("--yes", is_flag=True, help="Remove without asking.")
LONGEST = 60
"""Characters of a value in a table; JSON has all of it."""


@click.group(cls=Commands)
def runs() -> None:
    """List, show, compare and remove training runs."""


@click.group(cls=Commands)
def deployments() -> None:
    """List, show, compare and remove deployments."""


@runs.command("list")
@click.argument("folder", required=False, type=PATH, default=RUNS)
@json_option
def list_runs(folder: Path, as_json: bool) -> None:
    """List the runs in a folder, the newest last.

    FOLDER is runs unless given. Unfinished and damaged runs are listed too.
    """
    from neurodeploy.workflow.inventory import list_runs as listed

    found = listed(folder)
    if as_json:
        print_json({"runs": [entry.as_dict() for entry in found]})
        return
    rows = [
        (
            entry.path,
            entry.state,
            entry.recipe,
            entry.score_text,
            _known(entry.epochs),
            _known(entry.seconds, ",.1f"),
            f"{entry.megabytes:,.1f}",
            entry.created,
        )
        for entry in found
    ]
    columns = ("run", "state", "recipe", "test", "epochs", "s", "MB", "created")
    _print_list(columns, rows, f"no runs in {folder}/", [(e.path, e.reason) for e in found])


@deployments.command("list")
@click.argument("folder", required=False, type=PATH, default=DEPLOYMENTS)
@json_option
def list_deployments(folder: Path, as_json: bool) -> None:
    """List the deployments in a folder, the newest last.

    FOLDER is deployments unless given. Damaged ones are listed too.
    """
    from neurodeploy.workflow.inventory import list_deployments as listed

    found = listed(folder)
    if as_json:
        print_json({"deployments": [entry.as_dict() for entry in found]})
        return
    rows = [
        (
            entry.path,
            entry.state,
            entry.target,
            _known(entry.cores, ","),
            ", ".join(f"{name} {score:.2%}" for name, score in (entry.accuracy or {}).items()),
            f"{entry.megabytes:,.1f}",
            entry.digest[:12],
            entry.source,
        )
        for entry in found
    ]
    columns = ("deployment", "state", "target", "cores", "accuracy", "MB", "digest", "source")
    empty = f"no deployments in {folder}/"
    _print_list(columns, rows, empty, [(e.path, e.reason) for e in found])


@runs.command("show")
@click.argument("run", type=PATH)
@json_option
def show_run(run: Path, as_json: bool) -> None:
    """Show the figures and the recipe of a run."""
    from neurodeploy.workflow.inventory import show_run as shown

    _show(shown(run), as_json, ("history", "warnings"))


@deployments.command("show")
@click.argument("deployment", type=PATH)
@json_option
def show_deployment(deployment: Path, as_json: bool) -> None:
    """Show the figures and the network of a deployment.

    `inspect` and its report.html say more in words.
    """
    from neurodeploy.workflow.inventory import show_deployment as shown

    _show(shown(deployment), as_json, ("network", "files"))


runs.add_command(compare)
deployments.add_command(compare)


@runs.command("remove")
@click.argument("run", nargs=-1, required=True, type=PATH)
@yes_option
@json_option
def remove_runs(run: tuple[Path, ...], yes: bool, as_json: bool) -> None:
    """Remove runs, after asking.

    Everything in the folders is removed; deployments of the runs stay.
    """
    from neurodeploy.workflow.inventory import remove_run

    _remove(run, "run", remove_run, yes, as_json)


@deployments.command("remove")
@click.argument("deployment", nargs=-1, required=True, type=PATH)
@yes_option
@json_option
def remove_deployments(deployment: tuple[Path, ...], yes: bool, as_json: bool) -> None:
    """Remove deployments with their results, after asking."""
    from neurodeploy.workflow.inventory import remove_deployment

    _remove(deployment, "deployment", remove_deployment, yes, as_json)


def _known(value: Any, form: str = "") -> str:
    return "" if value is None else format(value, form)


def _print_list(
    columns: tuple[str, ...],
    rows: list[tuple[str, ...]],
    empty: str,
    reasons: list[tuple[str, str]],
) -> None:
    from neurodeploy.reporting.text import table_text

    click.echo(table_text(columns, rows) if rows else empty)
    for path, reason in reasons:
        if reason:
            click.echo(f"{path}: {reason}")


def _show(found: Mapping[str, Any], as_json: bool, long: tuple[str, ...]) -> None:
    """All values by dotted keys, but for those that only a program reads."""
    if as_json:
        print_json(dict(found))
        return
    for key, value in _lines({key: value for key, value in found.items() if key not in long}):
        click.echo(f"{key}: {value}")
    if warnings := found.get("warnings"):
        for warning in warnings:
            click.echo(f"Warning: {warning}")


def _lines(table: Mapping[str, Any], where: str = "") -> list[tuple[str, Any]]:
    found = []
    for key, value in table.items():
        name = f"{where}.{key}" if where else str(key)
        if isinstance(value, Mapping):
            found += _lines(value, name)
        elif value not in (None, "", [], ()):
            found.append((name, value))
    return found


def _remove(
    paths: tuple[Path, ...],
    kind: str,
    remove: Callable[[Path], None],
    yes: bool,
    as_json: bool,
) -> None:
    """Check all, ask once, and remove one after another."""
    from neurodeploy.workflow.inventory import check_removable

    for path in paths:
        check_removable(path, kind)
    names = ", ".join(map(str, paths))
    if not yes:
        if as_json or not sys.stdin.isatty():
            raise InputError(f"{names}: there is no terminal to ask on; add --yes to remove")
        if not click.confirm(f"Remove {names}?", err=True):
            raise InputError(f"{names}: nothing was removed")
    gone = []
    for path in dict.fromkeys(paths):
        remove(path)
        gone.append(str(path))
        say(as_json, f"Removed {path}")
    if as_json:
        print_json({"removed": gone})
