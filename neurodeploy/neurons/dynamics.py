"""One step of a population over a batch, in floats and in integers.

Both steppers work on torch tensors, keep their state between calls and are reset per sample. The
fixed-point one holds integers in float64, which is exact here: states have 24 bits, decays 12, and
a float64 carries 53. Only its overflow counters look beyond the equations in ``quantized``.
"""

from __future__ import annotations

import numpy as np
import torch

from neurodeploy.fixed_point import ACTIVATION_SHIFT, DECAY_ONE, STATE_LIMIT
from neurodeploy.network import Neuron
from neurodeploy.operators import Shape
from neurodeploy.quantized import QuantizedNeuron


def _tensor(values: np.ndarray, shape: Shape) -> torch.Tensor:
    """A parameter as float64 tensor; one value for all stays one value, which steps faster."""
    array = np.asarray(values, np.float64)
    if array.size > 1 and (array == array.flat[0]).all():
        array = array.ravel()[:1]
    return torch.from_numpy(array.copy() if array.size == 1 else np.broadcast_to(array, shape).copy())


class FloatStepper:
    """Steps the equations of ``network`` in float64."""

    def __init__(self, neuron: Neuron, shape: Shape) -> None:
        self.neuron = neuron
        self.u_keep = _tensor(neuron.u_keep, shape)
        self.v_keep = _tensor(neuron.v_keep, shape)
        self.bias = _tensor(neuron.bias, shape)
        self.threshold = None if neuron.v_threshold is None else _tensor(neuron.v_threshold, shape)
        self.u = self.v = torch.zeros(())

    def reset(self) -> None:
        """Forget the state: the next step starts a sample."""
        self.u = self.v = torch.zeros((), dtype=torch.float64)

    def step(self, activation: torch.Tensor) -> torch.Tensor:
        """Advance by one step.

        Args:
            activation: (N, *shape) float64, the summed synaptic input.

        Returns:
            (N, *shape) bool, who fires.
        """
        self.u = self.u_keep * self.u + activation
        self.v = self.v_keep * self.v + self.u + self.bias
        if self.threshold is None:
            return torch.zeros_like(self.v, dtype=torch.bool)
        at_or_above = self.neuron.comparison == ">="
        fires = self.v >= self.threshold if at_or_above else self.v > self.threshold
        if self.neuron.reset == "zero":
            self.v = self.v.masked_fill(fires, 0.0)
        else:
            self.v = self.v - fires * self.threshold
        return fires


class FixedStepper:
    """Steps the integer equations of ``quantized``, counting every wrap and saturation.

    Attributes:
        wraps: how often u left 24 bits and wrapped.
        saturations: how often v was clipped to 24 bits.
    """

    def __init__(self, neuron: QuantizedNeuron, shape: Shape) -> None:
        self.neuron = neuron
        self.u_keep = (DECAY_ONE - _tensor(neuron.u_decay, shape)) / DECAY_ONE
        self.v_keep = (DECAY_ONE - _tensor(neuron.v_decay, shape)) / DECAY_ONE
        self.remembers_current = bool((self.u_keep > 0).any())
        self.leaks = bool((self.v_keep != 1).any())
        self.bias = _tensor(neuron.bias_mantissa * 2**neuron.bias_exponent, shape)
        self.biased = bool((self.bias != 0).any())
        self.threshold = (
            None
            if neuron.threshold is None
            else _tensor(neuron.threshold, shape) * 2**ACTIVATION_SHIFT
        )
        self.wraps = 0
        self.saturations = 0
        self.u = self.v = torch.zeros(())
        self._first = True

    def reset(self) -> None:
        """Forget the state: the next step starts a sample."""
        self._first = True

    def step(self, activation: torch.Tensor) -> torch.Tensor:
        """Advance by one step.

        Args:
            activation: (N, *shape) float64 integers, the summed synaptic input before << 6.

        Returns:
            (N, *shape) bool, who fires.
        """
        u = activation * 2**ACTIVATION_SHIFT
        if self.remembers_current and not self._first:
            u += (self.u * self.u_keep).trunc_()
        self.u = u = self._wrapped(u)
        if self._first:
            v = u.clone()
        elif self.leaks:
            v = (self.v * self.v_keep).trunc_().add_(u)
        else:
            v = self.v + u
        if self.biased:
            v += self.bias
        self.v = v = self._saturated(v)
        self._first = False
        if self.threshold is None:
            return torch.zeros_like(v, dtype=torch.bool)
        fires = v >= self.threshold if self.neuron.comparison == ">=" else v > self.threshold
        if self.neuron.reset == "zero":
            v.masked_fill_(fires, 0.0)
        else:
            v -= fires * self.threshold
        return fires

    def _wrapped(self, u: torch.Tensor) -> torch.Tensor:
        """Wrap once into 24 bits, after the 32-bit sum that Lava computes in."""
        if u.numel() == 0:
            return u
        low, high = u.aminmax()
        if -STATE_LIMIT < low and high <= STATE_LIMIT:
            return u
        u = torch.remainder(u + 2.0**31, 2.0**32) - 2.0**31
        above, below = u > STATE_LIMIT, u <= -STATE_LIMIT
        self.wraps += int(above.sum()) + int(below.sum())
        return u - above * (2.0 * STATE_LIMIT) + below * (2.0 * STATE_LIMIT)

    def _saturated(self, v: torch.Tensor) -> torch.Tensor:
        limit = STATE_LIMIT - 1
        if v.numel() == 0:
            return v
        low, high = v.aminmax()
        if -limit <= low and high <= limit:
            return v
        v = torch.remainder(v + 2.0**31, 2.0**32) - 2.0**31
        self.saturations += int((v.abs() > limit).sum())
        return v.clamp(-limit, limit)
