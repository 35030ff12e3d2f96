"""Weights taken out by magnitude, and what keeps them out."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from torch import Tensor, nn

from neurodeploy.errors import InputError, UnsupportedError, nearest
from neurodeploy.nn.delays import DelayedLinear
from neurodeploy.nn.layers import SparseLinear, WSConv2d
from neurodeploy.nn.network import SpikingNetwork
from neurodeploy.recipe.pruning import PruneBy, PruneOver
from neurodeploy.sparsity.channels import channel_masks
from neurodeploy.sparsity.ranking import smallest_left_out

WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d, DelayedLinear, SparseLinear)
"""Layers whose ``weight`` holds one number for each synapse, or for each that shares it."""


class Masks:
    """Parameters' values that are zero, and stay it.

    Attributes:
        kept: by parameter, what of it is not masked, bool of its shape.
    """

    def __init__(self, kept: Mapping[nn.Parameter, Tensor] | None = None) -> None:
        self.kept = dict(kept or {})

    @torch.no_grad()
    def apply(self) -> None:
        """Make the masked values zero, as after each step of an optimiser."""
        for parameter, kept in self.kept.items():
            parameter.mul_(kept)

    @torch.no_grad()
    def mask_gradients(self) -> None:
        """Make their gradients zero, so that nothing is drawn, clipped or remembered for them."""
        for parameter, kept in self.kept.items():
            if parameter.grad is not None:
                parameter.grad.mul_(kept)


@torch.no_grad()
def prune(
    module: nn.Module,
    share: float,
    *,
    by: PruneBy = "weight",
    over: PruneOver = "layer",
    spare: Collection[str] = (),
) -> Masks:
    """Make a share of a module's weights zero, those of the smallest magnitude.

    What is zero already has the smallest magnitude of all: with a growing share, weights only go.
    Equal magnitudes go in the order that they stand in.

    Args:
        share: from 0 to below 1; of n weights, floor(share n) become zero.
        by: single ``weight``s, or output ``channel``s with their bias, their batch norm and the
            weights of all that reads nothing else; that needs a ``nn.SpikingNetwork``.
        over: each ``layer`` loses that share, or the ``network`` in one ranking.
        spare: names of layers that lose nothing.

    Returns:
        What keeps them zero: call ``apply`` after each step of the optimiser, and, where its state
        or a clipped norm should know nothing of them, ``mask_gradients`` before it.

    Raises:
        InputError: the share is out of range, or there are no such layers.
        UnsupportedError: a layer whose weights would not stay zero.
    """
    if not 0 <= share < 1:
        raise InputError(f"prune: share is from 0 to below 1, found {share:g}")
    layers = prunable(module, spare)
    if by == "channel":
        if not isinstance(module, SpikingNetwork):
            raise UnsupportedError(
                f"prune by channel has to know what reads what, which {type(module).__name__} does "
                'not say; make it a nn.SpikingNetwork, or prune by="weight"'
            )
        found = Masks(channel_masks(module, layers, share, over))
    else:
        weights = {
            name: weight
            for name, layer in layers.items()
            if isinstance(weight := layer.weight, nn.Parameter)
        }
        sizes = {name: weight.detach().abs() for name, weight in weights.items()}
        kept = smallest_left_out(sizes, share, over)
        found = Masks({weights[name]: mask for name, mask in kept.items()})
    found.apply()
    return found


def prunable(
    module: nn.Module, spare: Collection[str] = (), where: str = "prune"
) -> dict[str, nn.Module]:
    """The layers of a module that can lose weights, by name.

    Args:
        spare: names of layers that are left out.
        where: names the place in messages.

    Raises:
        InputError: a layer to spare is not among them, or none is left.
        UnsupportedError: a layer whose weights would not stay zero.
    """
    found: dict[str, nn.Module] = {}
    for whole, layer in module.named_modules():
        name = whole.removeprefix("layers.")
        if not isinstance(layer, WEIGHTED):
            continue
        if isinstance(layer, WSConv2d):
            raise UnsupportedError(
                f"{where}: layer {name} standardises its weights, which makes something else of "
                "zeros; take a network without weight standardisation"
            )
        if not isinstance(layer.weight, nn.Parameter):
            raise UnsupportedError(
                f"{where}: the weight of layer {name} is computed from something else, which would "
                "not keep its zeros"
            )
        found[name] = layer
    for name in spare:
        if name not in found:
            raise InputError(f"{where}: no layer {name!r} to spare{nearest(name, found)}")
    left = {name: layer for name, layer in found.items() if name not in spare}
    if not left:
        raise InputError(f"{where}: {type(module).__name__} has no weights to take out")
    return left


def zero_share(module: nn.Module) -> float:
    """The share of a module's weights that are exactly zero, 0 to 1."""
    weights = [m.weight for m in module.modules() if isinstance(m, WEIGHTED)]
    count = sum(weight.numel() for weight in weights)
    return 1 - sum(int(torch.count_nonzero(w)) for w in weights) / count if count else 0.0
