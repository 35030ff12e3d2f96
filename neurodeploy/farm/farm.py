"""Pieces of work given to workers, and the answers as they come.

On this machine threads of the program ask helpers and wait; elsewhere Dask workers do.
"""

from __future__ import annotations

import asyncio
import itertools
import pickle
import secrets
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent import futures
from contextlib import ExitStack, suppress
from importlib import metadata
from queue import SimpleQueue
from types import TracebackType
from typing import Any

from neurodeploy.errors import InputError, NeurodeployError, Setting, SimulationError, Text
from neurodeploy.farm.helper import HelperLostError, Make, Work, forked
from neurodeploy.farm.place import Place
from neurodeploy.farm.pool import end_job, forget_job, pool_of, run_piece, tried_piece
from neurodeploy.support.partial import temporary_folder
from neurodeploy.support.signals import signals_deferred
from neurodeploy.support.system import version_of

TRIES = 3
"""How often a piece is tried before the work is given up."""

AHEAD = 3
"""Pieces for each worker that are under way or wait for an earlier one: memory is bounded."""

CONTACT = 5.0
"""Seconds that a scheduler has to answer."""


class Farm:
    """Workers that all do one work, until the end of a ``with``; then nothing of it is left.

    Enter before there is anything that may not be copied: on this machine helpers are forks.

    Args:
        place: where they are.
        work: what they do.
        pieces: how many there are going to be, where it is known: no more workers are made.
        make: makes what is asked of the work from a piece; None where that is the piece itself.
            On this machine each helper does it for its own, side by side, with what is in memory
            now; for workers elsewhere it is done here.
    """

    def __init__(
        self, place: Place, work: Work, pieces: int | None = None, make: Make | None = None
    ) -> None:
        self.place = place
        self.workers = place.workers if pieces is None else min(place.workers, max(pieces, 1))
        self._work, self._make = work, make
        self._pickled = pickle.dumps(work, pickle.HIGHEST_PROTOCOL)
        self._job = secrets.token_hex(8)
        self._held = ExitStack()
        self._client: Any = None
        self._brought: Any = None
        self._askers: futures.ThreadPoolExecutor | None = None
        # A task that has the name of an earlier one may be answered with what that one found.
        self._keys = (f"{self._job}-{number}" for number in itertools.count())

    def __enter__(self) -> Farm:
        """Start the workers, or find those of the scheduler.

        Raises:
            InputError: there is no such scheduler, it has no workers, or they are of another
                version.
        """
        try:
            if self.place.here:
                self._start()
            else:
                self._connect()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()

    def _close(self) -> None:
        with signals_deferred():
            self._held.close()

    def _start(self) -> None:
        """Helpers here, and as many threads to ask them, which start with the first pieces."""
        pool = pool_of(self._job)
        pool.work, pool.make = self._pickled, self._make
        self._held.callback(forget_job, self._job)
        threads = self.place.threads
        self._askers = futures.ThreadPoolExecutor(self.workers, thread_name_prefix="farm")
        self._held.callback(self._askers.shutdown, cancel_futures=True)
        # First of all that is undone: threads that wait for a helper wait no longer.
        self._held.callback(end_job, self._job)
        for number in range(self.workers):
            cores = self.place.cores(number)
            with signals_deferred():
                pool.add(forked(self._work, threads, self._make, cores))

    def _connect(self) -> None:
        from dask.config import set as configured

        settings = {
            # The work is large, and goes to the scheduler once.
            "distributed.admin.large-graph-warning-threshold": "1TiB",
            "temporary-directory": str(self._held.enter_context(temporary_folder())),
        }
        self._held.enter_context(configured(settings))
        self._client = self._held.enter_context(self._client_of(str(self.place.scheduler)))
        self._held.callback(self._end_elsewhere)
        self.workers = self._count()
        # As a task of its own it can be made again when the worker that has it is gone.
        self._brought = self._client.submit(bytes, self._pickled, key=f"{self._job}-work")

    def _client_of(self, address: str) -> Any:
        from distributed import Client

        try:
            return Client(address, timeout=CONTACT, set_as_default=False)
        except (OSError, TimeoutError, ValueError, ImportError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise InputError(
                Text(
                    Setting("scheduler", address),
                    f": no Dask scheduler answers there ({reason}); give the address that "
                    "`dask scheduler` prints, as in tcp://10.0.0.1:8786",
                )
            ) from None

    def _count(self) -> int:
        """Threads of all workers, once they are known to be able to do the work.

        Raises:
            InputError: there is none, or one has another version of this package.
        """
        address = Setting("scheduler", str(self.place.scheduler))
        found: dict[str, int] = self._client.nthreads()
        if not found:
            raise InputError(
                Text(address, ": the scheduler has no workers; start some with `dask worker`")
            )
        ours = version_of("neurodeploy")
        theirs: dict[str, Any] = self._client.run(_version, on_error="return")
        others = sorted({str(version) for version in theirs.values() if version != ours})
        if others:
            raise InputError(
                Text(
                    address,
                    f": workers have neurodeploy {', '.join(others)}, here is {ours}; install the "
                    "same version in their environment",
                )
            )
        return sum(found.values())

    def _end_elsewhere(self) -> None:
        with suppress(Exception):
            self._client.run(end_job, self._job, on_error="ignore")

    def check_sees(self, file: str, setting: str) -> None:
        """Refuse workers that do not see a file of this machine.

        Raises:
            InputError: they do not.
        """
        if self.place.here:
            return
        seen: dict[str, Any] = self._client.run(_sees, file, on_error="return")
        if not all(found is True for found in seen.values()):
            raise InputError(
                Text(
                    Setting(setting),
                    f": the workers of {self.place.scheduler} do not see {file}; name a folder "
                    "that all machines share",
                )
            )

    def answers(
        self, pieces: Iterable[Any], named: Callable[[int], str], ahead: int = 1
    ) -> Generator[tuple[int, Any], None, None]:
        """Number and answer of each piece, in the order in which they come.

        Args:
            pieces: taken when there is work for them.
            named: names a piece by its number, for messages.
            ahead: pieces for each worker that are taken at a time.

        Raises:
            SimulationError: a piece failed ``TRIES`` times.
            NeurodeployError: the work's own error of a piece, which is named.
        """
        yield from self._answers(pieces, named, lambda under_way: under_way < ahead * self.workers)

    def in_order(
        self, pieces: Iterable[Any], named: Callable[[int], str], came: Callable[[Any], object]
    ) -> Iterator[Any]:
        """The answers in the order of the pieces.

        Never more than ``AHEAD`` pieces for each worker are under way or wait for an earlier one.

        Args:
            came: told each answer as soon as it is there.
            named: as for ``answers``.

        Raises:
            SimulationError, NeurodeployError: as ``answers``.
        """
        early: dict[int, Any] = {}
        following = 0

        def room(under_way: int) -> bool:
            return under_way + len(early) < AHEAD * self.workers

        for number, answer in self._answers(pieces, named, room):
            came(answer)
            early[number] = answer
            while following in early:
                yield early.pop(following)
                following += 1

    def _answers(
        self, pieces: Iterable[Any], named: Callable[[int], str], room: Callable[[int], bool]
    ) -> Iterator[tuple[int, Any]]:
        waiting = enumerate(pieces)
        under_way: dict[Any, int] = {}
        # Futures of both kinds say when they are done.
        done: SimpleQueue[Any] = SimpleQueue()
        more = True
        while True:
            while more and room(len(under_way)):
                following = next(waiting, None)
                more = following is not None
                if following is not None:
                    future = self._submitted(following[1])
                    under_way[future] = following[0]
                    future.add_done_callback(done.put)
            if not under_way:
                return
            future = done.get()
            number = under_way.pop(future)
            yield number, _answer(future, named(number))

    def _submitted(self, piece: Any) -> Any:
        if self._askers is not None:
            asked = pickle.dumps(piece, pickle.HIGHEST_PROTOCOL)
            return self._askers.submit(tried_piece, self._job, asked, self.place.threads, TRIES)
        if self._make is not None:
            piece = self._make(piece)
        return self._client.submit(
            run_piece,
            self._job,
            self._brought,
            pickle.dumps(piece, pickle.HIGHEST_PROTOCOL),
            self.place.threads,
            key=next(self._keys),
            retries=TRIES - 1,
            pure=False,
        )


def _answer(future: Any, name: str) -> Any:
    """What a task found.

    Raises:
        SimulationError: it failed however often it was tried.
        NeurodeployError: its own error.
    """
    try:
        kind, answer = future.result()
    except HelperLostError as error:
        raise SimulationError(f"{name}: tried {TRIES} times on the workers: {error}") from None
    except (futures.CancelledError, asyncio.CancelledError):
        raise SimulationError(f"{name}: contact with the scheduler was lost") from None
    except Exception as error:
        # By name: where Dask is not installed it is not known.
        if type(error).__name__ == "KilledWorker":
            raise SimulationError(f"{name}: every worker that tried it was killed") from None
        raise
    if kind == "answer":
        return answer
    own: NeurodeployError = answer
    raise type(own)(Text(f"{name}: ", own.text)) from None


def _version() -> str | None:
    try:
        return metadata.version("neurodeploy")
    except metadata.PackageNotFoundError:
        return None


def _sees(file: str) -> bool:
    from pathlib import Path

    return Path(file).exists()
