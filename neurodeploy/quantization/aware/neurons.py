"""LIF neurons in integers held by floats, as the chip computes them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from neurodeploy.ir.fixed_point import DECAY_ONE, STATE_LIMIT, nearest_decay
from neurodeploy.nn.current import LI, CubaLIF
from neurodeploy.nn.layers import Scale
from neurodeploy.nn.network import SpikingNetwork
from neurodeploy.nn.neuron import LIF
from neurodeploy.nn.steps import over_steps
from neurodeploy.quantization.aware.grid import Grid
from neurodeploy.quantization.aware.paths import BATCH_NORMS, WEIGHTED, affine
from neurodeploy.target import Target

Bias = Callable[[], Tensor | None]
"""The bias of a population in units of the network, (channels,), or None without one."""


class QuantizedLIF(nn.Module):
    """LIF neurons on a grid; v and u in state units.

    u[t] = trz(v[t-1], d) + x[t] + b                    trz(v, d) = sign(v) (|v| (4096 - d) >> 12)
    s[t] = H(u[t] - 64 round(S Vth))
    v[t] = u[t] - 64 round(S Vth) s[t], or u[t] (1 - s[t])

    u is clipped to 24 bits, and in evaluation x wraps into them, as on the chip. For the steps of
    rest after a spike v stays what the reset left, and passes no gradient. Gradients are
    those of the network's own neuron with its surrogate, taken at the integers: rounding passes
    them through. Before its grid is active it is the layer it was made from.

    Attributes:
        lif: the neurons in floats.
        grid: scale and limits.
        kept: share of v kept per step, a multiple of 1/4096, one or one per neuron; a learned one
            carries the gradient of what it was rounded from.
    """

    def __init__(self, lif: LIF, grid: Grid, target: Target, bias: Bias) -> None:
        super().__init__()
        self.lif = lif
        self.grid = grid
        self.target = target
        if lif.learned("tau_w") is None:
            kept = integer_keep(lif, target)
            if isinstance(kept, Tensor):
                self.register_buffer("fixed", kept, persistent=False)
            else:
                self.fixed = kept
        self.float_bias = bias
        self._cut = True
        # Integers, and where gradients cross steps the same in units of the network, with a graph.
        self._v: Tensor | None = None
        self._v_graph: Tensor | None = None
        self._resting: Tensor | None = None

    @property
    def kept(self) -> float | Tensor:
        """Share of v kept per step."""
        if self.lif.learned("tau_w") is None:
            fixed: Any = self.fixed
            return fixed
        return integer_share(self.lif.keep, self.target)

    def reset_state(self, cut: bool) -> None:
        """Start a batch: v = 0, and choose whether gradients are cut between steps."""
        self.lif.reset_state(cut)
        self._v = self._v_graph = self._resting = None
        self._cut = cut

    def forward(self, x: Tensor) -> Tensor:
        """Spikes of one step."""
        return self.over_steps(x.unsqueeze(0)).squeeze(0) if self.grid.is_active else self.lif(x)

    def over_steps(self, x: Tensor) -> Tensor:
        """Spikes of c steps for inputs (c, N, ...) in state units."""
        if not self.grid.is_active:
            return self.lif.over_steps(x)
        drive = self._with_bias(x if self.training else wrapped(x))
        learns = self.lif.learned("tau_w") is not None
        if not ((drive.requires_grad or learns) and torch.is_grad_enabled()):
            return self.integrate(drive, None)
        unit = self.grid.unit()
        if self._cut and not self.lif.refractory_period:
            return _CutSteps.apply(drive, unit, self.kept if learns else None, self)
        return torch.stack([self._step_with_graph(step, step / unit) for step in drive])

    def _with_bias(self, x: Tensor) -> Tensor:
        """x and the bias, in state units."""
        bias = self.float_bias()
        if bias is None:
            return x
        return x + self.grid.bias(bias).reshape(-1, *(1,) * (x.ndim - 3))

    @torch.no_grad()
    def integrate(
        self, drive: Tensor, membranes: Tensor | None, before: Tensor | None = None
    ) -> Tensor:
        """Spikes of c steps, without a graph.

        Args:
            drive: input and bias in state units, (c, N, ...).
            membranes: of the same shape, takes u of each step.
            before: likewise, takes v before each step.
        """
        lif, threshold, kept = self.lif, self.grid.integer_threshold(), self.kept
        compare = torch.ge if lif.comparison == ">=" else torch.gt
        spikes = torch.empty_like(drive)
        for t, (z, s) in enumerate(zip(drive, spikes, strict=True)):
            u = torch.empty_like(z) if membranes is None else membranes[t]
            if self._v is None:
                u.copy_(z)
            else:
                torch.add(kept_share(self._v, kept), z, out=u)
            if before is not None:
                before[t].zero_() if self._v is None else before[t].copy_(self._v)
            u.clamp_(1 - STATE_LIMIT, STATE_LIMIT - 1)
            compare(u, threshold, out=s)
            self._rest(u, s)
            if lif.reset == "zero":
                self._v = u * (1 - s)
            elif isinstance(threshold, Tensor):
                self._v = torch.addcmul(u, s, threshold, value=-1)
            else:
                self._v = torch.sub(u, s, alpha=threshold)
        return spikes

    def _rest(self, u: Tensor, s: Tensor) -> None:
        """Hold those that rest after a spike, in place; who spikes now rests from the next step."""
        if not self.lif.refractory_period:
            return
        if self._resting is None or self._v is None:
            self._resting = torch.zeros_like(s)
        else:
            rests = self._resting > 0
            u.copy_(torch.where(rests, self._v, u))
            s.masked_fill_(rests, 0)
        self._resting = (self._resting - 1).masked_fill_(s > 0, self.lif.refractory_period)

    def _step_with_graph(self, z: Tensor, x: Tensor) -> Tensor:
        """Spikes of one step with the path through membrane and reset (backward through time).

        Where gradients are cut between steps, v before is given.

        Args:
            z: input and bias in state units.
            x: the same in units of the network, where gradients flow.
        """
        lif, threshold, unit = self.lif, self.grid.integer_threshold(), self.grid.unit()
        rests = None if self._resting is None else self._resting > 0
        if self._v_graph is not None:
            x = x + self.kept * self._v_graph
            if rests is not None:
                x = torch.where(rests, self._v_graph, x)
        u = torch.empty_like(z)
        spikes = self.integrate(z.detach().unsqueeze(0), u.unsqueeze(0)).squeeze(0)
        with torch.no_grad():
            derivative = self.lif.surrogate((u - threshold) / unit, lif.v_threshold)
            if rests is not None:
                derivative = derivative.masked_fill(rests, 0)
        s = _Fire.apply(x, spikes, derivative)
        # Values of the integers, gradients of the equations in floats.
        v = x + (u / unit - x).detach()
        v = v - lif.v_threshold * s if lif.reset == "subtract" else v * (1 - s)
        self._v_graph = v.detach() if self._cut else v
        return s


class QuantizedNorm(nn.Module):
    """A batch norm, or a factor, that an active grid has folded into weights and bias.

    Its running statistics stay as they are from then on, gamma and beta are trained further
    (Krishnamoorthi 2018, section 3.2.2: freezing).

    Attributes:
        norm: the layer it was made from.
    """

    def __init__(self, norm: nn.Module, grid: Grid) -> None:
        super().__init__()
        self.norm = norm
        self._grid = [grid]

    def train(self, mode: bool = True) -> QuantizedNorm:
        """As of any module, but a folded batch norm stays in evaluation mode."""
        super().train(mode)
        if self._grid[0].is_active:
            self.norm.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        """Same shape as ``x``."""
        return x if self._grid[0].is_active else self.norm(x)

    def over_steps(self, x: Tensor) -> Tensor:
        """The same for c steps, (c, N, ...)."""
        return x if self._grid[0].is_active else over_steps(self.norm, x)


class _CutSteps(torch.autograd.Function):
    """Steps with no path between them: dL/dx[t] = dL/ds[t] ds/du[t], x = z / (64 S)."""

    @staticmethod
    def forward(
        ctx: Any, drive: Tensor, unit: Tensor, kept: Tensor | None, layer: QuantizedLIF
    ) -> Tensor:
        u = torch.empty_like(drive)
        before = None if kept is None else torch.empty_like(drive)
        spikes = layer.integrate(drive, u, before)
        ctx.save_for_backward(drive, unit, u, *(() if before is None else (before,)))
        ctx.shape = None if kept is None else kept.shape
        ctx.layer, ctx.threshold = layer, layer.grid.integer_threshold()
        return spikes

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        drive, unit, u, *before = ctx.saved_tensors
        lif = ctx.layer.lif
        distance = (u - ctx.threshold).div_(unit)
        error = lif.surrogate(distance, lif.v_threshold).mul_(grad_outputs[0]).div_(unit)
        by_unit = -torch.dot(error.flatten(), drive.flatten()) / unit
        # u = kept v + x in the same units as the error.
        by_kept = (error * before[0]).sum(0).sum_to_size(ctx.shape) if before else None
        return error, by_unit, by_kept, None


class _Fire(torch.autograd.Function):
    """Spikes that were decided elsewhere, ds/dx = the surrogate derivative."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, spikes: Tensor, derivative: Tensor) -> Tensor:
        ctx.save_for_backward(derivative)
        return spikes.clone()

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None, None]:
        (derivative,) = ctx.saved_tensors
        return grad_outputs[0] * derivative, None, None


