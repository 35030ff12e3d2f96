"""Helpers: processes that open a work once, and then answer what they are asked until ended."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import connection
from typing import Any, Protocol

from neurodeploy.errors import NeurodeployError, SimulationError
from neurodeploy.support.children import PATIENCE, Child, end, start_tied
from neurodeploy.support.signals import die_with, exit_on, libc, signals_deferred

Ask = Callable[[Any], Any]

Make = Callable[[Any], Any]
"""From a piece, as it is named, to what a helper is asked."""

IDLE = 300.0
"""Seconds after which a helper that nobody asks ends: who asked may be gone."""

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class Work(Protocol):
    """What a helper does. It travels by pickle, as do what it is asked and what it answers."""

    def opened(self) -> AbstractContextManager[Ask]:
        """Make ready, as by building an engine; what is asked for one piece, until the end."""
        ...


@dataclass(frozen=True)
class Calls:
    """The work of calling a function with each piece.

    Attributes:
        function: of a module, by whose name it travels.
    """

    function: Callable[[Any], Any]

    @contextmanager
    def opened(self) -> Iterator[Ask]:
        """There is nothing to make ready."""
        yield self.function


class HelperLostError(Exception):
    """A helper is gone, or failed in a way that another one may not: Lava's processes be killed."""


class Forked:
    """A process that ``fork`` made, with the methods of ``subprocess.Popen`` that end it."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._waited = False

    def terminate(self) -> None:
        """Ask it to end."""
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        """End it."""
        self._send(signal.SIGKILL)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end.

        Raises:
            subprocess.TimeoutExpired: it did not come.
        """
        until = None if timeout is None else time.monotonic() + timeout
        while not self._waited:
            try:
                self._waited = os.waitpid(self.pid, os.WNOHANG)[0] == self.pid
            except ChildProcessError:
                self._waited = True
            if not self._waited and until is not None and time.monotonic() >= until:
                raise subprocess.TimeoutExpired("helper", timeout or 0.0)
            if not self._waited:
                time.sleep(0.01)
        return 0

    def _send(self, number: int) -> None:
        if not self._waited:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)


class Helper:
    """A helper as those see it who ask it.

    Attributes:
        makes: whether it makes by itself what it is asked, from a piece.
    """

    def __init__(self, process: Child, pipe: connection.Connection, *, makes: bool = False) -> None:
        self.makes = makes
        self._process = process
        self._pipe = pipe

    @property
    def gone(self) -> bool:
        """Whether it ended while nobody asked it anything."""
        try:
            return self._pipe.poll(0)
        except (OSError, EOFError):
            return True

    def ask(self, piece: bytes) -> Any:
        """What it answers.

        Args:
            piece: pickled.

        Raises:
            HelperLostError: it is gone, or failed by itself.
            NeurodeployError: what the work raised of it.
        """
        try:
            # One that could not make ready has said why, and reads no more.
            with suppress(OSError):
                self._pipe.send_bytes(piece)
            kind, answer = pickle.loads(self._pipe.recv_bytes())
        except (EOFError, OSError):
            raise HelperLostError("its process was killed") from None
        if kind == "answer":
            return answer
        if kind == "error":
            raise answer
        raise HelperLostError(answer)

    def terminate(self) -> None:
        """Ask it to end, with all that it has started."""
        self._process.terminate()

    def kill(self) -> None:
        """End it."""
        self._process.kill()

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end, and let go of it."""
        code = self._process.wait(timeout)
        self._pipe.close()
        return code


def end_all(helpers: list[Helper]) -> None:
    """End helpers and wait until they are gone."""
    with signals_deferred():
        end(helpers, PATIENCE)


def forked(
    work: Work, threads: int, make: Make | None = None, cores: Collection[int] | None = None
) -> Helper:
    """A helper as a copy of this process, which has loaded already what the work needs.

    Args:
        make: what it makes questions with, from pieces; it sees what this process sees now.
        cores: that it keeps to, with all that it starts; None for those of this process.
    """
    ours, theirs = _pipe()
    libc()  # loaded before the fork
    parent = os.getpid()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()
    with signals_deferred():
        with warnings.catch_warnings():
            # Python 3.12 says so where torch or Dask have threads, none of which a helper uses.
            warnings.filterwarnings("ignore", "This process .* multi-threaded", DeprecationWarning)
            pid = os.fork()
        if pid == 0:
            code = 1
            try:
                die_with(parent)
                _arrange_signals()
                ours.close()
                if cores is not None:
                    os.sched_setaffinity(0, cores)
                code = _serve(theirs, work, threads, make)
            finally:
                os._exit(code)
    theirs.close()
    return Helper(Forked(pid), ours, makes=make is not None)


def started(work: bytes, threads: int) -> Helper:
    """A helper as a new program.

    Args:
        work: pickled.
    """
    ours, theirs = _pipe()
    program = f"from {__name__} import main\nmain({theirs.fileno()}, {threads})"
    command = [sys.executable, "-c", program]
    environment = {**os.environ, **dict.fromkeys(THREADS, str(threads))}
    process = start_tied(command, pass_fds=[theirs.fileno()], env=environment)
    theirs.close()
    helper = Helper(process, ours)
    with suppress(OSError):  # it is gone, which the first question finds
        ours.send_bytes(work)
    return helper


def _pipe() -> tuple[connection.Connection, connection.Connection]:
    """Both ends."""
    # Annotated of Windows, where there is another kind as well.
    ends: Any = connection.Pipe()
    return ends


def _arrange_signals() -> None:
    """Be ended by who asks, and not by Ctrl-C, which reaches all processes of a terminal."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    exit_on(signal.SIGTERM)


def _serve(pipe: connection.Connection, work: Work, threads: int, make: Make | None = None) -> int:
    """Answer until the end; returns the exit code."""
    with suppress(OSError):
        os.dup2(2, 1)  # what libraries print is not the command's output
    if "torch" in sys.modules:
        import torch

        torch.set_num_threads(threads)
    try:
        try:
            with work.opened() as ask:
                while pipe.poll(IDLE):
                    piece = pickle.loads(pipe.recv_bytes())
                    _send(pipe, "answer", ask(piece if make is None else make(piece)))
        except NeurodeployError as error:
            # Before the first piece came, too: it is told when one comes.
            again = type(error) is SimulationError
            _send(pipe, "failure" if again else "error", str(error) if again else error)
        except EOFError:
            pass
        except Exception as error:
            _send(pipe, "failure", f"{type(error).__name__}: {error}")
    except (OSError, SystemExit):
        pass
    return 0


def _send(pipe: connection.Connection, kind: str, what: Any) -> None:
    pipe.send_bytes(pickle.dumps((kind, what), pickle.HIGHEST_PROTOCOL))


def main(descriptor: int, threads: int) -> None:
    """What ``started`` starts; ends the process."""
    _arrange_signals()
    pipe = connection.Connection(descriptor)
    code = 1
    try:
        code = _serve(pipe, pickle.loads(pipe.recv_bytes()), threads)
    except (EOFError, SystemExit):
        pass
    except Exception as error:
        with suppress(OSError):
            _send(pipe, "failure", f"{type(error).__name__}: {error}")
    finally:
        os._exit(code)
