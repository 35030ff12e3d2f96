"""VGG-11 in two forms: with batch norm, and with scaled weight standardisation instead."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from neurodeploy.nn.families.conv import (
    channels_and_size,
    grid_readout,
    halved,
    init_convolutions,
)
from neurodeploy.nn.layers import ACTIVATION_GAIN, Dropout, Scale, WSConv2d
from neurodeploy.nn.network import SpikingNetwork
from neurodeploy.nn.populations import Neurons
from neurodeploy.recipe import NeuronRecipe

STAGES = ((64,), (128,), (256, 256), (512, 512), (512, 512))
"""Channels of the convolutions before each 2 x 2 pooling."""

GRID = 7
"""The readout's cells per side: what five poolings leave of ImageNet's 224 x 224."""


@dataclass(frozen=True)
class Vgg11:
    """Options of family ``vgg11``: 64-P-128-P-256-256-P-512-512-P-512-512-P, 7 x 7 cells, read-out.

    With batch norm, for event data (Meng et al. 2023; details as in the official code).

    Layer i is conv_i - bn_i - lif_i - (drop_i), P is 2 x 2 average pooling. The official code
    brings the last maps to 7 x 7 cells with adaptive average pooling whatever their size; from
    48 x 48 samples, whose last map is 1 x 1, it makes 49 copies. The readout here has the same
    25,088 weights per class and computes the same, but the copies are never made: see
    ``GridLinear``. 9,476,298 parameters with 2 input channels and 10 classes.

    Attributes:
        dropout: share of the neurons silenced after each LIF, the same ones at all steps.
    """

    dropout: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is a share from 0 to below 1, found {self.dropout}")

    def build(
        self, sample_shape: tuple[int, ...], classes: int, neuron: NeuronRecipe
    ) -> SpikingNetwork:
        """Build the network for samples (C, H, W) of at least 32 x 32.

        Raises:
            InputError: samples are not (C, H, W), or smaller.
        """
        channels, size = channels_and_size(sample_shape, "vgg11", smallest=2 ** len(STAGES))
        neurons = Neurons(neuron)
        layers: dict[str, nn.Module] = {}
        i = 0
        for stage, widths in enumerate(STAGES, start=1):
            for width in widths:
                i += 1
                layers[f"conv{i}"] = nn.Conv2d(channels, width, 3, padding=1)
                layers[f"bn{i}"] = nn.BatchNorm2d(width)
                layers[f"lif{i}"] = neurons.layer(width, *size)
                if self.dropout:
                    layers[f"drop{i}"] = Dropout(self.dropout)
                channels = width
            layers[f"pool{stage}"] = nn.AvgPool2d(2)
            size = halved(size)
        readout = grid_readout(channels, size, GRID, classes)
        layers.update(readout)
        init_convolutions(layers, zero_bias=True)
        _init_readout(readout["fc"])
        return SpikingNetwork(layers, sample_shape)


def _init_readout(layer: nn.Module) -> None:
    """Normal with standard deviation 0.01, no bias: torchvision's VGG, as in the official codes."""
    if isinstance(layer, nn.Linear):
        nn.init.normal_(layer.weight, 0, 0.01)
        nn.init.zeros_(layer.bias)


WS_STAGES = ((64, 128), (256, 256), (512, 512), (512, 512))
"""Channels of the convolutions between 2 x 2 poolings; none follows the last stage."""


@dataclass(frozen=True)
class Vgg11WS:
    """Options of family ``vgg11_ws``: 64-128-P-256-256-P-512-512-P-512-512, cells, read-out.

    With scaled weight standardisation (Xiao et al. 2022, OTTT).

    Layer i is (scale_i) - conv_i - lif_i - (drop_i), P is 2 x 2 average pooling. The factor 2.74 on
    the spikes stands before each weighted layer rather than behind the LIF: pooling in between
    makes no difference to it, and at export it goes into the weights. 9,228,362 parameters with
    3 input channels, 10 classes and one cell.

    Attributes:
        grid: the last maps are averaged to grid x grid cells before the read-out.
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
        smallest = 2 ** (len(WS_STAGES) - 1)
        channels, size = channels_and_size(sample_shape, "vgg11_ws", smallest)
        neurons = Neurons(neuron)
        layers: dict[str, nn.Module] = {}
        i = 0
        for stage, widths in enumerate(WS_STAGES):
            if stage:
                layers[f"pool{stage}"] = nn.AvgPool2d(2)
                size = halved(size)
            for width in widths:
                i += 1
                if i > 1:
                    layers[f"scale{i}"] = Scale(ACTIVATION_GAIN)
                layers[f"conv{i}"] = WSConv2d(channels, width, 3, padding=1)
                layers[f"lif{i}"] = neurons.layer(width, *size)
                if self.dropout:
                    layers[f"drop{i}"] = Dropout(self.dropout)
                channels = width
        readout = grid_readout(channels, size, self.grid, classes)
        classifier = readout.pop("fc")
        layers.update(readout)
        layers["scale"] = Scale(ACTIVATION_GAIN)
        layers["fc"] = classifier
        init_convolutions(layers, zero_bias=True)
        _init_readout(classifier)
        return SpikingNetwork(layers, sample_shape)
