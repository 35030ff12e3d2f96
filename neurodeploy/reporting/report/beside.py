"""Files that belong to a result, as the report reads them: one that cannot be read is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from neurodeploy.artifacts.results import FILES, Result
from neurodeploy.errors import InputError

T = TypeVar("T")


def read_beside(
    result: Result, name: str, read: Callable[[Path], T], root: Path
) -> tuple[T | None, list[str]]:
    """What a file beside a result holds, and why it is left out of the report.

    Args:
        name: of the file. Where the result never had one, there is nothing, and no reason.
        read: what reads it.
        root: folder of the deployment; the reason names the file as seen from there.
    """
    if name not in result.values[FILES]:
        return None, []
    file = result.path.with_name(name)
    where = file.relative_to(root)
    path = result.beside(name)
    if path is None:
        lost = "was changed after it was written" if file.is_file() else "is missing"
        return None, [f"{where} {lost}"]
    try:
        return read(path), []
    except (InputError, ValueError) as error:
        return None, [f"{where} cannot be read: {error}"]
