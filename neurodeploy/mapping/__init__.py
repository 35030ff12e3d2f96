"""Mapping: a quantised network on the cores of a chip, with every published limit checked."""

from neurodeploy.mapping.constraints import CONSTRAINTS, check
from neurodeploy.mapping.mapping import CoreMapping, CoreUse, Placement, Violation
from neurodeploy.mapping.partition import map_network

__all__ = [
    "CONSTRAINTS",
    "CoreMapping",
    "CoreUse",
    "Placement",
    "Violation",
    "check",
    "map_network",
]
