"""Values as the narrower types that they have in a test, of which libraries say less."""

from __future__ import annotations

from typing import Any, TypeVar

import h5py
import nir

Value = TypeVar("Value")


def there(value: Value | None) -> Value:
    """What may be None elsewhere and is not here."""
    assert value is not None
    return value


def node_of(graph: nir.NIRGraph, name: str) -> Any:
    """A node of a graph, with the fields of its own kind."""
    return graph.nodes[name]


def dataset(folder: h5py.Group, name: str) -> h5py.Dataset:
    """A dataset of an HDF5 file, by its path in ``folder``."""
    found = folder[name]
    assert isinstance(found, h5py.Dataset), name
    return found


def group(folder: h5py.Group, name: str) -> h5py.Group:
    """A group of an HDF5 file, by its path in ``folder``."""
    found = folder[name]
    assert isinstance(found, h5py.Group), name
    return found
