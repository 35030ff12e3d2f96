"""Relays in Lava: no stock process passes a sum on with a shift and a bias."""

from __future__ import annotations

from typing import Any

import numpy as np
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol

from neurodeploy.lava.timed import TimedNeurons, TimedNeuronsModel


class Neurons(TimedNeurons):
    """See ``neurodeploy.neurons.relay``."""


@implements(proc=Neurons, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyNeuronsModel(TimedNeuronsModel):
    """In the 32-bit integers of Lava's ports."""

    v: Any = LavaPyType(np.ndarray, np.int32)

    def __init__(self, proc_params: dict[str, Any]) -> None:
        super().__init__(proc_params)
        self.bias = self.per_neuron(self.neuron.bias)
        self.most = np.int32(self.neuron.most)

    def advance(self, activation: np.ndarray) -> np.ndarray:
        """Add the bias, shift, and hold within the width of a message."""
        self.v[:] = activation + self.bias
        shifted = np.right_shift(self.v, self.neuron.shift)
        return np.minimum(np.maximum(shifted, -self.most), self.most)
