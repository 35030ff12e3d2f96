"""Ctrl-C, SIGTERM and the time limit end a simulation and leave nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from support.command_processes import members, running, wait_until_lava_runs
from support.patience import patience

pytestmark = pytest.mark.lava


def shared_memory() -> set[str]:
    folder = Path("/dev/shm")
    return {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()


ENDLESS = ("simulate", "--random", "1000000")
"""A simulation that would go on for hours."""


CTRL_C, SIGTERM = (signal.SIGINT, 130, True), (signal.SIGTERM, 143, False)


@pytest.mark.parametrize(
    ("engine", "number", "code", "to_group"),
    [
        pytest.param("lava", *CTRL_C, id="lava ctrl-c"),
        pytest.param("lava-fused", *SIGTERM, id="lava-fused sigterm"),
        pytest.param("lava", *SIGTERM, id="lava sigterm", marks=pytest.mark.slow),
        pytest.param("lava-fused", *CTRL_C, id="lava-fused ctrl-c", marks=pytest.mark.slow),
    ],
)
def test_a_signal_ends_everything(
    workspace: Path, tmp_path: Path, engine: str, number: int, code: int, to_group: bool
) -> None:
    before = shared_memory()
    with running(workspace, tmp_path, *ENDLESS, "--engine", engine) as process:
        if engine == "lava":
            wait_until_lava_runs(process)
        else:
            deadline = time.monotonic() + 60
            while not (len(members(process.pid)) > 1 and any(tmp_path.iterdir())):
                assert process.poll() is None and time.monotonic() < deadline
                time.sleep(0.05)
            time.sleep(0.5)
        # A terminal's Ctrl-C reaches the whole group, a supervisor's SIGTERM the parent alone.
        (os.killpg if to_group else os.kill)(process.pid, number)
        _, errors = process.communicate(timeout=10 * patience())
        assert process.returncode == code, errors
        assert "Traceback" not in errors
        assert members(process.pid) == []
        assert shared_memory() <= before
        assert list(tmp_path.iterdir()) == []


def test_the_time_limit_ends_everything(workspace: Path, tmp_path: Path) -> None:
    before = shared_memory()
    with running(workspace, tmp_path, *ENDLESS, "--timeout", "3") as process:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 2
        assert "3" in errors and "Error:" in errors and "Traceback" not in errors
        assert members(process.pid) == []
        assert shared_memory() <= before
        assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["reference", "lava-fused"])
def test_memory_follows_the_batch_not_the_samples(workspace: Path, engine: str) -> None:
    code = (
        "import resource, sys; from neurodeploy.cli import main;"
        "from neurodeploy.bench.process import high_water_mb;"
        "main(sys.argv[1:], standalone_mode=False);"
        "children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024;"
        "print(high_water_mb() + children)"
    )
    peaks = []
    for count in (512, 8192):
        # Of one process: of many samples the reference would start more.
        options = ["simulate", "--engine", engine, "--random", str(count), "--json"]
        options += ["--workers", "1"]
        done = subprocess.run(
            [sys.executable, "-c", code, *options],
            cwd=workspace, capture_output=True, text=True, check=True,
        )  # fmt: skip
        peaks.append(float(done.stdout.splitlines()[-1]))
    assert peaks[1] < 1.1 * peaks[0]
