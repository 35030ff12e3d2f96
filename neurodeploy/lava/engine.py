"""What the Lava engines share: one network per run, fed batch after batch, always cleaned up."""

from __future__ import annotations

import math
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import SparseEfficiencyWarning

from neurodeploy.ir.quantized import QuantizedNetwork
from neurodeploy.lava.compat import require_lava
from neurodeploy.lava.guard import Budget
from neurodeploy.lava.runtime import GuardedRuntime
from neurodeploy.lava.turns import best_in_turns
from neurodeploy.simulation.trace import Overflow, PopulationTrace, SampleBatch, SpikeTrace
from neurodeploy.support.partial import temporary_folder
from neurodeploy.support.system import give_back_freed_memory


class LavaNetwork:
    """One network in Lava's runtime, and the files that it shares with this program.

    Simulation engines and learners both run one: its processes are built once, fed batch after
    batch through files in a temporary folder, and gone with that folder at the end, however it
    comes.

    Args:
        tag: of the models that Lava is to choose, ``fixed_pt`` or ``floating_pt``.
        timeout: wall-clock seconds that all of it may take, or None.
        in_turns: whether its processes take turns in one; see ``lava.turns``.

    Attributes:
        elapsed: Lava time steps since the start.

    Raises:
        MissingDependencyError: Lava is not installed.
    """

    def __init__(
        self, *, tag: str = "fixed_pt", timeout: float | None, in_turns: bool = True
    ) -> None:
        require_lava()
        self.tag, self.timeout, self.in_turns = tag, timeout, in_turns
        self.elapsed = 0
        self._held = ExitStack()
        self._runtime: GuardedRuntime | None = None

    @property
    def started(self) -> bool:
        """Whether there are processes, to be run on or closed."""
        return self._runtime is not None

    def start(self, build: Callable[[Path], Any]) -> None:
        """Build the network and start its processes.

        Args:
            build: makes the shared files in a folder, and the processes; returns one of them.

        Raises:
            SimulationError: Lava cannot build it; ``close`` removes what is there.
        """
        from lava.magma.core.run_configs import Loihi2SimCfg

        self.elapsed = 0
        since = time.monotonic()
        with Budget(self.timeout).counted(alarm=True):
            root = build(self._held.enter_context(temporary_folder()))
        used = time.monotonic() - since
        # Every process starts as a copy of this one.
        give_back_freed_memory()
        chosen = Loihi2SimCfg(select_tag=self.tag)
        runtime = GuardedRuntime(
            root, chosen, timeout=self.timeout, used=used, in_turns=self.in_turns
        )
        with warnings.catch_warnings():
            # Lava clips sparse weights in a way that scipy calls slow, and its allocator takes an
            # array of one for a number; its processes inherit this.
            warnings.simplefilter("ignore", SparseEfficiencyWarning)
            warnings.filterwarnings("ignore", "Conversion of an array", DeprecationWarning)
            self._runtime = runtime.__enter__()

    def run(self, steps: int) -> None:
        """Go on by so many Lava time steps.

        Raises:
            SimulationError: Lava failed, or the time limit passed.
        """
        if self._runtime is None:
            raise ValueError("a network is started before it runs")
        self._runtime.run(steps)
        self.elapsed += steps

    def close(self) -> None:
        """End the processes and remove their files; harmless when done before."""
        if self._runtime is not None:
            self._runtime.close()
            self._runtime = None
        self._held.close()


class LavaEngineBase(ABC):
    """Simulates a quantised network inside Lava's runtime.

    Args:
        capacity: most samples in a batch; memory grows with it.
        state: whether states are read out after every step (slower).
        timeout: wall-clock seconds that all of it may take, or None.
    """

    name: str

    def __init__(
        self,
        network: QuantizedNetwork,
        *,
        capacity: int = 64,
        state: bool = False,
        timeout: float | None = None,
    ) -> None:
        self.network = network
        self.capacity = capacity
        self.state = state
        # Lava's processes do not report wraps and saturations; the reference counts them.
        self.overflow = Overflow()
        self._lava = LavaNetwork(timeout=timeout, in_turns=self._in_turns)
        self._static = False

    def run(
        self, batches: Iterable[SampleBatch], *, state: bool = False
    ) -> Iterator[tuple[SampleBatch, SpikeTrace]]:
        """Simulate batch after batch, and yield each with its trace.

        It is one Lava network, built at the first batch.

        Raises:
            SimulationError: Lava failed, or the time limit passed; nothing is left running.
        """
        if state and not self.state:
            raise ValueError("this engine was built without state records")
        try:
            for batch in batches:
                if not self._lava.started:
                    self._start(batch.static)
                if batch.static != self._static or len(batch) > self.capacity:
                    raise ValueError("batches of a run must be alike and fit the capacity")
                self._load(batch)
                self._lava.run(self._run_length(batch))
                yield batch, self._trace(batch)
        finally:
            self.close()

    def close(self) -> None:
        """End the Lava processes and remove their files; harmless when done before."""
        self._lava.close()

    @abstractmethod
    def _build(self, folder: Path, static: bool) -> Any:
        """Make the shared arrays in ``folder`` and the Lava processes; returns one of them."""

    @abstractmethod
    def _load(self, batch: SampleBatch) -> None:
        """Hand the batch to the processes."""

    @abstractmethod
    def _run_length(self, batch: SampleBatch) -> int:
        """Lava time steps that the batch takes."""

    @abstractmethod
    def _recorded(self, population: str, what: str, samples: int) -> np.ndarray:
        """(samples, T, size) of what was recorded, in model time."""

    def _start(self, static: bool) -> None:
        self._static = static
        self._lava.start(lambda folder: self._build(folder, static))

    @property
    def _in_turns(self) -> bool:
        """Whether Lava's processes share one process of the system."""
        return best_in_turns(self.network)

    @property
    def _sizes(self) -> dict[str, int]:
        """Neurons of each population that has some."""
        return {p.name: math.prod(p.shape) for p in self.network.populations if p.neuron}

    @property
    def _state_populations(self) -> list[str]:
        """Whose state to record: of all if asked, else a read-out that is decoded from its v."""
        decoded = self.network.output if self.network.contract.decode != "spike_count" else None
        return [name for name in self._sizes if self.state or name == decoded]

    def _trace(self, batch: SampleBatch) -> SpikeTrace:
        steps, samples = self.network.contract.steps, len(batch)
        populations = {}
        for population in self.network.populations:
            shape = (samples, steps, *population.shape)
            if population.neuron is None:
                values = batch.values[:, None] if batch.static else batch.values
                populations[population.name] = PopulationTrace(np.broadcast_to(values, shape))
                continue
            # Lava's probe takes u and v together; a read-out is asked for v alone.
            wanted = population.neuron.states if self.state else ("v",)
            recorded = population.name in self._state_populations
            records = {
                what: self._recorded(population.name, what, samples).reshape(shape)
                for what in ("s", *wanted * recorded)
            }
            populations[population.name] = PopulationTrace.of(records.pop("s"), records)
        return SpikeTrace(batch.first, populations, self.network.output)
