"""Resonators in Lava: as its own ``RF`` and ``RF_IZ`` compute them, started anew at every sample.

Those have a port for each part of their input and no reset; here both parts come through one port.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol

from neurodeploy.lava.timed import TimedNeurons, TimedNeuronsModel

MOST = 2**23 - 1


class Neurons(TimedNeurons):
    """See ``neurodeploy.neurons.resonators``."""


@implements(proc=Neurons, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyNeuronsModel(TimedNeuronsModel):
    """Products are of 64 bits, states of 24 within Lava's Vars of 32."""

    v: Any = LavaPyType(np.ndarray, np.int32)

    def __init__(self, proc_params: dict[str, Any]) -> None:
        super().__init__(proc_params)
        self.half = int(np.prod(self.population, dtype=np.int64)) // 2
        self.sin, self.cos = (
            np.broadcast_to(values, self.population).ravel()[: self.half].astype(np.int64)
            for values in (self.neuron.sin_decay, self.neuron.cos_decay)
        )
        self.threshold = np.int64(self.neuron.threshold * 64)

    def advance(self, activation: np.ndarray) -> np.ndarray:
        """One step of ``PyRFModelFixed``, or of ``PyRF_IZModelFixed``."""
        # Where nothing arrives, there is one 0 for all.
        arrived = np.broadcast_to(activation, self.v.shape).astype(np.int32)
        shifted = np.left_shift(arrived, np.int32(6)).astype(np.int64)
        a_real, a_imag = shifted[..., : self.half], shifted[..., self.half :]
        state = self.v.astype(np.int64)
        real, imag = state[..., : self.half], state[..., self.half :]
        new_real = scaled(self.cos * real) - scaled(self.sin * imag) + a_real
        new_imag = scaled(self.sin * real) + scaled(self.cos * imag) + a_imag
        new_real = np.minimum(np.maximum(new_real, -MOST), MOST)
        new_imag = np.minimum(np.maximum(new_imag, -MOST), MOST)
        if self.neuron.firing == "phase":
            spikes = (new_real >= self.threshold) * (new_imag >= 0) * (imag < 0)
        else:
            spikes = new_imag >= self.threshold
            new_real = new_real * (1 - spikes)
            new_imag = spikes * (self.threshold - 1) + (1 - spikes) * new_imag
        self.v[..., : self.half], self.v[..., self.half :] = new_real, new_imag
        sent = np.zeros(self.v.shape, np.int32)
        sent[..., : self.half] = spikes
        return sent


def scaled(product: np.ndarray) -> np.ndarray:
    """A product with a decay of 12 bits, its magnitude rounded down."""
    return np.sign(product) * np.right_shift(np.abs(product), 12)
