"""Layers that torch does not have, each with a counterpart in ``nn.folding``."""

from __future__ import annotations

import math
from collections import deque

import torch
from torch import Tensor, nn
from torch.nn import functional

WS_EPS = 1e-4
"""Added to fan_in times the variance in weight standardisation, as in the official codes."""

ACTIVATION_GAIN = 2.74
"""Factor on spikes before a weight-standardised layer.

It gives back variance that a LIF neuron takes away (Xiao et al. 2022; the number is the one in the
official codes of OTTT and SLTT).
"""


class Scale(nn.Module):
    """y = factor x."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        """Same shape as ``x``."""
        return x * self.factor

    def extra_repr(self) -> str:
        """The factor, in ``print(model)``."""
        return f"{self.factor:g}"


class SkipInit(nn.Module):
    """y = alpha gain x with one learned gain, 0 at first, so that a block starts as its shortcut.

    (SkipInit: De and Smith 2020, "Batch normalization biases residual blocks towards the identity
    function in deep networks"; alpha: Brock et al. 2021.)
    """

    def __init__(self, alpha: float) -> None:
        super().__init__()
        self.alpha = alpha
        self.gain = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """Same shape as ``x``."""
        return x * (self.alpha * self.gain)

    def extra_repr(self) -> str:
        """The factor, in ``print(model)``."""
        return f"alpha={self.alpha:g}"


class Dropout(nn.Module):
    """Dropout with one mask for all steps of an iteration, drawn anew after ``reset_state``.

    A neuron that is dropped is then silent for the whole sample, as in the official code; a fresh
    mask per step would only add noise to its rate.
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability
        self.mask: Tensor | None = None

    def reset_state(self, cut: bool) -> None:
        """Start a batch: the next step draws a new mask."""
        self.mask = None

    def forward(self, x: Tensor) -> Tensor:
        """Same shape as ``x``; kept values are divided by 1 - probability. Nothing in eval mode."""
        return self.over_steps(x.unsqueeze(0)).squeeze(0)

    def over_steps(self, x: Tensor) -> Tensor:
        """c steps, (c, N, ...), under one mask."""
        if not self.training or self.probability == 0:
            return x
        if self.mask is None:
            # Which values are dropped does not depend on how they lie in memory.
            ones = torch.ones_like(x[0], memory_format=torch.contiguous_format)
            self.mask = torch.empty_like(x[0]).copy_(functional.dropout(ones, self.probability))
        return x * self.mask

    def extra_repr(self) -> str:
        """The probability, in ``print(model)``."""
        return f"{self.probability:g}"


class WSConv2d(nn.Conv2d):
    """Convolution with scaled weight standardisation (Qiao et al. 2019, Brock et al. 2021).

    W' = gain (W - mean) / sqrt(fan_in var + 1e-4), mean and unbiased variance over each output
    channel's fan_in weights.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, stride: int = 1, padding: int = 0
    ) -> None:
        super().__init__(in_channels, out_channels, kernel, stride, padding)
        self.gain = nn.Parameter(torch.ones(out_channels, 1, 1, 1))

    def effective_weight(self, dtype: torch.dtype | None = None) -> Tensor:
        """W', (out, in, kernel, kernel), computed in ``dtype`` or that of the parameters."""
        weight, gain = self.weight.to(dtype), self.gain.to(dtype)
        variance, mean = torch.var_mean(weight, dim=(1, 2, 3), keepdim=True)
        return (weight - mean) * (gain / torch.sqrt(weight[0].numel() * variance + WS_EPS))

    def forward(self, input: Tensor) -> Tensor:
        """(N, in, H, W) to (N, out, H', W')."""
        return functional.conv2d(
            input, self.effective_weight(), self.bias, self.stride, self.padding
        )


class GridLinear(nn.Linear):
    """Linear layer over maps averaged to grid x grid cells, for maps that the grid does not divide.

    Computes what ``AdaptiveAvgPool2d(grid)``, ``Flatten``, ``Linear`` compute, with the same
    parameters, but as one product: the pooling P, which for maps smaller than the grid repeats
    pixels, is linear and goes into the weights, W' = W P. Reads flattened maps.
    """

    members: Tensor

    def __init__(self, channels: int, size: tuple[int, int], grid: int, classes: int) -> None:
        super().__init__(channels * grid**2, classes)
        pixels = size[0] * size[1]
        maps = torch.eye(pixels).reshape(pixels, 1, *size)
        cells = functional.adaptive_avg_pool2d(maps, grid).reshape(pixels, grid**2)
        # (grid^2, H W), 1 where a pixel belongs to a cell: exact in every dtype.
        self.register_buffer("members", (cells.T > 0).to(maps.dtype), persistent=False)

    def effective_weight(self, dtype: torch.dtype | None = None) -> Tensor:
        """W', (classes, channels H W), computed in ``dtype`` or that of the parameters."""
        members = self.members.to(dtype)
        cells = self.weight.to(dtype).unflatten(1, (-1, len(members)))
        return (cells @ (members / members.sum(1, keepdim=True))).flatten(1)

    def forward(self, input: Tensor) -> Tensor:
        """(N, channels H W) to (N, classes)."""
        return functional.linear(input, self.effective_weight(), self.bias)


class Factors(nn.Module):
    """y = w x with a weight w for each value: one-to-one connections.

    Attributes:
        weight: of a shape that broadcasts to a sample's, with as many axes.
    """

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape as ``x``."""
        return x * self.weight

    def extra_repr(self) -> str:
        """The shape, in ``print(model)``."""
        return str(tuple(self.weight.shape))


class Constant(nn.Module):
    """y = b whatever is read: the bias of neurons that no weighted layer can carry.

    Attributes:
        bias: b, of the shape of the neurons.
    """

    def __init__(self, bias: Tensor, learns: bool = True) -> None:
        super().__init__()
        self.bias = nn.Parameter(bias, requires_grad=learns)

    def forward(self, x: Tensor) -> Tensor:
        """(N, ...) to (N, *shape of the bias)."""
        return self.bias.expand(len(x), *self.bias.shape)

    def extra_repr(self) -> str:
        """The shape, in ``print(model)``."""
        return str(tuple(self.bias.shape))


class SparseLinear(nn.Module):
    """y = W x where most of W is zero and stays so; its other entries are learned.

    Attributes:
        weight: the entries (n,), row by row.
        rows, columns: where they stand, int64 (n,), over flattened arrays.
        input_shape, output_shape: of a sample.
    """

    rows: Tensor
    columns: Tensor

    def __init__(
        self,
        weight: Tensor,
        rows: Tensor,
        columns: Tensor,
        input_shape: tuple[int, ...],
        output_shape: tuple[int, ...],
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)
        self.register_buffer("rows", rows, persistent=False)
        self.register_buffer("columns", columns, persistent=False)
        self.input_shape, self.output_shape = input_shape, output_shape

    def matrix(self) -> Tensor:
        """W with its zeros, (outputs, inputs)."""
        size = math.prod(self.output_shape), math.prod(self.input_shape)
        return self.weight.new_zeros(size).index_put((self.rows, self.columns), self.weight)

    def forward(self, x: Tensor) -> Tensor:
        """(N, *input_shape) to (N, *output_shape)."""
        return functional.linear(x.flatten(1), self.matrix()).unflatten(1, self.output_shape)

    def extra_repr(self) -> str:
        """Shapes and entries, in ``print(model)``."""
        return f"{self.input_shape} to {self.output_shape}, {len(self.weight)} weights"


class Delay(nn.Module):
    """y[t] = x[t - steps], and nothing before the first step; for spikes that arrive later.

    Attributes:
        steps: at least 1.
    """

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps
        self._waiting: deque[Tensor] = deque()
        self._cut = True

    def reset_state(self, cut: bool) -> None:
        """Start a batch: nothing is on its way."""
        self._waiting.clear()
        self._cut = cut

    def forward(self, x: Tensor) -> Tensor:
        """Same shape as ``x``."""
        self._waiting.append(x.detach() if self._cut else x)
        return self._waiting.popleft() if len(self._waiting) > self.steps else torch.zeros_like(x)

    def extra_repr(self) -> str:
        """The steps, in ``print(model)``."""
        return str(self.steps)
