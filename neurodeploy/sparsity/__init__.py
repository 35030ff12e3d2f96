"""Fewer spikes and fewer synapses: prices on rates in training, and weights that are taken out.

A new regulariser is a file with an options dataclass, and a line in ``REGULARISERS``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from neurodeploy.errors import InputError, nearest
from neurodeploy.sparsity.mean_rate import MeanRate
from neurodeploy.sparsity.priced import PricedLoss, hidden_layers
from neurodeploy.sparsity.pruning import Masks, prune, zero_share
from neurodeploy.sparsity.regulariser import Regulariser, Wiring
from neurodeploy.sparsity.saturated import Saturated
from neurodeploy.sparsity.silent import Silent
from neurodeploy.sparsity.synaptic_operations import SynapticOperations
from neurodeploy.sparsity.wiring import fan_out_of, wiring_of
from neurodeploy.support.schema import build

REGULARISERS: dict[str, type[Regulariser]] = {
    "mean_rate": MeanRate,
    "synaptic_operations": SynapticOperations,
    "silent": Silent,
    "saturated": Saturated,
}


def build_regularisers(
    tables: Mapping[str, Mapping[str, Any]], where: str = "[regularisers]"
) -> tuple[Regulariser, ...]:
    """Regularisers with their options, in the order of ``REGULARISERS``.

    Args:
        tables: options by name; one of weight 0 is left out.
        where: names them in messages.

    Raises:
        InputError: unknown regulariser or option, or a value out of range.
    """
    for name in tables:
        if name not in REGULARISERS:
            raise InputError(f"{where}: {name!r} is not known{nearest(name, REGULARISERS)}")
    asked = {name: table for name, table in tables.items() if table.get("weight") != 0}
    return tuple(
        build(kind, asked[name], f"{where} {name}")
        for name, kind in REGULARISERS.items()
        if name in asked
    )


__all__ = [
    "REGULARISERS",
    "Masks",
    "MeanRate",
    "PricedLoss",
    "Regulariser",
    "Saturated",
    "Silent",
    "SynapticOperations",
    "Wiring",
    "build_regularisers",
    "fan_out_of",
    "hidden_layers",
    "prune",
    "wiring_of",
    "zero_share",
]
