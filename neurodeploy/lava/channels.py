"""Memory that a simulation's processes share, in a few large blocks, and Lava's channels in it.

Lava takes a block of its own for every channel, and a file for each of its two semaphores. Of
hundreds of populations that makes thousands of mappings, which every process that is forked
copies: memory and time then grow with the square of the populations. Here channels and
semaphores lie in blocks of ``BLOCK`` bytes. Blocks are anonymous: they have no name in
``/dev/shm``, need no manager process, and are freed with the last process that maps them, even
after SIGKILL.

Lava has a thread in each end of a channel that hands semaphores on to a queue, so that every
message wakes three threads, two of them only to pass it on. Here both ends wait on the semaphores
themselves.
"""

from __future__ import annotations

import ctypes
import functools
import mmap
import os
from multiprocessing import synchronize
from types import SimpleNamespace
from typing import Any

import numpy as np

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
    """

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


class _Bell:
    """What the receiver of a channel has the sender ring after each message, if anything.

    Attributes:
        own: a bell for whoever waits for this channel and others.
    """

    def __init__(self, memory: SharedMemory) -> None:
        self.own = memory.semaphore()
        self._rung = memory.take(8).cast("q")
        self._lock: Any = None

    def becomes(self, bell: Semaphore) -> None:
        """Have this one rung, from now on."""
        self._rung[0] = bell.address

    def ring(self) -> None:
        """Ring the receiver's bell, where it has one."""
        address = self._rung[0]
        if address:
            if self._lock is None:
                self._lock = _at(address)
            self._lock.release()


class Selector:
    """Waits for the first of several channels; in place of Lava's, which needs their threads."""

    def select(self, *choices: tuple[Any, Any]) -> Any:
        """Call what belongs to the first channel with a message, and return what it returns."""
        ports = [port for port, _ in choices]
        while True:
            for port, act in choices:
                if port.probe():
                    return act()
            if len(ports) == 1:
                ports[0].waits()
            else:
                self._wait(ports)

    def _wait(self, ports: list[Any]) -> None:
        """Return when a message may have come to one of the ports."""
        bell: Semaphore = ports[0].bell.own
        for port in ports:
            port.bell.becomes(bell)
        # What has rung before is seen by the look that follows; acquiring also orders the two.
        while bell.acquire(block=False):
            pass
        if not any(port.probe() for port in ports):
            bell.acquire()


@functools.cache
def channel_class() -> type[Any]:
    """Lava's channel between two Python processes, whose ends have no threads."""
    from lava.magma.compiler.channels.pypychannel import (
        CspRecvPort,
        CspSendPort,
        Proto,
        PyPyChannel,
    )
    from lava.utils.sparse import find
    from scipy.sparse import csr_matrix

    def places(port: Any) -> list[np.ndarray]:
        size, memory = port._nbytes, port._shm.buf
        return [
            np.ndarray(port._shape, port._dtype, memory[size * i : size * (i + 1)])
            for i in range(port._size)
        ]

    class Sender(CspSendPort):
        """``_ack`` counts free slots, ``_req`` full ones."""

        bell: _Bell
        _req: Any
        _ack: Any

        def start(self) -> None:
            self._array = places(self)

        def probe(self) -> bool:
            return not self._ack.is_zero()

        def waits(self, seconds: float | None = None) -> bool:
            return self._ack.waits(seconds)

        def send(self, data: Any) -> None:
            with self._io_watchdog:
                if data.shape != self._shape:
                    raise AssertionError(f"{data.shape=} {self._shape=} Mismatch")
                if isinstance(data, csr_matrix):
                    data = find(data, explicit_zeros=True)[2]
                self._ack.acquire()
                self._array[self._idx][:] = data[:]
                self._idx = (self._idx + 1) % self._size
                self._req.release()
                self.bell.ring()

        def join(self) -> None:
            self._done = True

    class Receiver(CspRecvPort):
        bell: _Bell
        _req: Any
        _ack: Any

        def start(self) -> None:
            if self._dtype == 4:  # LavaCDataType.INT32
                self._dtype = np.int32
            self._array = places(self)

        def probe(self) -> bool:
            return not self._req.is_zero()

        def waits(self, seconds: float | None = None) -> bool:
            return self._req.waits(seconds)

        def peek(self) -> Any:
            self._req.waits()
            return self._array[self._idx].copy()

        def recv(self) -> Any:
            with self._io_watchdog:
                self._req.acquire()
                result = self._array[self._idx].copy()
                self._idx = (self._idx + 1) % self._size
                self._ack.release()
                return result

        def join(self) -> None:
            self._done = True

    class Channel(PyPyChannel):
        def __init__(
            self,
            infrastructure: Any,
            source: str,
            destination: str,
            shape: Any,
            dtype: Any,
            size: int,
            *watchdogs: Any,
        ) -> None:
            memory: SharedMemory = infrastructure.smm
            proto = Proto(shape, dtype, int(self.nbytes(shape, dtype)))
            slots = memory.create_shared_memory(proto.nbytes * size)
            full, free = memory.semaphore(), memory.semaphore(size)
            common = slots, proto, size, full, free
            self._src_port = Sender(source, *common, *watchdogs[:2])
            self._dst_port = Receiver(destination, *common, *watchdogs[2:])
            self._src_port.bell = self._dst_port.bell = _Bell(memory)

    return Channel