def integer_keep(lif: LIF, target: Target) -> float | Tensor:
    """What the chip keeps of v per step, for each neuron where they differ."""
    # As the exported file says it.
    keep = lif.keep if lif.by_keep or not isinstance(lif.tau, Tensor) else 1 - 1 / lif.tau.double()
    kept = integer_share(keep, target)
    own = lif.keep
    return kept.to(own) if isinstance(kept, Tensor) and isinstance(own, Tensor) else kept


def integer_share(keep: float | Tensor, target: Target, *, current: bool = False) -> float | Tensor:
    """The multiple of 1/4096 that the chip keeps per step; rounding passes gradients through.

    Args:
        current: whether it is the share of u, which decays by 1 to 4096, or of v, by 0 to 4095.
    """
    given = isinstance(keep, Tensor)
    values = keep.detach().double().cpu().numpy() if given else np.array(keep)
    most = 2**target.neuron.decay_bits.value - 1
    decay = np.clip(nearest_decay(values), int(current), most + int(current))
    kept = (DECAY_ONE - decay) / DECAY_ONE
    if not given:
        return float(kept)
    exact = torch.from_numpy(np.asarray(kept)).to(keep.device)
    return keep + (exact - keep.detach()).to(keep.dtype) if keep.requires_grad else exact


