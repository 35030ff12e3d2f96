"""Runs of Lava processes that no failure hangs and that nothing outlives.

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

import warnings
import weakref
from types import TracebackType
from typing import TYPE_CHECKING, Any

from neurodeploy.errors import InputError, NeurodeployError, Setting, SimulationError, Text
from neurodeploy.lava.compat import require_lava
from neurodeploy.lava.guard import Budget, guarded_runtime_class

if TYPE_CHECKING:
    from lava.magma.core.process.process import AbstractProcess
    from lava.magma.core.run_configs import RunConfig


class GuardedRuntime:
    """A Lava network that is compiled and started on entry and gone without trace on exit.

    Vars can be read and set (``process.var.get()``) anywhere inside the ``with``. Lava compiles
    a process once only: each GuardedRuntime needs processes of its own.

    Inside the ``with``, SIGTERM unwinds the program by SystemExit(143), unless the program has
    a handler of its own or entered from another thread than the main one. Enter and leave in
    one thread: Linux kills the processes when the thread that started them ends, which is also
    how they end with a program that is killed.
    """

    def __init__(
        self,
        process: AbstractProcess,
        run_config: RunConfig,
        *,
        timeout: float | None = None,
        used: float = 0.0,
        in_turns: bool = False,
    ) -> None:
        """Prepare to run ``process`` and all that it is connected to; starts nothing.

        Args:
            process: any process of the network.
            run_config: Lava's choice of a model for each process.
            timeout: seconds that starting, all runs, and reading and setting Vars may take
                together; the caller's own time in between is free. None for no limit.
            used: seconds of ``timeout`` that have passed.
            in_turns: all Lava processes share one process of the system, in which they take turns;
                not for networks with Lava's Injector or Extractor, or that wait for one another by
                other means than taking messages from channels.
        """
        if timeout is not None and not timeout > 0:
            raise InputError(Text(Setting("timeout", str(timeout)), ": needs seconds above 0"))
        self._process = process
        self._run_config = run_config
        self._timeout, self._used = timeout, used
        self._in_turns = in_turns
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
        budget = Budget(self._timeout, self._used)
        try:
            with budget.counted(alarm=True), warnings.catch_warnings():
                # networkx 2.8 says so of every graph; with warnings as errors it ends here.
                warnings.filterwarnings("ignore", "(pandas|scipy) not found", ImportWarning)
                executable: Any = self._process.compile(self._run_config)
            runtime = guarded_runtime_class()(executable, budget, in_turns=self._in_turns)
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
        """End all processes, within seconds; harmless when done before.

        What a process does wrong while it stops changes no result, and goes unreported.
        """
        if self._runtime is not None:
            self._runtime.stop()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
