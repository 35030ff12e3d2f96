"""A chain source -> relay -> ... -> sink in which any process can be told to misbehave."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

import numpy as np
from lava.magma.core.decorator import implements, requires
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyInPort, PyOutPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.ports.ports import InPort, OutPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.process.variable import Var
from lava.magma.core.resources import CPU
from lava.magma.core.run_configs import Loihi2SimCfg
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol


class UnpicklableError(Exception):
    """An exception that cannot cross a pipe: it holds a lambda and needs two arguments."""

    def __init__(self, what: str, where: str) -> None:
        super().__init__(f"{what} in {where}")
        self.held = lambda: what


def misbehave(fault: str | None) -> None:
    """Do what ``fault`` names, in whatever process this is called."""
    if fault == "raise":
        raise ValueError("boom")
    if fault == "raise unpicklable":
        raise UnpicklableError("boom", "here")
    if fault == "sys.exit":
        sys.exit("boom")
    if fault == "os._exit":
        os._exit(3)
    if fault == "sleep":
        time.sleep(600)
    if fault == "spin":
        while True:
            pass
    if fault == "warn":
        sys.stderr.write("boom\n")


class Source(AbstractProcess):
    """Sends ones."""

    def __init__(self, *, name: str, fault: str | None = None, at: int = 1) -> None:
        super().__init__(name=name, fault=fault, at=at)
        self.out = OutPort(shape=(4,))


class Relay(AbstractProcess):
    """Passes on what it receives."""

    def __init__(self, *, name: str, fault: str | None = None, at: int = 1) -> None:
        super().__init__(name=name, fault=fault, at=at)
        self.inp = InPort(shape=(4,))
        self.out = OutPort(shape=(4,))


class Sink(AbstractProcess):
    """Sums up what it receives."""

    def __init__(self, *, name: str, fault: str | None = None, at: int = 1) -> None:
        super().__init__(name=name, fault=fault, at=at)
        self.inp = InPort(shape=(4,))
        self.total = Var(shape=(4,), init=0)


class Faulty(PyLoihiProcessModel):
    """Misbehaves in step ``at``; in step 0 when built, in step -1 when stopped."""

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self._fault = proc_params.get("fault")
        self._at = proc_params.get("at")
        if self._at == 0:
            misbehave(self._fault)

    def misbehave_in_time(self) -> None:
        if self.time_step == self._at:
            self._req_stop = self._fault == "ask to stop"
            misbehave(self._fault)

    def _stop(self) -> None:
        if self._at == -1:
            misbehave(self._fault)
        super()._stop()


@implements(proc=Source, protocol=LoihiProtocol)
@requires(CPU)
class PySource(Faulty):
    out: Any = LavaPyType(PyOutPort.VEC_DENSE, int)

    def run_spk(self) -> None:
        self.misbehave_in_time()
        self.out.send(np.ones(4, dtype=int))


@implements(proc=Relay, protocol=LoihiProtocol)
@requires(CPU)
class PyRelay(Faulty):
    inp: Any = LavaPyType(PyInPort.VEC_DENSE, int)
    out: Any = LavaPyType(PyOutPort.VEC_DENSE, int)

    def run_spk(self) -> None:
        received = self.inp.recv()
        self.misbehave_in_time()
        self.out.send(received)


@implements(proc=Sink, protocol=LoihiProtocol)
@requires(CPU)
class PySink(Faulty):
    inp: Any = LavaPyType(PyInPort.VEC_DENSE, int)
    total: Any = LavaPyType(np.ndarray, int)

    def run_spk(self) -> None:
        self.total += self.inp.recv().astype(int)  # an Injector sends floats
        self.misbehave_in_time()


RUN_CONFIG = Loihi2SimCfg(exception_proc_model_map={Source: PySource, Relay: PyRelay, Sink: PySink})


def chain(
    faulty: str | None = None, fault: str | None = None, at: int = 1, relays: int = 1
) -> Sink:
    """Connect 'first' -> 'middle' ('middle2', ...) -> 'last'; return the last."""

    def options(name: str) -> dict[str, Any]:
        return {"name": name, "fault": fault if name == faulty else None, "at": at}

    before: Source | Relay = Source(**options("first"))
    for number in range(1, relays + 1):
        relay = Relay(**options("middle" if number == 1 else f"middle{number}"))
        before.out.connect(relay.inp)
        before = relay
    last = Sink(**options("last"))
    before.out.connect(last.inp)
    return last
