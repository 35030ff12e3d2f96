"""Files of data sets: where they lie, and any data set in one ``.npz``."""

from __future__ import annotations

import importlib
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.lib.npyio import NpzFile

from neurodeploy.data.dataset import Dataset, Request
from neurodeploy.data.labels import class_numbers
from neurodeploy.errors import InputError, MissingDependencyError, Setting, Text
from neurodeploy.ir.contract import DataSource
from neurodeploy.support.files import sha256

DOWNLOADS = Path("data")
"""Folder that downloads go to, below the current one."""


def find_file(name: str, source: DataSource) -> DataSource:
    """The source with absolute path and hash of its file.

    Raises:
        InputError: no file is named, it is not there, or it is not the one that was named.
    """
    if not source.path:
        raise InputError(
            f"data set {name!r} needs a file", fix=Text("name it with ", Setting("data", "FILE"))
        )
    path = Path(source.path).absolute()
    if not path.is_file():
        raise InputError(
            f"{path}: the file of data set {name!r} is not there (any more)",
            fix=Text("say where it is with ", Setting("data", "FILE")),
        )
    try:
        found = sha256(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    if source.sha256 and found != source.sha256:
        raise InputError(
            f"{path}: changed since it was used (SHA-256 {found[:12]}..., expected "
            f"{source.sha256[:12]}...)",
            fix=Text(
                "put the old file back, or take this one as it is with ", Setting("data", "FILE")
            ),
        )
    return DataSource(str(path), found)


def find_folder(
    name: str, source: DataSource, holds: Iterable[str], fetch: Callable[[Path], None] | None
) -> Path:
    """Folder of a data set: the one named, or a folder in it, that has an entry in ``holds``.

    Args:
        name: of the data set.
        source: may name the folder; when it does not, the data set is fetched.
        holds: file or folder patterns of which one must match something.
        fetch: downloads into a folder; None where nobody may.

    Raises:
        InputError: none of the folders holds the data set.
        MissingDependencyError: the package that downloads it is not installed.
    """
    patterns = list(holds)
    if not source.path and fetch is None:
        raise InputError(
            f"data set {name!r} needs a folder",
            fix=Text("name it with ", Setting("data", "FOLDER")),
        )
    root = Path(source.path or DOWNLOADS).absolute()
    found = _matching(root, patterns)
    if found is None and not source.path and fetch is not None:
        fetch(root)
        found = _matching(root, patterns)
    if found is None:
        state = "holds none of" if root.is_dir() else "is not a folder; expected one with"
        raise InputError(
            f"{root}: {state} {', '.join(patterns)}, the files of data set {name!r}",
            fix=Text("name their folder with ", Setting("data", "FOLDER")),
        )
    return found


def _matching(root: Path, patterns: list[str]) -> Path | None:
    """``root`` or the first folder in it where a pattern matches."""
    if not root.is_dir():
        return None
    inside = sorted(entry for entry in root.iterdir() if entry.is_dir())
    for folder in (root, *inside):
        if any(next(folder.glob(pattern), None) for pattern in patterns):
            return folder
    return None


def downloader(name: str, package: str, call: Callable[[Any, str], object]) -> Callable:
    """A download by another package, which is imported only then.

    Args:
        name: of the data set.
        package: for example ``torchvision.datasets``.
        call: given the package and the folder; downloads and unpacks.
    """

    def fetch(folder: Path) -> None:
        top = package.partition(".")[0]
        try:
            module = importlib.import_module(package)
        # torchvision raises RuntimeError beside a build of torch that it was not made for.
        except (ImportError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            raise MissingDependencyError(
                Text(
                    f"data set {name!r}: name its folder with ",
                    Setting("data", "FOLDER"),
                    f", or pip install {top} to download it ({reason})",
                )
            ) from None
        folder.mkdir(parents=True, exist_ok=True)
        call(module, str(folder))

    return fetch


def labels(values: Iterable[int]) -> np.ndarray:
    """Class numbers as (N,) int64."""
    return np.fromiter(values, np.int64)


NAMES = ("x_train", "y_train", "x_test", "y_test")


def load_npz(request: Request) -> Dataset:
    """Load ``x_train``, ``y_train``, ``x_test`` and ``y_test`` of a file.

    Keras gave these names to MNIST's arrays.

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
