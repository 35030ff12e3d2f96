"""Behaviour of the processes in time; what they compute is in ``neurodeploy.lava.onchip.layer``.

Synapses send what they computed in the previous step before they receive anything. That is the one
step that each of them costs, and it keeps the loop of spikes and errors from waiting for itself.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyInPort, PyOutPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol

from neurodeploy.lava.onchip.processes.process import (
    ErrorReadout,
    FusedLearner,
    PlasticNeurons,
    PlasticSynapses,
    StreamSource,
)


class _Model(PyLoihiProcessModel):
    """What all of them know."""

    def __init__(self, proc_params: dict[str, Any]) -> None:
        super().__init__(proc_params)
        self.files = proc_params["files"]
        self.timetable = proc_params["timetable"]

    def now(self, depth: int) -> tuple[int, int] | None:
        """The sample of the chunk and the model step that a population computes now, or None."""
        found = self.timetable.model_step(self.time_step - self.files.start, depth)
        return None if found is None or found[0] >= self.files.samples else found


@implements(proc=StreamSource, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt", "floating_pt")
class PyStreamSourceModel(_Model):
    """Sends what this time step belongs to."""

    s_out: Any = LavaPyType(PyOutPort.VEC_DENSE, np.int32)

    def run_spk(self) -> None:
        """One time step."""
        found = self.now(0)
        silence = np.zeros(self.files.inputs, np.int32)
        self.s_out.send(silence if found is None else self.files.frame(*found))


@implements(proc=PlasticSynapses, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyPlasticSynapsesModel(_Model):
    """Fixed-point synapses: forwards, backwards, and the gradient in between."""

    s_in: Any = LavaPyType(PyInPort.VEC_DENSE, np.int32)
    a_out: Any = LavaPyType(PyOutPort.VEC_DENSE, np.int32)
    e_in: Any = LavaPyType(PyInPort.VEC_DENSE, np.int32)
    b_out: Any = LavaPyType(PyOutPort.VEC_DENSE, np.int64)
    number: Any = np.int64

    def __init__(self, proc_params: dict[str, Any]) -> None:
        super().__init__(proc_params)
        self.synapses = proc_params["synapses"]
        self.first = proc_params["layer"] == 1
        outputs, inputs = self.synapses.table.shape
        self.activation = np.zeros(outputs, self.number)
        self.carried = np.zeros(inputs, self.number)
        delay = self.timetable.spike_delay(proc_params["layer"])
        self.spikes = deque([np.zeros(inputs, np.int32)] * delay)
        self.updates = 0

    def run_spk(self) -> None:
        """Send the last step's sums, receive spikes and errors, pair errors with old spikes."""
        self.a_out.send(self.activation)
        self.b_out.send(self.carried)
        spikes, errors = self.s_in.recv(), self.e_in.recv()
        self.activation = self.synapses.activate(spikes)
        self.spikes.append(spikes)
        of_then = self.spikes.popleft()
        self.carried = np.zeros_like(self.carried)
        if errors.any():
            self.synapses.accumulate(errors, of_then)
            if not self.first and not self.timetable.local:
                self.carried = self.synapses.carry_back(errors)

    def lrn_guard(self) -> Any:
        """Whether an update ends this time step."""
        found = self.timetable.update_after(self.time_step - self.files.start)
        return found is not None and found[0] < self.files.samples

    def run_lrn(self) -> None:
        """Change the weights and record them."""
        found = self.timetable.update_after(self.time_step - self.files.start)
        self.synapses.update(self.updates)
        self.updates += 1
        self.files.record(self.synapses.name, *found, self.synapses.state)


@implements(proc=PlasticSynapses, protocol=LoihiProtocol)
@requires(CPU)
@tag("floating_pt")
class PyPlasticSynapsesModelFloat(PyPlasticSynapsesModel):
    """The same in floating point."""

    s_in: Any = LavaPyType(PyInPort.VEC_DENSE, np.int32)
    a_out: Any = LavaPyType(PyOutPort.VEC_DENSE, float)
    e_in: Any = LavaPyType(PyInPort.VEC_DENSE, float)
    b_out: Any = LavaPyType(PyOutPort.VEC_DENSE, float)
    number: Any = np.float64


