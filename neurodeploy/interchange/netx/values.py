"""Words and whole numbers in the tree of a ``.net``, or a message that names what is there."""

from __future__ import annotations

import numpy as np

from neurodeploy.errors import InputError, UnsupportedError
from neurodeploy.interchange.hdf5 import Tree

LARGEST = 2**24
"""Of any number in a file, so that no later arithmetic overflows."""

MOST_LETTERS = 32
"""Of a word, all longer than the ones that mean something."""


def array(tree: Tree, name: str, where: str) -> np.ndarray:
    """An array of any type.

    Raises:
        InputError: it is missing, or a group.
    """
    value = tree.get(name)
    if not isinstance(value, np.ndarray):
        raise InputError(f"{where}: {name!r} is {'a group' if name in tree else 'missing'}")
    return value


def word(tree: Tree, name: str, where: str) -> str:
    """One string, or an array that holds one, as slayer writes both.

    Raises:
        InputError: it is neither, or no word.
    """
    value = array(tree, name, where)
    found = value.ravel()[0] if value.size == 1 else None
    if not isinstance(found, bytes) or not found.replace(b"_", b"").isalnum():
        raise InputError(f"{where}: {name!r} is not a word")
    return found[:MOST_LETTERS].decode("ascii")


def integers(tree: Tree, name: str, where: str) -> np.ndarray:
    """Whole numbers of any type, as int64.

    Raises:
        InputError, UnsupportedError: as ``whole``.
    """
    return whole(array(tree, name, where), f"{where}: {name}")


def exact(tree: Tree, name: str, where: str) -> np.ndarray:
    """Whole numbers of an integer type, which lava-dl needs here, as int64.

    Raises:
        InputError: another type; else as ``whole``.
    """
    value = array(tree, name, where)
    if value.dtype.kind not in "iu":
        raise InputError(f"{where}: {name} is {value.dtype}; lava-dl needs integers there")
    return whole(value, f"{where}: {name}")


def whole(value: np.ndarray, where: str) -> np.ndarray:
    """Values as int64.

    Raises:
        InputError: they are no numbers, or beyond ``LARGEST``.
        UnsupportedError: they are not whole.
    """
    if value.dtype.kind not in "biuf":
        raise InputError(f"{where} is not numeric")
    if value.dtype.kind != "b":
        if not np.all(np.abs(value.astype(np.float64)) <= LARGEST):
            raise InputError(f"{where} holds numbers beyond +-{LARGEST:,}, or none at all (nan)")
        if value.dtype.kind == "f" and np.any(value != np.rint(value)):
            raise UnsupportedError(
                f"{where} holds fractions, which lava-dl's reader drops; quantise before the export"
            )
    return value.astype(np.int64)
