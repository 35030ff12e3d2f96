"""Models of the processes: Lava's own fixed-point LIF arithmetic, inherited; synapses, and I/O.

Ports and Vars are declared with Lava's placeholder type and replaced when a process is built, hence
``Any``.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyInPort, PyOutPort, PyRefPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol
from lava.proc.lif.models import AbstractPyLifModelFixed

from neurodeploy.lava.processes.process import (
    BiasDrive,
    DeployedLIF,
    DeployedSynapses,
    SampleSource,
    SpikeProbe,
    StateProbe,
    VarProbe,
)
from neurodeploy.lava.synapses import batched_synapses


@implements(proc=DeployedLIF, protocol=LoihiProtocol)
@requires(CPU)
@tag("bit_accurate_loihi", "fixed_pt")
class PyDeployedLIFModel(AbstractPyLifModelFixed):
    """Lava's ``subthr_dynamics`` unchanged; only firing, reset and guard steps are ours."""

    s_out: Any = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=24)
    vth: Any = LavaPyType(np.ndarray, np.int32, precision=17)

    def __init__(self, proc_params: dict[str, Any]) -> None:
        super().__init__(proc_params)
        self.effective_vth = np.zeros(1, np.int32)
        self.reset_interval = proc_params["reset_interval"]
        self.reset_offset = proc_params["reset_offset"] % self.reset_interval
        self.soft_reset = proc_params["soft_reset"]
        self.at_threshold = proc_params["at_threshold"]
        self.spiking = proc_params["spiking"]
        self.refractory_period = proc_params["refractory_period"]
        self.guard = proc_params["guard"]
        self.resting = np.zeros(1, np.int32)

    def scale_threshold(self) -> None:
        """As Lava's LIF: thresholds are shifted left by 6 bits."""
        self.effective_vth = np.left_shift(self.vth, self.vth_shift)
        self.isthrscaled = True

    def subthr_dynamics(self, activation_in: np.ndarray) -> None:
        """Lava's, but v stays as it was where a neuron rests after a spike."""
        if not self.refractory_period:
            super().subthr_dynamics(activation_in)
            return
        before = self.v.copy()
        super().subthr_dynamics(activation_in)
        self.v[:] = np.where(self.resting > 0, before, self.v)

    def spiking_activation(self) -> np.ndarray:
        """Who fires at this step."""
        if not self.spiking:
            return np.zeros(self.v.shape, bool)
        fires = self.v >= self.effective_vth if self.at_threshold else self.v > self.effective_vth
        return fires & (self.resting == 0) if self.refractory_period else fires

    def reset_voltage(self, spike_vector: np.ndarray) -> None:
        """Subtract the threshold where a neuron fired, or go to 0; and let it rest."""
        if self.refractory_period:
            left = np.maximum(self.resting - 1, 0)
            self.resting = np.where(spike_vector, self.refractory_period, left)
        if self.soft_reset:
            self.v[:] -= np.where(spike_vector, self.effective_vth, 0)
        else:
            super().reset_voltage(spike_vector)

    def run_spk(self) -> None:
        """Reset at the first step of a sample, hold still in guard steps, else one LIF step."""
        position = (self.time_step - self.reset_offset) % self.reset_interval
        if position >= self.reset_interval - self.guard:
            self.a_in.recv()
            self.begin_sample()
            self.s_out.send(np.zeros(self.v.shape, bool))
            return
        if position == 0:
            self.begin_sample()
        super().run_spk()

    def batch(self, shape: tuple[int, ...]) -> None:
        """Take a state of that shape, at the start of a sample."""
        self.u, self.v = np.zeros(shape, np.int32), np.zeros(shape, np.int32)
        self.begin_sample()

    def advance(self, activation: np.ndarray) -> np.ndarray:
        """One step in the order of Lava's ``run_spk``, without its ports."""
        self.subthr_dynamics(activation_in=activation)
        fires = self.spiking_activation()
        self.reset_voltage(spike_vector=fires)
        return fires

    def begin_sample(self) -> None:
        """As at the start of a sample: at 0, and nobody rests."""
        self.u[:] = 0
        self.v[:] = 0
        self.resting = np.zeros(1, np.int32)


