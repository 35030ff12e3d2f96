"""Synaptic currents in integers held by floats, as the chip computes them.

u[t] = trz(u[t-1], d) + x[t] + b,  wrapped into 24 bits          trz as in ``neurons``

The bias of a current is what a chip has of it: weights of 8 bits from one neuron that fires at
every step.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from neurodeploy.ir.fixed_point import WEIGHT_BITS
from neurodeploy.nn.current import CubaLIF
from neurodeploy.nn.spikes import summed_with_before
from neurodeploy.quantization.aware.grid import STATE, Grid, floored, rounded
from neurodeploy.quantization.aware.neurons import (
    Bias,
    QuantizedLIF,
    integer_share,
    kept_share,
    wrapped,
)
from neurodeploy.quantization.aware.synapse import steps_of
from neurodeploy.target import Target

BIAS_BITS = WEIGHT_BITS
"""Of the weights that bring a bias to a current: the widest."""


class BiasedCurrents(nn.Module):
    """Currents on a grid, with the bias that flows into them.

    Attributes:
        grid: scale and limits.
        exponent: e of the weights that bring the bias, int64 buffer.
    """

    exponent: Tensor

    def __init__(self, grid: Grid, target: Target, bias: Bias) -> None:
        super().__init__()
        self.grid, self.target, self.float_bias = grid, target, bias
        self.register_buffer("exponent", torch.zeros((), dtype=torch.int64))
        self._cut = True
        self._u: Tensor | None = None

    @property
    def remembers(self) -> bool:
        """Whether a bias comes in through the current, as on a chip wherever there is one."""
        return True

    def reset_state(self, cut: bool) -> None:
        """Start a batch: u = 0, and choose whether gradients are cut between steps."""
        self._u, self._cut = None, cut

    def currents(self, x: Tensor, keep: float | Tensor, learned: bool) -> Tensor:
        """u of c steps for inputs (c, N, ...), both in state units.

        Args:
            keep: share kept per step, in floats.
            learned: whether it has a gradient.
        """
        bias = self.integer_bias()
        drive = x if bias is None else x + bias.reshape(-1, *(1,) * (x.ndim - 3))
        kept = integer_share(keep, self.target, current=True)
        if self._cut or not torch.is_grad_enabled():
            currents = _CutCurrents.apply(drive, kept, self._u, learned, not self.training)
            self._u = currents[-1].detach().clone()
            return currents
        steps = []
        for z in drive:
            self._u = z if self._u is None else decayed(self._u, kept) + z
            steps.append(self._u)
        return torch.stack(steps)

    def bias_weights(self) -> Tensor | None:
        """The bias in floats where it comes in through the current, (channels,), or None."""
        return self.float_bias() if self.remembers else None

    def bias_integers(self) -> Tensor | None:
        """Weights from the neuron that fires at every step, (channels,), or None without a bias."""
        bias = self.bias_weights()
        if bias is None:
            return None
        step, lowest, highest = steps_of(BIAS_BITS)
        ratio = self.grid.scale() * (2.0 ** -int(self.exponent) / step)
        return rounded(bias * ratio).clamp(lowest, highest)

    def integer_bias(self) -> Tensor | None:
        """What they bring at every step in state units, (channels,), or None."""
        integers = self.bias_integers()
        if integers is None:
            return None
        activation = integers * (steps_of(BIAS_BITS)[0] * 2.0 ** int(self.exponent))
        return (floored(activation) if int(self.exponent) < 0 else activation) * STATE


class QuantizedCubaLIF(BiasedCurrents):
    """LIF neurons on a grid behind synaptic currents; before it is active, the layer in floats.

    Attributes:
        lif: the layer in floats.
        inner: its neurons on the grid, which take the current as their input.
    """

    def __init__(self, layer: CubaLIF, grid: Grid, target: Target, bias: Bias) -> None:
        super().__init__(grid, target, bias)
        self.lif = layer
        # In a list, its parameters are known by the layer in floats alone.
        self._inner = [QuantizedLIF(layer.lif, grid, target, lambda: layer.bias)]

    @property
    def inner(self) -> QuantizedLIF:
        """The neurons on the grid."""
        return self._inner[0]

    def reset_state(self, cut: bool) -> None:
        """Start a batch: u = v = 0, and choose whether gradients are cut between steps."""
        super().reset_state(cut)
        self.lif.reset_state(cut)
        self._inner[0].reset_state(cut)

    def forward(self, x: Tensor) -> Tensor:
        """Spikes of one step."""
        return self.over_steps(x.unsqueeze(0)).squeeze(0) if self.grid.is_active else self.lif(x)

    def over_steps(self, x: Tensor) -> Tensor:
        """Spikes of c steps for inputs (c, N, ...) in state units."""
        if not self.grid.is_active:
            return self.lif.over_steps(x)
        learned = self.lif.learned("tau_syn_w") is not None
        # Nobody else tells them, since they are not among the modules.
        self._inner[0].training = self.training
        return self._inner[0].over_steps(self.currents(x, self.lif.u_keep, learned))


def decayed(u: Tensor, kept: float | Tensor) -> Tensor:
    """The integers that are kept, with the gradient of kept u."""
    with torch.no_grad():
        exact = kept_share(u, kept)
    product = kept * u
    return product + (exact - product).detach()


class _CutCurrents(torch.autograd.Function):
    """Currents with no path between steps: dL/dx[t] = dL/du[t], dL/dkept = sum_t e_u[t] u[t-1]."""

    @staticmethod
    def forward(
        ctx: Any,
        drive: Tensor,
        kept: float | Tensor,
        before: Tensor | None,
        learned: bool,
        limits: bool,
    ) -> Tensor:
        u = torch.empty_like(drive)
        last = before
        for z, out in zip(drive, u, strict=True):
            if last is None:
                out.copy_(z)
            else:
                torch.add(kept_share(last, kept), z, out=out)
            if limits:
                out.copy_(wrapped(out))
            last = out
        if learned:
            ctx.save_for_backward(u, *(() if before is None else (before,)))
        ctx.shape = kept.shape if learned and isinstance(kept, Tensor) else None
        return u

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        (error,) = grad_outputs
        learned = ctx.shape is not None
        by_kept = (
            summed_with_before(error, *ctx.saved_tensors, shape=ctx.shape) if learned else None
        )
        return error, by_kept, None, None, None
