"""Convolutional networks: family ``conv``, and what it shares with the larger ones."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import nn

from neurodeploy.errors import InputError
from neurodeploy.nn.layers import GridLinear
from neurodeploy.nn.network import SpikingNetwork
from neurodeploy.nn.populations import Neurons
from neurodeploy.recipe import NeuronRecipe

Size = tuple[int, int]
"""Height and width."""


def channels_and_size(
    sample_shape: tuple[int, ...], family: str, smallest: int = 1
) -> tuple[int, Size]:
    """Channels and size of samples (C, H, W).

    Raises:
        InputError: samples have another number of axes, or are smaller than ``smallest``.
    """
    if len(sample_shape) != 3:
        raise InputError(
            f"[network] family {family!r} needs samples (C, H, W), found {sample_shape}; use 'mlp'"
        )
    channels, height, width = sample_shape
    if min(height, width) < smallest:
        raise InputError(
            f"[network] family {family!r} pools samples down to nothing below {smallest}x{smallest}"
            f", found {height}x{width}; use 'conv' or larger samples"
        )
    return channels, (height, width)


def strided(size: Size, stride: int) -> Size:
    """Size after a convolution or pooling with odd kernel k and padding k // 2."""
    return (size[0] - 1) // stride + 1, (size[1] - 1) // stride + 1


def halved(size: Size) -> Size:
    """Size after 2 x 2 pooling, which leaves an odd last row or column out."""
    return size[0] // 2, size[1] // 2


def grid_readout(channels: int, size: Size, grid: int, classes: int) -> dict[str, nn.Module]:
    """Average maps to grid x grid cells, flatten and map to classes.

    The linear layer is called ``fc`` and has channels grid^2 inputs per class at every size.
    """
    if size[0] % grid or size[1] % grid:
        return {"flatten": nn.Flatten(), "fc": GridLinear(channels, size, grid, classes)}
    cell = (size[0] // grid, size[1] // grid)
    layers: dict[str, nn.Module] = {} if cell == (1, 1) else {"pool": nn.AvgPool2d(cell)}
    layers["flatten"] = nn.Flatten()
    layers["fc"] = nn.Linear(channels * grid**2, classes)
    return layers


def init_convolutions(layers: dict[str, nn.Module], zero_bias: bool) -> None:
    """Kaiming normal over fan out, as in the official codes; biases at 0 or torch's own draw."""
    for layer in layers.values():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            if zero_bias and layer.bias is not None:
                nn.init.zeros_(layer.bias)


@dataclass(frozen=True)
class Conv:
    """Options of family ``conv``. Block i is conv_i - (bn_i) - lif_i - (pool_i).

    Attributes:
        channels: output channels of each block.
        strides: stride of each convolution; empty means 1 everywhere.
        kernel: side of the square kernels, odd; zero padding keeps the size at stride 1.
        batch_norm: normalise before each LIF with the statistics of the step; the running ones
            are folded into the convolution at export.
        pool: side of the average pooling of each block's spikes, 1 for none; empty means none
            anywhere. Average, because NIR and neuromorphic chips have no max-pool.
        recurrent: whether each block's neurons also read rec_i, a convolution of the same kernel
            over the spikes that they sent at the previous step.
        recurrent_gain: its weights are drawn with standard deviation gain / sqrt(fan in).
    """

    channels: tuple[int, ...]
    strides: tuple[int, ...] = ()
    kernel: int = 3
    batch_norm: bool = False
    pool: tuple[int, ...] = ()
    recurrent: bool = False
    recurrent_gain: float = 0.5

    def __post_init__(self) -> None:
        if not self.channels:
            raise ValueError("channels needs at least one block")
        for name in ("strides", "pool"):
            values = getattr(self, name)
            if values and len(values) != len(self.channels):
                raise ValueError(
                    f"{name} has {len(values)} values for {len(self.channels)} blocks in channels"
                )
        if min(*self.channels, *self.strides, *self.pool, self.kernel) < 1:
            raise ValueError("channels, strides, pool and kernel must all be at least 1")
        if self.recurrent_gain < 0:
            raise ValueError(f"recurrent_gain must not be negative, found {self.recurrent_gain:g}")
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel must be odd, found {self.kernel}")

    def build(
        self, sample_shape: tuple[int, ...], classes: int, neuron: NeuronRecipe
    ) -> SpikingNetwork:
        """Build the network for samples (C, H, W).

        Raises:
            InputError: samples are not (C, H, W), or a pooling is larger than its input.
        """
        channels, size = channels_and_size(sample_shape, "conv")
        neurons = Neurons(neuron)
        sources: dict[str, tuple[str, ...]] = {}
        layers: dict[str, nn.Module] = {}
        strides = self.strides or (1,) * len(self.channels)
        pools = self.pool or (1,) * len(self.channels)
        for i, (width, stride, pool) in enumerate(
            zip(self.channels, strides, pools, strict=True), start=1
        ):
            # A bias before batch norm would be subtracted again by it.
            layers[f"conv{i}"] = nn.Conv2d(
                channels, width, self.kernel, stride, self.kernel // 2, bias=not self.batch_norm
            )
            if self.batch_norm:
                layers[f"bn{i}"] = nn.BatchNorm2d(width)
            size = strided(size, stride)
            if self.recurrent:
                *_, before = layers
                rec = nn.Conv2d(width, width, self.kernel, padding=self.kernel // 2, bias=False)
                nn.init.normal_(
                    rec.weight, 0, self.recurrent_gain / math.sqrt(rec.weight[0].numel())
                )
                layers[f"rec{i}"] = rec
                sources[f"rec{i}"] = (f"lif{i}",)
                sources[f"lif{i}"] = (before, f"rec{i}")
            layers[f"lif{i}"] = neurons.layer(width, *size)
            if pool > 1:
                if pool > min(size):
                    raise InputError(
                        f"[network] pool: block {i} pools {pool}x{pool} but its output is only "
                        f"{size[0]}x{size[1]}; pool less or use smaller strides"
                    )
                layers[f"pool{i}"] = nn.AvgPool2d(pool)
                size = size[0] // pool, size[1] // pool
            channels = width
        layers["flatten"] = nn.Flatten()
        layers["fc"] = nn.Linear(channels * size[0] * size[1], classes)
        return SpikingNetwork(layers, sample_shape, sources)
