"""Rule ``delta`` in Lava: its own ``LearningDense`` under its own ``Loihi3FLearningRule``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from neurodeploy.ir.quantized import QuantizedNetwork
from neurodeploy.lava.onchip.learner import LavaLearner
from neurodeploy.lava.onchip.shared import DeltaTimetable, LearningFiles
from neurodeploy.onchip.loihi_rule import EPOCH, DeltaPlan
from neurodeploy.onchip.references import with_learned
from neurodeploy.onchip.trajectory import StreamChunk, Trajectory


class DeltaLavaLearner(LavaLearner):
    """Frozen layers, ``LearningDense``, a read-out that sends its error, and a probe."""

    name = "lava"

    def __init__(
        self, plan: DeltaPlan, *, capacity: int = 16, timeout: float | None = None
    ) -> None:
        super().__init__(capacity=capacity, timeout=timeout)
        self.plan, self.timetable = plan, DeltaTimetable.of(plan)
        self.projection = plan.link.projection
        self._last = self.projection.operator.weights

    def learn(self, chunk: StreamChunk) -> Trajectory:
        """Go on with these samples, one after the other."""
        trajectory = super().learn(chunk)
        self._last = trajectory.states[self.projection.name][-1, -1].astype(np.int64)
        return trajectory

    def learned(self) -> QuantizedNetwork:
        """The network with the learnt weights, in the format of the deployment."""
        return with_learned(self.plan, self._last)

    def _make_files(self, folder: Path, drive: tuple[int, int]) -> LearningFiles:
        return LearningFiles(
            folder,
            drive,
            {self.projection.name: self.projection.operator.weights.size},
            1 if self.timetable.by_sample else self.plan.steps,
            math.prod(self.plan.link.population.shape),
            self.capacity,
        )

    def _build(self, files: LearningFiles) -> Any:
        from lava.magma.core.learning.learning_rule import Loihi3FLearningRule
        from lava.proc.dense.process import LearningDense
        from lava.utils.weightutils import SignMode

        from neurodeploy.lava.onchip.delta_processes.process import (
            DeltaReadout,
            FrozenLayers,
            WeightProbe,
        )

        weights = self.projection.operator.weights.astype(np.int32)
        outputs, inputs = weights.shape
        rules: dict[str, Any] = dict(self.plan.rules)
        rule = Loihi3FLearningRule(**rules, t_epoch=EPOCH, rng_seed=self.plan.options.seed)
        shared: dict[str, Any] = {"files": files, "timetable": self.timetable}
        source = FrozenLayers(plan=self.plan, size=inputs, **shared)
        dense = LearningDense(
            weights=weights,
            weight_exp=self.projection.exponent,
            sign_mode=SignMode[self.plan.sign.upper()],
            learning_rule=rule,
            name=self.projection.name,
        )
        readout = DeltaReadout(plan=self.plan, size=outputs, learning_rule=rule, **shared)
        probe = WeightProbe(projection=self.projection.name, shape=(outputs, inputs), **shared)
        source.s_out.connect(dense.s_in)
        dense.a_out.connect(readout.a_in)
        readout.s_out_y1.connect(dense.s_in_y1)
        probe.weights.connect_var(dense.weights)
        return readout

    def _run_length(self, samples: int) -> int:
        return samples * self.timetable.interval
