"""One command of neurodeploy in several processes that start at the same moment."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

PROGRAM = """
import multiprocessing, os, sys
from contextlib import redirect_stderr, redirect_stdout
import neurodeploy.reporting.report, neurodeploy.training.run, neurodeploy.workflow.export
import neurodeploy.workflow.learning.learn, neurodeploy.workflow.simulate
from neurodeploy.cli import main

def run(index, barrier, command):
    with open(f"{index}.said", "w") as said, redirect_stdout(said), redirect_stderr(said):
        barrier.wait()
        main(command)

if __name__ == "__main__":
    count, command = int(sys.argv[1]), sys.argv[2:]
    # Copies of one process that has imported everything: they start together, and cost little.
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(count)
    processes = [context.Process(target=run, args=(i, barrier, command)) for i in range(count)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    print(*(process.exitcode for process in processes))
"""


class Ended(NamedTuple):
    """The exit code of one process, and what it said."""

    code: int
    said: str


def at_once(count: int, *command: str, folder: Path) -> list[Ended]:
    """How ``count`` processes end that run a command in a folder at once."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(count), *command],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=1800,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    codes = map(int, done.stdout.split())
    found = []
    for index, code in enumerate(codes):
        file = folder / f"{index}.said"
        found.append(Ended(code, file.read_text()))
        file.unlink()
    return found
