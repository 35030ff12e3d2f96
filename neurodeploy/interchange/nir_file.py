"""Reading a .nir file from disk, with one clear message for everything that can be wrong."""

from __future__ import annotations

from pathlib import Path

import nir

from neurodeploy.errors import InputError


def read_nir(path: Path) -> nir.NIRGraph:
    """Read and type-check a NIR graph.

    Raises:
        InputError: the file is absent, not HDF5, not NIR, or fails NIR's own type check.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        graph = nir.read(path)
    except Exception as error:  # nir raises KeyError, OSError, AssertionError, ... by the defect
        detail = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path}: not a readable NIR file: {detail}") from None
    if not isinstance(graph, nir.NIRGraph):
        raise InputError(f"{path}: holds a single {type(graph).__name__} node, not a graph")
    return graph
