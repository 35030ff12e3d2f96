"""Writing files and folders so that a reader never meets half of one."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from neurodeploy.errors import InputError, Setting, Text


def as_path(path: str | os.PathLike[str], function: str, wanted: str = "a path") -> Path:
    """A path that a caller gave, whatever stands for one in Python.

    Args:
        function: that takes it, to be named.
        wanted: what it takes, to be named.

    Raises:
        InputError: it is none, or empty.
    """
    if not isinstance(path, str | os.PathLike):
        raise InputError(
            f"{function} takes {wanted}, found {type(path).__name__}: give a str or Path"
        )
    found = os.fspath(path)
    if not isinstance(found, str):
        raise InputError(f"{function} takes a path of text, found bytes: give a str or Path")
    if not found or "\0" in found:
        raise InputError(f"{function}: {found!r} is no path")
    return Path(found)


@contextlib.contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its name when the block ends well.

    Raises:
        InputError: the folder cannot be written to.
    """
    if not path.name:
        raise InputError(f"{path}: cannot be written: it is a folder")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror or error}") from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def folder_written_whole(path: Path) -> Iterator[Path]:
    """A temporary folder beside ``path`` that takes its name when the block ends well.

    Raises:
        InputError: ``path`` exists already and is not an empty folder, or cannot be written.
    """
    check_new_folder(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(
            tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent)
        )
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror or error}") from None
    try:
        temporary.chmod(0o755)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror or error}") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def check_new_folder(path: Path) -> None:
    """Refuse a folder that already holds something.

    Raises:
        InputError: ``path`` is a file or a folder with content.
    """
    try:
        if path.exists() and not (path.is_dir() and not any(path.iterdir())):
            raise InputError(
                f"{path}: already exists", fix=Text("name another folder with ", Setting("out"))
            )
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror or error}") from None


def check_place(path: Path) -> None:
    """Refuse a file to be written much later whose folder is not there.

    Raises:
        InputError: there is no such folder.
    """
    if not path.parent.is_dir():
        raise InputError(f"{path}: cannot be written: {path.parent} is not a folder")


def next_free(folder: Path, stem: str) -> Path:
    """``folder/stem-NNN`` with the first number above all that exist."""
    names = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
    found = [re.fullmatch(rf"{re.escape(stem)}-([0-9]+)", name) for name in names]
    taken = [int(match[1]) for match in found if match]
    return folder / f"{stem}-{max(taken, default=0) + 1:03d}"


def write_json(path: Path, value: Any) -> None:
    """Write JSON whole or not at all."""
    with written_whole(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        InputError: the file is absent, unreadable, or not a JSON object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not valid JSON: {error}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    if not isinstance(value, dict):
        raise InputError(f"{path}: expected a JSON object")
    return value


def sha256(path: Path) -> str:
    """Hex digest of a file's content."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
