"""Chips: every limit with its source, what events on them cost, and what whole networks took."""

from neurodeploy.target.costs import Duration, Energy, Reading
from neurodeploy.target.figures import Ability, Figure, Limit, Quality, Quantity, Widths
from neurodeploy.target.limits import (
    Chip,
    Core,
    NeuronLimits,
    SpikeLimits,
    Synapse,
    SynapseMemory,
)
from neurodeploy.target.load import Target, builtin_targets, load_target

__all__ = [
    "Ability",
    "Chip",
    "Core",
    "Duration",
    "Energy",
    "Figure",
    "Limit",
    "NeuronLimits",
    "Quality",
    "Quantity",
    "Reading",
    "SpikeLimits",
    "Synapse",
    "SynapseMemory",
    "Target",
    "Widths",
    "builtin_targets",
    "load_target",
]
