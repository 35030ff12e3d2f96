"""Measurements in processes of their own, which take turns because machines are noisy.

How much memory a process takes is what the kernel counts.
"""

from __future__ import annotations

import ctypes
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from tqdm import tqdm

from neurodeploy.errors import NeurodeployError, SimulationError
from neurodeploy.support.children import PATIENCE, end, start_tied
from neurodeploy.support.signals import exit_on, signals_deferred
from neurodeploy.support.system import (
    M_MMAP_THRESHOLD,
    M_TRIM_THRESHOLD,
    give_back_freed_memory,
    glibc,
)

Row = TypeVar("Row")

OWN = Path("/proc/self")

PAGES_OF_THEIR_OWN = 1 << 16
"""Bytes from which on an allocation gets pages of its own in ``allocate_exactly``."""


def run_alone(module: str, arguments: Sequence[str], what: str) -> dict[str, Any]:
    """Run ``python -m module`` and return the JSON object on the last line that it prints.

    Args:
        what: names the measurement in messages.

    Raises:
        SimulationError: it failed or was killed.
    """
    command = [sys.executable, "-m", module, *arguments]
    done = run_to_its_end(command)
    return answered(done.returncode, done.stdout, done.stderr, what)


def answered(returncode: int, out: str, errors: str, what: str) -> dict[str, Any]:
    """The JSON object on the last line that a measurement printed.

    Raises:
        SimulationError: it failed or was killed.
    """
    if returncode < 0:
        killer = signal.Signals(-returncode).name
        hint = "; the machine probably has too little memory for it" if killer == "SIGKILL" else ""
        raise SimulationError(f"bench of {what} was ended by {killer}{hint}")
    if returncode:
        lines = errors.strip().splitlines() or ["no message"]
        raise SimulationError(f"bench of {what} failed: {lines[-1]}")
    return json.loads(out.splitlines()[-1])


def run_to_its_end(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run a program that does not outlive this one, however this ends, and take what it prints."""
    pipe = subprocess.PIPE
    with start_tied(command, stdout=pipe, stderr=pipe, text=True) as child:
        try:
            out, err = child.communicate()
        except BaseException:
            with signals_deferred():
                end([child], PATIENCE)
            raise
    return subprocess.CompletedProcess(command, child.returncode, out, err)


def answer(measure: Callable[[], dict[str, Any]]) -> None:
    """What a module does when ``run_alone`` runs it: print the result, or one line on an error."""
    exit_on(signal.SIGTERM)
    try:
        print(json.dumps(measure()))
    except NeurodeployError as error:
        sys.exit(str(error))


def in_turns(
    tasks: Sequence[Callable[[], Row]], rounds: int, what: str, progress: bool = False
) -> list[list[Row]]:
    """Let the tasks take turns, each once a round; returns each one's rounds.

    Args:
        what: stands before the bar.
        progress: show a bar on stderr where that is a terminal.
    """
    found: list[list[Row]] = [[] for _ in tasks]
    hidden = not (progress and sys.stderr.isatty())
    with tqdm(total=rounds * len(tasks), desc=what, unit="run", disable=hidden) as bar:
        for _ in range(rounds):
            for rows, task in zip(found, tasks, strict=True):
                rows.append(task())
                bar.update()
    return found


def median(rounds: Sequence[Row], cost: Callable[[Row], float]) -> Row:
    """The round of median cost; of two in the middle, the dearer one."""
    return sorted(rounds, key=cost)[len(rounds) // 2]


def peak_memory_mb() -> float:
    """Highest memory of this process and its children so far, what they share counted once.

    A little more than that: each process counts with its own peak, whenever that was. Files mapped
    by other programs too, as libraries are, count whole. Needs Linux 5.4.
    """
    children = [
        Path("/proc") / pid
        for task in (OWN / "task").iterdir()
        for pid in (task / "children").read_text().split()
    ]
    family = (OWN, *children)
    # Nobody else shares what is not in files.
    own = sum(
        _rollup_mb(process, "Pss_Anon") + _rollup_mb(process, "Pss_Shmem") for process in family
    )
    files = max(
        sum(_rollup_mb(process, "Pss_File") for process in family),
        max(_status_mb(process, "RssFile") for process in family),
    )
    given_back = sum(_status_mb(p, "VmHWM") - _status_mb(p, "VmRSS") for p in family)
    return own + files + given_back


def resident_mb() -> float:
    """Resident memory of this process now, after giving back what nobody uses."""
    _libc()
    give_back_freed_memory()
    return _status_mb(OWN, "VmRSS")


def high_water_mb() -> float:
    """Highest resident memory of this process since it was last forgotten."""
    return _status_mb(OWN, "VmHWM")


def forget_high_water() -> None:
    """Let ``high_water_mb`` start again from what is resident now.

    Raises:
        SimulationError: the kernel does not allow it.
    """
    try:
        # 5 resets the peak of the resident set: proc(5), since Linux 4.0.
        (OWN / "clear_refs").write_text("5")
    except OSError as error:
        raise SimulationError(
            f"/proc/self/clear_refs cannot be written, so peak memory cannot be measured: "
            f"{error.strerror}"
        ) from None


def allocate_exactly() -> None:
    """From now on give the kernel the pages of every large block back as soon as it is freed.

    Resident memory then is what lives, to a page per block. Left alone, glibc keeps freed blocks
    for reuse, half as much again and another amount in every run. It is also faster that way, so
    nothing is timed in a process that has called this.
    """
    _libc().mallopt(M_MMAP_THRESHOLD, PAGES_OF_THEIR_OWN)
    _libc().mallopt(M_TRIM_THRESHOLD, PAGES_OF_THEIR_OWN)


def _libc() -> ctypes.CDLL:
    libc = glibc()
    if libc is None:
        raise SimulationError("measuring memory needs glibc, which this Linux does not use")
    return libc


def _rollup_mb(process: Path, key: str) -> float:
    return _table_mb(process / "smaps_rollup", key)


def _status_mb(process: Path, key: str) -> float:
    return _table_mb(process / "status", key)


def _table_mb(table: Path, key: str) -> float:
    for line in table.read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) / 1024
    return 0.0
