"""Memory that a simulation's processes share, in a few large blocks.

Lava takes a block of its own for every channel, and a file for each of its two semaphores. Of
hundreds of populations that makes thousands of mappings, which every process that is forked
copies: memory and time then grow with the square of the populations. Here channels and
semaphores lie in blocks of ``BLOCK`` bytes. Blocks are anonymous: they have no name in
``/dev/shm``, need no manager process, and are freed with the last process that maps them, even
after SIGKILL.
"""

from __future__ import annotations

import ctypes
import functools
import mmap
import os
from multiprocessing import synchronize
from typing import Any

BLOCK = 1 << 22
"""Bytes taken at once; what is larger gets a block of its own."""

_LINE = 64  # bytes of a line of cache, so that no two channels wait for the same one

_SEMAPHORE = 1  # the kind, in multiprocessing's own numbers: no owner, any process may release
_MOST = 2**31 - 1
_SEMLOCK: Any = synchronize._multiprocessing.SemLock  # pyright: ignore


class Piece:
    """What Lava's ports take for a block of shared memory."""

    def __init__(self, buf: memoryview) -> None:
        self.buf = buf


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

    def create_shared_memory(self, size: int) -> Piece:
        """The same, by the name under which Lava's channels ask."""
        return Piece(self.take(size))

    def semaphore(self) -> Any:
        """A semaphore of value 0 with ``multiprocessing``'s ``acquire`` and ``release``."""
        return _Semaphore(self.take(_LINE))


class _Semaphore:
    """POSIX's unnamed semaphore, which needs no file, behind the methods of the named one."""

    def __init__(self, memory: memoryview) -> None:
        address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        if ctypes.CDLL(None, use_errno=True).sem_init(ctypes.c_void_p(address), 1, 0) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        # Without a name it takes the first argument for the address of a semaphore that is there.
        lock = _SEMLOCK._rebuild(address, _SEMAPHORE, _MOST, None)
        self._memory = memory  # lives as long as what lies in it
        self.acquire, self.release = lock.acquire, lock.release


@functools.cache
def channel_class() -> type[Any]:
    """Lava's channel between two Python processes, with semaphores that take no file."""
    from lava.magma.compiler.channels.pypychannel import PyPyChannel

    class Channel(PyPyChannel):
        def __init__(self, infrastructure: Any, *arguments: Any, **options: Any) -> None:
            super().__init__(infrastructure, *arguments, **options)
            memory: SharedMemory = infrastructure.smm
            sent, received = memory.semaphore(), memory.semaphore()
            for port in (self._src_port, self._dst_port):
                port._req, port._ack = sent, received

    return Channel
