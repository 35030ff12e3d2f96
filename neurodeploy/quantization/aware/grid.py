"""The integer grid of one population: its scale, learned with the weights, and its limits.

The scale S says how many activation units of the chip are one unit of the network. Weights become
q = clip(round(w S / (2^e step))), thresholds round(S Vth), biases round(64 S b) with 13 bits. S is
learned as log2 S = origin + shift (Jain et al. 2020, TQT: of a logarithm, steps are relative), with
the gradient of Esser et al. 2020 (LSQ), which is divided by sqrt(weights x largest integer) and
follows from rounding with the gradient of doing nothing (straight-through, Bengio et al. 2013).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from neurodeploy.ir.fixed_point import ACTIVATION_SHIFT, STATE_LIMIT
from neurodeploy.target import Target


class _Round(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.round()

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> Tensor:
        return grad_outputs[0]


class _Floor(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.floor()

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> Tensor:
        return grad_outputs[0]


class _Hold(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clamp(1 - STATE_LIMIT, STATE_LIMIT - 1)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> Tensor:
        return grad_outputs[0]


class _ScaledGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        return grad_outputs[0] * ctx.factor, None


def rounded(x: Tensor) -> Tensor:
    """The nearest integers, halves to even; dy/dx = 1."""
    return _Round.apply(x)


def floored(x: Tensor) -> Tensor:
    """The next integers below; dy/dx = 1."""
    return _Floor.apply(x)


def held(x: Tensor) -> Tensor:
    """What 24 bits hold of a state; dy/dx = 1."""
    return _Hold.apply(x)


def gradient_scaled(x: Tensor, factor: float) -> Tensor:
    """``x`` itself with ``factor`` times its gradient."""
    return _ScaledGradient.apply(x, factor)


STATE = 2**ACTIVATION_SHIFT
"""State units in an activation unit."""


class Grid(nn.Module):
    """Scale of a population, whether it is in use yet, and what the target holds.

    Attributes:
        threshold: Vth, a number or a buffer with one per neuron, or None for the read-out.
        active: bool buffer; before, the network computes in floats.
        origin: log2 of the scale that ``start`` was given.
        shift: what was learned on top of that.
    """

    active: Tensor
    origin: Tensor
    threshold: float | Tensor | None

    def __init__(self, target: Target, threshold: float | Tensor | None, integers: float) -> None:
        """``integers``: number of weights of all projections times the largest integer of one."""
        super().__init__()
        if isinstance(threshold, Tensor):
            self.register_buffer("threshold", threshold, persistent=False)
        else:
            self.threshold = threshold
        self.register_buffer("active", torch.tensor(False))
        self.register_buffer("origin", torch.zeros(()))
        self.shift = nn.Parameter(torch.zeros(()))
        most = 2**target.neuron.threshold_bits.value - 1
        highest = float(threshold.max()) if isinstance(threshold, Tensor) else threshold
        self._highest = math.log2(most / highest) if highest else math.inf
        # Fixed neurons must stay below the highest threshold where they stand for a read-out.
        self._rises = threshold is not None or target.neuron.programmable.value
        self._mantissa = 2 ** (target.neuron.bias_mantissa_bits.value - 1) - 1
        self._bias_shift = target.neuron.bias_exponent_max.value
        self._gradient = 1 / math.sqrt(integers)

    @torch.no_grad()
    def start(self, scale: float) -> None:
        """Begin to quantise with this scale."""
        self.origin.fill_(math.log2(scale))
        self.shift.zero_()
        self.active.fill_(True)

    @property
    def is_active(self) -> bool:
        """``active`` as Python has it."""
        return bool(self.active)

    def scale(self) -> Tensor:
        """S by which weights, threshold and bias are multiplied; a scalar."""
        shift = gradient_scaled(self.shift, self._gradient)
        if not self._rises:
            shift = shift.clamp(max=0)
        return torch.exp2((self.origin + shift).clamp(max=self._highest))

    def unit(self) -> Tensor:
        """State units of the chip in a unit of the network, a scalar.

        For the read-out a power of two beside 64 S, so that its outputs and their sums over steps
        are exact: classes then tie in training where they tie on the chip. Its outputs are what
        the weights say times a factor near 1, which does not change the class.
        """
        if self.threshold is None:
            return torch.exp2(self.origin.round()) * STATE
        return self.scale() * STATE

    @torch.no_grad()
    def integer_threshold(self) -> float | Tensor:
        """Threshold in state units, one or one per neuron."""
        if self.threshold is None:
            raise ValueError("a read-out has no threshold")
        # As quantisation rounds it: in float64.
        if isinstance(self.threshold, Tensor):
            rounded_ones = torch.round(self.scale().double() * self.threshold.double())
            return (rounded_ones * STATE).to(self.threshold.dtype)
        return float(torch.round(self.scale().double() * self.threshold)) * STATE

    def bias(self, bias: Tensor) -> Tensor:
        """A bias in state units, rounded to a mantissa and an exponent."""
        wanted = bias * (self.scale() * STATE)
        _, exponent = torch.frexp(wanted.detach() / self._mantissa)
        unit = torch.exp2(exponent.clamp(0, self._bias_shift).to(wanted.dtype))
        return rounded(wanted / unit).clamp(-self._mantissa, self._mantissa) * unit
