"""Interruptions of this program, around what must be taken down when it ends."""

from __future__ import annotations

import ctypes
import functools
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals that ask a program to end: of Ctrl-C, of a supervisor, of a terminal that is closed."""

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


@contextmanager
def signals_deferred() -> Iterator[None]:
    """Hold back ``ENDING`` until the end of the block, then deliver one.

    Between the making of something and its entry where it will be found, as of an actor in the
    crew, or half-way through a clean-up, an interruption would leave it behind. Outside the main
    thread there is nothing to do: Python runs signal handlers in the main thread alone.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    caught: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        caught.append(number)

    previous = {
        number: signal.getsignal(number)
        for number in ENDING
        # None: set outside Python, and could not be put back.
        if signal.getsignal(number) not in (None, signal.SIG_IGN)
    }
    for number in previous:
        signal.signal(number, note)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        if caught:
            signal.raise_signal(caught[0])


@contextmanager
def ended_by_alarm(seconds: float | None, end: Callable[[], None]) -> Iterator[None]:
    """Call ``end``, which raises, when the block still runs after so many seconds.

    In the main thread alone, as signals are, and where nothing else has set the alarm.
    """
    if (
        seconds is None
        or threading.current_thread() is not threading.main_thread()
        or signal.getitimer(signal.ITIMER_REAL)[0] > 0
        or signal.getsignal(signal.SIGALRM) is None
    ):
        yield
        return
    previous = signal.signal(signal.SIGALRM, lambda number, frame: end())
    try:
        signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-3))
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        signal.signal(signal.SIGALRM, previous)


def _exit(number: int, frame: FrameType | None) -> NoReturn:
    """Leave by SystemExit, which unwinds every ``with``, instead of dying on the spot."""
    raise SystemExit(128 + number)


def exit_on(*numbers: int) -> list[int]:
    """Have signals unwind this program by SystemExit; return those that this call arranged it for.

    A handler of the program's own is its own decision, and stays; so does one that is ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        return []
    arranged = [number for number in numbers if signal.getsignal(number) is signal.SIG_DFL]
    for number in arranged:
        signal.signal(number, _exit)
    return arranged


def restore(numbers: Iterable[int]) -> None:
    """Undo an ``exit_on`` that returned these."""
    if threading.current_thread() is not threading.main_thread():
        return
    for number in numbers:
        if signal.getsignal(number) is _exit:
            signal.signal(number, signal.SIG_DFL)


@functools.cache
def libc() -> ctypes.CDLL | None:
    """The C library on Linux; to be loaded before a fork, as a child may find its lock held."""
    return ctypes.CDLL(None) if sys.platform == "linux" else None


def die_with(parent: int) -> None:
    """Have this process killed when the thread that forked it ends (Linux only)."""
    library = libc()
    if library is None:
        return
    library.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before the call above
        os._exit(1)
