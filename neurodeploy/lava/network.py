"""A Lava network and the files that it shares with this program: started once, always cleaned up.

Simulation engines and learners both run one: its processes are built once, fed batch after batch
through files in a temporary folder, and gone with that folder at the end, however it comes.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from scipy.sparse import SparseEfficiencyWarning

from neurodeploy.lava.compat import require_lava
from neurodeploy.lava.runtime import GuardedRuntime


class LavaNetwork:
    """One network in Lava's runtime.

    Args:
        tag: of the models that Lava is to choose, ``fixed_pt`` or ``floating_pt``.
        timeout: wall-clock seconds that all of it may take, or None.

    Attributes:
        elapsed: Lava time steps since the start.

    Raises:
        MissingDependencyError: Lava is not installed.
    """

    def __init__(self, *, tag: str = "fixed_pt", timeout: float | None) -> None:
        require_lava()
        self.tag, self.timeout = tag, timeout
        self.elapsed = 0
        self._folder: tempfile.TemporaryDirectory[str] | None = None
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
        self._folder = tempfile.TemporaryDirectory(prefix="neurodeploy-")
        root = build(Path(self._folder.name))
        runtime = GuardedRuntime(root, Loihi2SimCfg(select_tag=self.tag), timeout=self.timeout)
        with warnings.catch_warnings():
            # Lava clips sparse weights in a way that scipy calls slow; its processes inherit this.
            warnings.simplefilter("ignore", SparseEfficiencyWarning)
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
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None
