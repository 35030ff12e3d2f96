"""Learning from a stream of the caller's: labels at once, late, rarely or never, or rewards."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from neurodeploy.errors import InputError, Setting, Text
from neurodeploy.ir.quantized import QuantizedNetwork
from neurodeploy.onchip.exploration import Exploration
from neurodeploy.onchip.frozen import output_layer
from neurodeploy.onchip.learner import LearningOptions, StreamChunk, Trajectory
from neurodeploy.onchip.prototypes import UNLABELLED, answers_of
from neurodeploy.onchip.rates import suitable_rate
from neurodeploy.simulation.engines import ReferenceEngine
from neurodeploy.simulation.trace import SampleBatch
from neurodeploy.workflow.learning.data import labelled_samples
from neurodeploy.workflow.learning.learners import (
    Learners,
    check_learning_engine,
    make_learners,
)
from neurodeploy.workflow.sample_values import check_values
from neurodeploy.workflow.task import check_tells_classes

REMEMBERED = 64
"""Samples whose labels may still come, when the caller does not say."""

Reward = Callable[[int], Any]
"""Says whether an answer, the number of a class, is to be rewarded."""


@dataclass(frozen=True)
class Late:
    """The label of an earlier sample.

    Attributes:
        ago: samples that have come since, from 0 for the last one.
        label: its class.
    """

    ago: int
    label: int


Item = tuple[ArrayLike, int | Reward | None] | Late
"""A sample, its label, None or its reward beside it; or the label of an earlier one."""


@dataclass
class StreamResult:
    """The result of learning from a stream.

    Attributes:
        network: the learnt network.
        answers: the class answered for each sample when it arrived, before learning from it. With
            prototypes for what is new, -1 for a sample that is new, and -2 - n for one that
            prototype n recognises and that has no name yet.
        learnt: how many samples were learnt from.
        rewarded: how many of these by a reward; the others by their labels.
        late: how many by labels that came late.
        right: share of the labelled samples that were answered correctly; None without labels.
        mismatches: weights and tags that differed from the reference's, over all updates together;
            None when the reference itself learnt.
        explored: how many answers were drawn.
    """

    network: QuantizedNetwork
    answers: list[int] = field(default_factory=list)
    learnt: int = 0
    rewarded: int = 0
    late: int = 0
    right: float | None = None
    mismatches: int | None = None
    explored: int = 0


def learn_stream(
    network: QuantizedNetwork,
    stream: Iterable[Item],
    options: LearningOptions,
    *,
    rate_given: bool = True,
    tags: Mapping[str, np.ndarray] = MappingProxyType({}),
    engine: str = "reference",
    known: tuple[ArrayLike, ArrayLike] | None = None,
    remember: int = REMEMBERED,
    explore: float = 0.0,
    novel: int = 0,
    timeout: float | None = None,
) -> StreamResult:
    """Answer every sample of a stream, and learn from those that a label or a reward comes to.

    A reward of 1 has the network learn as if its answer were the label, one of 0 changes nothing:
    of a softmax that is the policy gradient of Williams (1992, REINFORCE) for rewards of 0 and 1,
    so that every rule takes rewards as it is. It is one of answers that are drawn; the best answer
    alone is never another class, however often it is not rewarded.

    Args:
        options: rule, update, feedback, seed, and the rate.
        rate_given: whether the rate is meant; else it is found on the first sample that is learnt
            from, as for ``learn``.
        tags: what is below the weights in the beginning, by projection; of rules that keep any.
        engine: ``lava``, ``lava-fused`` or ``reference``.
        known: samples (N, *input) and classes (N,) that rule ``prototypes`` begins with.
        remember: samples that late labels may reach back.
        explore: the share of the answers to samples with a reward that are drawn (``Exploration``).
        novel: rows that rule ``prototypes`` gives to samples without a label that are new.
        timeout: wall-clock seconds for Lava.

    Raises:
        InputError: an item that is none, or a late label of a sample that is not remembered.
        UnsupportedError: the network has what the rule is not defined for.
    """
    check_tells_classes(network, "learn")
    check_learning_engine(engine, options)
    if remember < 1:
        raise InputError(Text(Setting("remember", str(remember)), ": needs at least 1"))
    if not isinstance(novel, int) or novel < 0 or (novel and options.rule != "prototypes"):
        given = Setting("novel", str(novel))
        raise InputError(Text(given, ": a number of rows, which rule prototypes alone has"))
    exploration = _exploration(network, options, explore)
    session = _Session(
        network, options, rate_given, tags, engine, known, remember, exploration, novel, timeout
    )
    try:
        for number, item in enumerate(stream):
            session.take(item, f"item {number} of the stream")
    finally:
        session.close()
    return session.result()


def _exploration(
    network: QuantizedNetwork, options: LearningOptions, share: float
) -> Exploration | None:
    """Who draws answers; None where nobody does."""
    if not 0 <= share <= 1:
        given = Setting("explore", f"{share:g}")
        raise InputError(Text(given, ": a share of the answers, from 0 to 1"))
    if share and options.rule == "prototypes":
        raise InputError(
            Text(
                Setting("explore", f"{share:g}"),
                ": rule prototypes compares rows, and has no softmax to draw an answer from",
            )
        )
    return Exploration.of(network, share, options.seed) if share else None


class _Session:
    def __init__(
        self,
        network: QuantizedNetwork,
        options: LearningOptions,
        rate_given: bool,
        tags: Mapping[str, np.ndarray],
        engine: str,
        known: tuple[ArrayLike, ArrayLike] | None,
        remember: int,
        exploration: Exploration | None,
        novel: int,
        timeout: float | None,
    ) -> None:
        self.network, self.options, self.rate_given = network, options, rate_given
        self.tags, self.engine, self.known, self.timeout = tags, engine, known, timeout
        self.exploration, self.novel = exploration, novel
        self.past: deque[SampleBatch] = deque(maxlen=remember)
        self.learners: Learners | None = None
        self.inference: ReferenceEngine | None = None
        self.found = StreamResult(network, mismatches=None if engine == "reference" else 0)
        self.labelled = self.right = 0
        if options.rule == "prototypes":
            self._learners(None)

    def take(self, item: Any, where: str) -> None:
        """Answer, and learn where there is something to learn from."""
        if isinstance(item, Late):
            self._late(item, where)
            return
        if not isinstance(item, tuple) or len(item) != 2:
            raise InputError(
                f"{where}: expected a sample and its label, None or a function of the answer, or "
                f"Late(ago, label); found {type(item).__name__}"
            )
        batch = self._encoded(item[0], where)
        label = item[1]
        if self.novel:
            self._take_new(batch, label, where)
            return
        answer = self._answer(batch, rewarded=callable(label))
        self.found.answers.append(answer)
        self.past.append(batch)
        if callable(label):
            reward = label(answer)
            if reward not in (0, 1):
                raise InputError(f"{where}: a reward is 0 or 1, found {reward!r}")
            if reward:
                self.found.rewarded += 1
                self._learn(batch, answer)
        elif label is not None:
            self._learn(batch, self._label(label, where))
            self._judge(answer, int(label))

    def _take_new(self, batch: SampleBatch, label: Any, where: str) -> None:
        """Answer and learn at once: what has no label is held against rows without a name, too."""
        if callable(label):
            raise InputError(
                f"{where}: a sample that may be new is answered by its prototype, and may have no "
                "class; give its label or None, and no reward"
            )
        named = None if label is None else self._label(label, where)
        found = self._learn(batch, UNLABELLED if named is None else named)
        answer = int(found.states[answers_of(output_layer(self.network).projection.name)].item())
        self.found.answers.append(answer)
        self.past.append(batch)
        if named is not None:
            self._judge(answer, named)

    def _judge(self, answer: int, label: int) -> None:
        self.labelled += 1
        self.right += answer == label

    def _late(self, item: Late, where: str) -> None:
        if not 0 <= item.ago < len(self.past):
            raise InputError(
                f"{where}: a label for {item.ago} samples ago, and the last {len(self.past)} are "
                "remembered",
                fix=Text("ask for more with ", Setting("remember", None)),
            )
        self.found.late += 1
        self._learn(self.past[-1 - item.ago], self._label(item.label, where))

    def _label(self, label: Any, where: str) -> int:
        classes = self.network.classes
        whole = isinstance(label, int | np.integer) and not isinstance(label, bool)
        if not whole or not 0 <= label < classes:
            raise InputError(
                f"{where}: a label is a class from 0 to {classes - 1}, found {label!r}"
            )
        return int(label)

    def _encoded(self, sample: ArrayLike, where: str) -> SampleBatch:
        """One sample as a batch of its own."""
        shape, code = self.network.inputs[0].shape, self.network.contract.input_code
        over_time = code.encoder == "events"
        wanted = (self.network.contract.steps, *shape) if over_time else shape
        values = np.asarray(sample)
        if values.shape != wanted or values.dtype.kind not in "iub":
            raise InputError(
                f"{where}: a sample is integers of shape {wanted}, found {values.dtype} "
                f"{values.shape}"
            )
        check_values(values[None], code.levels, where)
        numbered = labelled_samples(values[None], np.zeros(1, np.int64), self.network, 0)
        (batch,) = numbered.batches(1)
        return batch

    def _answer(self, batch: SampleBatch, *, rewarded: bool) -> int:
        if self.inference is None:
            learners = self.learners
            network = self.network if learners is None else learners.chosen.learned()
            self.inference = ReferenceEngine(network)
        ((_, trace),) = self.inference.run([batch])
        (scores,) = trace.scores(self.network.contract.decode)
        if rewarded and self.exploration is not None:
            drawn = self.exploration.answer(scores, len(self.found.answers))
            if drawn is not None:
                self.found.explored += 1
                return drawn
        return int(scores.argmax())

    def _learn(self, batch: SampleBatch, label: int) -> Trajectory:
        learners = self._learners(batch)
        steps = 1 if batch.static else batch.values.shape[1]
        chunk = StreamChunk(batch.values.reshape(1, steps, -1), np.array([label], np.int64))
        found = learners.chosen.learn(chunk)
        if learners.lava is not None:
            wanted = learners.reference.learn(chunk)
            assert self.found.mismatches is not None
            self.found.mismatches += sum(
                int(np.count_nonzero(found.states[name] != states))
                for name, states in wanted.states.items()
            )
        self.found.learnt += label != UNLABELLED
        self.inference = None
        return found

    def _learners(self, batch: SampleBatch | None) -> Learners:
        if self.learners is None:
            options, known = self.options, None
            if self.known is not None:
                x, y = np.asarray(self.known[0]), np.asarray(self.known[1], np.int64)
                known = labelled_samples(x, y, self.network, options.seed)
            if not self.rate_given and batch is not None:
                options = replace(options, rate=suitable_rate(self.network, options, batch))
            self.learners = make_learners(
                *(self.network, options, self.engine, 1, self.timeout, self.tags, known),
                novel=self.novel,
            )
            self.inference = None
        return self.learners

    def result(self) -> StreamResult:
        """What has come of it."""
        if self.learners is not None:
            self.found.network = self.learners.chosen.learned()
        if self.labelled:
            self.found.right = self.right / self.labelled
        return self.found

    def close(self) -> None:
        """End Lava's processes, if there are any."""
        if self.learners is not None:
            self.learners.close()
