"""Commands of neurodeploy as forks of a process that has imported everything: they cost little."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

PROGRAM = """
import json, os, resource, signal, sys, traceback
import neurodeploy.reporting.report, neurodeploy.training.run, neurodeploy.workflow.export
import neurodeploy.bench.mapping, neurodeploy.workflow.inspection
import neurodeploy.workflow.learning.learn, neurodeploy.workflow.simulate
import neurodeploy.workflow.validate
from neurodeploy.__main__ import main

def opened(output):
    if output == "full":
        return os.open("/dev/full", os.O_WRONLY)
    if output == "unread":
        read, write = os.pipe()
        os.close(read)
        return write
    return os.open(output or os.devnull, os.O_WRONLY | os.O_CREAT)

def run(command, output, limit, folder, said):
    os.chdir(folder)
    descriptor = opened(output)
    os.dup2(descriptor, 1)
    os.close(descriptor)
    if output == "closed":
        os.close(1)
        sys.stdout = sys.__stdout__ = None
    os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT), 2)
    signal.alarm(240)
    if limit is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    sys.argv = ["neurodeploy", *command]
    main()

codes = []
for number, (command, output, limit, folder) in enumerate(json.load(sys.stdin)):
    process = os.fork()
    if process == 0:
        code = 99
        try:
            run(command, output, limit, folder, sys.argv[number + 1])
        except SystemExit as error:
            code = error.code or 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    codes.append(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))
print(json.dumps(codes))
"""


class Job(NamedTuple):
    """A command to run.

    Attributes:
        command: its words.
        output: what becomes of stdout: ``full`` takes nothing, of ``unread`` nobody reads, it is
            ``closed``, or the name of a file; empty for a place where it disappears.
        limit: bytes that a file may have; None for any number.
        folder: where to run it.
    """

    command: Sequence[str]
    output: str = ""
    limit: int | None = None
    folder: str = "."


class Ended(NamedTuple):
    """The exit code, negative for a signal, and what came on stderr."""

    code: int
    said: str


def run_each(
    jobs: Sequence[Job], folder: Path, temporary: Path, timeout: float = 300
) -> list[Ended]:
    """Run commands in a folder, one after the other.

    Args:
        temporary: where they and this function put temporary files.
    """
    notes = [temporary / f"{number}.said" for number in range(len(jobs))]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *map(str, notes)],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": str(temporary)},
        input=json.dumps([[list(command), *rest] for command, *rest in jobs]),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    ended = [
        Ended(code, note.read_text())
        for code, note in zip(json.loads(done.stdout), notes, strict=True)
    ]
    for note in notes:
        note.unlink()
    return ended
