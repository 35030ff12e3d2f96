"""The number of CPU threads while a network is trained."""

from __future__ import annotations

import math
import time

import torch

from neurodeploy.support.cores import SpareCores

INTERVAL = 2.0
"""Seconds between two looks at the other programs."""

FIRST_LOOK = 0.1
"""Seconds of the one before training."""

TOLERATED = 0.4
"""Cores that others may take before a thread is given up for them."""


class Threads:
    """As many threads of torch as there are cores left over by other programs.

    All threads of an operation wait for the slowest of them, and spin while they wait. One core
    that is taken, of two, makes small operations twenty times slower on two threads than on one.

    Attributes:
        fewest: that were used so far.
    """

    def __init__(self, asked: int = 0) -> None:
        """Take the threads asked for and leave it at that; 0 asks for as many as there are cores.

        Never more than torch had before, which the environment may say.
        """
        self._cores: SpareCores | None = None
        if asked:
            torch.set_num_threads(asked)
        self._most = self.fewest = torch.get_num_threads()
        self._looked = time.monotonic()
        if not asked and self._most > 1:
            self._cores = SpareCores()
            time.sleep(FIRST_LOOK)
            self._look(self._cores)

    @classmethod
    def as_they_are(cls) -> Threads:
        """What leaves their number alone."""
        return cls(torch.get_num_threads())

    def adapt(self) -> None:
        """Look again when it is time to; called between operations."""
        if self._cores is not None and time.monotonic() - self._looked >= INTERVAL:
            self._look(self._cores)

    def _look(self, cores: SpareCores) -> None:
        self._looked = time.monotonic()
        spare = math.floor(cores.now() + TOLERATED)
        threads = min(max(spare, 1), self._most)
        if threads != torch.get_num_threads():
            torch.set_num_threads(threads)
        self.fewest = min(self.fewest, threads)
