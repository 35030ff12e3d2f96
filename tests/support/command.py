"""The command line, called as a user calls it, in a folder of its own."""

from __future__ import annotations

import json
import os
from pathlib import Path

from click.testing import CliRunner, Result

from neurodeploy.cli import main


def run_cli(*arguments: str, folder: Path) -> Result:
    """Run a command in a folder; a traceback of ours fails the test at once."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        result = CliRunner().invoke(main, list(arguments))
    finally:
        os.chdir(before)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def run_json(*arguments: str, folder: Path) -> dict:
    """The object that a command prints with ``--json``."""
    result = run_cli(*arguments, "--json", folder=folder)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)
