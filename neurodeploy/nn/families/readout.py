"""What stands behind the last weights of a network family, and how its output is read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from torch import nn

from neurodeploy.errors import InputError
from neurodeploy.nn.current import LI
from neurodeploy.nn.network import SpikingNetwork
from neurodeploy.nn.populations import Neurons
from neurodeploy.recipe import NeuronRecipe
from neurodeploy.recipe.constants import spelled_out
from neurodeploy.support.schema import build

NAME = "out"
"""Of the layer of neurons behind the last weights, where there is one."""


@dataclass(frozen=True)
class Readout:
    """Options of ``[network] readout``; the class is argmax of sum_t o[t].

    ============= ==========================================================================
    ``sum``       o[t] = W s[t] + b, which a chip adds up in a neuron that neither leaks nor
                  fires
    ``integrate`` o[t] = v[t], v[t] = v[t-1] + I[t]: the loss of each step sees all so far
    ``leak``      o[t] = v[t], v[t] = (1 - 1/tau) v[t-1] + I[t]
    ``count``     o[t] are the spikes of neurons as ``[neuron]`` describes them
    ============= ==========================================================================

    with the current I[t] = (1 - 1/tau_syn) I[t-1] + W s[t] + b.

    Attributes:
        kind: one of these.
        tau: of ``leak``, in steps, above 1; of ``count``, where it is not that of ``[neuron]``.
        tau_syn: of the current, at least 1, likewise; 1 for none.
        learn: whether the time constants that the kind has are learned, one for all outputs.
        decode: of ``integrate`` and ``leak``, ``sum_v``; or ``last_v`` for the class to be argmax
            of v at the end, o[t] = v[t] - v[t-1].
    """

    kind: Literal["sum", "integrate", "leak", "count"] = "sum"
    tau: float = 0.0
    tau_syn: float = 0.0
    learn: bool = False
    decode: Literal["sum_v", "last_v"] = "sum_v"

    def __post_init__(self) -> None:
        if self.kind == "leak" and not self.tau:
            raise ValueError("a read-out that leaks needs its tau, for example tau = 20.0")
        if self.tau and self.tau <= 1:
            raise ValueError(f"tau is in steps and must be above 1, found {self.tau:g}")
        if self.tau_syn and self.tau_syn < 1:
            raise ValueError(f"tau_syn is in steps and must be at least 1, found {self.tau_syn:g}")
        unused = {
            "sum": ("tau", "tau_syn", "learn"),
            "integrate": ("tau",) + (() if self.tau_syn else ("learn",)),
            "leak": (),
            "count": (),
        }[self.kind]
        given = [name for name in unused if getattr(self, name)]
        if given:
            raise ValueError(
                f"{', '.join(given)} has no effect in a read-out of kind {self.kind!r}"
            )
        if self.decode != "sum_v" and self.kind in ("sum", "count"):
            raise ValueError(f"a read-out of kind {self.kind!r} has no v to decode")
        if self.learn and self.tau_syn == 1:
            raise ValueError("a learned tau_syn starts above 1; leave it out for no current")

    def layer(self, neuron: NeuronRecipe, classes: int) -> nn.Module | None:
        """The neurons behind the last weights; None of ``sum``."""
        tau_syn = self.tau_syn or 1.0
        if self.kind == "sum":
            return None
        if self.kind == "count":
            return self._counted(neuron, classes)
        return LI(
            self.tau or math.inf,
            tau_syn,
            decode=self.decode,
            learn_tau=self.learn and self.kind == "leak",
            learn_tau_syn=self.learn and tau_syn > 1,
        )

    def _counted(self, neuron: NeuronRecipe, classes: int) -> nn.Module:
        for name in ("tau", "tau_syn"):
            if spelled_out(getattr(neuron, name)).layers and not getattr(self, name):
                raise InputError(
                    f"[neuron] {name} lists one value per hidden layer: give the neurons that are "
                    f'counted their own, [network] readout = {{kind = "count", {name} = ...}}'
                )
        table = {"learn": True} if self.learn else {}
        own: dict[str, Any] = {
            name: replace(spelled_out(getattr(self, name)), **table)
            if table
            else getattr(self, name)
            for name in ("tau", "tau_syn")
            if getattr(self, name)
        }
        return Neurons(replace(neuron, **own)).layer(classes)


def take_readout(options: dict[str, Any], where: str) -> Readout:
    """The options of a network's ``readout``, which are taken out of those of its family.

    Raises:
        InputError: unknown or contradictory options.
    """
    found = options.pop("readout", {})
    table = found if isinstance(found, Mapping) else {"kind": found}
    return build(Readout, table, f"{where} readout")


def with_readout(
    network: SpikingNetwork, readout: Readout, neuron: NeuronRecipe, classes: int
) -> SpikingNetwork:
    """The network with its readout behind the last weights."""
    layer = readout.layer(neuron, classes)
    if layer is None:
        return network
    layers = {**dict(network.layers.items()), NAME: layer}
    return SpikingNetwork(layers, network.sample_shape, network.sources)
