"""One step of a population over a batch, in floats and in integers.

Steppers work on torch tensors, keep their state between calls and are reset per sample. Those of
leaky neurons stand here; other models bring a step of their own, which ``ModelStepper`` calls.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from neurodeploy.ir.fixed_point import ACTIVATION_SHIFT, DECAY_BITS, DECAY_ONE, STATE_LIMIT
from neurodeploy.ir.models import FloatModel, IntegerModel
from neurodeploy.ir.network import Neuron
from neurodeploy.ir.operators import Shape
from neurodeploy.ir.quantized import QuantizedNeuron

NARROW_ACTIVATION = 2**24
"""Activations up to here leave all sums of u, v and bias inside 32 bits after << 6."""


def _tensor(values: np.ndarray, shape: Shape) -> torch.Tensor:
    """A parameter as float64 tensor; one value for all stays one value, which steps faster."""
    array = np.asarray(values, np.float64)
    if array.size > 1 and (array == array.flat[0]).all():
        array = array.ravel()[:1]
    return torch.from_numpy(
        array.copy() if array.size == 1 else np.broadcast_to(array, shape).copy()
    )


class _Rest:
    """Who holds still after a spike, and for how many more steps."""

    def __init__(self, period: int) -> None:
        self.period = period
        self._left: torch.Tensor | None = None

    def end(self) -> None:
        """Nobody rests at the start of a sample."""
        self._left = None

    def held(self, before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
        """v of this step: as it was ``before`` in those that rest, else ``after``."""
        return after if self._left is None else torch.where(self._left > 0, before, after)

    def passed(self, fires: torch.Tensor) -> torch.Tensor:
        """The spikes of those that do not rest, who will; called once a step."""
        if not self.period:
            return fires
        if self._left is None:
            self._left = torch.zeros_like(fires, dtype=torch.int32)
        fires = fires & (self._left == 0)
        self._left = (self._left - 1).clamp_(min=0).masked_fill_(fires, self.period)
        return fires


class FloatStepper:
    """Steps the equations of ``network`` in float64."""

    def __init__(self, neuron: Neuron, shape: Shape) -> None:
        self.neuron = neuron
        self.sends = torch.uint8
        self.u_keep = _tensor(neuron.u_keep, shape)
        self.v_keep = _tensor(neuron.v_keep, shape)
        self.bias = _tensor(neuron.bias, shape)
        self.threshold = None if neuron.v_threshold is None else _tensor(neuron.v_threshold, shape)
        self.rest = _Rest(neuron.refractory_period)
        self.u = self.v = torch.zeros(())

    @property
    def state(self) -> dict[str, torch.Tensor]:
        """u and v after the last step."""
        return {"u": self.u, "v": self.v}

    def reset(self) -> None:
        """Forget the state: the next step starts a sample."""
        self.u = self.v = torch.zeros((), dtype=torch.float64)
        self.rest.end()

    def step(self, activation: torch.Tensor) -> torch.Tensor:
        """Advance by one step.

        Args:
            activation: (N, *shape) float64, the summed synaptic input.

        Returns:
            (N, *shape) bool, who fires.
        """
        self.u = self.u_keep * self.u + activation
        self.v = self.rest.held(self.v, self.v_keep * self.v + self.u + self.bias)
        if self.threshold is None:
            return torch.zeros_like(self.v, dtype=torch.bool)
        at_or_above = self.neuron.comparison == ">="
        fires = self.v >= self.threshold if at_or_above else self.v > self.threshold
        fires = self.rest.passed(fires)
        if self.neuron.reset == "zero":
            self.v = self.v.masked_fill(fires, 0.0)
        else:
            self.v = self.v - fires * self.threshold
        return fires


class FixedStepper:
    """Steps the integer equations of ``quantized``, counting every wrap and saturation.

    Works in 32-bit integers where no sum can leave them, else in 64 bits with Lava's 32-bit sums
    put back in; checks for overflow only where the bound leaves it possible.

    Args:
        bound: no summed activation exceeds it in absolute value; None when unknown.
        steps: T, or None when unknown.
        device: where the state lies; None for the CPU.

    Attributes:
        wraps: how often u left 24 bits and wrapped.
        saturations: how often v was clipped to 24 bits.
        u, v: state after the last step, integers.
    """

    def __init__(
        self,
        neuron: QuantizedNeuron,
        shape: Shape,
        bound: float | None = None,
        steps: int | None = None,
        device: torch.device | None = None,
    ) -> None:
        self.neuron = neuron
        self.device = device or torch.device("cpu")
        self.sends = torch.uint8
        limit = math.inf if bound is None else bound
        self.dtype = torch.int32 if limit <= NARROW_ACTIVATION else torch.int64
        self.u_kept = DECAY_ONE - self._integers(neuron.u_decay, shape)
        self.v_kept = DECAY_ONE - self._integers(neuron.v_decay, shape)
        self.remembers_current = bool((self.u_kept > 0).any())
        self.leaks = bool((self.v_kept != DECAY_ONE).any())
        self.bias = self._integers(neuron.bias_mantissa << neuron.bias_exponent, shape)
        self.biased = bool((self.bias != 0).any())
        self.threshold = (
            None
            if neuron.threshold is None
            else self._integers(neuron.threshold, shape) << ACTIVATION_SHIFT
        )
        self.rest = _Rest(neuron.refractory_period)
        self._biases, self._steps = float(self.bias.abs().max()), steps or math.inf
        self.may_wrap = self.may_saturate = True
        self.expect(limit)
        self.wraps = 0
        self.saturations = 0
        self.u = self.v = torch.zeros((), dtype=self.dtype, device=self.device)
        self._first = True

    def _integers(self, values: np.ndarray, shape: Shape) -> torch.Tensor:
        return _tensor(values, shape).to(self.dtype).to(self.device)

    def expect(self, bound: float) -> None:
        """Look for overflow only where activations up to ``bound`` can bring it within a sample."""
        highest_u = bound * 2**ACTIVATION_SHIFT * (self._steps if self.remembers_current else 1)
        self.may_wrap = highest_u >= STATE_LIMIT
        highest_v = (highest_u + self._biases) * self._steps
        self.may_saturate = self.may_wrap or highest_v >= STATE_LIMIT

    @property
    def state(self) -> dict[str, torch.Tensor]:
        """u and v after the last step."""
        return {"u": self.u, "v": self.v}

    def reset(self) -> None:
        """Forget the state: the next step starts a sample."""
        self._first = True
        self.rest.end()

    def step(self, activation: torch.Tensor) -> torch.Tensor:
        """Advance by one step: ``integrate``, then ``fire``.

        Args:
            activation: (N, *shape) integers of any type, the summed synaptic input before << 6.

        Returns:
            (N, *shape) bool, who fires.
        """
        self.integrate(activation)
        return self.fire()

    def integrate(self, activation: torch.Tensor) -> None:
        """Bring u and v to this step, v before any reset."""
        u = activation.to(self.dtype) << ACTIVATION_SHIFT
        if self.remembers_current and not self._first:
            u += _decayed(self.u, self.u_kept)
        if self.may_wrap:
            u = self._wrapped(u)
        self.u = u
        if self._first:
            v = u.clone()
        elif self.leaks:
            v = _decayed(self.v, self.v_kept).add_(u)
        else:
            v = self.v + u
        if self.biased:
            v += self.bias
        v = self.rest.held(self.v, v)
        if self.may_saturate:
            v = self._saturated(v)
        self.v = v
        self._first = False

    def fire(self) -> torch.Tensor:
        """Who fires, (N, *shape) bool; v is reset where it did, in place."""
        v = self.v
        if self.threshold is None:
            return torch.zeros_like(v, dtype=torch.bool)
        fires = v >= self.threshold if self.neuron.comparison == ">=" else v > self.threshold
        fires = self.rest.passed(fires)
        if self.neuron.reset == "zero":
            v.masked_fill_(fires, 0)
        else:
            v -= fires * self.threshold
        return fires

    def _wrapped(self, u: torch.Tensor) -> torch.Tensor:
        """Wrap once into 24 bits, after the 32-bit sum that Lava computes in."""
        if _within(u, -STATE_LIMIT + 1, STATE_LIMIT):
            return u
        u = self._in_32_bits(u)
        above, below = u > STATE_LIMIT, u <= -STATE_LIMIT
        self.wraps += int(above.sum()) + int(below.sum())
        return u - (above.to(u.dtype) - below.to(u.dtype)) * (2 * STATE_LIMIT)

    def _saturated(self, v: torch.Tensor) -> torch.Tensor:
        limit = STATE_LIMIT - 1
        if _within(v, -limit, limit):
            return v
        v = self._in_32_bits(v)
        self.saturations += int((v.abs() > limit).sum())
        return v.clamp_(-limit, limit)

    def _in_32_bits(self, values: torch.Tensor) -> torch.Tensor:
        """What is left of a sum in the 32-bit integers of Lava's models."""
        return values if self.dtype == torch.int32 else values.to(torch.int32).to(torch.int64)


