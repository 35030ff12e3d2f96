"""Blocks of convolution, batch norm, LIF and pooling, then a linear readout."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from neurodeploy.errors import InputError
from neurodeploy.nn.families.maps import channels_and_size, strided
from neurodeploy.nn.network import SpikingNetwork
from neurodeploy.nn.neuron import LIF
from neurodeploy.recipe import NeuronRecipe


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
    """

    channels: tuple[int, ...]
    strides: tuple[int, ...] = ()
    kernel: int = 3
    batch_norm: bool = False
    pool: tuple[int, ...] = ()

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
            layers[f"lif{i}"] = LIF.of(neuron)
            size = strided(size, stride)
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
        return SpikingNetwork(layers, sample_shape)
