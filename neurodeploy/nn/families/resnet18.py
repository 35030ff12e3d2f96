"""Pre-activation ResNet-18 for CIFAR, with shortcuts that carry spikes (Meng et al. 2023)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from neurodeploy.nn.families.maps import (
    channels_and_size,
    grid_readout,
    init_convolutions,
    strided,
)
from neurodeploy.nn.layers import Dropout
from neurodeploy.nn.network import SpikingNetwork
from neurodeploy.nn.neuron import LIF
from neurodeploy.recipe import NeuronRecipe

STAGES = ((64, 1), (128, 2), (256, 2), (512, 2))
"""Channels, and stride of the first of the two blocks."""


@dataclass(frozen=True)
class ResNet18:
    """Options of family ``resnet18``: conv, four stages of two blocks, bn - lif - pool - fc.

    A block is bn1 - lif1 - conv1 - bn2 - lif2 - (drop) - conv2, and its shortcut starts behind
    lif1: as it is, or through a 1 x 1 convolution where the shape changes. So every synapse behind
    the first convolution sees spikes, and the network can be deployed. The sum of conv2 and the
    shortcut is what the next block's bn1 reads; at export it goes into the two.
    11,176,906 parameters with 3 input channels and 10 classes.

    Attributes:
        dropout: share of the neurons silenced before each block's second convolution and before
            the readout, the same ones at all steps.
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
        arriving = ("conv",)
        for stage, (width, first_stride) in enumerate(STAGES, start=1):
            for number, stride in enumerate((first_stride, 1), start=1):
                block = f"block{stage}_{number}"
                layers[f"{block}_bn1"] = nn.BatchNorm2d(channels)
                sources[f"{block}_bn1"] = arriving
                layers[f"{block}_lif1"] = LIF.of(neuron)
                shortcut = f"{block}_lif1"
                if (stride, channels) != (1, width):
                    shortcut = f"{block}_shortcut"
                    layers[shortcut] = nn.Conv2d(channels, width, 1, stride)
                layers[f"{block}_conv1"] = nn.Conv2d(channels, width, 3, stride, padding=1)
                sources[f"{block}_conv1"] = (f"{block}_lif1",)
                layers[f"{block}_bn2"] = nn.BatchNorm2d(width)
                layers[f"{block}_lif2"] = LIF.of(neuron)
                if self.dropout:
                    layers[f"{block}_drop"] = Dropout(self.dropout)
                layers[f"{block}_conv2"] = nn.Conv2d(width, width, 3, padding=1)
                arriving = (f"{block}_conv2", shortcut)
                channels, size = width, strided(size, stride)
        layers["bn"] = nn.BatchNorm2d(channels)
        sources["bn"] = arriving
        layers["lif"] = LIF.of(neuron)
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
