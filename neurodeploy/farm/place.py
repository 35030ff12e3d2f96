"""Where work is done: processes of this machine, or the workers of a Dask scheduler."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.util import find_spec

from neurodeploy.errors import InputError, MissingDependencyError, Setting, Text

MOST_WORKERS = 1024

ELSEWHERE = 32
"""Workers that work for a scheduler is cut for: how many come is not known before."""

INSTALL_COMMAND = "pip install 'neurodeploy[dask]'"


@dataclass(frozen=True)
class Place:
    """Where pieces of work are computed.

    Attributes:
        workers: processes of this machine.
        scheduler: address of a Dask scheduler, as in ``tcp://10.0.0.1:8786``, whose workers are
            used instead.
    """

    workers: int = 1
    scheduler: str | None = None

    @property
    def here(self) -> bool:
        """Whether all of it is done on this machine."""
        return self.scheduler is None

    @property
    def setting(self) -> str:
        """The name of the one that asked for it."""
        return "workers" if self.here else "scheduler"

    @property
    def expected(self) -> int:
        """Workers that work is to be cut for."""
        return self.workers if self.here else ELSEWHERE

    @property
    def threads(self) -> int:
        """CPU threads of each worker, such that all together have no more than there are cores."""
        return max(1, len(os.sched_getaffinity(0)) // self.workers) if self.here else 1

    def cores(self, number: int) -> set[int]:
        """The cores of this machine that a worker keeps to, with all that it starts.

        Lava's processes that wait for one another then take turns in one process, which is faster
        for the work of a core than processes that move between two.

        Args:
            number: of the worker, from 0.
        """
        all_of_them = sorted(os.sched_getaffinity(0))
        first = number * self.threads % len(all_of_them)
        return set(all_of_them[first : first + self.threads])


def plan(workers: int | None, scheduler: str | None) -> Place | None:
    """The place that a caller means; None for this process alone.

    Args:
        workers: processes of this machine; one is this process.
        scheduler: address of a Dask scheduler.

    Raises:
        InputError: both are named, or a number that cannot be.
        MissingDependencyError: there is a scheduler, and Dask is not installed.
    """
    if workers is not None and scheduler is not None:
        raise InputError(
            Text(
                "give either ",
                Setting("workers"),
                " or ",
                Setting("scheduler"),
                ", not both: a scheduler has its own workers",
            )
        )
    if workers is not None and not 1 <= workers <= MOST_WORKERS:
        raise InputError(
            Text(Setting("workers", str(workers)), f": needs a number from 1 to {MOST_WORKERS:,}")
        )
    if scheduler is None and workers in (None, 1):
        return None
    if scheduler is not None and find_spec("distributed") is None:
        raise MissingDependencyError(
            Text(Setting("scheduler"), f" needs Dask: {INSTALL_COMMAND}"),
        )
    return Place(workers or 1, scheduler)
