"""Writing files of a run so that a reader never meets half of one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from neurodeploy.errors import InputError


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the system's refusal to write (permission, full disk) into an ``InputError``."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"{path}: cannot be written: {reason}") from error


def replace_file(path: Path, content: bytes) -> None:
    """Write under a temporary name, then rename: the old content or the new, nothing between.

    Raises:
        InputError: the folder cannot be written.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    with writing(path):
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            # Without it a power cut can leave the new name on an empty file.
            os.fsync(file.fileno())
        os.replace(temporary, path)
