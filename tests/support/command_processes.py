"""Commands of neurodeploy as processes of their own, to be interrupted."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def members(group: int) -> list[int]:
    """Live processes of a process group."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            state, _, pgrp = (entry / "stat").read_text().rpartition(")")[2].split()[:3]
        except (OSError, ValueError):
            continue
        if entry.name.isdigit() and int(pgrp) == group and state != "Z":
            found.append(int(entry.name))
    return found


@contextmanager
def running(workspace: Path, temporary: Path, *command: str) -> Iterator[subprocess.Popen[str]]:
    """A command of neurodeploy in a process group of its own, which is killed at the end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "neurodeploy", *command],
        cwd=workspace,
        env={**os.environ, "TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A shell that runs tests in the background has them ignore it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def catches(process: int, number: int) -> bool:
    """Whether a process has a handler of its own for a signal."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return False
    caught = re.search(r"SigCgt:\s*([0-9a-f]+)", status)
    return caught is not None and bool(int(caught[1], 16) >> number - 1 & 1)


def wait_until_lava_runs(process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while len(members(process.pid)) < 2:  # small networks take turns in one
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline, "Lava did not start"
        time.sleep(0.05)
    time.sleep(0.3)
