"""Layers of neurons as a recipe's ``[neuron]`` describes them."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from neurodeploy.errors import InputError
from neurodeploy.nn.constants import Learning, Parameter
from neurodeploy.nn.current import CubaLIF
from neurodeploy.nn.neuron import LIF
from neurodeploy.recipe import NeuronRecipe
from neurodeploy.recipe.constants import TimeConstant, spelled_out


class Neurons:
    """Makes the layers of neurons of one network, in order.

    What is drawn comes from torch's global generator.

    Attributes:
        neuron: what the recipe says.
        made: layers so far.
    """

    def __init__(self, neuron: NeuronRecipe) -> None:
        self.neuron = neuron
        self.made = 0
        self._of_network: dict[str, Any] = {}

    def layer(self, *shape: int) -> LIF | CubaLIF:
        """The next layer, of neurons in this shape; ``CubaLIF`` where there is a current.

        Raises:
            InputError: the recipe has constants for fewer layers, or an unknown surrogate.
        """
        neuron = self.neuron
        options: Any = (neuron.v_threshold, neuron.reset, neuron.comparison, neuron.surrogate)
        named: dict[str, Any] = {"refractory_period": neuron.refractory_period}
        tau, tau_syn = spelled_out(neuron.tau), spelled_out(neuron.tau_syn)
        keep = self._keep("tau", tau, shape)
        if neuron.tau_syn == 1:
            if tau.draw or tau.learn:
                layer = LIF.keeping(keep, *options, learn_tau=tau.learn, **named)
            else:
                layer = LIF(_of_layer(tau, "tau", self.made), *options, **named)
            self._share(layer, "tau_w", tau)
        else:
            u_keep = self._keep("tau_syn", tau_syn, shape)
            learn = {"learn_tau": tau.learn, "learn_tau_syn": tau_syn.learn}
            layer = CubaLIF.keeping(keep, u_keep, *options, **learn, **named)
            self._share(layer.lif, "tau_w", tau)
            self._share(layer, "tau_syn_w", tau_syn)
        self.made += 1
        return layer

    def _keep(self, name: str, constant: TimeConstant, shape: tuple[int, ...]) -> Parameter:
        """The share kept per step, 1 - 1/tau, of the next layer: one, or one per neuron."""
        size = shape if constant.per == "neuron" else ()
        if not constant.draw:
            share = 1 - 1 / _of_layer(constant, name, self.made)
            per_neuron = constant.learn and constant.per == "neuron"
            return torch.full(size, share) if per_neuron else share
        if constant.per == "network" and name in self._of_network:
            return self._of_network[name]
        # As a file holds it: what a neuron keeps, not the tau that it comes from.
        share = 1 - 1 / _drawn(constant, size).double()
        kept = share.to(torch.get_default_dtype()) if constant.per == "neuron" else float(share)
        if constant.per == "network":
            self._of_network[name] = kept
        return kept

    def _share(self, layer: Learning, name: str, constant: TimeConstant) -> None:
        """One parameter for all layers where the network has one."""
        if constant.learn and constant.per == "network":
            own = layer.learned(name)
            setattr(layer, name, self._of_network.setdefault(f"learned {name}", own))


def _of_layer(constant: TimeConstant, name: str, number: int) -> float:
    """The value of a layer, counted from 0."""
    if not isinstance(constant.value, tuple):
        return constant.value
    if number >= len(constant.value):
        raise InputError(
            f"[neuron] {name} lists {len(constant.value)} values, and the network has more layers "
            "of neurons; give one per layer, or one for all"
        )
    return constant.value[number]


def _drawn(constant: TimeConstant, size: tuple[int, ...]) -> Tensor:
    """Time constants in steps."""
    tau = torch.empty(size)
    low, high = constant.low, constant.high
    if constant.draw == "uniform":
        return tau.uniform_(low, high)
    if constant.draw == "log_uniform":
        return tau.uniform_(math.log(low), math.log(high)).exp_().clamp_(low, high)
    return nn.init.trunc_normal_(tau, constant.first, constant.deviation, low, high)


def check_all_used(neuron: NeuronRecipe, made: int) -> None:
    """Refuse constants for more layers than a network has.

    Raises:
        InputError: a list is longer.
    """
    for name in ("tau", "tau_syn"):
        listed = spelled_out(getattr(neuron, name)).layers
        if listed and listed != made:
            raise InputError(
                f"[neuron] {name} lists {listed} values for {made} layer{'s' * (made > 1)} of "
                "hidden neurons; give one per layer, or one for all"
            )


def spikes(layer: nn.Module) -> bool:
    """Whether a layer is one of neurons that spike, in floats or on integers."""
    return isinstance(getattr(layer, "lif", layer), LIF | CubaLIF)
