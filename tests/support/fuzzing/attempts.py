"""One call of the product in a process of its own, and whether it ended as every call has to.

The process is a fork of this one, which has imported everything already, so that a call costs what
it does and may crash, hang or fill the memory.
"""

from __future__ import annotations

import contextlib
import os
import re
import resource
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from neurodeploy.cli import main
from neurodeploy.errors import NeurodeployError

SECONDS = 20
"""Of one core for one call."""

PATIENCE = 6
"""So many times these seconds may pass, on a machine with other work."""

MEGABYTES = 1000
"""That the process may take at its most, with all that Python and the libraries take."""

CEILING = 4 * 2**30
"""Bytes of addresses beyond what is taken before; keeps the machine alive."""

CRASHED = 70
"""Code of a process that ended in a traceback."""

CODES = (0, 1, 2, 130)

LONGEST = 20_000
"""Characters of a message that somebody may read."""

Program = Callable[[], object]


@dataclass(frozen=True)
class Call:
    """What to do with a damaged file, in the folder in which it lies.

    Attributes:
        arguments: of the command line; or a name for ``program``.
        program: in place of a command.
        fails: whether sound files may end with 1, which says that a check found something.
    """

    arguments: tuple[str, ...]
    program: Program | None = None
    fails: bool = False

    def __str__(self) -> str:
        return " ".join(self.arguments)


@dataclass(frozen=True)
class Ending:
    """How a call ended: its exit code, or minus the signal; what it said and took."""

    code: int
    output: str
    seconds: float
    megabytes: float


def attempt(call: Call, folder: Path, log: Path) -> Ending:
    """Make a call in a folder, and wait for its end.

    Args:
        log: a file for what it says, outside of the folder.
    """
    start = time.monotonic()
    child = os.fork()
    if child == 0:
        _in_child(call, folder, log)
    watch = os.pidfd_open(child)
    try:
        if not select.select([watch], [], [], SECONDS * PATIENCE)[0]:
            os.kill(child, signal.SIGKILL)
        _, status, used = os.wait4(child, 0)
    finally:
        os.close(watch)
    seconds = max(used.ru_utime + used.ru_stime, (time.monotonic() - start) / PATIENCE)
    output = log.read_bytes().decode("utf-8", "replace")
    return Ending(os.waitstatus_to_exitcode(status), output, seconds, used.ru_maxrss / 1024)


def _in_child(call: Call, folder: Path, log: Path) -> None:
    code = CRASHED
    try:
        os.chdir(folder)
        target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for stream in (1, 2):
            os.dup2(target, stream)
        # Those of before may lead elsewhere, as in a test.
        sys.stdout = sys.stderr = open(target, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        _limit()
        try:
            if call.program is None:
                main(list(call.arguments))
            else:
                call.program()
            code = 0
        except NeurodeployError as error:
            # Of a program: the command line says it itself.
            print(f"Error: {error}")
            code = error.exit_code
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        code = CRASHED
        traceback.print_exc()
    finally:
        with contextlib.suppress(BaseException):
            sys.stdout.flush()
        os._exit(code)


def _limit() -> None:
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + CEILING, taken + CEILING))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def listing(folder: Path) -> set[str]:
    """Every file and folder below, by its path from there."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def complaints(call: Call, ending: Ending, before: set[str], after: set[str]) -> list[str]:
    """What is wrong with the end of a call.

    Args:
        before, after: the files around it, as ``listing`` gives them.
    """
    found = []
    if ending.seconds >= SECONDS or ending.code == -signal.SIGXCPU:
        found.append(f"took {ending.seconds:.0f} s")
    elif ending.code < 0:
        found.append(f"died of signal {-ending.code}")
    elif ending.code not in CODES:
        found.append(f"ended with code {ending.code}")
    if ending.code == 1 and not call.fails:
        found.append("ended with 1, which is said of a mismatch")
    if ending.megabytes > MEGABYTES:
        found.append(f"took {ending.megabytes:.0f} MB")
    if re.search(r"Traceback|^Exception ignored|^[^\n]*\.py:\d+: ", ending.output, re.M):
        found.append("said what only its makers understand")
    if ending.code in (1, 2) and not ending.output.strip():
        found.append("failed without a word")
    if ending.code and len(ending.output) > LONGEST:
        found.append(f"said {len(ending.output):,} characters")
    new = sorted(after - before)
    # A run that failed is there to be gone on with.
    kept = call.arguments[:1] == ("train",)
    half = [name for name in new if any(part.startswith(".") for part in Path(name).parts)]
    if half or (new and ending.code not in (0, 1) and not kept):
        found.append(f"left {', '.join(half or new)[:300]}")
    return found
