"""The operating system processes under a Lava simulation, none of which outlives it.

``Crew`` stands where Lava's ``MultiProcessing`` infrastructure stood. It differs in what
happens when something goes wrong:

- an actor (one Lava process, or Lava's service that clocks them) is a process of its own, or all
  of them take turns in one, as ``turns`` says;
- it reports its failure as text through a pipe, and the end of that pipe tells of a death without
  a word;
- channels lie in a few blocks of anonymous shared memory (``memory``), freed with the last
  process that maps it, even after SIGKILL;
- actors ignore Ctrl-C and the end of a terminal, which it sends to them too, and die with their
  parent.

Nothing of Lava is imported here until an actor is built.
"""

from __future__ import annotations

import functools
import gc
import multiprocessing
import os
import signal
import time
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any, NamedTuple

from neurodeploy.lava.channels import channel_class
from neurodeploy.lava.memory import SharedMemory
from neurodeploy.lava.turns import Selector, run_in_turns
from neurodeploy.support.signals import die_with, libc, signals_deferred

# How long a failed actor may take to say why, after others have noticed that it failed.
_LAST_WORDS = 1.0

# How long the system may take to end a killed process; only a stuck disk or device exceeds it.
_KILL = 5.0


class Part(NamedTuple):
    """One Lava process, or Lava's service.

    Attributes:
        label: what to call it.
        builder: Lava's, which makes the object.
    """

    label: str
    builder: Any


class Actor:
    """One forked process, of one part or of several that take turns.

    Attributes:
        label: what to call it.
        built: whether it has made all objects, and runs them.
        failure: what went wrong, with the traceback.
        ended: its end of the pipe is closed.
    """

    def __init__(self, parts: Sequence[Part]) -> None:
        (self.label, _), *others = parts
        if others:
            self.label = f"the one process of {len(parts) - 1} Lava processes and their service"
        self.built = False
        self.failure: str | None = None
        self.ended = False
        self._parts = parts
        self._reports: Any = None
        self._process: Any = None

    def start(self) -> None:
        """Fork the process."""
        self._reports, reports = multiprocessing.Pipe(duplex=False)
        libc()  # loaded before the fork: the loader's lock may be held in a forked child
        self._process = multiprocessing.get_context("fork").Process(
            target=_act,
            args=(self._parts, reports, os.getpid()),
            name=self.label,
            # If all else fails, multiprocessing ends its daemons when the interpreter exits.
            daemon=True,
        )
        with warnings.catch_warnings():
            # Python 3.12 warns of forking beside threads (numpy and torch have theirs). An
            # actor uses none of them: numpy's own are made for forks, torch stays outside.
            warnings.filterwarnings("ignore", r".*multi-threaded", DeprecationWarning)
            self._process.start()
        reports.close()

    @property
    def pipe(self) -> Any:
        """The pipe to watch for reports, None when there is nothing to come."""
        return None if self.ended else self._reports

    def read_reports(self) -> None:
        """Take in all reports that ``pipe`` has, which must be one at least."""
        try:
            while True:
                report = self._reports.recv()
                if report is None:
                    self.built = True
                else:
                    self.failure = f"{self.failure}\n\n{report}" if self.failure else report
                if not self._reports.poll():
                    return
        except (EOFError, OSError):
            self.ended = True

    def notice_end(self) -> None:
        """See an end that the pipe does not show: a fork elsewhere may hold it open."""
        if not self.ended and self.join(0):
            if self._reports.poll():
                self.read_reports()
            self.ended = True

    def exit_code(self) -> int | None:
        """Return the exit code, negative for a signal, of an actor that has ended."""
        self._process.join(_KILL)
        return self._process.exitcode

    def join(self, seconds: float) -> bool:
        """Wait for the end; return whether it came. An actor never started has ended."""
        if self._process is None or self._process.pid is None:
            return True
        self._process.join(seconds)
        return self._process.exitcode is not None

    def kill(self) -> None:
        """End the process now. It holds nothing that would need a gentler way."""
        if self._process is not None and self._process.pid is not None:
            self._process.kill()

    def release(self) -> None:
        """Give back the pipe, the process handle and the channels' memory."""
        if self._reports is not None:
            self._reports.close()
        if self.join(0) and self._process is not None:
            self._process.close()
        self._process = None
        self._parts = ()
        self.ended = True


