"""Interruptions of this program, around processes that must not outlive it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn


@contextmanager
def signals_deferred() -> Iterator[None]:
    """Hold back SIGINT and SIGTERM until the end of the block, then deliver one.

    Between the fork of an actor and its entry in the crew, or half-way through a clean-up, an
    interruption would leave a process behind. Outside the main thread there is nothing to do:
    Python runs signal handlers in the main thread alone.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    caught: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        caught.append(number)

    previous = {
        number: signal.getsignal(number)
        for number in (signal.SIGINT, signal.SIGTERM)
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


def exit_on_sigterm() -> bool:
    """Have SIGTERM unwind this program; return whether this call arranged it.

    A handler of the program's own is its own decision, and stays.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()
    if not in_main_thread or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        return False
    signal.signal(signal.SIGTERM, _exit)
    return True


def restore_sigterm() -> None:
    """Undo an ``exit_on_sigterm`` that returned True."""
    in_main_thread = threading.current_thread() is threading.main_thread()
    if in_main_thread and signal.getsignal(signal.SIGTERM) is _exit:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
