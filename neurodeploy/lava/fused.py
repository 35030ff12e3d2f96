"""The ``lava-fused`` engine: the whole network in one Lava process, a batch per Lava step."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from neurodeploy.lava.engine import LavaEngineBase
from neurodeploy.lava.shared import SharedArrays
from neurodeploy.simulation.trace import SampleBatch


class FusedLavaEngine(LavaEngineBase):
    """For whole data sets: Lava's arithmetic without a process and a message per layer."""

    name = "lava-fused"

    def _build(self, folder: Path, static: bool) -> Any:
        from neurodeploy.lava.fused_processes.process import FusedNetwork

        steps, (source,) = self.network.contract.steps, self.network.inputs
        inputs = math.prod(source.shape)
        layout: dict[str, tuple[tuple[int, ...], Any]] = {
            "clock": ((1,), np.int64),
            "drive": ((self.capacity, 1 if static else steps, inputs), np.int32),
        }
        for name, size in self._sizes.items():
            layout[f"{name}.s"] = ((self.capacity, steps, size), np.uint8)
            if name in self._state_populations:
                layout[f"{name}.u"] = ((self.capacity, steps, size), np.int32)
                layout[f"{name}.v"] = ((self.capacity, steps, size), np.int32)
        self._arrays = SharedArrays(folder, layout)
        return FusedNetwork(network=self.network, arrays=self._arrays)

    def _load(self, batch: SampleBatch) -> None:
        drive = self._arrays["drive"]
        drive[: len(batch)] = batch.values.reshape(len(batch), *drive.shape[1:])
        self._arrays["clock"][0] = len(batch)

    def _run_length(self, batch: SampleBatch) -> int:
        return 1

    def _recorded(self, population: str, what: str, samples: int) -> np.ndarray:
        return self._arrays[f"{population}.{what}"][:samples].copy()