def kept_share(v: Tensor, kept: float | Tensor) -> Tensor:
    """sign(v) floor(|v| kept), kept a multiple of 1/4096."""
    if isinstance(kept, Tensor):
        return (v.double() * kept).trunc().to(v.dtype)
    if math.frexp(kept)[0] in (0.0, 0.5):
        # A power of two: the product is exact.
        return (v * kept).trunc()
    return (v.double() * kept).trunc().to(v.dtype)


def wrapped(x: Tensor) -> Tensor:
    """x wrapped once into (-2^23, 2^23]."""
    if x.numel() == 0 or float(x.abs().max()) < STATE_LIMIT:
        return x
    above, below = (x > STATE_LIMIT).to(x.dtype), (x <= -STATE_LIMIT).to(x.dtype)
    return x - (above - below) * (2 * STATE_LIMIT)


def bias_into(model: SpikingNetwork, entry: str, layers: dict[str, nn.Module]) -> Bias:
    """The bias that reaches a layer of neurons, or leaves the read-out.

    Args:
        entry: name of the layer.
        layers: the layers of the network in floats, by name.
    """

    def leaving(name: str) -> Tensor | None:
        layer: Any = layers.get(name)
        if layer is None or isinstance(layer, LIF | CubaLIF | LI):
            return None
        if isinstance(layer, WEIGHTED):
            return layer.bias
        arriving = reaching(name)
        if isinstance(layer, Scale):
            return None if arriving is None else arriving * layer.factor
        if isinstance(layer, BATCH_NORMS):
            factor, offset = affine(layer)
            return offset if arriving is None else arriving * factor + offset
        return arriving

    def reaching(name: str) -> Tensor | None:
        found = [b for b in map(leaving, model.sources[name]) if b is not None]
        return None if not found else torch.stack(torch.broadcast_tensors(*found)).sum(0)

    return (
        (lambda: leaving(entry))
        if isinstance(layers[entry], WEIGHTED)
        else (lambda: reaching(entry))
    )
