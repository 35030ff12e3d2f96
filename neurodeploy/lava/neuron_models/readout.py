"""Read-outs that send their potential at the end of a sample: Lava's own LIF, and what it lacks."""

from __future__ import annotations

from typing import Any

import numpy as np
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol
from lava.proc.lif.models import PyLifModelBitAcc

from neurodeploy.lava.timed import TimedNeurons, TimedNeuronsModel


class Neurons(TimedNeurons):
    """See ``neurodeploy.neurons.readout``."""


@implements(proc=Neurons, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyNeuronsModel(TimedNeuronsModel):
    """``subthr_dynamics`` is that of Lava's fixed-point LIF, which never gets to fire."""

    u: Any = LavaPyType(np.ndarray, np.int32)
    v: Any = LavaPyType(np.ndarray, np.int32)

    def __init__(self, proc_params: dict[str, Any]) -> None:
        super().__init__(proc_params)
        make: Any = PyLifModelBitAcc
        self.lif = make({})
        self.lif.du = self.per_neuron(self.neuron.u_decay) - 1
        self.lif.dv = self.per_neuron(self.neuron.v_decay)
        self.lif.bias_mant = self.per_neuron(self.neuron.bias_mantissa)
        self.lif.bias_exp = self.per_neuron(self.neuron.bias_exponent)
        self.lif.scale_bias()
        self.passed = 0

    def advance(self, activation: np.ndarray) -> np.ndarray:
        """One step of u and v; v at the last of a sample, else nothing."""
        self.lif.u, self.lif.v = self.u, self.v
        self.lif.subthr_dynamics(activation_in=activation)
        self.u[:], self.v[:] = self.lif.u, self.lif.v
        self.passed += 1
        return self.v.copy() if self.passed == self.neuron.steps else np.zeros_like(self.v)

    def begin_sample(self) -> None:
        """As at the start of a sample: at 0, and at its first step."""
        super().begin_sample()
        self.passed = 0
