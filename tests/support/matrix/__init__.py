"""What every framework computes against what its file is read as here: the cells of a matrix.

A module per framework that is installed for the tests, and one for the recorded traces of others;
each has ``cells()``, of neurons and of layers.
"""

from __future__ import annotations

from importlib import import_module

import pytest

from support.matrix.cell import Cell

MODULES = ("norse", "snntorch", "sinabs", "spikingjelly", "recorded")


def all_cells() -> tuple[list[Cell], list[Cell]]:
    """Of neurons, and of layers, without those of frameworks that are missing here."""
    neurons, layers = [], []
    for name in MODULES:
        try:
            found = import_module(f"support.matrix.{name}").cells()
        except (ImportError, pytest.skip.Exception):
            continue
        neurons += found[0]
        layers += found[1]
    return neurons, layers
