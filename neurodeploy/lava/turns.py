"""How Lava's actors wait for each other: each in a process of its own, or in turns in one.

A message between two processes costs a switch of processes, tens of microseconds where both share a
core. Actors that run in one process, each as a greenlet, hand over to one another in a microsecond:
whoever has to wait lets another one go on. What they compute and what they send is the same, in
whatever order they take their turns, since each has a state of its own and hears of others over
channels alone.
"""

from __future__ import annotations

import os
import signal
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neurodeploy.ir.quantized import QuantizedNetwork
    from neurodeploy.lava.memory import Semaphore

MOST_CONNECTIONS = 2**19
"""Connections of a network up to which turns are faster than processes on several cores."""


def best_in_turns(network: QuantizedNetwork) -> bool:
    """Whether Lava's processes are faster in one: of a small network, or on one core."""
    connections = sum(projection.operator.connections for projection in network.projections)
    return connections <= MOST_CONNECTIONS or len(os.sched_getaffinity(0)) == 1


_LOOK = 0.05
"""Seconds after which a process looks again for a message that it was not told of."""

_SHORT = 0.001
"""Seconds to wait for one of several processes before another."""


class Turns:
    """Runs actors in this process until the last has ended."""

    def __init__(self) -> None:
        self._ready: deque[Any] = deque()
        self._waiting: dict[Semaphore, tuple[Any, Sequence[Semaphore]]] = {}

    def run(self, actors: Sequence[Callable[[], object]]) -> None:
        """Run all of them; one that raises ends by itself, and must have said so."""
        from greenlet import getcurrent, greenlet

        self._current, self._host = getcurrent, getcurrent()
        for actor in actors:
            self._ready.append(greenlet(actor))
        while self._ready or self._waiting:
            while self._ready:
                self._ready.popleft().switch()
            self._let_in()

    def wait(self, semaphores: Sequence[Semaphore]) -> None:
        """Let others go on until one of the semaphores is above 0."""
        me = self._current(), semaphores
        for semaphore in semaphores:
            self._waiting[semaphore] = me
        # Actors are children of the host: it goes on when one ends, and takes up the next.
        (self._ready.popleft() if self._ready else self._host).switch()

    def released(self, semaphore: Semaphore) -> None:
        """Take note that a semaphore was released here, which somebody may be waiting for."""
        if semaphore in self._waiting:
            actor, semaphores = self._waiting[semaphore]
            for each in semaphores:
                del self._waiting[each]
            self._ready.append(actor)

    def _let_in(self) -> None:
        """Wait for another process, when all actors wait."""
        outside = [semaphore for semaphore in self._waiting if semaphore.outside]
        if not outside and self._waiting:
            # One has failed, and said so. Whoever started this process is about to end it.
            signal.pause()
        # Of several, as the services of several domains have, whichever comes first.
        seconds = None if len(outside) == 1 else _SHORT
        for semaphore in outside:
            if semaphore.waits(seconds):
                self.released(semaphore)


_turns: Turns | None = None


def run_in_turns(actors: Sequence[Callable[[], object]]) -> None:
    """Run the actors of this process in turns, until all have ended."""
    global _turns
    _turns = Turns()
    try:
        _turns.run(actors)
    finally:
        _turns = None


def take(semaphore: Semaphore) -> None:
    """Acquire a semaphore, however long it takes."""
    if _turns is None:
        semaphore.acquire()
        return
    while not semaphore.acquire(block=False):
        _turns.wait((semaphore,))


def give(semaphore: Semaphore) -> None:
    """Release a semaphore."""
    semaphore.release()
    if _turns is not None:
        _turns.released(semaphore)


class Selector:
    """Waits for the first of several channels; in place of Lava's, which needs their threads."""

    def select(self, *choices: tuple[Any, Any]) -> Any:
        """Call what belongs to the first channel with a message, and return what it returns."""
        ports = [port for port, _ in choices]
        while True:
            for port, act in choices:
                if port.probe():
                    return act()
            if _turns is not None:
                _turns.wait([port.arrived for port in ports])
            elif len(ports) == 1:
                ports[0].waits()
            else:
                self._wait(ports)

    def _wait(self, ports: Sequence[Any]) -> None:
        """Return when a message may have come to one of the ports, from another process."""
        bell: Semaphore = ports[0].bell.own
        for port in ports:
            port.bell.becomes(bell)
        while bell.acquire(block=False):  # what has rung before is seen by the look that follows
            pass
        if not any(port.probe() for port in ports):
            # A sender on another core may not see yet whose bell it is to ring, the first time.
            bell.acquire(timeout=_LOOK)
