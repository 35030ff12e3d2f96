"""Rule ``prototypes`` in Lava, by its own processes for continual learning.

    frozen layers -> LearningDense -> winner takes all -> PrototypeLIF -> Readout -> class
                          ^                                  |    ^          ^
                          +--------- y1, bAP ----------------+    |          +- label
                                                Allocator, IdBroadcast

Lava's ``Allocator`` gives a class that has none the next prototype; ``IdBroadcast`` brings its
number, or that of a known class, to ``PrototypeLIF`` as third factor, which answers by the spike
and the trace y1 that let ``LearningDense`` learn; ``Readout`` keeps the labels of prototypes and
names the class. Of ours are what comes before, the comparison of prototypes, which Lava leaves to
neurons that cannot compare, and the rate: ``PrototypeLIF`` itself knows that of one sample alone.
Where samples without a label teach, too, Lava's ``NoveltyDetector`` has a prototype allocated when
a sample came and none was heard.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from neurodeploy.ir.quantized import QuantizedNetwork
from neurodeploy.lava.onchip.learner import LavaLearner
from neurodeploy.lava.onchip.shared import LearningFiles
from neurodeploy.onchip.learner import StreamChunk, Trajectory
from neurodeploy.onchip.prototype_plan import PrototypePlan
from neurodeploy.onchip.prototypes import STEPS, UNLABELLED, answers_of, labels_of

NO_DECAY = 1e18
"""Time constant of x1, in Lava steps: exp(-1/tau) is 1 in floats of 64 bits."""

THRESHOLD = 10
"""Of PrototypeLIF: below what the winner sends, above nothing."""


class PrototypeLavaLearner(LavaLearner):
    """Prototypes in a process each, as on a chip."""

    name = "lava"

    def __init__(
        self, plan: PrototypePlan, *, capacity: int = 16, timeout: float | None = None
    ) -> None:
        super().__init__(capacity=capacity, timeout=timeout)
        self.plan = plan
        self.projection = plan.link.projection
        self._last = plan.rows
        self._labels = list(plan.base)

    def learn(self, chunk: StreamChunk) -> Trajectory:
        """Go on with these samples, one after the other."""
        trajectory = super().learn(chunk)
        last = trajectory.states[self.projection.name][-1, -1].astype(np.int64)
        self._last = last.reshape(self.plan.rows.shape)
        if self.plan.novelty is not None:
            self._labels = trajectory.last[labels_of(self.projection.name)].tolist()
            return trajectory
        named = [label for label in chunk.labels.tolist() if label != UNLABELLED]
        self._labels += [c for c in dict.fromkeys(named) if c not in self._labels]
        return trajectory

    def learned(self) -> QuantizedNetwork:
        """The network whose output layer are the rows as they are now."""
        return self.plan.learned(self._last, tuple(self._labels))

    def _make_files(self, folder: Path, drive: tuple[int, int]) -> LearningFiles:
        name, rows = self.projection.name, self.plan.rows
        sizes = {name: rows.size, answers_of(name): 1}
        if self.plan.novelty is not None:
            sizes[labels_of(name)] = len(rows)
        return LearningFiles(folder, drive, sizes, 1, self.plan.network.classes, self.capacity)

    def _build(self, files: LearningFiles) -> Any:
        from lava.magma.core.learning.constants import GradedSpikeCfg
        from lava.magma.core.learning.learning_rule import Loihi3FLearningRule
        from lava.proc.clp.id_broadcast.process import IdBroadcast
        from lava.proc.clp.novelty_detector.process import NoveltyDetector
        from lava.proc.clp.nsm.process import Allocator, Readout
        from lava.proc.clp.prototype_lif.process import PrototypeLIF
        from lava.proc.dense.process import Dense, LearningDense
        from lava.utils.weightutils import SignMode

        from neurodeploy.lava.onchip.prototype_processes.process import (
            PrototypeProbe,
            PrototypeRates,
            PrototypeSource,
            WinnerTakesAll,
        )

        plan = self.plan
        count, known = len(plan.rows), len(plan.base)
        rule = Loihi3FLearningRule(
            dw=plan.rule, x1_tau=NO_DECAY, t_epoch=STEPS, rng_seed=plan.options.seed
        )
        source = PrototypeSource(files=files, plan=plan)
        synapses = LearningDense(
            weights=plan.rows.astype(np.int32),
            sign_mode=SignMode.EXCITATORY,
            num_message_bits=16,
            learning_rule=rule,
            graded_spike_cfg=GradedSpikeCfg.OVERWRITE,
            name=self.projection.name,
        )
        winner = WinnerTakesAll(files=files, plan=plan)
        neurons = PrototypeLIF(shape=(count,), du=4095, dv=4095, vth=THRESHOLD, learning_rule=rule)
        labels = np.zeros(count, int)
        labels[:known] = np.array(plan.base, int) + 1
        readout = Readout(n_protos=count, proto_labels=labels)
        allocator = Allocator(n_protos=count, next_alloc_id=known + 1)
        broadcast = IdBroadcast(shape=(1,))
        to_all = Dense(weights=np.ones((count, 1)), num_message_bits=16)
        rates = PrototypeRates(plan=plan)
        probe = PrototypeProbe(files=files, plan=plan)
        source.s_out.connect(synapses.s_in)
        synapses.a_out.connect(winner.a_in)
        winner.s_out.connect(neurons.a_in)
        neurons.s_out.connect(readout.inference_in)
        source.label_out.connect(readout.label_in)
        readout.user_output.connect(probe.answer_in)
        source.limit_out.connect(winner.limit_in)
        winner.allocate_out.connect(allocator.trigger_in)
        if plan.novelty is not None:
            # The winner is heard in the step after the one in which the sample was met.
            detector = NoveltyDetector(t_wait=0)
            winner.asked_out.connect(detector.input_aval_in)
            winner.heard_out.connect(detector.output_aval_in)
            detector.novelty_detected_out.connect(allocator.trigger_in)
        allocator.allocate_out.connect(broadcast.a_in)
        winner.id_out.connect(broadcast.a_in)
        broadcast.s_out.connect(to_all.s_in)
        to_all.a_out.connect(neurons.a_third_factor_in)
        neurons.s_out_bap.connect(synapses.s_in_bap)
        neurons.s_out_bap.connect(rates.bap_in)
        neurons.s_out_y1.connect(rates.y1_in)
        rates.y1_out.connect(synapses.s_in_y1)
        probe.weights.connect_var(synapses.weights)
        return neurons

    def _run_length(self, samples: int) -> int:
        return samples * STEPS
