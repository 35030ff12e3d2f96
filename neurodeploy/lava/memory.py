"""Memory that a simulation's processes share, in a few large blocks, and semaphores in it.

Lava takes a block of its own for every channel, and a file for each of its two semaphores. Of
hundreds of populations that makes thousands of mappings, which every process that is forked
copies: memory and time then grow with the square of the populations. Here channels and
semaphores lie in blocks of ``BLOCK`` bytes. Blocks are anonymous: they have no name in
``/dev/shm``, need no manager process, and are freed with the last process that maps them, even
after SIGKILL.
"""

from __future__ import annotations

import ctypes
import mmap
import os
from multiprocessing import synchronize
from types import SimpleNamespace
from typing import Any

BLOCK = 1 << 22
"""Bytes taken at once; what is larger gets a block of its own."""

_LINE = 64  # bytes of a line of cache, so that no two channels wait for the same one

_SEMAPHORE = 1  # the kind, in multiprocessing's own numbers: no owner, any process may release
_MOST = 2**31 - 1
_SEMLOCK: Any = synchronize._multiprocessing.SemLock  # pyright: ignore


class SharedMemory:
    """Pieces of memory shared with every process forked after they were taken.

    None is ever closed by hand: Lava's ports keep numpy views that do not stop a mapping from
    being closed, and reading one afterwards would crash the interpreter.
    """

    def __init__(self) -> None:
        self._block = memoryview(b"")

    def take(self, size: int) -> memoryview:
        """So many bytes of zeros, at least one."""
        room = -(-max(1, size) // _LINE) * _LINE
        if room > BLOCK:
            return memoryview(mmap.mmap(-1, room))[:size]
        if room > len(self._block):
            self._block = memoryview(mmap.mmap(-1, BLOCK))
        piece, self._block = self._block[:room], self._block[room:]
        return piece[: max(1, size)]

    def create_shared_memory(self, size: int) -> Any:
        """The same, by the name under which Lava's own channels ask, and in the shape they take."""
        return SimpleNamespace(buf=self.take(size))

    def semaphore(self, value: int = 0) -> Semaphore:
        """A semaphore that counts from ``value``."""
        return Semaphore(self.take(_LINE), value)


class Semaphore:
    """POSIX's unnamed semaphore, which needs no file, behind the methods of the named one.

    Attributes:
        address: of the semaphore, the same in every process that was forked after it was made.
        outside: whether one of its sides is the program that started the simulation.
    """

    outside = False

    def __init__(self, memory: memoryview, value: int = 0) -> None:
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        place = ctypes.c_void_p(self.address)
        if ctypes.CDLL(None, use_errno=True).sem_init(place, 1, value) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        lock = _at(self.address)
        self._memory = memory  # lives as long as what lies in it
        self.acquire, self.release, self.is_zero = lock.acquire, lock.release, lock._is_zero

    def waits(self, seconds: float | None = None) -> bool:
        """Wait until it is above 0, and leave it so; returns whether it came to that."""
        if not self.acquire(timeout=seconds):
            return False
        self.release()
        return True


def _at(address: int) -> Any:
    """The lock for a semaphore that is there."""
    # Without a name it takes the first argument for the address.
    return _SEMLOCK._rebuild(address, _SEMAPHORE, _MOST, None)


class Bell:
    """What the receiver of a channel has the sender ring after each message, if anything.

    Attributes:
        own: a bell for whoever waits for this channel and others.
    """

    def __init__(self, memory: SharedMemory) -> None:
        self.own = memory.semaphore()
        self._rung = memory.take(8).cast("q")
        self._known: tuple[int, Any] = (0, None)

    def becomes(self, bell: Semaphore) -> None:
        """Have this one rung, from now on."""
        self._rung[0] = bell.address

    def ring(self) -> None:
        """Ring the receiver's bell, where it has one."""
        address = self._rung[0]
        if address:
            if self._known[0] != address:
                self._known = address, _at(address)
            self._known[1].release()
