"""VGG-11 with scaled weight standardisation instead of batch norm (Xiao et al. 2022, OTTT)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from neurodeploy.nn.families.maps import (
    channels_and_size,
    grid_readout,
    halved,
    init_convolutions,
)
from neurodeploy.nn.families.vgg11 import init_readout
from neurodeploy.nn.layers import ACTIVATION_GAIN, Dropout, Scale, WSConv2d
from neurodeploy.nn.network import SpikingNetwork
from neurodeploy.nn.neuron import LIF
from neurodeploy.recipe import NeuronRecipe

STAGES = ((64, 128), (256, 256), (512, 512), (512, 512))
"""Channels of the convolutions between 2 x 2 poolings; none follows the last stage."""


@dataclass(frozen=True)
class Vgg11WS:
    """Options of family ``vgg11_ws``: 64-128-P-256-256-P-512-512-P-512-512, cells, readout.

    Layer i is (scale_i) - conv_i - lif_i - (drop_i), P is 2 x 2 average pooling. The factor 2.74 on
    the spikes stands before each weighted layer rather than behind the LIF: pooling in between
    makes no difference to it, and at export it goes into the weights. 9,228,362 parameters with
    3 input channels, 10 classes and one cell.

    Attributes:
        grid: the last maps are averaged to grid x grid cells before the readout.
        dropout: share of the neurons silenced after each LIF, the same ones at all steps.
    """

    grid: int = 1
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if self.grid < 1:
            raise ValueError(f"grid must be at least 1, found {self.grid}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is a share from 0 to below 1, found {self.dropout}")

    def build(
        self, sample_shape: tuple[int, ...], classes: int, neuron: NeuronRecipe
    ) -> SpikingNetwork:
        """Build the network for samples (C, H, W) of at least 8 x 8.

        Raises:
            InputError: samples are not (C, H, W), or smaller.
        """
        smallest = 2 ** (len(STAGES) - 1)
        channels, size = channels_and_size(sample_shape, "vgg11_ws", smallest)
        layers: dict[str, nn.Module] = {}
        i = 0
        for stage, widths in enumerate(STAGES):
            if stage:
                layers[f"pool{stage}"] = nn.AvgPool2d(2)
                size = halved(size)
            for width in widths:
                i += 1
                if i > 1:
                    layers[f"scale{i}"] = Scale(ACTIVATION_GAIN)
                layers[f"conv{i}"] = WSConv2d(channels, width, 3, padding=1)
                layers[f"lif{i}"] = LIF.of(neuron)
                if self.dropout:
                    layers[f"drop{i}"] = Dropout(self.dropout)
                channels = width
        readout = grid_readout(channels, size, self.grid, classes)
        classifier = readout.pop("fc")
        layers.update(readout)
        layers["scale"] = Scale(ACTIVATION_GAIN)
        layers["fc"] = classifier
        init_convolutions(layers, zero_bias=True)
        init_readout(classifier)
        return SpikingNetwork(layers, sample_shape)
