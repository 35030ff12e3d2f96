"""Lava's ``Runtime`` with waits that look after the processes and the clock, and a sure end.

The messages between this program, Lava's runtime service and the Lava processes are Lava's own.
What is replaced: how actors are started (``actors.Crew``), every wait for an answer, and stop.
Nothing of Lava is imported until ``guarded_runtime_class`` is called.
"""

from __future__ import annotations

import functools
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from neurodeploy.errors import SimulationError, TimeLimitError
from neurodeploy.lava.actors import Crew
from neurodeploy.support.signals import ended_by_alarm, exit_on, restore, signals_deferred

# How often, in seconds, a wait for an answer looks after the processes and the clock. The
# answer itself wakes the wait at once: this adds nothing to the time of a step.
_LOOK = 0.02

# How long Lava's own stop may take before the processes are killed.
_STOP = 2.0


class Budget:
    """Seconds of wall-clock time that Lava may still take."""

    def __init__(self, limit: float | None, used: float = 0.0) -> None:
        """Take the limit, and what has passed of it already."""
        self._limit = limit
        self._used = used
        self._since: float | None = None

    @contextmanager
    def counted(self, *, alarm: bool = False) -> Iterator[None]:
        """Count the time of this block; raise SimulationError when it ends too late.

        ``alarm`` ends it in its midst, where it is not one that looks after the clock itself.
        """
        self._since = time.monotonic()
        left = None if self._limit is None or not alarm else self._limit - self._used
        try:
            with ended_by_alarm(left, self._end):
                yield
            self.check()
        finally:
            self._used += time.monotonic() - self._since
            self._since = None

    def check(self) -> None:
        """Raise SimulationError when the limit has passed."""
        running = 0.0 if self._since is None else time.monotonic() - self._since
        if self._limit is not None and self._used + running > self._limit:
            self._end()

    def _end(self) -> None:
        raise TimeLimitError(
            f"the Lava simulation exceeded its time limit of {self._limit:g} s and was "
            "stopped; allow more time, or simulate fewer samples or steps"
        )


class _Port:
    """One end of a channel to Lava's runtime service, whose waits look after the actors."""

    def __init__(self, port: Any, look: Callable[[], None]) -> None:
        self._port = port
        self._look = look

    def send(self, data: Any) -> None:
        """Send once the receiver has room."""
        while not self._port.waits(_LOOK):
            self._look()
        self._port.send(data)

    def recv(self) -> Any:
        """Return the next message."""
        while not (self._port.probe() or self.comes_within(_LOOK)):
            self._look()
        return self._port.recv()

    def comes_within(self, seconds: float) -> bool:
        """Wait for a message without taking it; return whether there is one."""
        return self._port.waits(seconds)

    def probe(self) -> bool:
        """Say whether the next ``send`` or ``recv`` would not wait."""
        return self._port.probe()