class ModelStepper:
    """Steps neurons of a model other than the leaky one, in floats or in integers.

    It does so on the CPU, wherever the activations lie, and sends messages back to there.

    Attributes:
        wraps, saturations: how often an integer left its width.
        sends: type of the messages.
    """

    def __init__(self, neuron: FloatModel | IntegerModel, shape: Shape) -> None:
        self.neuron, self.shape = neuron, shape
        self.wraps = self.saturations = 0
        graded = torch.float64 if isinstance(neuron, FloatModel) else torch.int32
        self.sends = graded if neuron.message.graded else torch.uint8
        self._state: dict[str, np.ndarray] = {}

    @property
    def state(self) -> dict[str, torch.Tensor]:
        """What is kept after the last step, by name."""
        return {name: torch.from_numpy(self._state[name]) for name in self.neuron.states}

    @property
    def v(self) -> torch.Tensor:
        """What ``last_v`` and ``sum_v`` read."""
        return self.state["v"]

    def reset(self) -> None:
        """Forget the state: the next step starts a sample."""
        self._state = {}

    def step(self, activation: torch.Tensor) -> torch.Tensor:
        """Advance by one step.

        Args:
            activation: (N, *shape) numbers of any type, the summed synaptic input.

        Returns:
            (N, *shape), what is sent.
        """
        arrived = activation.cpu().numpy().astype(self.neuron.numbers)
        if not self._state:
            self._state = self.neuron.begin(arrived.shape)
        return torch.from_numpy(self.neuron.step(self._state, arrived, self)).to(activation.device)


def _decayed(state: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
    """sign(x) (|x| kept >> 12), the high and low 12 bits apart so that 32 bits are enough."""
    size = state.abs()
    high = (size >> DECAY_BITS) * kept
    low = (size & (DECAY_ONE - 1)).mul_(kept) >> DECAY_BITS
    return high.add_(low).mul_(state.sign())


def _within(values: torch.Tensor, lowest: int, highest: int) -> bool:
    if values.numel() == 0:
        return True
    low, high = values.aminmax()
    return bool(low >= lowest) and bool(high <= highest)
