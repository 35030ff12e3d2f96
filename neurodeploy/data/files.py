"""Files of data sets: where they lie, and how they are fetched."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

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
            f"{path}: the file of data set {name!r} does not exist (any more)",
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
            fix=Text("put the old file back, or accept this one with ", Setting("data", "FILE")),
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
    """Class numbers as (N,) int64.

    Raises:
        InputError: one is beyond them.
    """
    found = list(values)
    try:
        return np.array(found, np.int64)
    except OverflowError:
        far = max(found, key=abs)
        raise InputError(f"class {str(far)[:30]}: labels are whole numbers from 0") from None
