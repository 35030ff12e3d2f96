"""Reading a .nir file from disk, with one clear message for everything that can be wrong."""

from __future__ import annotations

from pathlib import Path

import nir

from neurodeploy.errors import InputError


def read_nir(path: Path) -> nir.NIRGraph:
    """Read a NIR graph.

    NIR's own type check adds inputs and outputs that a file leaves out, but refuses grouped and
    some rectangular convolutions. What it refuses is read without it: the import checks shapes.

    Raises:
        InputError: the file is absent, not HDF5 or not NIR.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        try:
            graph = nir.read(path)
        except ValueError:
            graph = nir.read(path, type_check=False)
    except Exception as error:  # nir raises KeyError, OSError, AssertionError, ... by the defect
        detail = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path}: not a readable NIR file: {detail}") from None
    if not isinstance(graph, nir.NIRGraph):
        raise InputError(f"{path}: holds a single {type(graph).__name__} node, not a graph")
    return graph