class Crew:
    """All actors and channels of one simulation, in the shape Lava's runtime expects."""

    def __init__(
        self, labels: Mapping[int, str], look: Callable[[], None], *, in_turns: bool
    ) -> None:
        """Start none yet.

        Args:
            labels: what to call each Lava process, by the ``id`` of its builder.
            look: called after each start, and may raise to make it the last.
            in_turns: all in one process, which ``start_turns`` starts.
        """
        self.actors: list[Actor] = []
        self._in_turns = in_turns
        self._parts: list[Part] = []
        self._labels = labels
        self._look = look
        self._memory = SharedMemory()

    @property
    def smm(self) -> SharedMemory:
        """Where Lava's channels ask for memory."""
        return self._memory

    def channel_class(self, channel_type: Any) -> Any:
        """Return Lava's channel between two Python processes, the only kind on a CPU."""
        from lava.magma.compiler.channels.interfaces import ChannelType

        if channel_type is not ChannelType.PyPy:
            raise NotImplementedError(f"channels of type {channel_type} need Loihi hardware")
        return channel_class()

    def start(self) -> None:
        """Do nothing: there is no manager process to start."""

    def build_actor(self, target: Any, builder: Any, exceptions: Any = None) -> None:
        """Fork an actor for ``builder``; Lava's own target and exception queue go unused."""
        del target, exceptions
        part = Part(self._labels.get(id(builder), "Lava's runtime service"), builder)
        if self._in_turns:
            self._parts.append(part)
        else:
            self._start([part])

    def start_turns(self) -> None:
        """Fork the one process of all that were to be built, if they are to take turns."""
        if self._in_turns:
            parts, self._parts = self._parts, []
            self._start(parts)

    def _start(self, parts: Sequence[Part]) -> None:
        actor = Actor(parts)
        self.actors.append(actor)
        with signals_deferred():
            actor.start()
        self._look()

    def read_reports(self, seconds: float) -> None:
        """Take in the actors' reports, waiting up to ``seconds`` for the first."""
        pipes: dict[Any, Actor] = {
            actor.pipe: actor for actor in self.actors if actor.pipe is not None
        }
        for pipe in wait(list(pipes), seconds):
            pipes[pipe].read_reports()
        for actor in self.actors:
            actor.notice_end()

    def failure(self, *, expected: bool = False) -> str | None:
        """Say what went wrong, with tracebacks; None while every actor is well.

        ``expected`` waits a moment for the report of a failure that is known of already.
        """
        deadline = time.monotonic() + _LAST_WORDS
        self.read_reports(0)
        while True:
            failed = [actor for actor in self.actors if actor.failure is not None]
            if failed:
                return "\n\n".join(str(actor.failure) for actor in failed)
            ended = [actor for actor in self.actors if actor.ended]
            dead = [actor for actor in ended if actor.exit_code()]
            if dead:
                short = any(actor.exit_code() == -signal.SIGKILL for actor in dead)
                hint = "; the machine may be short of memory" if short else ""
                return "; ".join(map(_describe_death, dead)) + hint
            if not ended and not expected:
                return None
            # An actor that ended well did so because another failed, which has yet to report.
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                return "; ".join(map(_describe_death, ended)) or None
            self.read_reports(min(remaining, 0.02))

    def has_lost_an_actor(self) -> bool:
        """Say whether any has failed or died, without waiting to hear why."""
        self.read_reports(0)
        return any(a.failure is not None or (a.ended and a.exit_code()) for a in self.actors)

    def join(self, seconds: float) -> bool:
        """Wait for every actor to end by itself; return whether all did."""
        deadline = time.monotonic() + seconds
        return all(actor.join(max(0.0, deadline - time.monotonic())) for actor in self.actors)

    def stop(self) -> None:
        """End every actor that still lives, and give back its handles."""
        for actor in self.actors:
            if not actor.join(0):
                actor.kill()
        self.join(_KILL)
        for actor in self.actors:
            actor.release()


def _act(parts: Sequence[Part], reports: Connection, parent: int) -> None:
    """Build and run actors, in their own process; report None when built, text on failure."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    die_with(parent)
    # A collector that went through the parent's objects would copy every page that they lie in.
    gc.freeze()
    _select_without_threads()
    objects = [
        _reporting(reports, f"{part.label} could not be built", part.builder.build)
        for part in parts
    ]
    if None in objects:
        return
    reports.send(None)
    runs = [
        functools.partial(_reporting, reports, f"{part.label} failed", actor.start)
        for part, actor in zip(parts, objects, strict=True)
    ]
    if len(runs) == 1:
        runs[0]()
    else:
        run_in_turns(runs)


def _reporting(reports: Connection, what: str, call: Callable[[], Any]) -> Any:
    """Return what a call returns, or report that it failed and return None."""
    try:
        return call()
    except BaseException as error:  # SystemExit as well: whatever ends an actor early
        line = traceback.format_exception_only(error)[-1].strip()
        reports.send(f"{what}: {line}\n{traceback.format_exc().rstrip()}")
        return None


def _select_without_threads() -> None:
    """Have Lava's actors, in this process, wait for several channels as ours need it."""
    from lava.magma.core.model.py import model
    from lava.magma.runtime.runtime_services import runtime_service

    for module in (model, runtime_service):
        vars(module)["CspSelector"] = Selector


def _describe_death(actor: Actor) -> str:
    code = actor.exit_code()
    if code is not None and code < 0:
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        return f"{actor.label} was ended by {name}"
    return f"{actor.label} ended prematurely, without an exception (exit code {code})"
