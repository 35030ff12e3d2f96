"""Mapping: a quantised network on the cores of a chip, with every published limit checked."""

from neurodeploy.mapping.constraints import CONSTRAINTS, check
from neurodeploy.mapping.mapping import CoreUse, Mapping, Placement, Violation
from neurodeploy.mapping.partition import map_network

__all__ = [
    "CONSTRAINTS",
    "CoreUse",
    "Mapping",
    "Placement",
    "Violation",
    "check",
    "map_network",
]
