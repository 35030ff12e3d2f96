"""Run Lava processes so that no failure hangs and nothing outlives the run.

Lava 0.10.0 by itself waits for ever when one of its processes raises in the middle of a chain,
when a process is killed, and at interpreter exit when ``stop`` was forgotten; the exception is
lost. ``GuardedRuntime`` runs the same compiled network with the same messages, but every wait
looks after the processes and the clock, and every way out ends them.

    with GuardedRuntime(output, Loihi2SimCfg(select_tag="fixed_pt"), timeout=60) as runtime:
        for sample in samples:
            runtime.run(steps)

Importing this module loads nothing of Lava.
"""

from __future__ import annotations

import functools
import os
import queue
import signal
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, NoReturn

from neurodeploy.errors import NeurodeployError, SimulationError
from neurodeploy.lava.actors import Crew, signals_deferred
from neurodeploy.lava.compat import require_lava

if TYPE_CHECKING:
    from lava.magma.core.process.process import AbstractProcess
    from lava.magma.core.run_configs import RunConfig

# How often, in seconds, a wait for an answer looks after the processes and the clock. The
# answer itself wakes the wait at once: this adds nothing to the time of a step.
_LOOK = 0.02

# How long Lava's own stop may take before the processes are killed.
_STOP = 2.0


class GuardedRuntime:
    """A Lava network that is compiled and started on entry and gone without trace on exit.

    Var values can be read and set (``process.var.get()``) anywhere inside the ``with``.

    Use it from one thread: on Linux the processes are killed when the thread that started
    them ends, which is how they end with a killed program.
    """

    def __init__(
        self,
        process: AbstractProcess,
        run_config: RunConfig,
        *,
        timeout: float | None = None,
    ) -> None:
        """Prepare to run ``process`` and all that it is connected to; starts nothing.

        Args:
            process: any process of the network.
            run_config: Lava's choice of a model for each process.
            timeout: seconds that starting, all runs, and reading and setting Vars may take
                together; the caller's own time in between is free. None for no limit.
        """
        if timeout is not None and not timeout > 0:
            raise ValueError(f"timeout must be positive, got {timeout}")
        self._process = process
        self._run_config = run_config
        self._timeout = timeout
        self._runtime: Any = None

    def __enter__(self) -> GuardedRuntime:
        """Compile the network, start its processes and wait until all are built.

        Raises:
            SimulationError: Lava cannot compile the network or a process cannot be built.
            MissingDependencyError: Lava is not installed.
        """
        if self._runtime is not None:
            raise SimulationError("this Lava runtime has been entered before; make a new one")
        require_lava()
        budget = _Budget(self._timeout)
        try:
            with budget.counted():
                executable: Any = self._process.compile(self._run_config)
            runtime = _runtime_class()(executable, budget)
            # For a GuardedRuntime that is dropped, or forgotten until the interpreter exits.
            weakref.finalize(self, runtime.stop)
            self._runtime = runtime
            self._process.runtime = runtime
            executable.assign_runtime_to_all_processes(runtime)
            runtime.initialize()
        except NeurodeployError:
            raise
        except Exception as error:
            raise SimulationError(
                f"Lava cannot build the network of process {self._process.name!r}: "
                f"{type(error).__name__}: {error}"
            ) from error
        return self

    def run(self, steps: int) -> None:
        """Advance the network by ``steps`` time steps and wait for the last to end.

        Whatever interrupts it, an exception or Ctrl-C, ends the simulation.

        Raises:
            SimulationError: a process raised (its name and traceback are in the message) or
                was killed, the time limit has passed, or the simulation has ended before.
        """
        if steps < 1:
            raise ValueError(f"steps must be at least 1, got {steps}")
        if self._runtime is None:
            raise SimulationError("run() needs the runtime to be entered: use it in a `with`")
        from lava.magma.core.run_conditions import RunSteps

        self._runtime.start(RunSteps(num_steps=steps))

    def close(self) -> None:
        """End all processes. Harmless when done before; never raises, never hangs."""
        if self._runtime is not None:
            self._runtime.stop()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class _Budget:
    """Seconds of wall-clock time that Lava may still take."""

    def __init__(self, limit: float | None) -> None:
        self._limit = limit
        self._used = 0.0
        self._since: float | None = None

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count the time of this block; raise SimulationError when it ends too late."""
        self._since = time.monotonic()
        try:
            yield
            self.check()
        finally:
            self._used += time.monotonic() - self._since
            self._since = None

    def check(self) -> None:
        """Raise SimulationError when the limit has passed."""
        running = 0.0 if self._since is None else time.monotonic() - self._since
        if self._limit is not None and self._used + running > self._limit:
            raise SimulationError(
                f"the Lava simulation passed its time limit of {self._limit:g} s and was "
                "ended; allow more time, or simulate fewer samples or steps"
            )


class _Port:
    """One end of a channel to Lava's runtime service, whose waits look after the actors."""

    def __init__(self, port: Any, look: Callable[[], None]) -> None:
        self._port = port
        self._look = look

    def send(self, data: Any) -> None:
        """Send once the receiver has room."""
        while not self._port._semaphore.acquire(timeout=_LOOK):
            self._look()
        self._port._semaphore.release()  # it was only tried: send takes it itself
        self._port.send(data)

    def recv(self) -> Any:
        """Return the next message."""
        while not self.comes_within(_LOOK):
            self._look()
        return self._port.recv()

    def comes_within(self, seconds: float) -> bool:
        """Wait for a message without taking it; return whether there is one."""
        try:
            self._port._queue.get(timeout=seconds, peek=True)
        except queue.Empty:
            return False
        return True

    def probe(self) -> bool:
        """Say whether the next ``send`` or ``recv`` would not wait."""
        return self._port.probe()


