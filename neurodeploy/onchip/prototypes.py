"""The integer reference of rule ``prototypes``: rows of weights, one for each class met.

It computes what Lava's ``LearningDense`` does under ``PrototypePlan.rule``: an accumulator of 15
bits, products cut to its width, one random number for all synapses of an update, and a trace y1
that loses one now and then.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from neurodeploy.data.lasting import own_steps
from neurodeploy.ir.quantized import QuantizedNetwork, QuantizedProjection
from neurodeploy.onchip.frozen import FrozenSpikes
from neurodeploy.onchip.learner import Counts, StreamChunk, Trajectory
from neurodeploy.onchip.loihi_rule import TRACE_TAU
from neurodeploy.onchip.prototype_plan import PrototypePlan

STEPS = 3
"""Lava steps of a sample: its rows are met, its class is answered, its row learns."""

UNLABELLED = -1
"""Label of a sample that nobody has named: it is answered and not learnt from."""

_ACCUMULATOR = 2**15
_WEIGHT_SHIFT = 7
_MOST = 255
_ROUNDING_SEED = 2


def answers_of(projection: str) -> str:
    """Name of the answers among a projection's records."""
    return f"{projection} answers"


class SpikeCounts:
    """Spikes at the inputs of the output layer, by the reference.

    Args:
        network: whose layers before ``last`` count.
    """

    def __init__(self, network: QuantizedNetwork, last: QuantizedProjection) -> None:
        self.spikes = FrozenSpikes(network, last)

    def of(self, chunk: StreamChunk) -> np.ndarray:
        """(N, F) int64 of the samples, over the steps of each."""
        spikes = self.spikes.of(chunk)
        if chunk.lengths is not None:
            spikes = spikes * own_steps(spikes, chunk.lengths)
        return spikes.sum(axis=1, dtype=np.int64)

    @property
    def overflow(self) -> Mapping[str, tuple[int, int]]:
        """Wraps of u and saturations of v by population."""
        return self.spikes.overflow


class PrototypeRows:
    """The rows of one ``LearningDense``, whose they are, and the generators of its engine.

    Attributes:
        weights: (classes, F) int64, 0..255.
        labels: class of each row in use.
        seen: samples that each of these has learnt from.
    """

    def __init__(self, plan: PrototypePlan) -> None:
        self.plan = plan
        self.weights = plan.rows.copy()
        self.labels = list(plan.base)
        self.seen = [plan.base_seen] * len(plan.base)
        self._rounding = np.random.default_rng(_ROUNDING_SEED)
        self._rounding.random()
        self._trace = np.random.default_rng(plan.options.seed + 2)
        self._trace.random()

    def answer(self, centred: np.ndarray) -> int:
        """The row that a sample (F,) agrees with most; -1 where there is none."""
        used = len(self.labels)
        return int((self.weights[:used] @ centred).argmax()) if used else -1

    def row_of(self, label: int) -> int:
        """The row of a class: a free one, from now on its own, where it has none."""
        if label not in self.labels:
            self.labels.append(label)
            self.seen.append(0)
        return self.labels.index(label)

    def pass_sample(self, x: np.ndarray | None, label: int) -> int:
        """The epoch of a sample, at whose end its row may learn.

        Args:
            x: (F,) what its row learns; None where it has no label.

        Returns:
            How many synapses have changed.
        """
        numbers = [self._trace.random() for _ in range(2 * STEPS)]
        number = self._rounding.random()
        if x is None:
            return 0
        row = self.row_of(label)
        self.seen[row] += 1
        y1 = self.plan.rate(self.seen[row])
        for _ in range(STEPS):
            kept = np.exp(-1 / TRACE_TAU) * y1
            y1 = int(np.floor(kept)) + int(numbers[-1] < kept % 1)
        before = self.weights[row]
        total = before << _WEIGHT_SHIFT
        for added in (((x * y1) >> 3) << 4, ((-before * y1) >> 5) << 5):
            total = np.clip(total + _held(added), -_ACCUMULATOR - 1, _ACCUMULATOR - 1)
        total = np.maximum(total, 0)
        whole, rest = total >> _WEIGHT_SHIFT, total & (2**_WEIGHT_SHIFT - 1)
        after = np.clip(whole + (number < rest / 2**_WEIGHT_SHIFT), 0, _MOST)
        self.weights = self.weights.copy()
        self.weights[row] = after
        return int(np.count_nonzero(after != before))


def _held(values: np.ndarray) -> np.ndarray:
    return np.clip(values, -_ACCUMULATOR - 1, _ACCUMULATOR - 1)


class PrototypeReference:
    """Rule ``prototypes`` on the deployed integers: frozen layers, rows behind them."""

    name = "reference"

    def __init__(self, plan: PrototypePlan) -> None:
        self.plan = plan
        self.counts = Counts()
        self.projection = plan.link.projection.name
        self.spikes = SpikeCounts(plan.network, plan.link.projection)
        self.rows = PrototypeRows(plan)

    def learn(self, chunk: StreamChunk) -> Trajectory:
        """Go on with these samples, one after the other; those ``UNLABELLED`` are answered."""
        counts, rows, plan = self.counts.of(self.projection), self.rows, self.plan
        found = self.spikes.of(chunk)
        centred, learnt = plan.features.centred(found), plan.features.learnt(found)
        states = np.empty((len(chunk), 1, rows.weights.size), np.int32)
        answers = np.empty((len(chunk), 1, 1), np.int32)
        scores = np.zeros((len(chunk), plan.network.classes), np.int64)
        for sample, label in enumerate(chunk.labels.tolist()):
            row = rows.answer(centred[sample])
            answers[sample] = row if row < 0 else rows.labels[row]
            if row >= 0:
                scores[sample, rows.labels[row]] = 1
            named = label != UNLABELLED
            counts.updates += rows.pass_sample(learnt[sample] if named else None, label)
            counts.spikes += int(found[sample].sum())
            states[sample, 0] = rows.weights.ravel()
        counts.saturated = int(np.isin(rows.weights, (0, _MOST))[: len(rows.labels)].sum())
        return Trajectory({self.projection: states, answers_of(self.projection): answers}, scores)

    @property
    def overflow(self) -> Mapping[str, tuple[int, int]]:
        """Wraps of u and saturations of v by population."""
        return self.spikes.overflow

    def learned(self) -> QuantizedNetwork:
        """The network whose output layer are the rows as they are now."""
        return self.plan.learned(self.rows.weights, tuple(self.rows.labels))

    def close(self) -> None:
        """Nothing to end."""
