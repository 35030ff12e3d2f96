"""Fully connected LIF layers with recurrence, for event data."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import nn

from neurodeploy.nn.families.maps import check_hidden
from neurodeploy.nn.network import SpikingNetwork
from neurodeploy.nn.neuron import LIF
from neurodeploy.recipe import NeuronRecipe


@dataclass(frozen=True)
class Recurrent:
    """Options of family ``recurrent``. After flattening, layer i is fc_i + rec_i - lif_i.

    rec_i maps the spikes that lif_i sent at the previous step: x[t] = W s_below[t] + b + R s[t-1].
    Rules that cut gradients between steps (SLTT, OTTT) train R on the previous spikes as given,
    and nothing flows through them into the past.

    Attributes:
        hidden: neurons of each hidden layer.
    """

    hidden: tuple[int, ...]

    def __post_init__(self) -> None:
        check_hidden(self.hidden)

    def build(
        self, sample_shape: tuple[int, ...], classes: int, neuron: NeuronRecipe
    ) -> SpikingNetwork:
        """Build the network for samples of any shape."""
        layers: dict[str, nn.Module] = {"flatten": nn.Flatten()}
        sources: dict[str, tuple[str, ...]] = {}
        width = math.prod(sample_shape)
        for i, size in enumerate(self.hidden, start=1):
            layers[f"fc{i}"] = nn.Linear(width, size)
            # The layer has one bias already, that of fc_i.
            layers[f"rec{i}"] = nn.Linear(size, size, bias=False)
            layers[f"lif{i}"] = LIF.of(neuron)
            sources[f"rec{i}"] = (f"lif{i}",)
            sources[f"lif{i}"] = (f"fc{i}", f"rec{i}")
            width = size
        layers["fc"] = nn.Linear(width, classes)
        return SpikingNetwork(layers, sample_shape, sources)
