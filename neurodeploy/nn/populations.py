"""Layers of neurons as a recipe's ``[neuron]`` describes them."""

from __future__ import annotations

from neurodeploy.nn.current import CubaLIF
from neurodeploy.nn.neuron import LIF
from neurodeploy.recipe import NeuronRecipe


class Neurons:
    """Makes the layers of neurons of one network, in order.

    Attributes:
        neuron: what the recipe says.
    """

    def __init__(self, neuron: NeuronRecipe) -> None:
        self.neuron = neuron

    def layer(self, *shape: int) -> LIF | CubaLIF:
        """The next layer, of neurons in this shape; ``CubaLIF`` where there is a current."""
        return LIF.of(self.neuron) if self.neuron.tau_syn == 1 else CubaLIF.of(self.neuron)
