"""Weighted layers, and connections without weights, on the grid of the neurons behind them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from neurodeploy.ir.fixed_point import FLOAT32_EXACT, WEIGHT_BITS
from neurodeploy.nn.layers import Factors
from neurodeploy.quantization.aware.grid import STATE, Grid, floored, rounded
from neurodeploy.quantization.aware.paths import SynapticPath, affine, effective_weight


class QuantizedSynapse(nn.Module):
    """One projection: integers times integers, in state units of the population behind it.

    With n the integers that arrive (``SynapticPath``), y = 64 floor(2^e step sum q n). Before its
    grid is active it is the layer it was made from.

    Attributes:
        layer: the weighted layer, or ``Identity``.
        exponent: e, int64 buffer.
        step: weights are multiples of it; 1 for one bit, see ``steps_of``.
    """

    exponent: Tensor

    def __init__(
        self, layer: nn.Module, path: SynapticPath, after: list[nn.Module], grid: Grid, bits: int
    ) -> None:
        """``after``: the batch norms and factors that ``path`` names."""
        super().__init__()
        self.layer = layer
        self.path = path
        self.bits = bits
        self.step, self.lowest, self.highest = steps_of(bits)
        self.register_buffer("exponent", torch.zeros((), dtype=torch.int64))
        # In lists, these are not taken for modules of this one.
        self._after, self._grid = list(after), [grid]

    @property
    def grid(self) -> Grid:
        """That of the population behind."""
        return self._grid[0]

    @property
    def one_each(self) -> bool:
        """Whether it is a connection with factors in the shape of a sample."""
        return any(isinstance(layer, Factors) for layer in self._after)

    def folded(self) -> Tensor:
        """Weights per integer that arrives, batch norms and factors included."""
        weight = effective_weight(self.layer) if self.path.weighted else self._ones()
        for layer in self._after:
            factor = affine(layer)[0].to(weight)
            if not isinstance(layer, Factors):
                factor = factor.reshape(-1, *(1,) * (weight.ndim - 1))
            weight = weight * factor
        return weight / self.path.multiplier

    def integers(self) -> Tensor:
        """q, multiples of 1 from ``lowest`` to ``highest``."""
        ratio = self.grid.scale() * (2.0 ** -int(self.exponent) / self.step)
        return rounded(self.folded() * ratio).clamp(self.lowest, self.highest)

    def forward(self, x: Tensor) -> Tensor:
        """(N, *in) to (N, *out), in state units when the grid is active."""
        if not self.grid.is_active:
            return self.layer(x)
        return self.drive(self.numbers(x), self.integers())

    def numbers(self, x: Tensor) -> Tensor:
        """n, the integers that arrive."""
        numbers = x if self.path.multiplier == 1 else x * self.path.multiplier
        if self.path.multiplier != 1 and not (self.training and self.path.drops):
            numbers = rounded(numbers)
        return numbers

    def drive(self, numbers: Tensor, integers: Tensor) -> Tensor:
        """y, in state units, of integers that arrive and weights q."""
        activation = self._product(numbers, integers) * (self.step * 2.0 ** int(self.exponent))
        return (floored(activation) if int(self.exponent) < 0 else activation) * STATE

    def _product(self, numbers: Tensor, integers: Tensor) -> Tensor:
        """sum q n; in evaluation exact whatever the weights are."""
        if not self.training and self.bound(integers) >= FLOAT32_EXACT:
            return self._applied(numbers.double(), integers.double()).to(numbers.dtype)
        return self._applied(numbers, integers)

    def bound(self, integers: Tensor) -> float:
        """No sum q n exceeds it in absolute value."""
        size = integers.detach().abs()
        rows = size.flatten(1) if self.path.weighted else size.reshape(-1, 1)
        return float(rows.sum(1).max()) * self.path.levels

    def _applied(self, numbers: Tensor, integers: Tensor) -> Tensor:
        layer: Any = self.layer
        if not self.path.weighted:
            return numbers * integers.reshape(
                *integers.shape, *(1,) * (numbers.ndim - 1 - integers.ndim)
            )
        if isinstance(layer, nn.Conv1d | nn.Conv2d):
            options: Any = (layer.stride, layer.padding, layer.dilation, layer.groups)
            convolve: Any = F.conv1d if isinstance(layer, nn.Conv1d) else F.conv2d
            return convolve(numbers, integers, None, *options)
        return F.linear(numbers, integers)

    def _ones(self) -> Tensor:
        """Weights of a connection without: one, one per channel, or as factors have them."""
        device = self._grid[0].origin.device
        shapes = [layer.weight.shape for layer in self._after if isinstance(layer, Factors)]
        if shapes:
            return torch.ones(torch.broadcast_shapes(*shapes), device=device)
        channels = [len(a) for a in (affine(layer)[0] for layer in self._after) if a.ndim]
        return torch.ones(channels[0] if channels else 1, device=device)

    def extra_repr(self) -> str:
        """Width and place, in ``print(model)``."""
        return f"{self.bits} bits, from {', '.join(self.path.sources)}"


def steps_of(bits: int) -> tuple[int, int, int]:
    """Step, and smallest and largest multiple of it, for weights of both signs.

    One bit stands for two projections of one sign each, with -1, 0 and 1 times 128.
    """
    if bits == 1:
        return 2 ** (WEIGHT_BITS - 1), -1, 1
    return 2 ** (WEIGHT_BITS - bits + 1), -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