@implements(proc=PlasticNeurons, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyPlasticNeuronsModel(_Model):
    """Fixed-point neurons that remember their surrogate derivative until the error comes back.

    By rule ``local`` nothing comes back, and they send the error of a step with its spikes.
    """

    a_in: Any = LavaPyType(PyInPort.VEC_DENSE, np.int32)
    s_out: Any = LavaPyType(PyOutPort.VEC_DENSE, np.int32)
    b_in: Any = LavaPyType(PyInPort.VEC_DENSE, np.int64)
    e_out: Any = LavaPyType(PyOutPort.VEC_DENSE, np.int32)
    number: Any = np.int64

    def __init__(self, proc_params: dict[str, Any]) -> None:
        super().__init__(proc_params)
        self.neurons = proc_params["neurons"]
        self.layer = proc_params["layer"]
        self.flat = np.zeros(self.neurons.size, self.number)
        self.slopes = deque([self.flat] * self.timetable.slope_delay(self.layer))

    def run_spk(self) -> None:
        """A step of the neurons when it is their turn; an error whenever something came back."""
        activation, carried = self.a_in.recv(), self.b_in.recv()
        found = self.now(self.layer)
        spikes, slope = np.zeros(self.neurons.size, np.int32), self.flat
        if found is not None:
            if found[1] == 0:
                self.neurons.reset()
            spikes, slope = self.neurons.step(activation)
        self.s_out.send(spikes)
        if self.timetable.local:
            self.e_out.send(self._own_error(spikes, slope, found))
            return
        self.slopes.append(slope)
        of_then = self.slopes.popleft()
        self.e_out.send(self.neurons.errors(carried, of_then) if carried.any() else self.flat)

    def _own_error(
        self, spikes: np.ndarray, slope: np.ndarray, found: tuple[int, int] | None
    ) -> np.ndarray:
        """Of a step that this time step computes; nothing while there is none to learn from."""
        if found is None or found[1] >= self.files.lasts(found[0], self.timetable.steps):
            return self.flat
        return self.neurons.own_errors(spikes[None], slope[None], self.files.label(found[0]))[0]


@implements(proc=PlasticNeurons, protocol=LoihiProtocol)
@requires(CPU)
@tag("floating_pt")
class PyPlasticNeuronsModelFloat(PyPlasticNeuronsModel):
    """The same in floating point."""

    a_in: Any = LavaPyType(PyInPort.VEC_DENSE, float)
    s_out: Any = LavaPyType(PyOutPort.VEC_DENSE, np.int32)
    b_in: Any = LavaPyType(PyInPort.VEC_DENSE, float)
    e_out: Any = LavaPyType(PyOutPort.VEC_DENSE, float)
    number: Any = np.float64


@implements(proc=ErrorReadout, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyErrorReadoutModel(_Model):
    """A fixed-point integrator that compares each step's output with the label."""

    a_in: Any = LavaPyType(PyInPort.VEC_DENSE, np.int32)
    e_out: Any = LavaPyType(PyOutPort.VEC_DENSE, np.int32)
    number: Any = np.int64

    def __init__(self, proc_params: dict[str, Any]) -> None:
        super().__init__(proc_params)
        self.readout = proc_params["readout"]

    def run_spk(self) -> None:
        """A step of the integrator when it is its turn."""
        activation = self.a_in.recv()
        found = self.now(self.timetable.layers)
        if found is None:
            self.e_out.send(np.zeros(self.readout.size, self.number))
            return
        sample, step = found
        if step == 0:
            self.readout.reset()
        steps = self.files.lasts(sample, self.timetable.steps)
        if step >= steps:
            # Its class has been read, and nothing is learnt from what follows.
            self.e_out.send(np.zeros(self.readout.size, self.number))
            return
        self.e_out.send(self.readout.step(activation, self.files.label(sample)))
        if step == steps - 1:
            self.files.record_scores(sample, self.readout.scores)


@implements(proc=ErrorReadout, protocol=LoihiProtocol)
@requires(CPU)
@tag("floating_pt")
class PyErrorReadoutModelFloat(PyErrorReadoutModel):
    """The same in floating point."""

    a_in: Any = LavaPyType(PyInPort.VEC_DENSE, float)
    e_out: Any = LavaPyType(PyOutPort.VEC_DENSE, float)
    number: Any = np.float64


@implements(proc=FusedLearner, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyFusedLearnerModel(_Model):
    """Learns from a chunk per time step: no pipeline, so nothing has to be remembered."""

    def __init__(self, proc_params: dict[str, Any]) -> None:
        super().__init__(proc_params)
        self.layers = proc_params["layers"]
        self.updates = 0

    def run_spk(self) -> None:
        """One sample after the other."""
        for synapses, _ in self.layers:
            self.files.record_end(synapses.name, "first", synapses.state)
        for sample in range(self.files.samples):
            self._learn(sample)
        for synapses, _ in self.layers:
            synapses.check()
            self.files.record_end(synapses.name, "last", synapses.state)

    def _learn(self, sample: int) -> None:
        """A sample, from update to update."""
        block = self.timetable.steps if self.timetable.update == "sample" else 1
        for _, neurons in self.layers:
            neurons.reset()
        lasts = self.files.lasts(sample, self.timetable.steps)
        for number in range(self.timetable.steps // block):
            steps = range(number * block, min((number + 1) * block, lasts))
            if steps:
                self._learn_block(sample, steps)
            for synapses, _ in self.layers:
                synapses.update(self.updates)
                self.files.record_changes(
                    *(synapses.name, sample, number, synapses.numbers, synapses.values)
                )
            self.updates += 1
        self.files.record_scores(sample, self.layers[-1][1].scores)

    def _learn_block(self, sample: int, steps: range) -> None:
        """Forward through all layers step by step, and back again."""
        *hidden, (last, readout) = self.layers
        first = self.layers[0][0]
        # An input that never changes is sent, and paired with errors, once.
        constant = first.activate(self.files.frame(sample, 0)) if self.files.static else None
        met: list[list[np.ndarray]] = [[] for _ in self.layers]
        slopes: list[list[np.ndarray]] = [[] for _ in hidden]
        outputs = []
        for step in steps:
            spikes = self.files.frame(sample, step)
            for depth, (synapses, neurons) in enumerate(hidden):
                met[depth].append(spikes)
                fixed = constant if depth == 0 else None
                arrived = synapses.activate(spikes) if fixed is None else fixed
                spikes, slope = neurons.step(arrived)
                slopes[depth].append(slope)
            met[-1].append(spikes)
            fixed = None if hidden else constant
            outputs.append(readout.added(last.activate(spikes) if fixed is None else fixed))
        label = self.files.label(sample)
        errors = readout.error(np.array(outputs), label)
        for depth in reversed(range(len(self.layers))):
            synapses = self.layers[depth][0]
            if depth == 0 and self.files.static:
                synapses.accumulate(errors.sum(axis=0)[None], met[0][0][None])
                break
            spikes = np.array(met[depth])
            synapses.accumulate(errors, spikes)
            if depth:
                neurons, slope = hidden[depth - 1][1], np.array(slopes[depth - 1])
                if self.timetable.local:
                    errors = neurons.own_errors(spikes, slope, label)
                else:
                    errors = neurons.errors(synapses.carry_back(errors, slope), slope)
