"""Whole channels taken out: their weights, what is added to them, and what they feed alone."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from neurodeploy.nn.layers import Dropout, Scale
from neurodeploy.nn.network import INPUT, SpikingNetwork
from neurodeploy.nn.populations import spikes
from neurodeploy.recipe.pruning import PruneOver
from neurodeploy.sparsity.ranking import smallest_left_out

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
PASSING = (nn.Flatten, nn.AvgPool2d, nn.Identity, nn.Dropout, nn.Dropout2d, Dropout, Scale)
"""Layers that make zeros of zeros and keep channels apart."""


def channel_masks(
    network: SpikingNetwork, layers: Mapping[str, nn.Module], share: float, over: PruneOver
) -> dict[nn.Parameter, Tensor]:
    """What stays of a network's parameters when channels of hidden neurons go.

    A channel is an output of a convolution, or a neuron of a fully connected layer. It is as large
    as the mean magnitude of its weights. With it go its bias, its batch norm, and the weights of
    what reads its spikes, unless its neurons get something from elsewhere. Every layer keeps one
    channel. Outputs of the network are no channels.

    Args:
        layers: those that can lose weights, by name.
    """
    hidden = {name: layer for name, layer in layers.items() if _leads_to_neurons(network, name)}
    sizes = {
        name: layer.weight.detach().abs().flatten(1).mean(1)
        for name, layer in hidden.items()
        if isinstance(layer.weight, Tensor) and layer.weight.ndim > 1
    }
    stays = smallest_left_out(sizes, share, over, least=1)
    masks: dict[nn.Parameter, Tensor] = {}

    def leave(parameter: object, kept: Tensor) -> None:
        if isinstance(parameter, nn.Parameter):
            before = masks.get(parameter)
            kept = kept.expand(parameter.shape)
            masks[parameter] = kept.clone() if before is None else before & kept

    for name, kept in stays.items():
        layer = hidden[name]
        leave(layer.weight, kept.view(-1, *[1] * (layer.weight.ndim - 1)))  # pyright: ignore
        leave(layer.bias, kept)
        reached = [name]
        for reader in network.readers[name]:
            if isinstance(network.layers[reader], NORMS) and network.sources[reader] == (name,):
                leave(network.layers[reader].weight, kept)
                leave(network.layers[reader].bias, kept)
                reached.append(reader)
        for reader in network.readers[reached[-1]]:
            alone = network.sources[reader] == (reached[-1],)
            if alone and spikes(network.layers[reader]):
                silent = torch.zeros(1, *network.shapes[reader], device=kept.device)
                silent[:, ~kept] = 1
                for readers, columns in _columns(network, layers, reader, silent):
                    leave(layers[readers].weight, columns)
    return masks


def _leads_to_neurons(network: SpikingNetwork, name: str) -> bool:
    """Whether hidden neurons read a layer, through a batch norm or not."""
    *_, last = network.layers
    return any(
        (spikes(network.layers[reader]) and reader != last)
        or (isinstance(network.layers[reader], NORMS) and _leads_to_neurons(network, reader))
        for reader in network.readers[name]
    )


def _columns(
    network: SpikingNetwork, layers: Mapping[str, nn.Module], source: str, silent: Tensor
) -> list[tuple[str, Tensor]]:
    """The layers that read neurons some of which are silent, and which of their inputs stay.

    Args:
        silent: 1 where a value is always 0, (1, ...).
    """
    found: list[tuple[str, Tensor]] = []
    for name in network.readers[source]:
        layer = network.layers[name]
        if network.sources[name] != (source,) or source == INPUT:
            continue
        if isinstance(layer, PASSING):
            # A mean over values that are all silent is silent.
            passed = silent if isinstance(layer, Dropout | Scale | nn.Dropout) else layer(silent)
            found += _columns(network, layers, name, (passed >= 1).to(silent.dtype))
        elif name not in layers:
            continue
        elif type(layer) is nn.Linear and silent.ndim == 2:
            found.append((name, silent[0] == 0))
        elif isinstance(layer, nn.Conv1d | nn.Conv2d) and layer.groups == 1:
            stays = ~(silent[0].flatten(1) >= 1).all(1)
            found.append((name, stays.view(1, -1, *[1] * (layer.weight.ndim - 2))))
    return found
