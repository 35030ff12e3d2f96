"""Any data set in one ``.npz`` file, with the names that Keras gave to MNIST's arrays."""

from __future__ import annotations

import zlib
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.lib.npyio import NpzFile

from neurodeploy.data.dataset import Dataset, Request
from neurodeploy.data.locate import find_file
from neurodeploy.errors import InputError

NAMES = ("x_train", "y_train", "x_test", "y_test")


def load_npz(request: Request) -> Dataset:
    """Load ``x_train``, ``y_train``, ``x_test`` and ``y_test`` of a file.

    x is uint8 with values 0..255, or bool: (N, F) features, (N, H, W) images, which get a channel
    axis, (N, C, H, W) images, or (N, T, C, H, W) frames over time. y is (N,) class numbers.

    Raises:
        InputError: the file is absent, changed, damaged, or does not hold these arrays.
    """
    source = find_file("npz", request.source)
    arrays = read_arrays(Path(source.path), NAMES)
    missing = [name for name in NAMES if name not in arrays]
    if missing:
        raise InputError(f"{source.path}: holds no array {', '.join(missing)}")
    x_train, x_test = (_images(arrays[name], name, source.path) for name in ("x_train", "x_test"))
    if x_train.shape[1:] != x_test.shape[1:] or arrays["x_train"].dtype != arrays["x_test"].dtype:
        raise InputError(
            f"{source.path}: samples differ: x_train {arrays['x_train'].dtype} {x_train.shape[1:]},"
            f" x_test {arrays['x_test'].dtype} {x_test.shape[1:]}"
        )
    over_time = x_train.ndim == 5
    if over_time and x_train.shape[1] != request.steps:
        raise InputError(
            f"{source.path}: samples have {x_train.shape[1]} steps, the network T = "
            f"{request.steps}; set training.steps={x_train.shape[1]}"
        )
    levels = 1 if arrays["x_train"].dtype == bool else 255
    y_train = class_numbers(arrays["y_train"], len(x_train), f"{source.path}: y_train")
    y_test = class_numbers(arrays["y_test"], len(x_test), f"{source.path}: y_test")
    return Dataset("npz", levels, x_train, y_train, x_test, y_test, over_time, source)


def read_arrays(path: Path, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Those of the named arrays that an ``.npz`` holds.

    Raises:
        InputError: not a readable ``.npz``.
    """
    try:
        # Opened here, because numpy leaves the file open when it is no archive.
        with path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, NpzFile):
                raise ValueError("it holds a single array")
            with archive:
                return {name: archive[name] for name in names if name in archive}
    except (OSError, ValueError, EOFError, BadZipFile, zlib.error) as error:
        raise InputError(f"{path}: not a readable .npz file: {error}") from None


def class_numbers(y: np.ndarray, count: int, where: str) -> np.ndarray:
    """Labels as (N,) int64, checked.

    Raises:
        InputError: another shape, not integers, or negative.
    """
    if y.shape != (count,):
        raise InputError(f"{where} has shape {y.shape}, expected ({count},)")
    if not np.issubdtype(y.dtype, np.integer):
        raise InputError(f"{where} is {y.dtype}; class numbers are integers from 0")
    if count and y.min() < 0:
        raise InputError(f"{where} goes down to {y.min()}; class numbers are integers from 0")
    return y.astype(np.int64)


def _images(x: np.ndarray, name: str, path: str) -> np.ndarray:
    """Samples as uint8 with their channel axis."""
    where = f"{path}: {name}"
    if x.dtype not in (np.uint8, bool):
        raise InputError(f"{where} is {x.dtype}; expected uint8 (0 to 255) or bool")
    if len(x) == 0 or not 2 <= x.ndim <= 5:
        raise InputError(f"{where} has shape {x.shape}; expected (N, H, W), (N, C, H, W) or so")
    if x.ndim == 4 and x.shape[3] in (1, 3) and x.shape[1] not in (1, 3):
        raise InputError(f"{where} has shape {x.shape}, channels last; store it as (N, C, H, W)")
    x = x.astype(np.uint8, copy=False)
    return x[:, None] if x.ndim == 3 else x
