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


def labels_of(projection: str) -> str:
    """Name of the classes of rows among a projection's records."""
    return f"{projection} labels"


class PrototypeRows:
    """The rows of one ``LearningDense``, whose they are, and the generators of its engine.

    Attributes:
        weights: (rows, F) int64, 0..255.
        labels: class of each row in use; ``UNLABELLED`` of one that nobody has named.
        seen: samples that each of these has learnt from.
    """

    def __init__(self, plan: PrototypePlan) -> None:
        self.plan = plan
        self.weights = plan.rows.copy()
        self.labels = list(plan.base)
        self.seen = [plan.base_seen] * len(plan.base)
        self.spare = 0 if plan.novelty is None else plan.novelty.rows
        self._rounding = np.random.default_rng(_ROUNDING_SEED)
        self._rounding.random()
        self._trace = np.random.default_rng(plan.options.seed + 2)
        self._trace.random()

    def winner(self, centred: np.ndarray, limit: int | None) -> int:
        """The row that a sample (F,) agrees with most; -1 where none does beyond the limit."""
        used = len(self.labels)
        if not used:
            return -1
        agreement = self.weights[:used] @ centred
        row = int(agreement.argmax())
        return row if limit is None or agreement[row] > limit else -1

    def answer(self, winner: int) -> int:
        """What a winner says: a class, below -1 a row without a name, -1 nothing at all."""
        if winner < 0:
            return -1
        label = self.labels[winner]
        return label if label != UNLABELLED else -2 - winner

    def learning(self, label: int, winner: int) -> int | None:
        """The row that is to learn a sample, from now on its own where it was free or unnamed."""
        if label == UNLABELLED:
            if winner < 0 and self.spare:
                self.spare -= 1
                return self._new(UNLABELLED)
            unnamed = winner >= 0 and self.labels[winner] == UNLABELLED
            return winner if unnamed else None
        if label in self.labels:
            return self.labels.index(label)
        if winner >= 0 and self.labels[winner] == UNLABELLED:
            self.labels[winner] = label
            return winner
        return self._new(label)

    def _new(self, label: int) -> int:
        self.labels.append(label)
        self.seen.append(0)
        return len(self.labels) - 1

    def pass_sample(self, x: np.ndarray, row: int | None) -> int:
        """The epoch of a sample, at whose end a row may learn.

        Args:
            x: (F,) what it learns.
            row: None where none does.

        Returns:
            How many synapses have changed.
        """
        numbers = [self._trace.random() for _ in range(2 * STEPS)]
        number = self._rounding.random()
        if row is None:
            return 0
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
        """Go on with these samples, one after the other; those ``UNLABELLED`` are answered.

        Where the plan has rows for what is new, these learn from them.
        """
        counts, rows, plan = self.counts.of(self.projection), self.rows, self.plan
        found, novelty = self.spikes.of(chunk), plan.novelty
        centred, learnt = plan.features.centred(found), plan.features.learnt(found)
        limits: list[int | None] = [None] * len(chunk)
        if novelty is not None:
            limits = novelty.limits(centred, plan.features.norms(found)).tolist()
        labels = np.full((len(chunk), 1, len(rows.weights)), UNLABELLED, np.int32)
        states = np.empty((len(chunk), 1, rows.weights.size), np.int32)
        answers = np.empty((len(chunk), 1, 1), np.int32)
        scores = np.zeros((len(chunk), plan.network.classes), np.int64)
        for sample, label in enumerate(chunk.labels.tolist()):
            winner = rows.winner(centred[sample], limits[sample])
            answer = answers[sample] = rows.answer(winner)
            if answer >= 0:
                scores[sample, answer] = 1
            row = rows.learning(label, winner)
            counts.updates += rows.pass_sample(learnt[sample], row)
            labels[sample, 0, : len(rows.labels)] = rows.labels
            counts.spikes += int(found[sample].sum())
            states[sample, 0] = rows.weights.ravel()
        counts.saturated = int(np.isin(rows.weights, (0, _MOST))[: len(rows.labels)].sum())
        records = {self.projection: states, answers_of(self.projection): answers}
        if novelty is not None:
            records[labels_of(self.projection)] = labels
        return Trajectory(records, scores)

    @property
    def overflow(self) -> Mapping[str, tuple[int, int]]:
        """Wraps of u and saturations of v by population."""
        return self.spikes.overflow

    def learned(self) -> QuantizedNetwork:
        """The network whose output layer are the rows as they are now."""
        return self.plan.learned(self.rows.weights, tuple(self.rows.labels))

    def close(self) -> None:
        """Nothing to end."""
