"""What a network's spikes make a chip read, and which of its neurons carry nothing."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from neurodeploy.errors import UnsupportedError
from neurodeploy.interchange.nir.network_in import contract_of, to_network
from neurodeploy.ir.contract import InputCode
from neurodeploy.mapping.fan_out import fan_out
from neurodeploy.nn.network import INPUT, SpikingNetwork
from neurodeploy.quantization.aware import IntegerNetwork, trained_to_nir
from neurodeploy.training.firing import SpikeCount

SATURATED = 0.9
"""Spikes per step from which a neuron counts as saturated."""


class Connectivity:
    """The synapses behind each neuron of a network that is being trained.

    They are counted on the network as it would be deployed: in floats anew only when weights have
    become zero, on integers whenever they are asked for.
    """

    def __init__(
        self, model: SpikingNetwork, code: InputCode, floats: SpikingNetwork | None = None
    ) -> None:
        """``floats``: the network that one on integers was made of, whose layers are in it."""
        self._model = model
        self._floats = floats or model
        self._code = code
        self._known: tuple[tuple[int, ...], dict[str, np.ndarray]] | None = None

    def fan_out(self) -> dict[str, np.ndarray]:
        """Synapses behind each neuron by layer, the ``input`` too, int64 in the layers' shapes.

        Raises:
            UnsupportedError: the network cannot be deployed.
        """
        if isinstance(self._model, IntegerNetwork) and self._model.is_active:
            return self._counted(self._model)
        there = tuple(int(torch.count_nonzero(w)) for w in self._floats.parameters())
        if self._known is None or self._known[0] != there:
            self._known = there, self._counted(self._floats)
        return self._known[1]

    def _counted(self, model: SpikingNetwork) -> dict[str, np.ndarray]:
        graph = trained_to_nir(model, self._code, 1)
        contract = contract_of(graph, "training")
        assert contract is not None  # it was just written
        return fan_out(to_network(graph, contract, "training"))


class Sparsity(NamedTuple):
    """What the spikes of some samples cost.

    Attributes:
        synaptic_operations: per sample, by layer of neurons and for the input: spikes times the
            synapses behind those neurons; empty where the network cannot be deployed.
        silent: by layer, the share of its neurons that never spiked.
        saturated: by layer, the share that spiked at ``SATURATED`` of the steps or more.
    """

    synaptic_operations: dict[str, float]
    silent: dict[str, float]
    saturated: dict[str, float]


def sparsity_of(count: SpikeCount, connectivity: Connectivity, steps: float) -> Sparsity:
    """What spikes cost that were counted over samples of so many steps, in the mean."""
    spikes = {name: each.cpu().numpy() for name, each in count.spikes.items()}
    try:
        behind = connectivity.fan_out()
    except UnsupportedError:
        behind = {}  # the export says why, by name
    rates = {name: each / max(count.steps[name], 1) for name, each in spikes.items()}
    hidden = {name: rate for name, rate in rates.items() if name != INPUT}
    return Sparsity(
        {
            # A frame that does not change was looked at once, and is sent at every step.
            name: float(rate @ behind[name].ravel()) * steps
            for name, rate in rates.items()
            if name in behind
        },
        {name: float((rate == 0).mean()) for name, rate in hidden.items()},
        {name: float((rate >= SATURATED).mean()) for name, rate in hidden.items()},
    )
