"""NIR graphs on disk, with one clear message for everything that can be wrong with a file."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import nir
import numpy as np

from neurodeploy.errors import InputError
from neurodeploy.files import written_whole
from neurodeploy.interchange.hdf5_safe import read_tree
from neurodeploy.interchange.primitives import graph_of


def read_nir(path: Path) -> nir.NIRGraph:
    """Read a NIR graph of any origin.

    NIR's own reader is not used: it reads whatever a file declares before looking at it, and its
    type check refuses files that mean something (see ``repairs``). Shapes are left to the import.

    Raises:
        InputError: the file is absent, not HDF5, not NIR, or asks for more memory than its size
            can explain.
    """
    tree = read_tree(path, "NIR")
    root = tree.get("node")
    if not isinstance(root, dict):
        raise InputError(f"{path}: an HDF5 file, but not a NIR graph (it has no folder 'node')")
    return graph_of(root, str(path))


def write_nir(path: Path, graph: nir.NIRGraph) -> None:
    """Write a graph, whole or not at all, also one that holds single numbers or torch tensors.

    Raises:
        InputError: the file cannot be written.
    """
    nodes = {name: _writable(node) for name, node in graph.nodes.items()}
    copy = nir.NIRGraph(nodes, list(graph.edges), dict(graph.metadata), type_check=False)
    with written_whole(path) as temporary:
        nir.write(temporary, copy)


def _writable(node: Any) -> Any:
    """A copy with numpy arrays and plain numbers, which is what ``nir.write`` can write."""
    copy = object.__new__(type(node))
    for field in fields(node):
        setattr(copy, field.name, _plain(getattr(node, field.name, None)))
    return copy


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, str | dict | list):
        return value
    array = np.asarray(value)
    return array if array.ndim else array[()]
