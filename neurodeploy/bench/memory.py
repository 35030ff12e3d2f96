"""How much memory a process takes, as the kernel counts it."""

from __future__ import annotations

import ctypes
import gc
from pathlib import Path

from neurodeploy.errors import SimulationError
from neurodeploy.support.allocator import M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, glibc

OWN = Path("/proc/self")

PAGES_OF_THEIR_OWN = 1 << 16
"""Bytes from which on an allocation gets pages of its own in ``allocate_exactly``."""


def peak_memory_mb() -> float:
    """Highest resident memory of this process and its children so far."""
    children = [
        Path("/proc") / pid
        for task in (OWN / "task").iterdir()
        for pid in (task / "children").read_text().split()
    ]
    return sum(_status_mb(process, "VmHWM") for process in (OWN, *children))


def resident_mb() -> float:
    """Resident memory of this process now, after giving back what nobody uses."""
    gc.collect()
    _libc().malloc_trim(0)
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


def _status_mb(process: Path, key: str) -> float:
    for line in (process / "status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) / 1024
    return 0.0
