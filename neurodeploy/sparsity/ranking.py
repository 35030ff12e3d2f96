"""The smallest of some values, layer by layer or in one ranking."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from neurodeploy.recipe.pruning import PruneOver

ROUNDING = 1e-9
"""So that nine tenths of ten are nine."""


def smallest_left_out(
    sizes: Mapping[str, Tensor], share: float, over: PruneOver, least: int = 0
) -> dict[str, Tensor]:
    """Which entries stay when floor(share n) of n go, the smallest first; bool in their shapes.

    Of equal ones the first go first.

    Args:
        sizes: by layer.
        over: n is the number of a ``layer``'s entries, or of all the ``network``'s.
        least: how many entries of every layer stay at least.
    """
    groups = [[*sizes]] if over == "network" else [[name] for name in sizes]
    kept: dict[str, Tensor] = {}
    for names in groups:
        parts = [sizes[name].flatten() for name in names]
        joined = torch.cat(parts) if parts else torch.zeros(0)
        stays = torch.ones_like(joined, dtype=torch.bool)
        stays[joined.argsort(stable=True)[: int(share * len(joined) + ROUNDING)]] = False
        split = stays.split([len(part) for part in parts])
        for name, part, stay in zip(names, parts, split, strict=True):
            stay[part.argsort(stable=True)[len(part) - least :]] = True
            kept[name] = stay.view(sizes[name].shape)
    return kept