class Guard:
    """What replaces the waits, the start and the stop of Lava's ``Runtime``.

    A mixin, since Lava must not be imported before it is asked for; ``guarded_runtime_class``
    puts it before Lava's class. The attributes declared here are Lava's.
    """

    _executable: Any
    _open_ports: list[Any]
    _is_initialized: bool
    _is_running: bool
    _is_started: bool
    runtime_to_service: list[Any]
    service_to_runtime: list[Any]
    exception_q: list[Any]

    def __init__(self, executable: Any, budget: Budget, *, in_turns: bool) -> None:
        from lava.magma.core.process.message_interface_enum import ActorType

        lava: Any = super()
        lava.__init__(executable, ActorType.MultiProcessing)
        self._owner = os.getpid()
        self._closed = False
        self._talking = False  # within an exchange of messages: Lava's own stop would not work
        self._budget = budget
        self._crew = Crew(
            {
                id(builder): f"Lava process {process.name!r} ({builder.proc_model.__name__})"
                for process, builder in executable.proc_builders.items()
            },
            budget.check,
            in_turns=in_turns,
        )
        self._arranged = exit_on(signal.SIGTERM)

    def initialize(self, node_cfg_idx: int = 0) -> None:
        """Start all actors and wait until each says it is built."""
        del node_cfg_idx
        lava: Any = self
        with self._exchange():
            lava._build_watchdog_manager()
            lava._messaging_infrastructure = self._crew
            lava._build_channels()
            lava._build_sync_channels()
            for port in (*self.runtime_to_service, *self.service_to_runtime):
                port.leads_outside()
            lava._build_processes()
            lava._build_runtime_services()
            self._crew.start_turns()
            self.exception_q.clear()  # our actors report through their own pipes
            lava._start_ports()
            self.runtime_to_service = [_Port(p, self._look) for p in self.runtime_to_service]
            self.service_to_runtime = [_Port(p, self._look) for p in self.service_to_runtime]
            while not all(actor.built for actor in self._crew.actors):
                self._look()
                self._crew.read_reports(_LOOK)
        # Lava would wait for the first run before it lets Vars be read or set.
        self._is_initialized = self._is_started = True

    def start(self, run_condition: Any) -> None:
        """Run; returns when the last step has ended."""
        lava: Any = super()
        with self._exchange():
            lava.start(run_condition)

    def get_var(self, var_id: int, idx: Any = None) -> Any:
        """Read a Var from its process."""
        lava: Any = super()
        with self._exchange():
            return lava.get_var(var_id, idx)

    def set_var(self, var_id: int, value: Any, idx: Any = None) -> None:
        """Set a Var in its process."""
        lava: Any = super()
        with self._exchange():
            lava.set_var(var_id, value, idx)

    def _get_resp_for_run(self) -> None:
        """Wait until every runtime service says that the run is over."""
        from lava.magma.runtime.mgmt_token_enums import MGMT_RESPONSE

        for port in self.service_to_runtime:
            answer = port.recv()[0]
            if answer == MGMT_RESPONSE.ERROR[0]:
                unknown = "Lava reports an error, but none of its processes does"
                raise SimulationError(self._crew.failure(expected=True) or unknown)
            if answer != MGMT_RESPONSE.DONE[0]:
                raise SimulationError(
                    "a Lava process asked for a pause or a stop before the last step "
                    f"(response {answer:g}); a guarded run must reach its end"
                )
        self._is_running = False

    def stop(self) -> None:
        """End everything, from whatever state; idempotent."""
        # A forked actor holds a copy of this object, and must leave its siblings alone.
        if self._closed or os.getpid() != self._owner:
            return
        self._closed = True
        try:
            with signals_deferred():
                if self._is_started and not (self._talking or self._is_running):
                    self._stop_by_message()
                self._crew.stop()
                self._close_ports()
                self._forget()
                self._is_running = self._is_started = self._is_initialized = False
        finally:  # a SIGTERM that came in between is delivered above, by our handler
            restore(self._arranged)

    def __del__(self) -> None:
        if hasattr(self, "_arranged"):  # the last thing that __init__ sets
            self.stop()

    @contextmanager
    def _exchange(self) -> Iterator[None]:
        """Exchange messages with the actors under the time limit; end them on any exception."""
        if self._closed:
            raise SimulationError("the Lava simulation has ended; enter a new GuardedRuntime")
        self._talking = True
        try:
            with self._budget.counted():
                yield
        except BaseException:
            self.stop()
            raise
        self._talking = False

    def _look(self) -> None:
        """Raise SimulationError when an actor has failed or the time is over."""
        failure = self._crew.failure()
        if failure is not None:
            raise SimulationError(failure)
        self._budget.check()

    def _stop_by_message(self) -> None:
        """Stop as Lava does, so that processes end their own business, in bounded time."""
        from lava.magma.runtime.mgmt_token_enums import MGMT_COMMAND

        if self._crew.failure() is not None:
            return
        deadline = time.monotonic() + _STOP
        for port in self.runtime_to_service:
            if not port.probe():
                return
            port.send(MGMT_COMMAND.STOP)
        for port in self.service_to_runtime:
            while not port.comes_within(_LOOK):
                if time.monotonic() > deadline or self._crew.has_lost_an_actor():
                    return
        self._crew.join(deadline - time.monotonic())

    def _close_ports(self) -> None:
        """End the threads that Lava's ports run in this process."""
        ports = [*self._open_ports, *_pop_external_ports(self._executable)]
        self._open_ports.clear()
        for port in ports:
            port.join()
        deadline = time.monotonic() + _STOP  # for all of them: there may be thousands
        for port in ports:
            if port.thread is not None:
                port.thread.join(max(0.0, deadline - time.monotonic()))

    def _forget(self) -> None:
        """Let go of everything that is large, and have Lava do the same.

        Lava keeps every process and Var ever made in two lists that it only ever counts, and so
        would keep the weights and channels of every network that this program has run.
        """
        from lava.magma.core.process.process import ProcessServer
        from lava.magma.core.process.variable import VarServer

        ended = set()
        for process in self._executable.process_list:
            while process is not None:  # the process and those that contain it
                ended.add(id(process))
                process = process.parent_proc
        processes, variables = ProcessServer(), VarServer()
        processes.processes = [p for p in processes.processes if id(p) not in ended]
        variables.vars = [v for v in variables.vars if id(v.process) not in ended]
        self.runtime_to_service, self.service_to_runtime = [], []
        self._executable = None


@functools.cache
def guarded_runtime_class() -> type[Any]:
    """Return Lava's ``Runtime`` under our guard."""
    from lava.magma.runtime.runtime import Runtime

    return type("GuardedLavaRuntime", (Guard, Runtime), {})


def _pop_external_ports(executable: Any) -> Iterator[Any]:
    """Yield, and remove, the ports by which Injectors and Extractors talk to this program."""
    for process in executable.proc_builders:
        for port in (*process.in_ports.members, *process.out_ports.members):
            for name in ("external_pipe_csp_send_port", "external_pipe_csp_recv_port"):
                if name in vars(port):
                    yield vars(port).pop(name)
