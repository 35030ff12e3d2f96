"""Fixtures that several test files share: one small real run and its deployment."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:
    # Workers share the cores, and threads that wait for one another would take them from both.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

pytest.register_assert_rewrite("support")  # so that its assertions say what they found, too

from support.command import run_json  # noqa: E402


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which train and export have run, with one epoch only."""
    folder = tmp_path_factory.mktemp("workspace")
    trained = run_json("train", "digits_conv", "--set", "training.epochs=1", folder=folder)
    assert trained["run"] == "runs/digits_conv-001"
    exported = run_json("export", "--target", "loihi2", folder=folder)
    assert exported["deployment"] == "deployments/digits_conv-loihi2-001"
    return folder
