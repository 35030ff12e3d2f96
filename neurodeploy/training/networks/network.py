"""What every network family builds: named layers in order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from torch import Tensor, nn

from neurodeploy.recipe import NeuronRecipe
from neurodeploy.training.neuron import LIF


class SpikingNetwork(nn.Module):
    """Layers applied one after the other, once per step; the last one is the readout.

    The readout is linear and has no neuron: its value o[t] is the network's output at step t, and
    the class is argmax of sum_t o[t] (Meng et al. 2023).

    Attributes:
        layers: name to module, in order. Names are those of the nodes in an exported NIR graph,
            so that export only has to walk them.
        sample_shape: shape of one sample, without batch.
    """

    def __init__(self, layers: Mapping[str, nn.Module], sample_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.layers = nn.ModuleDict(layers)
        self.sample_shape = sample_shape

    def reset_state(self, cut: bool = True) -> None:
        """Start a batch: all membranes at zero; ``cut`` detaches them between steps."""
        for layer in self.layers.values():
            if isinstance(layer, LIF):
                layer.reset_state(cut)

    def forward(self, x: Tensor) -> Tensor:
        """One step: input (N, *sample_shape) to output o[t] (N, classes)."""
        for layer in self.layers.values():
            x = layer(x)
        return x


class Family(Protocol):
    """A network family: a frozen dataclass of options, which it turns into a network."""

    def build(
        self, sample_shape: tuple[int, ...], classes: int, neuron: NeuronRecipe
    ) -> SpikingNetwork:
        """Build the network with freshly drawn weights.

        Raises:
            InputError: the options do not suit samples of this shape.
        """
        ...
