"""NIR graphs on disk, with one clear message for everything that can be wrong with a file."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np

from neurodeploy.errors import InputError
from neurodeploy.interchange.hdf5.safe import read_tree
from neurodeploy.interchange.nir.primitives import graph_of
from neurodeploy.support.files import written_whole


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
    """Write a graph as ``nir.write`` does, whole or not at all.

    Also graphs that it cannot write, though frameworks make them: with parameters that are single
    numbers or torch tensors, with convolutions and Flatten that do not say what shape they take.

    Raises:
        InputError: a node is None, or the file cannot be written.
    """
    with written_whole(path) as temporary, h5py.File(temporary, "w") as file:
        file["version"] = nir.version
        _write_graph(file.create_group("node"), graph)


def _write_graph(group: h5py.Group, graph: nir.NIRGraph) -> None:
    group["type"] = "NIRGraph"
    nodes = group.create_group("nodes")
    for name, node in graph.nodes.items():
        if node is None:
            raise InputError(
                f"node {name!r} is None: the exporter could not translate that layer, and NIR has "
                "no file without it"
            )
        _write_node(nodes.create_group(name), node)
    group.create_dataset("edges", data=list(graph.edges), dtype=h5py.string_dtype())
    _write_table(group, "metadata", graph.metadata)


def _write_node(group: h5py.Group, node: Any) -> None:
    if isinstance(node, nir.NIRGraph):
        _write_graph(group, node)
        return
    group["type"] = type(node).__name__
    values = {field.name: getattr(node, field.name, None) for field in fields(node)}
    types = {key: values.pop(f"{key}_type") or {} for key in ("input", "output")}
    _write_table(group, "metadata", values.pop("metadata"))
    if isinstance(node, nir.Input | nir.Output):
        values["shape"] = types["input"].get("input")
    if isinstance(node, nir.Flatten):
        values["input_type"] = types["input"].get("input")
    for name, value in values.items():
        if value is not None:
            _write(group, name, value)


def _write_table(group: h5py.Group, name: str, table: Any) -> None:
    for key, value in (table or {}).items():
        inner = group.require_group(name)
        if isinstance(value, dict):
            _write_table(inner, key, value)
        else:
            _write(inner, key, value)


def _write(group: h5py.Group, name: str, value: Any) -> None:
    array = value if isinstance(value, str | bytes) else np.asarray(value)
    packed = isinstance(array, np.ndarray) and array.ndim > 0 and array.dtype.kind in "fiub"
    group.create_dataset(name, data=array, compression="gzip" if packed else None)
