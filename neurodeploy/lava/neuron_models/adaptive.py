"""Adaptive neurons in Lava: as its own ``ATRLIF`` computes them, started anew at every sample.

``PyATRLIFModelFixed`` has no reset and multiplies its deltas by 4,096 (``neurons.adaptive``).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol

from neurodeploy.lava.timed import TimedNeurons, TimedNeuronsModel

LIMIT = np.int32(2**23)


class Neurons(TimedNeurons):
    """See ``neurodeploy.neurons.adaptive``."""


@implements(proc=Neurons, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyNeuronsModel(TimedNeuronsModel):
    """In the 32-bit integers of Lava's Vars; products are of 64 bits."""

    u: Any = LavaPyType(np.ndarray, np.int32)
    v: Any = LavaPyType(np.ndarray, np.int32)
    theta: Any = LavaPyType(np.ndarray, np.int32)
    r: Any = LavaPyType(np.ndarray, np.int32)

    def __init__(self, proc_params: dict[str, Any]) -> None:
        super().__init__(proc_params)
        neuron = self.neuron
        self.bias = self.per_neuron(np.left_shift(neuron.bias_mantissa, neuron.bias_exponent))
        self.rest, self.rise = np.int32(neuron.theta_0 * 64), np.int32(neuron.theta_step * 64)

    def begin_sample(self) -> None:
        """As at the start of a sample: thresholds at rest, all else at 0."""
        super().begin_sample()
        self.theta[:] = self.rest

    def advance(self, activation: np.ndarray) -> np.ndarray:
        """One step of ``PyATRLIFModelFixed``."""
        neuron = self.neuron
        u = np.int32(decayed(self.u, neuron.u_decay + 1) + np.int64(activation) * 64)
        wrapped = np.where(u > LIMIT, u - 2 * LIMIT, u)
        self.u[:] = np.where(wrapped <= -LIMIT, u + 2 * LIMIT, wrapped)
        v = np.int32(decayed(self.v, neuron.v_decay) + self.u + self.bias)
        self.v[:] = np.minimum(np.maximum(v, 1 - LIMIT), LIMIT - 1)
        self.theta[:] = decayed(self.theta - self.rest, neuron.theta_decay) + self.rest
        self.r[:] = decayed(self.r, neuron.r_decay)
        spikes = (self.v - self.r) >= self.theta
        self.r[spikes] += 2 * self.theta[spikes]
        self.theta[spikes] += self.rise
        return spikes.astype(np.int32)


def decayed(state: np.ndarray, decay: int) -> np.ndarray:
    """State times (4096 - decay)/4096, its magnitude rounded down, int64."""
    product = np.int64(state) * np.int64(4096 - decay)
    return np.sign(product) * np.right_shift(np.abs(product), 12)
