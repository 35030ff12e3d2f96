"""Tensors by name from safetensors files, with one message for whatever is wrong with one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from safetensors import SafetensorError, safe_open

from neurodeploy.errors import InputError
from neurodeploy.support.reading import check_file

DAMAGED = (SafetensorError, OSError, ValueError, KeyError, TypeError, AttributeError)
"""What the library raises of headers that lie, and of types that numpy does not have."""


def read_tensors(
    path: Path, framework: Literal["numpy", "pt"] = "numpy"
) -> tuple[dict[str, Any], dict[str, str]]:
    """All tensors of a file, and its metadata.

    Args:
        framework: whose arrays they become.

    Raises:
        InputError: the file is absent, unreadable or damaged.
    """
    check_file(path)
    try:
        with safe_open(path, framework=framework) as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            for name, found in tensors.items():
                # Where a package has taught numpy bfloat16, which nothing here computes with.
                if isinstance(found, np.ndarray) and found.dtype.kind not in "biuf":
                    raise ValueError(f"tensor {name!r} holds {found.dtype}")
            return tensors, file.metadata() or {}
    except DAMAGED as error:
        # Some repeat the whole head.
        reason = str(error)[:300]
        raise InputError(f"{path}: not a readable safetensors file: {reason}") from None


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """All tensors of a file as arrays.

    Raises:
        InputError: the file is absent, unreadable or damaged.
    """
    return read_tensors(path)[0]


def checked(
    arrays: Mapping[str, np.ndarray], name: str, kinds: str, shape: tuple[int, ...] | None = None
) -> np.ndarray:
    """The array of a name, after a look at what it holds.

    Args:
        kinds: letters of the numpy kinds that it may have, as in ``dtype.kind``.
        shape: that it must have; None for any.

    Raises:
        ValueError: it is absent, or of another kind or shape.
    """
    found = arrays.get(name)
    if found is None:
        raise ValueError(f"there is no tensor {name!r}")
    if found.dtype.kind not in kinds:
        raise ValueError(f"tensor {name!r} holds {found.dtype}")
    if shape is not None and found.shape != shape:
        raise ValueError(f"tensor {name!r} has shape {found.shape}, expected {shape}")
    return found
