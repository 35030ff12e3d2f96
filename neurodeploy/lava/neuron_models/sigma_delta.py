"""Sigma, delta and sigma-delta neurons in Lava: its own fixed-point arithmetic, sample by sample.

Lava's processes never go back to 0, so these do at the start of a sample; and an input layer of
lava-dl's may add a bias, which Lava's Delta has not.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.variable import Var
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol
from lava.proc.sdn.models import PySigmaDeltaModelFixed
from lava.proc.sdn.process import ActivationMode

from neurodeploy.lava.timed import TimedNeurons, TimedNeuronsModel
from neurodeploy.neurons.sigma_delta import DELTA, SIGMA

KEPT = ("sigma", "v", "residue", "error")
"""Of all three kinds."""


class Neurons(TimedNeurons):
    """See ``neurodeploy.neurons.sigma_delta``; of some kinds not all Vars are used."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for name in KEPT:
            if name not in kwargs["neuron"].states:
                setattr(self, name, Var(shape=(1,), init=0))


@implements(proc=Neurons, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyNeuronsModel(TimedNeuronsModel):
    """Lends its state to Lava's model for every step."""

    sigma: Any = LavaPyType(np.ndarray, np.int32)
    v: Any = LavaPyType(np.ndarray, np.int32)
    residue: Any = LavaPyType(np.ndarray, np.int32)
    error: Any = LavaPyType(np.ndarray, np.int32)

    def __init__(self, proc_params: dict[str, Any]) -> None:
        super().__init__(proc_params)
        self.kind = self.neuron.kind
        rectified = getattr(self.neuron, "rectified", True)
        make: Any = PySigmaDeltaModelFixed
        self.lava = make({"act_mode": ActivationMode.RELU if rectified else ActivationMode.UNIT})
        if self.kind == SIGMA:
            return
        self.lava.bias = self.per_neuron(self.neuron.bias)
        self.lava.vth = np.array([self.neuron.threshold], np.int32)
        self.lava.cum_error = np.array([self.neuron.cumulative])
        self.exponent = np.array([self.neuron.exponent], np.int32)

    def advance(self, activation: np.ndarray) -> np.ndarray:
        """One step of Lava's model; what it makes anew is copied into the Vars."""
        lava = self.lava
        if self.kind == SIGMA:
            lava.sigma = self.v
            self.v[:] = lava.sigma_dynamics(activation)
            return self.v.copy()
        lava.residue, lava.error = self.residue, self.error
        if self.kind == DELTA:
            finer = np.left_shift(activation, np.int32(self.neuron.input_exponent))
            lava.act = self.v
            changed = finer + lava.bias
            sent = lava.delta_dynamics(changed)
            self.v[:] = changed
        else:
            lava.sigma, lava.act = self.sigma, self.v
            sent = lava.dynamics(activation)
            self.sigma[:], self.v[:] = lava.sigma, lava.act
        self.residue[:] = lava.residue
        return np.right_shift(sent, self.exponent)
