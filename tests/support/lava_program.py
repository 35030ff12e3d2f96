"""Run a test's program on its own, and tell from outside what it leaves behind.

A guard that fails may hang or be killed. All processes of a program carry a mark in their
environment, by which they are found and counted.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.patience import patience

ROOT = Path(__file__).resolve().parents[2]
SHARED_MEMORY = Path("/dev/shm")
MARK = "NEURODEPLOY_TEST_MARK"

needs_proc = pytest.mark.skipif(not Path("/proc/self").exists(), reason="counts through /proc")

# Every program says its facts as one JSON object in a line.
SAY = """
import json, sys
def say(**facts):
    print(json.dumps(facts), flush=True)
"""


@dataclass(frozen=True)
class Outcome:
    """What a finished program said and left behind."""

    code: int
    said: list[dict]
    stderr: str
    seconds: float  # from the signal sent, or the start, to the end
    processes: list[int]
    segments: set[str]

    def assert_nothing_left(self) -> None:
        assert self.processes == []
        assert self.segments == set()


def marked_processes(mark: str) -> list[int]:
    """Return the ids of the living processes that a test program started, itself included."""
    wanted = f"{MARK}={mark}".encode()
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                environment = (folder / "environ").read_bytes()
                state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
            except OSError:
                continue
            # A zombie's own parent may be slow to collect it; it is no running process.
            if wanted in environment and state != "Z":
                found.append(int(folder.name))
    return found


def orphaned_segments() -> set[str]:
    """Return the names in shared memory that no living process maps."""
    mapped = ""
    for maps in Path("/proc").glob("[0-9]*/maps"):
        try:
            mapped += maps.read_text()
        except OSError:
            continue
    names = {path.name for path in SHARED_MEMORY.glob("*") if path.name[:4] in ("psm_", "sem.")}
    return {name for name in names if name not in mapped}


def run(
    body: str,
    *,
    prelude: str = SAY,
    disturb: Callable[[subprocess.Popen], object] | None = None,
    seconds: float = 60,
) -> Outcome:
    """Run a program; ``disturb`` gets it a moment after its first line of output."""
    mark = uuid.uuid4().hex
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    before = orphaned_segments()
    program = subprocess.Popen(
        [sys.executable, "-c", prelude + body],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path, MARK: mark},
        start_new_session=True,
    )
    start = time.monotonic()
    try:
        first = ""
        if disturb is not None:
            assert program.stdout is not None
            first = program.stdout.readline()
            time.sleep(0.5)
            start = time.monotonic()
            disturb(program)
        out, err = program.communicate(timeout=seconds)
        took = time.monotonic() - start
        deadline = time.monotonic() + 3 * patience()
        while (left := marked_processes(mark)) and time.monotonic() < deadline:
            time.sleep(0.05)
        while (segments := orphaned_segments() - before) and time.monotonic() < deadline:
            time.sleep(0.05)
    finally:
        for process in marked_processes(mark):
            os.kill(process, signal.SIGKILL)
    said = [json.loads(line) for line in (first + out).splitlines()]
    return Outcome(program.returncode, said, err, took, left, segments)


def to_group(number: signal.Signals) -> Callable[[subprocess.Popen], object]:
    """Send a signal to the program and all its processes, as a terminal does."""
    return lambda program: os.killpg(program.pid, number)


def to_program(number: signal.Signals) -> Callable[[subprocess.Popen], object]:
    """Send a signal to the program alone, as ``kill`` does."""
    return lambda program: program.send_signal(number)
