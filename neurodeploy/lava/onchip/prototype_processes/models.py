"""Behaviour of the processes; learning, neurons, allocation and labels are Lava's own."""

from __future__ import annotations

from typing import Any

import numpy as np
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyInPort, PyOutPort, PyRefPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol

from neurodeploy.lava.fused import BatchedNetwork
from neurodeploy.lava.onchip.prototype_processes.process import (
    PrototypeProbe,
    PrototypeRates,
    PrototypeSource,
    WinnerTakesAll,
)
from neurodeploy.onchip.frozen import layers_before
from neurodeploy.onchip.prototypes import STEPS, UNLABELLED, answers_of, labels_of

MET, ANSWERED, LEARNT = 1, 2, 3
"""The Lava steps of a sample."""

LOUD = 100
"""What the winner sends: more than the threshold of its neuron."""


def _place(files: Any, time_step: int) -> tuple[int, int]:
    """The sample and its step, from 1; the sample may lie beyond the chunk."""
    sample, before = divmod(time_step - files.start - 1, STEPS)
    return sample, before + 1


@implements(proc=PrototypeSource, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyPrototypeSourceModel(PyLoihiProcessModel):
    """Computes a sample at its first step, with Lava's arithmetic."""

    s_out: Any = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=24)
    limit_out: Any = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=24)
    label_out: Any = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=24)

    def __init__(self, proc_params: dict[str, Any]) -> None:
        super().__init__(proc_params)
        self.files, self.plan = proc_params["files"], proc_params["plan"]
        hidden = layers_before(self.plan.network, self.plan.link.projection)
        self.network = None if hidden is None else BatchedNetwork(hidden)
        self.last = self.plan.link.projection.source
        self.counts = np.zeros(self.plan.rows.shape[1], np.int64)

    def run_spk(self) -> None:
        """Send what belongs to this step of a sample, and nothing else."""
        sample, place = _place(self.files, self.time_step)
        label = self.files.label(sample) if sample < self.files.samples else UNLABELLED
        features, novelty = self.plan.features, self.plan.novelty
        sent, limit, named = np.zeros_like(self.counts), 0, 0
        if place == MET and sample < self.files.samples:
            self.counts = self._counts(sample)
            sent = features.centred(self.counts)
        elif place == ANSWERED and novelty is not None:
            norms = features.norms(self.counts)
            limit = int(novelty.limits(features.centred(self.counts), norms))
        elif place == LEARNT and (label != UNLABELLED or novelty is not None):
            # Rows learn by a spike of their own, and without one nothing of this.
            sent, named = 2 * features.learnt(self.counts), label + 1
        self.s_out.send(sent.astype(np.int32))
        self.limit_out.send(np.array([limit], np.int32))
        self.label_out.send(np.array([named], np.int32))

    def _counts(self, sample: int) -> np.ndarray:
        """(F,) spikes."""
        drive = self.files.arrays["drive"][sample : sample + 1]
        steps = self.files.lasts(sample, self.plan.steps)
        if self.network is None:
            frames = np.broadcast_to(drive[0], (self.plan.steps, drive.shape[2]))[:steps]
            return (frames > 0).sum(axis=0, dtype=np.int64)
        total = np.zeros_like(self.counts)

        def keep(name: str, step: int, spikes: np.ndarray, _neurons: Any) -> None:
            if name == self.last and step < steps:
                total[:] += spikes[0].ravel() > 0

        self.network.run(drive, keep)
        return total


