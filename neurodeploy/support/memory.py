"""How much memory can still be taken, by what the kernel and the control groups say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

PROC, CGROUPS = Path("/proc"), Path("/sys/fs/cgroup")


def available_memory(proc: Path = PROC, cgroups: Path = CGROUPS) -> int | None:
    """Bytes that this process and its children can take before somebody is killed.

    What the machine has to give without swapping, or less where a control group (of a container or
    a batch system) has a limit.

    Returns:
        None where the system does not say.
    """
    known = [_machine(proc / "meminfo"), *_groups(proc / "self" / "cgroup", cgroups)]
    return min((value for value in known if value is not None), default=None)


def _machine(meminfo: Path) -> int | None:
    found = _table(meminfo).get("MemAvailable")
    return None if found is None else found * 1024


def _groups(membership: Path, cgroups: Path) -> Iterator[int | None]:
    """What the limit of each control group leaves, from this process's own up to the root."""
    for line in _lines(membership):
        _, controllers, path = line.split(":", 2)
        first = controllers == ""  # version 2 has one hierarchy, with no controllers named
        if not first and "memory" not in controllers.split(","):
            continue
        root = cgroups if first else cgroups / "memory"
        names = (
            ("memory.max", "memory.current", "inactive_file")
            if first
            else ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        )
        own = PurePosixPath(path.lstrip("/"))
        for group in (own, *own.parents):
            yield _left(root / group, *names)


def _left(group: Path, limit: str, usage: str, reclaimable: str) -> int | None:
    most, used = _number(group / limit), _number(group / usage)
    if most is None or used is None:
        return None
    # Pages of files that nobody has used lately count as used, and are given back when needed.
    return max(0, most - used + _table(group / "memory.stat").get(reclaimable, 0))


def _number(file: Path) -> int | None:
    """The number in a file; None without the file, and for ``max``, which is no limit."""
    lines = _lines(file)
    return int(lines[0]) if lines and lines[0].isdigit() else None


def _table(file: Path) -> dict[str, int]:
    """Numbers by the word in front of them."""
    words = (line.replace(":", " ").split() for line in _lines(file))
    return {row[0]: int(row[1]) for row in words if len(row) > 1 and row[1].isdigit()}


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text().splitlines()
    except OSError:
        return []
