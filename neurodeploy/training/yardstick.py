"""Plain step-wise SLTT, to measure the training rules against.

Algorithm 1 of Meng et al. 2023 in stock modules of torch: every step runs the whole network in
torch's default memory layout, a LIF step is a handful of elementwise calls, and each step goes
backward at once. Nothing that makes the training of this project cheaper runs inside. It serves
only the bench of training.
"""

from __future__ import annotations

import copy
import functools
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from neurodeploy.errors import UnsupportedError
from neurodeploy.nn.layers import GridLinear
from neurodeploy.nn.loss import InstantaneousLoss
from neurodeploy.nn.network import INPUT, SpikingNetwork
from neurodeploy.nn.neuron import LIF
from neurodeploy.nn.surrogate import triangle
from neurodeploy.rules.rule import Batch, BatchResult, Update


class PlainSpike(torch.autograd.Function):
    """s = H(u - Vth); ds/du = max(0, gamma - |u - Vth|) / gamma^2 (eq. 6)."""

    @staticmethod
    def forward(ctx: Any, distance: Tensor, gamma: float) -> Tensor:
        ctx.save_for_backward(distance)
        ctx.gamma = gamma
        return (distance >= 0).to(distance.dtype)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        (distance,) = ctx.saved_tensors
        slope = (1 / ctx.gamma**2) * (ctx.gamma - distance.abs()).clamp(min=0)
        return grad_outputs[0] * slope, None


class PlainLIF(nn.Module):
    """Eq. 2 and 3, with soft reset; the membrane is detached before it meets the next step."""

    def __init__(self, tau: float, v_threshold: float) -> None:
        super().__init__()
        self.tau = tau
        self.v_threshold = v_threshold
        self.v: Tensor | float = 0.0

    def forward(self, x: Tensor) -> Tensor:
        """Spikes of one step; ``x`` of any shape."""
        u = (1 - 1 / self.tau) * self.v + x
        s = PlainSpike.apply(u - self.v_threshold, self.v_threshold)
        self.v = (u - self.v_threshold * s).detach()
        return s


class PlainNetwork(nn.Module):
    """A copy of a network's layers and weights as stock modules, wired as the original is."""

    def __init__(self, model: SpikingNetwork) -> None:
        """Copy ``model``.

        Raises:
            UnsupportedError: it has layers or neurons that are not in the networks measured.
        """
        super().__init__()
        if model.fed_back:
            raise UnsupportedError("yardstick: written for networks without recurrence")
        stock = {name: _plain(layer, name) for name, layer in model.layers.items()}
        self.layers = nn.ModuleDict(stock)
        self.load_state_dict(model.state_dict())
        self.sources, self.shapes = dict(model.sources), dict(model.shapes)
        self._reads = Counter(source for read in self.sources.values() for source in read)

    def reset_state(self) -> None:
        """Start a batch: v = 0."""
        for layer in self.layers.values():
            if isinstance(layer, PlainLIF):
                layer.v = 0.0

    def forward(self, x: Tensor) -> Tensor:
        """One step: (N, *sample) to (N, classes)."""
        outputs, left = {INPUT: x}, Counter(self._reads)
        for name, layer in self.layers.items():
            sources = self.sources[name]
            x = layer(functools.reduce(torch.add, [outputs[source] for source in sources]))
            left.subtract(sources)
            for source in sources:
                # As local variables of a handwritten network would be let go.
                if left[source] == 0:
                    del outputs[source]
            outputs[name] = x
        return x


class PlainSLTT:
    """Algorithm 1: for each step forward, loss, backward; one update at the end."""

    def train_batch(
        self,
        network: PlainNetwork,
        batch: Batch,
        loss: InstantaneousLoss,
        update: Update,
        generator: torch.Generator,
    ) -> BatchResult:
        """Add sum_t d(l[t]/T)/dW, as ``SLTT.train_batch`` does."""
        network.reset_state()
        summed_loss = total = torch.zeros((), device=batch.labels.device)
        for frame in batch.frames:
            outputs = network(frame)
            step_loss = loss(outputs, batch.labels) / batch.steps
            step_loss.backward()
            summed_loss = summed_loss + step_loss.detach()
            total = total + outputs.detach()
        update()
        return BatchResult(summed_loss, total)


def _plain(layer: nn.Module, name: str) -> nn.Module:
    """A new stock module of the same kind and size; weights are copied afterwards."""
    make = STOCK.get(type(layer))
    if make is None:
        kind = type(layer).__name__
        raise UnsupportedError(f"yardstick: no plain form of layer {name!r}, a {kind}")
    return make(layer)


def _convolution(layer: Any) -> nn.Module:
    sizes = (layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride, layer.padding)
    return nn.Conv2d(*sizes, bias=layer.bias is not None).to(layer.weight)


def _norm(layer: Any) -> nn.Module:
    kind = nn.BatchNorm2d if isinstance(layer, nn.BatchNorm2d) else nn.BatchNorm1d
    return kind(layer.num_features, layer.eps, layer.momentum).to(layer.weight)


def _linear(layer: Any) -> nn.Module:
    made = nn.Linear(layer.in_features, layer.out_features, layer.bias is not None)
    return made.to(layer.weight)


def _lif(layer: Any) -> nn.Module:
    if (layer.surrogate, layer.reset, layer.comparison) != (triangle, "subtract", ">="):
        raise UnsupportedError(
            "yardstick: written for surrogate 'triangle', reset 'subtract' and comparison '>=', "
            f"found {layer}"
        )
    return PlainLIF(layer.tau, layer.v_threshold)


def _pool(layer: Any) -> nn.Module:
    return nn.AvgPool2d(layer.kernel_size, layer.stride, layer.padding)


STOCK: dict[type[nn.Module], Callable[[nn.Module], nn.Module]] = {
    nn.Conv2d: _convolution,
    nn.BatchNorm1d: _norm,
    nn.BatchNorm2d: _norm,
    nn.Linear: _linear,
    GridLinear: copy.deepcopy,
    nn.AvgPool2d: _pool,
    nn.Flatten: lambda _: nn.Flatten(),
    LIF: _lif,
}
"""Layers of the networks measured, and how each is made anew."""