@implements(proc=WinnerTakesAll, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyWinnerTakesAllModel(PyLoihiProcessModel):
    """Compares the prototypes in use; the first of those that agree most wins."""

    a_in: Any = LavaPyType(PyInPort.VEC_DENSE, np.int32)
    limit_in: Any = LavaPyType(PyInPort.VEC_DENSE, np.int32)
    s_out: Any = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=24)
    id_out: Any = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=24)
    allocate_out: Any = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=24)
    asked_out: Any = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=24)
    heard_out: Any = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=24)

    def __init__(self, proc_params: dict[str, Any]) -> None:
        super().__init__(proc_params)
        self.files, self.plan = proc_params["files"], proc_params["plan"]
        self.novelty = self.plan.novelty
        self.spare = 0 if self.novelty is None else self.novelty.rows
        self.labels = list(self.plan.base)

    def run_spk(self) -> None:
        """Ask in the first step of a sample, and answer in the second."""
        activation, (limit,) = self.a_in.recv(), self.limit_in.recv()
        sent, asked, number, allocate = np.zeros(len(activation), np.int32), 0, 0, 0
        sample, place = _place(self.files, self.time_step)
        if sample < self.files.samples:
            label = self.files.label(sample)
            if place == MET:
                asked = int(label == UNLABELLED and self.spare > 0)
            elif place == ANSWERED:
                used = len(self.labels)
                best = int(activation[:used].argmax()) if used else 0
                heard = used > 0 and (self.novelty is None or activation[best] > limit)
                sent[best] = LOUD * heard
                number, allocate = self._teaching(label, best if heard else None)
                self._record(sample)
        self.s_out.send(sent)
        for port, value in (
            (self.id_out, number),
            (self.allocate_out, allocate),
            (self.asked_out, asked),
            (self.heard_out, sent.any()),
        ):
            port.send(np.array([value], np.int32))

    def _teaching(self, label: int, heard: int | None) -> tuple[int, int]:
        """Number of the prototype that learns, from 1, or whether to allocate one."""
        nameless = heard is not None and self.labels[heard] == UNLABELLED
        if label == UNLABELLED:
            if heard is None and self.spare:
                # Lava's detector hears nothing either, and has one allocated.
                self.spare -= 1
                self.labels.append(UNLABELLED)
            return (heard + 1 if heard is not None and nameless else 0), 0
        if label in self.labels:
            return self.labels.index(label) + 1, 0
        if heard is not None and nameless:
            self.labels[heard] = label
            return heard + 1, 0
        self.labels.append(label)
        return 0, 1

    def _record(self, sample: int) -> None:
        if self.novelty is not None:
            name = labels_of(self.plan.link.projection.name)
            rest = len(self.plan.rows) - len(self.labels)
            self.files.record(name, sample, 0, np.array(self.labels + [UNLABELLED] * rest))


@implements(proc=PrototypeRates, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyPrototypeRatesModel(PyLoihiProcessModel):
    """A mean of all samples at first, of the last ones later."""

    y1_in: Any = LavaPyType(PyInPort.VEC_DENSE, np.int32)
    bap_in: Any = LavaPyType(PyInPort.VEC_DENSE, bool, precision=1)
    y1_out: Any = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=7)

    def __init__(self, proc_params: dict[str, Any]) -> None:
        super().__init__(proc_params)
        self.plan = proc_params["plan"]
        self.seen = np.zeros(len(self.plan.rows), np.int64)
        self.seen[: len(self.plan.base)] = self.plan.base_seen

    def run_spk(self) -> None:
        """Pass y1 on, divided by how often its prototype has learnt."""
        self.y1_in.recv()
        learns = self.bap_in.recv().astype(bool)
        self.seen += learns
        sent = np.zeros(len(learns), np.int32)
        for row in np.flatnonzero(learns):
            sent[row] = self.plan.rate(int(self.seen[row]))
        self.y1_out.send(sent)


@implements(proc=PrototypeProbe, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyPrototypeProbeModel(PyLoihiProcessModel):
    """Reads the weights in Lava's management phase, which follows the learning phase."""

    answer_in: Any = LavaPyType(PyInPort.VEC_DENSE, np.int32)
    weights: Any = LavaPyType(PyRefPort.VEC_DENSE, np.int32)

    def __init__(self, proc_params: dict[str, Any]) -> None:
        super().__init__(proc_params)
        self.files, self.plan = proc_params["files"], proc_params["plan"]
        self.name = self.plan.link.projection.name

    def run_spk(self) -> None:
        """Keep the class that the read-out has named."""
        answer = int(self.answer_in.recv()[0]) - 1
        sample, place = _place(self.files, self.time_step)
        if place != ANSWERED or sample >= self.files.samples:
            return
        self.files.record(answers_of(self.name), sample, 0, np.array([answer]))
        scores = np.zeros(self.plan.network.classes)
        if answer >= 0:
            scores[answer] = 1
        self.files.record_scores(sample, scores)

    def post_guard(self) -> Any:
        """Ask for a management phase after every sample."""
        sample, place = _place(self.files, self.time_step)
        return place == LEARNT and sample < self.files.samples

    def run_post_mgmt(self) -> None:
        """Record the weights."""
        sample, _ = _place(self.files, self.time_step)
        self.files.record(self.name, sample, 0, self.weights.read().ravel())
