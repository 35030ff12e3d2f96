"""The helpers of one process, by the job that they work on, and the tasks that ask them.

Threads of the program run the functions here, or Dask workers in processes of their own; either way
a task takes an idle helper of its job or starts one.
"""

from __future__ import annotations

import pickle
import threading
from contextlib import suppress
from typing import Any

from neurodeploy.errors import NeurodeployError
from neurodeploy.farm.helper import Helper, HelperLostError, Make, end_all, started


class JobEndedError(Exception):
    """Nobody waits for the answer any more."""


class Pool:
    """The helpers of one job in this process.

    Attributes:
        work: of the job, pickled, where the tasks do not bring it.
        make: makes questions from pieces for helpers that cannot, as those that replace one.
    """

    work: bytes = b""
    make: Make | None = None

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._making = threading.Lock()
        self._idle: list[Helper] = []
        self._busy: list[Helper] = []
        self._ended = False

    def add(self, helper: Helper) -> None:
        """Have one more, which has nothing to do yet."""
        self._idle.append(helper)

    def ask(self, work: bytes | None, piece: bytes, threads: int) -> Any:
        """The answer of a helper.

        Args:
            work: pickled; None where the pool has it.

        Raises:
            JobEndedError: the job is over.
            HelperLostError, NeurodeployError: as ``Helper.ask``; the helper is gone.
        """
        helper = self._taken(work, threads)
        kept = False
        try:
            answer = helper.ask(piece if helper.makes else self._made(piece))
            kept = True
            return answer
        finally:
            with self._lock:
                self._busy.remove(helper)
                kept = kept and not self._ended
                if kept:
                    self._idle.append(helper)
            if not kept:
                end_all([helper])

    def _made(self, piece: bytes) -> bytes:
        """What a helper is asked of a piece, one at a time: readers of files may not share them."""
        if self.make is None:
            return piece
        with self._making:
            return pickle.dumps(self.make(pickle.loads(piece)), pickle.HIGHEST_PROTOCOL)

    def _taken(self, work: bytes | None, threads: int) -> Helper:
        with self._lock:
            if self._ended:
                raise JobEndedError
            while self._idle:
                helper = self._idle.pop()
                if not helper.gone:
                    break
                end_all([helper])
            else:
                helper = started(self.work if work is None else work, threads)
            self._busy.append(helper)
            return helper

    def end(self) -> None:
        """End all helpers, in the midst of a piece too."""
        with self._lock:
            self._ended = True
            idle, self._idle = self._idle, []
            for helper in self._busy:  # the task that asked it waits for its end
                helper.terminate()
        end_all(idle)


_pools: dict[str, Pool] = {}
_making = threading.Lock()


def pool_of(job: str) -> Pool:
    """The helpers of a job, none at first."""
    with _making:
        return _pools.setdefault(job, Pool())


def run_piece(job: str, work: bytes | None, piece: bytes, threads: int) -> tuple[str, Any]:
    """Have a piece computed here: the task to schedule, and to try again where it raises.

    Returns:
        ``answer`` and that, or ``error`` and one that another try would meet as well.

    Raises:
        HelperLostError: another try may succeed.
        JobEndedError: nobody waits.
    """
    try:
        return "answer", pool_of(job).ask(work, piece, threads)
    except NeurodeployError as error:
        return "error", error


def tried_piece(job: str, piece: bytes, threads: int, tries: int) -> tuple[str, Any]:
    """Have a piece computed in this process, again where a helper is lost.

    Raises:
        HelperLostError, JobEndedError: as ``run_piece``, the last time.
    """
    for _ in range(tries - 1):
        with suppress(HelperLostError):
            return run_piece(job, None, piece, threads)
    return run_piece(job, None, piece, threads)


def end_job(job: str) -> None:
    """End what works on a job in this process; harmless when nothing does."""
    with _making:
        pool = _pools.setdefault(job, Pool())
    pool.end()


def forget_job(job: str) -> None:
    """Let go of a job that has ended and of which no task is left."""
    with _making:
        _pools.pop(job, None)
