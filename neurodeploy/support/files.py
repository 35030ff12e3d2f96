"""Writing files and folders so that a reader never meets half of one."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import resource
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from neurodeploy.errors import InputError, Setting, Text, UnwritableError
from neurodeploy.support.partial import (
    claimed,
    named_in_the_end,
    partial_file,
    partial_folder,
)
from neurodeploy.support.reading import MOST_JSON, check_bounds

SPARE = 1 << 16
"""Bytes below which a disk counts as full: the smallest result takes more."""


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
        raise InputError(f"{function}: {found!r} is not a path")
    return Path(found)


@contextlib.contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A temporary file beside ``path`` that takes its name when the block ends well.

    It is on the disk before it takes the name, so that a machine that fails leaves the old file
    or the new one.

    Raises:
        InputError: the folder cannot be written to, or the file not finished.
    """
    if not path.name:
        raise InputError(f"{path}: cannot be written: it is a folder")
    with written(path), partial_file(path) as (temporary, descriptor):
        yield temporary
        os.fsync(descriptor)
        os.replace(temporary, path)


@contextlib.contextmanager
def folder_written_whole(path: Path) -> Iterator[Path]:
    """A temporary folder beside ``path`` that takes its name when the block ends well.

    Raises:
        InputError: ``path`` exists already and is not an empty folder, or cannot be written.
    """
    check_new_folder(path)
    with written(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial_folder(path) as temporary:
            temporary.chmod(0o755)
            yield temporary
            _flush(temporary)
            os.replace(temporary, path)


@contextlib.contextmanager
def written(path: Path) -> Iterator[None]:
    """Say of a failure to write in the block that ``path`` could not be written.

    Raises:
        UnwritableError: it could not.
    """
    try:
        yield
    except OSError as error:
        where = named_in_the_end(path)
        raise UnwritableError(f"{where}: cannot be written: {error.strerror or error}") from None


def make_folder(path: Path) -> None:
    """Make a folder, and those above it, unless it is there.

    Raises:
        InputError: it cannot be made.
    """
    with written(path):
        path.mkdir(parents=True, exist_ok=True)


def _flush(folder: Path) -> None:
    """Have everything in a folder on the disk."""
    for place, _, names in os.walk(folder):
        for name in (".", *names):
            descriptor = os.open(os.path.join(place, name), os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def check_new_folder(path: Path) -> None:
    """Refuse a folder that already holds something, or cannot be made.

    Raises:
        InputError: ``path`` is a file or a folder with content, or as ``check_writable``.
    """
    with written(path):
        if path.exists() and not (path.is_dir() and not any(path.iterdir())):
            raise InputError(
                f"{path}: already exists", fix=Text("name another folder with ", Setting("out"))
            )
    check_writable(path)


def check_place(path: Path) -> None:
    """Refuse a file to be written much later whose folder is not there, or takes none.

    Raises:
        InputError: there is no such folder, or as ``check_writable``.
    """
    if not path.parent.is_dir():
        raise InputError(f"{path}: cannot be written: {path.parent} is not a folder")
    check_writable(path)


def check_writable(path: Path) -> None:
    """Refuse what is to be written much later, if that could not be done now.

    Raises:
        InputError: its folder, or the one that this would be made in, is a file, read-only or full.
    """
    with written(path):
        place = _place_of(path)
        if not place.is_dir():
            reason = "is not a folder"
        elif not os.access(place, os.W_OK | os.X_OK):
            reason = "is read-only"
        elif shutil.disk_usage(place).free < SPARE:
            reason = "is on a disk that is full"
        else:
            return
    raise InputError(f"{path}: cannot be written: {place} {reason}")


def check_room(path: Path, largest: int, together: int) -> None:
    """Refuse files to be written much later that there is no room for now.

    Args:
        path: of the largest one.
        largest: bytes that it will have.
        together: bytes of all.

    Raises:
        InputError: this process may not write such a file, or the disk has no such room.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    with written(path):
        free = shutil.disk_usage(_place_of(path)).free
    if limit != resource.RLIM_INFINITY and limit < largest:
        raise UnwritableError(
            f"{path}: cannot be written: it takes {_kilobytes(largest)} and a file may have "
            f"{_kilobytes(limit)} (ulimit -f)"
        )
    if free < together:
        raise UnwritableError(
            f"{path}: cannot be written: together with its other files it takes "
            f"{_kilobytes(together)}, and {_kilobytes(free)} are free"
        )


def _kilobytes(size: int) -> str:
    return f"{size / 1e3:,.1f} kB"


def _place_of(path: Path) -> Path:
    """The folder that a path is in, or the one that this would be made in."""
    return next(folder for folder in path.absolute().parents if os.path.lexists(folder))


def next_free(folder: Path, stem: str) -> Path:
    """``folder/stem-NNN`` with the first number above all that exist."""
    names = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
    found = [re.fullmatch(rf"{re.escape(stem)}-([0-9]+)", name) for name in names]
    taken = [int(match[1]) for match in found if match]
    return folder / f"{stem}-{max(taken, default=0) + 1:03d}"


@contextlib.contextmanager
def next_claimed(folder: Path, stem: str) -> Iterator[Path]:
    """``folder/stem-NNN`` as ``next_free`` numbers it, made as an empty folder, for one alone.

    Of processes that ask at the same moment each gets a number of its own; of a folder that holds
    nothing when the block ends nothing is left.

    Raises:
        InputError: it cannot be made.
    """
    with contextlib.ExitStack() as held:
        while True:
            path = next_free(folder, stem)
            with written(path):
                folder.mkdir(parents=True, exist_ok=True)
                if held.enter_context(claimed(path)):
                    break
            held.close()
        yield path


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a text, as UTF-8, or bytes whole or not at all.

    Raises:
        InputError: as ``written_whole``.
    """
    with written_whole(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


def write_json(path: Path, value: Any) -> None:
    """Write JSON whole or not at all.

    Raises:
        InputError: as ``written_whole``, or ``read_json`` would not read it back.
    """
    where = str(named_in_the_end(path))
    check_bounds(value, where)
    text = json.dumps(value, indent=2) + "\n"
    if len(text) > MOST_JSON:
        raise InputError(f"{where}: would have {len(text):,} bytes; at most {MOST_JSON:,} are read")
    write_whole(path, text)


def sha256(path: Path) -> str:
    """Hex digest of a file's content."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
