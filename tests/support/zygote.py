"""Commands that start at once, as forks of a process that has imported everything."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

PROGRAM = """
import json, os, signal, sys, traceback
import neurodeploy.reporting.report, neurodeploy.training.run, neurodeploy.workflow.export
import neurodeploy.bench.mapping, neurodeploy.bench.simulate, neurodeploy.workflow.inspection
import neurodeploy.workflow.learning.learn, neurodeploy.workflow.simulate
import neurodeploy.workflow.validate
from neurodeploy.__main__ import main

for line in sys.stdin:
    command, said, folder = json.loads(line)
    process = os.fork()
    if process == 0:
        os.setsid()
        os.chdir(folder)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.dup2(os.open(os.devnull, os.O_RDWR), 0)
        os.dup2(0, 1)
        os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
        sys.argv = ["neurodeploy", *command]
        code = 99
        try:
            main()
        except SystemExit as error:
            code = error.code or 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    print(process, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), flush=True)
"""


class Zygote:
    """What forks; one command at a time."""

    def __init__(self, process: subprocess.Popen[str], said: Path) -> None:
        assert process.stdin is not None and process.stdout is not None
        self._asks: IO[str] = process.stdin
        self._answers: IO[str] = process.stdout
        self._said = said

    def start(self, command: Sequence[str], folder: Path = Path()) -> int:
        """Begin a command in a process group of its own, and return its number."""
        self._asks.write(json.dumps([[*command], str(self._said), str(folder)]) + "\n")
        self._asks.flush()
        process = int(self._answers.readline())
        # Until then nobody is in its group, as when it is over.
        with suppress(ProcessLookupError):
            while os.getpgid(process) != process:
                time.sleep(0.001)
        return process

    def end(self) -> tuple[int, str]:
        """Wait for the end: the exit code, negative for a signal, and what came on stderr."""
        return int(self._answers.readline()), self._said.read_text()

    def run(self, *command: str, folder: Path = Path()) -> tuple[int, str]:
        """A command from its beginning to its end."""
        self.start(command, folder)
        return self.end()


@contextmanager
def zygote(folder: Path, temporary: Path, said: Path) -> Iterator[Zygote]:
    """Commands that run in a folder.

    Args:
        temporary: where they put temporary files.
        said: a file for what comes on stderr.
    """
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": str(temporary)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield Zygote(process, said)
        assert process.stdin is not None
        process.stdin.close()