@implements(proc=DeployedSynapses, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyDeployedSynapsesModel(PyLoihiProcessModel):
    """Sends what it computed 1 + delay steps ago, then computes, in the order of Lava's Sparse."""

    s_in: Any = LavaPyType(PyInPort.VEC_DENSE, np.int32)
    a_out: Any = LavaPyType(PyOutPort.VEC_DENSE, np.int32)

    def __init__(self, proc_params: dict[str, Any]) -> None:
        super().__init__(proc_params)
        projection = proc_params["projection"]
        self.apply = batched_synapses(projection)
        outputs = math.prod(projection.operator.output_shape)
        self.sent_later = np.zeros((1 + proc_params["delay"], outputs), np.int32)

    def run_spk(self) -> None:
        """Send the oldest activation, and keep a new one in its place."""
        oldest = self.sent_later[self.time_step % len(self.sent_later)]
        self.a_out.send(oldest)
        oldest[:] = self.apply(self.s_in.recv()[None])[0]


@implements(proc=SampleSource, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PySampleSourceModel(PyLoihiProcessModel):
    """Sends the input of each step; zeros in guard steps and after the last sample."""

    s_out: Any = LavaPyType(PyOutPort.VEC_DENSE, np.int32)

    def __init__(self, proc_params: dict[str, Any]) -> None:
        super().__init__(proc_params)
        self.files = proc_params["files"]
        self.weight, self.bias = proc_params["weight"], proc_params["bias"]

    def run_spk(self) -> None:
        """Send what this time step belongs to."""
        self.s_out.send(self.files.drive_at(self.time_step) * self.weight + self.bias)


@implements(proc=SpikeProbe, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PySpikeProbeModel(PyLoihiProcessModel):
    """Records spikes."""

    s_in: Any = LavaPyType(PyInPort.VEC_DENSE, np.int32)

    def __init__(self, proc_params: dict[str, Any]) -> None:
        super().__init__(proc_params)
        self.files = proc_params["files"]
        self.population = proc_params["population"]

    def run_spk(self) -> None:
        """Write the spikes of this time step."""
        self.files.record(self.population, "s", self.time_step, self.s_in.recv())


@implements(proc=StateProbe, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyStateProbeModel(PyLoihiProcessModel):
    """Records u and v after the step, in Lava's management phase, as its own Monitor does."""

    u: Any = LavaPyType(PyRefPort.VEC_DENSE, np.int32)
    v: Any = LavaPyType(PyRefPort.VEC_DENSE, np.int32)

    def __init__(self, proc_params: dict[str, Any]) -> None:
        super().__init__(proc_params)
        self.files = proc_params["files"]
        self.population = proc_params["population"]

    def post_guard(self) -> Any:
        """Ask for a management phase after every step."""
        return True

    def run_post_mgmt(self) -> None:
        """Write the state of this time step."""
        self.files.record(self.population, "u", self.time_step, self.u.read().ravel())
        self.files.record(self.population, "v", self.time_step, self.v.read().ravel())


@implements(proc=VarProbe, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyVarProbeModel(PyLoihiProcessModel):
    """Records one Var after the step, in Lava's management phase."""

    values: Any = LavaPyType(PyRefPort.VEC_DENSE, np.int32)

    def __init__(self, proc_params: dict[str, Any]) -> None:
        super().__init__(proc_params)
        self.files = proc_params["files"]
        self.population = proc_params["population"]
        self.what = proc_params["what"]

    def post_guard(self) -> Any:
        """Ask for a management phase after every step."""
        return True

    def run_post_mgmt(self) -> None:
        """Write what the Var is at this time step."""
        values = self.values.read().ravel()
        self.files.record(self.population, self.what, self.time_step, values)


@implements(proc=BiasDrive, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyBiasDriveModel(PyLoihiProcessModel):
    """Writes biases in Lava's management phase, as its own data loader for states does."""

    mantissa: Any = LavaPyType(PyRefPort.VEC_DENSE, np.int32)

    def __init__(self, proc_params: dict[str, Any]) -> None:
        super().__init__(proc_params)
        self.files = proc_params["files"]
        self.shape = proc_params["shape"]
        self.weight = proc_params["weight"]
        self.bias = proc_params["bias"]

    def post_guard(self) -> Any:
        """Ask for a management phase after every step."""
        return True

    def run_post_mgmt(self) -> None:
        """Write what belongs to the step that follows."""
        values = self.files.drive_at(self.time_step).reshape(self.shape)
        self.mantissa.write(values * self.weight + self.bias)
        self.mantissa.wait()
