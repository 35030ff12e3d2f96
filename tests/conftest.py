"""Fixtures that several test files share: one small real run and its deployment."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
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


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which train and export have run, with one epoch only."""
    folder = tmp_path_factory.mktemp("workspace")
    trained = run_json("train", "digits_conv", "--set", "training.epochs=1", folder=folder)
    assert trained["run"] == "runs/digits_conv-001"
    exported = run_json("export", "--target", "loihi2", folder=folder)
    assert exported["deployment"] == "deployments/digits_conv-loihi2-001"
    return folder