class _Guard:
    """What replaces the waits, the start and the stop of Lava's ``Runtime``.

    A mixin, since Lava must not be imported before it is asked for; ``_runtime_class`` puts it
    before Lava's class. The attributes declared here are Lava's.
    """

    _executable: Any
    _open_ports: list[Any]
    _watchdog_manager: Any
    _is_initialized: bool
    _is_running: bool
    _is_started: bool
    runtime_to_service: list[Any]
    service_to_runtime: list[Any]
    exception_q: list[Any]

    def __init__(self, executable: Any, budget: _Budget) -> None:
        from lava.magma.core.process.message_interface_enum import ActorType

        self._owner = os.getpid()
        self._closed = False
        self._talking = False  # within an exchange of messages: Lava's own stop would not work
        self._budget = budget
        self._crew = Crew(
            {
                id(builder): f"Lava process {process.name!r} ({builder.proc_model.__name__})"
                for process, builder in executable.proc_builders.items()
            }
        )
        self._terminable = _exit_on_sigterm()
        lava: Any = super()
        lava.__init__(executable, ActorType.MultiProcessing)

    def initialize(self, node_cfg_idx: int = 0) -> None:
        """Start all actors and wait until each says it is built."""
        del node_cfg_idx
        lava: Any = self
        with self._exchange():
            lava._build_watchdog_manager()
            lava._messaging_infrastructure = self._crew
            lava._build_channels()
            lava._build_sync_channels()
            lava._build_processes()
            lava._build_runtime_services()
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
                self._fail("Lava reports an error, but none of its processes does")
            if answer != MGMT_RESPONSE.DONE[0]:
                self._fail(
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
        with signals_deferred():
            if self._is_started and not (self._talking or self._is_running):
                self._stop_by_message()
            self._crew.stop()
            self._close_ports()
            if self._watchdog_manager is not None:
                self._watchdog_manager.stop()
            self._is_running = self._is_started = self._is_initialized = False
            if self._terminable:
                _restore_sigterm()

    def __del__(self) -> None:
        # Lava's own would look at attributes that a failed __init__ never set.
        if getattr(self, "_crew", None) is not None:
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

    def _fail(self, otherwise: str) -> NoReturn:
        """Raise SimulationError with the failure that is known to have happened."""
        raise SimulationError(self._crew.failure(expected=True) or otherwise)

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
        ports = [*self._open_ports, *_external_ports(self._executable)]
        self._open_ports.clear()
        for port in ports:
            port.join()
        for port in ports:
            if port.thread is not None:
                port.thread.join(1.0)


@functools.cache
def _runtime_class() -> type[Any]:
    """Return Lava's ``Runtime`` under our guard."""
    from lava.magma.runtime.runtime import Runtime

    return type("GuardedLavaRuntime", (_Guard, Runtime), {})


def _external_ports(executable: Any) -> Iterator[Any]:
    """Yield the ports through which Injectors and Extractors talk to this program."""
    for process in executable.proc_builders:
        for port in (*process.in_ports.members, *process.out_ports.members):
            for name in ("external_pipe_csp_send_port", "external_pipe_csp_recv_port"):
                if name in vars(port):
                    yield getattr(port, name)


def _exit(number: int, frame: FrameType | None) -> NoReturn:
    """Leave by SystemExit, which unwinds every ``with``, instead of dying on the spot."""
    raise SystemExit(128 + number)


def _exit_on_sigterm() -> bool:
    """Have SIGTERM unwind this program; return whether this call arranged it.

    A handler of the program's own is its own decision, and stays.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()
    if not in_main_thread or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        return False
    signal.signal(signal.SIGTERM, _exit)
    return True


def _restore_sigterm() -> None:
    in_main_thread = threading.current_thread() is threading.main_thread()
    if in_main_thread and signal.getsignal(signal.SIGTERM) is _exit:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
