"""Lava's channels in our memory, whose ends wait themselves.

Lava has a thread in each end of a channel that hands semaphores on to a queue, so that every
message wakes three threads, two of them only to pass it on. Here both ends wait on the semaphores,
as ``turns`` says.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from neurodeploy.lava.memory import Bell, Semaphore, SharedMemory
from neurodeploy.lava.turns import give, take


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

    class End:
        """Of a channel: ``_ack`` counts free slots, ``_req`` full ones."""

        bell: Bell
        _req: Semaphore
        _ack: Semaphore
        _done: bool

        def leads_outside(self) -> None:
            self._req.outside = self._ack.outside = True

        def join(self) -> None:
            self._done = True

    class Sender(End, CspSendPort):
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
                take(self._ack)
                self._array[self._idx][:] = data[:]
                self._idx = (self._idx + 1) % self._size
                give(self._req)
                self.bell.ring()

    class Receiver(End, CspRecvPort):
        def start(self) -> None:
            if self._dtype == 4:  # LavaCDataType.INT32
                self._dtype = np.int32
            self._array = places(self)

        def probe(self) -> bool:
            return not self._req.is_zero()

        def waits(self, seconds: float | None = None) -> bool:
            return self._req.waits(seconds)

        @property
        def arrived(self) -> Semaphore:
            return self._req

        def peek(self) -> Any:
            take(self._req)
            give(self._req)
            return self._array[self._idx].copy()

        def recv(self) -> Any:
            with self._io_watchdog:
                take(self._req)
                result = self._array[self._idx].copy()
                self._idx = (self._idx + 1) % self._size
                give(self._ack)
                return result

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
            self._src_port.bell = self._dst_port.bell = Bell(memory)

    return Channel
