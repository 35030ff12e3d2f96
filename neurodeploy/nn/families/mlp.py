"""Fully connected hidden layers with LIF neurons, then a linear readout."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import nn

from neurodeploy.nn.families.maps import check_hidden
from neurodeploy.nn.network import SpikingNetwork
from neurodeploy.nn.neuron import LIF
from neurodeploy.recipe import NeuronRecipe


@dataclass(frozen=True)
class Mlp:
    """Options of family ``mlp``. After flattening, layer i is fc_i - (bn_i) - lif_i.

    Attributes:
        hidden: neurons of each hidden layer.
        batch_norm: normalise before each LIF with the statistics of the step; the running ones
            are folded into the weights at export.
    """

    hidden: tuple[int, ...]
    batch_norm: bool = False

    def __post_init__(self) -> None:
        check_hidden(self.hidden)

    def build(
        self, sample_shape: tuple[int, ...], classes: int, neuron: NeuronRecipe
    ) -> SpikingNetwork:
        """Build the network for samples of any shape."""
        layers: dict[str, nn.Module] = {"flatten": nn.Flatten()}
        width = math.prod(sample_shape)
        for i, size in enumerate(self.hidden, start=1):
            # A bias before batch norm would be subtracted again by it.
            layers[f"fc{i}"] = nn.Linear(width, size, bias=not self.batch_norm)
            if self.batch_norm:
                layers[f"bn{i}"] = nn.BatchNorm1d(size)
            layers[f"lif{i}"] = LIF.of(neuron)
            width = size
        layers["fc"] = nn.Linear(width, classes)
        return SpikingNetwork(layers, sample_shape)
