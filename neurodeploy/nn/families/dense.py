"""Fully connected networks of spiking neurons, forward or recurrent, each with a linear readout."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import nn

from neurodeploy.nn.network import SpikingNetwork
from neurodeploy.nn.populations import Neurons
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
        _check_hidden(self.hidden)

    def build(
        self, sample_shape: tuple[int, ...], classes: int, neuron: NeuronRecipe
    ) -> SpikingNetwork:
        """Build the network for samples of any shape."""
        neurons = Neurons(neuron)
        layers: dict[str, nn.Module] = {"flatten": nn.Flatten()}
        width = math.prod(sample_shape)
        for i, size in enumerate(self.hidden, start=1):
            # A bias before batch norm would be subtracted again by it.
            layers[f"fc{i}"] = nn.Linear(width, size, bias=not self.batch_norm)
            if self.batch_norm:
                layers[f"bn{i}"] = nn.BatchNorm1d(size)
            layers[f"lif{i}"] = neurons.layer(size)
            width = size
        layers["fc"] = nn.Linear(width, classes)
        return SpikingNetwork(layers, sample_shape)


@dataclass(frozen=True)
class Recurrent:
    """Options of family ``recurrent``. After flattening, layer i is fc_i + rec_i - lif_i.

    For event data. rec_i maps the spikes that lif_i sent at the previous step:
    x[t] = W s_below[t] + b + R s[t-1]. Rules that cut gradients between steps (SLTT, OTTT)
    train R on the previous spikes as given, and nothing flows through them into the past.

    Attributes:
        hidden: neurons of each hidden layer.
    """

    hidden: tuple[int, ...]

    def __post_init__(self) -> None:
        _check_hidden(self.hidden)

    def build(
        self, sample_shape: tuple[int, ...], classes: int, neuron: NeuronRecipe
    ) -> SpikingNetwork:
        """Build the network for samples of any shape."""
        neurons = Neurons(neuron)
        layers: dict[str, nn.Module] = {"flatten": nn.Flatten()}
        sources: dict[str, tuple[str, ...]] = {}
        width = math.prod(sample_shape)
        for i, size in enumerate(self.hidden, start=1):
            layers[f"fc{i}"] = nn.Linear(width, size)
            # The layer has one bias already, that of fc_i.
            layers[f"rec{i}"] = nn.Linear(size, size, bias=False)
            layers[f"lif{i}"] = neurons.layer(size)
            sources[f"rec{i}"] = (f"lif{i}",)
            sources[f"lif{i}"] = (f"fc{i}", f"rec{i}")
            width = size
        layers["fc"] = nn.Linear(width, classes)
        return SpikingNetwork(layers, sample_shape, sources)


def _check_hidden(hidden: tuple[int, ...]) -> None:
    """Refuse hidden layers that cannot be built.

    Raises:
        ValueError: there are none, or one without neurons.
    """
    if not hidden:
        raise ValueError("hidden needs at least one layer")
    if min(hidden) < 1:
        raise ValueError(f"hidden sizes must be at least 1, found {list(hidden)}")
