"""Residual networks: ResNet-18 for CIFAR, and deeper ones without normalisers for ImageNet.

Brock et al. 2021: "Characterizing signal propagation to close the performance gap in unnormalized
ResNets". Meng et al. 2023: SLTT.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from torch import nn

from neurodeploy.nn.families.conv import (
    channels_and_size,
    grid_readout,
    init_convolutions,
    strided,
)
from neurodeploy.nn.layers import ACTIVATION_GAIN, Dropout, Scale, SkipInit, WSConv2d
from neurodeploy.nn.network import SpikingNetwork
from neurodeploy.nn.populations import Neurons
from neurodeploy.recipe import NeuronRecipe

STAGES = ((64, 1), (128, 2), (256, 2), (512, 2))
"""Channels, and stride of the first block."""

ALPHA = 0.2
"""Factor on each block's residual, so that a block adds alpha^2 to the variance of the stream."""

BLOCKS = {34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
"""Blocks of each stage of ``nf_resnet``, by depth."""


@dataclass(frozen=True)
class ResNet18:
    """Options of family ``resnet18``: conv, four stages of two blocks, bn - lif - pool - fc.

    Pre-activation, for CIFAR, with shortcuts that carry spikes (Meng et al. 2023).

    A block is bn1 - lif1 - conv1 - bn2 - lif2 - (drop) - conv2, and its shortcut starts behind
    lif1: as it is, or through a 1 x 1 convolution where the shape changes. So every synapse behind
    the first convolution sees spikes, and the network can be deployed. The sum of conv2 and the
    shortcut is what the next block's bn1 reads; at export it goes into the two.
    11,176,906 parameters with 3 input channels and 10 classes.

    Attributes:
        dropout: share of the neurons silenced before each block's second convolution and before the
            read-out, the same ones at all steps.
    """

    dropout: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is a share from 0 to below 1, found {self.dropout}")

    def build(
        self, sample_shape: tuple[int, ...], classes: int, neuron: NeuronRecipe
    ) -> SpikingNetwork:
        """Build the network for samples (C, H, W); the last maps are averaged whole.

        Raises:
            InputError: samples are not (C, H, W).
        """
        inputs, size = channels_and_size(sample_shape, "resnet18")
        channels = STAGES[0][0]
        layers: dict[str, nn.Module] = {
            "conv": nn.Conv2d(inputs, channels, 3, padding=1, bias=False)
        }
        sources: dict[str, tuple[str, ...]] = {}
        neurons = Neurons(neuron)
        arriving = ("conv",)
        for stage, (width, first_stride) in enumerate(STAGES, start=1):
            for number, stride in enumerate((first_stride, 1), start=1):
                block = f"block{stage}_{number}"
                layers[f"{block}_bn1"] = nn.BatchNorm2d(channels)
                sources[f"{block}_bn1"] = arriving
                layers[f"{block}_lif1"] = neurons.layer(channels, *size)
                shortcut = f"{block}_lif1"
                if (stride, channels) != (1, width):
                    shortcut = f"{block}_shortcut"
                    layers[shortcut] = nn.Conv2d(channels, width, 1, stride)
                layers[f"{block}_conv1"] = nn.Conv2d(channels, width, 3, stride, padding=1)
                sources[f"{block}_conv1"] = (f"{block}_lif1",)
                layers[f"{block}_bn2"] = nn.BatchNorm2d(width)
                layers[f"{block}_lif2"] = neurons.layer(width, *strided(size, stride))
                if self.dropout:
                    layers[f"{block}_drop"] = Dropout(self.dropout)
                layers[f"{block}_conv2"] = nn.Conv2d(width, width, 3, padding=1)
                arriving = (f"{block}_conv2", shortcut)
                channels, size = width, strided(size, stride)
        layers["bn"] = nn.BatchNorm2d(channels)
        sources["bn"] = arriving
        layers["lif"] = neurons.layer(channels, *size)
        readout = grid_readout(channels, size, 1, classes)
        classifier = readout.pop("fc")
        layers.update(readout)
        if self.dropout:
            layers["drop"] = Dropout(self.dropout)
        layers["fc"] = classifier
        init_convolutions(layers, zero_bias=False)
        if isinstance(classifier, nn.Linear):
            nn.init.zeros_(classifier.bias)
        return SpikingNetwork(layers, sample_shape, sources)


@dataclass(frozen=True)
class NFResNet:
    """Options of family ``nf_resnet``: 7 x 7 convolution, pooling, four stages, pool - fc.

    ResNet-34, -50 and -101 without normalisers, for ImageNet (Brock et al. 2021), with LIF neurons
    as in the official code of SLTT (Meng et al. 2023).

    A block maps the stream x, whose expected variance is beta^2, to

        x + alpha gain f(x / beta),  f = LIF - (x 2.74 - conv - LIF)... - x 2.74 - conv

    with weight-standardised convolutions, alpha = 0.2 and a learned gain that starts at 0. Where
    the shape changes, a 1 x 1 convolution of 2.74 LIF(x / beta) stands for x in the sum, and beta^2
    starts again from 1. Blocks have two 3 x 3 convolutions at depth 34; at depths 50 and 101 they
    have 1 x 1, 3 x 3 and 1 x 1, with four times the channels at the end.

    The stream carries real numbers: on a chip with graded spikes it is populations of relays. On
    another a neuron reads it through the weights of every block before it in its stage, and the
    first stage reads the sample, which must be spikes then.

    Attributes:
        depth: 34, 50 or 101 layers.
    """

    depth: Literal[34, 50, 101] = 34

    def build(
        self, sample_shape: tuple[int, ...], classes: int, neuron: NeuronRecipe
    ) -> SpikingNetwork:
        """Build the network for samples (C, H, W); the last maps are averaged whole.

        Raises:
            InputError: samples are not (C, H, W).
        """
        inputs, size = channels_and_size(sample_shape, "nf_resnet")
        channels = STAGES[0][0]
        layers: dict[str, nn.Module] = {
            "conv": WSConv2d(inputs, channels, 7, 2, padding=3),
            "pool": nn.AvgPool2d(3, 2, padding=1),
        }
        size = strided(strided(size, 2), 2)
        sources: dict[str, tuple[str, ...]] = {}
        neurons = Neurons(neuron)
        expansion = 1 if self.depth == 34 else 4
        stream, variance = "pool", 1.0
        for stage, (width, first_stride) in enumerate(STAGES, start=1):
            for number in range(1, BLOCKS[self.depth][stage - 1] + 1):
                block, stride = f"block{stage}_{number}", first_stride if number == 1 else 1
                changes = (stride, channels) != (1, width * expansion)
                layers[f"{block}_beta"] = Scale(1 / math.sqrt(variance))
                sources[f"{block}_beta"] = (stream,)
                layers[f"{block}_lif1"] = neurons.layer(channels, *size)
                layers[f"{block}_scale1"] = Scale(ACTIVATION_GAIN)
                if changes:
                    layers[f"{block}_shortcut"] = WSConv2d(channels, width * expansion, 1, stride)
                    stream, variance = f"{block}_shortcut", 1.0
                convolutions = self._convolutions(channels, width, stride)
                inside = channels, size
                for i, convolution in enumerate(convolutions, start=1):
                    if i > 1:
                        layers[f"{block}_lif{i}"] = neurons.layer(inside[0], *inside[1])
                        layers[f"{block}_scale{i}"] = Scale(ACTIVATION_GAIN)
                    layers[f"{block}_conv{i}"] = convolution
                    inside = convolution.out_channels, strided(inside[1], convolution.stride[0])
                sources[f"{block}_conv1"] = (f"{block}_scale1",)
                layers[f"{block}_gain"] = SkipInit(ALPHA)
                layers[f"{block}_sum"] = nn.Identity()
                sources[f"{block}_sum"] = (f"{block}_gain", stream)
                stream, variance = f"{block}_sum", variance + ALPHA**2
                channels, size = width * expansion, strided(size, stride)
        readout = grid_readout(channels, size, 1, classes)
        layers.update({"average" if name == "pool" else name: m for name, m in readout.items()})
        init_convolutions(layers, zero_bias=True)
        if isinstance(readout["fc"], nn.Linear):
            nn.init.zeros_(readout["fc"].weight)
        return SpikingNetwork(layers, sample_shape, sources)

    def _convolutions(self, channels: int, width: int, stride: int) -> list[WSConv2d]:
        """Those of one block's residual, in order."""
        if self.depth == 34:
            return [
                WSConv2d(channels, width, 3, stride, padding=1),
                WSConv2d(width, width, 3, padding=1),
            ]
        return [
            WSConv2d(channels, width, 1),
            WSConv2d(width, width, 3, stride, padding=1),
            WSConv2d(width, 4 * width, 1),
        ]
