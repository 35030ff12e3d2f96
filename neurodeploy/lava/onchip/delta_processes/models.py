"""Behaviour of the processes; the learning itself is Lava's ``LearningDense``."""

from __future__ import annotations

from typing import Any

import numpy as np
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.neuron import LearningNeuronModelFixed
from lava.magma.core.model.py.ports import PyInPort, PyOutPort, PyRefPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol

from neurodeploy.lava.fused import BatchedNetwork, lava_neurons
from neurodeploy.lava.onchip.delta_processes.process import (
    DeltaReadout,
    FrozenLayers,
    WeightProbe,
)
from neurodeploy.onchip.frozen import layers_before


def _in_chunk(found: tuple[int, int] | None, files: Any) -> tuple[int, int] | None:
    return found if found is not None and found[0] < files.samples else None


@implements(proc=FrozenLayers, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyFrozenLayersModel(PyLoihiProcessModel):
    """Computes a sample at its first step, with Lava's arithmetic, and sends it step by step."""

    s_out: Any = LavaPyType(PyOutPort.VEC_DENSE, bool, precision=1)

    def __init__(self, proc_params: dict[str, Any]) -> None:
        super().__init__(proc_params)
        self.files, self.timetable = proc_params["files"], proc_params["timetable"]
        self.plan = proc_params["plan"]
        hidden = layers_before(self.plan.network, self.plan.link.projection)
        self.network = None if hidden is None else BatchedNetwork(hidden)
        self.last = self.plan.link.projection.source
        self.spikes = np.zeros((self.plan.steps, 0), bool)

    def run_spk(self) -> None:
        """Send the spikes of a model step in the first step of its epoch."""
        time_step = self.time_step - self.files.start
        found = _in_chunk(self.timetable.spikes_at(time_step), self.files)
        if found is None:
            self.s_out.send(np.zeros(self.s_out.shape, bool))
            return
        sample, step = found
        if step == 0:
            self.spikes = self._spikes(sample)
            self.spikes[self.files.lasts(sample, len(self.spikes)) :] = False
        self.s_out.send(self.spikes[step])

    def _spikes(self, sample: int) -> np.ndarray:
        """(T, size) bool."""
        drive = self.files.arrays["drive"][sample : sample + 1]
        if self.network is None:
            return np.broadcast_to(drive[0], (self.plan.steps, drive.shape[2])) > 0
        found = []

        def keep(name: str, _step: int, spikes: np.ndarray, _neurons: Any) -> None:
            if name == self.last:
                found.append(spikes[0].copy())

        self.network.run(drive, keep)
        return np.stack(found)


@implements(proc=DeltaReadout, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyDeltaReadoutModel(LearningNeuronModelFixed):
    """Lava's neurons; y1 is sent in every step, as its receiver waits for it."""

    a_in: Any = LavaPyType(PyInPort.VEC_DENSE, np.int32)

    def __init__(self, proc_params: dict[str, Any]) -> None:
        super().__init__(proc_params)
        self.files, self.timetable = proc_params["files"], proc_params["timetable"]
        self.plan, self.size = proc_params["plan"], proc_params["size"]
        self.neurons: Any = lava_neurons(self.plan.link.population)
        self.total = np.zeros(self.size, np.int64)

    def run_spk(self) -> None:
        """A step of the neurons in the second step of an epoch."""
        activation = self.a_in.recv()
        found = _in_chunk(self.timetable.error_at(self.time_step - self.files.start), self.files)
        if found is None:
            self.s_out_y1.send(np.zeros(self.size, np.int32))
            return
        sample, step = found
        steps = self.files.lasts(sample, self.plan.steps)
        if step >= steps:
            self.s_out_y1.send(np.zeros(self.size, np.int32))
            return
        neurons = self.neurons
        if step == 0:
            neurons.batch((self.size,))
            self.total = np.zeros(self.size, np.int64)
        before = neurons.v.astype(np.int64)
        neurons.subthr_dynamics(activation_in=activation)
        self.total += neurons.v
        outputs = neurons.v if self.plan.summed else neurons.v - before
        error = self.plan.error(outputs[None], self.files.label(sample))[0]
        self.s_out_y1.send(-error.astype(np.int32))
        if step == steps - 1:
            self.files.record_scores(sample, self.total if self.plan.summed else neurons.v)


@implements(proc=WeightProbe, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyWeightProbeModel(PyLoihiProcessModel):
    """Reads the weights in Lava's management phase, which follows the learning phase."""

    weights: Any = LavaPyType(PyRefPort.VEC_DENSE, np.int32)

    def __init__(self, proc_params: dict[str, Any]) -> None:
        super().__init__(proc_params)
        self.files, self.timetable = proc_params["files"], proc_params["timetable"]
        self.projection = proc_params["projection"]

    def _update(self) -> tuple[int, int] | None:
        time_step = self.time_step - self.files.start
        return _in_chunk(self.timetable.update_after(time_step), self.files)

    def post_guard(self) -> Any:
        """Ask for a management phase after every update."""
        return self._update() is not None

    def run_post_mgmt(self) -> None:
        """Record the weights."""
        found = self._update()
        if found is not None:
            self.files.record(self.projection, *found, self.weights.read().ravel())
