"""Arrays of ``.npz`` and ``.npy`` files, of which no more is read than is asked for.

A file of a megabyte can claim an array of terabytes, and can even hold one of gigabytes. What an
array claims is compared with what is there before any of it is read, and its first rows are read
without the others.
"""

from __future__ import annotations

import contextlib
import math
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy

from neurodeploy.errors import InputError
from neurodeploy.support.memory import available_memory
from neurodeploy.support.reading import check_file

DAMAGED = (
    *(OSError, ValueError, EOFError, KeyError, TypeError, IndexError, OverflowError),
    *(zipfile.BadZipFile, zlib.error, RuntimeError, SyntaxError, RecursionError, MemoryError),
    tokenize.TokenError,
)
"""What zipfile and numpy raise: ``RuntimeError`` of encrypted files and of compressions that they
do not know (``NotImplementedError``); the last and ``SyntaxError`` of headers that are none."""

RAGGED = (
    "samples of different lengths are stored as one array, filled up with zeros, and their lengths "
    "as lengths_train and lengths_test"
)

CHUNK = 2**22
"""Bytes that are unpacked at a time."""

MOST_AXES = 32
"""Of an array, as numpy has it."""


@dataclass(frozen=True)
class StoredArray:
    """An array in a file, of which only the head was read.

    Attributes:
        path: of the file.
        name: of the array in an ``.npz``; empty in an ``.npy``.
        columns_first: whether the first axis is the one that lies closest together.
    """

    path: Path
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    columns_first: bool

    def read(self, first: int | None = None) -> np.ndarray:
        """The array, or its first rows.

        Args:
            first: how many; all when None, or where there are no more.

        Raises:
            InputError: it is damaged, or would not fit into memory.
        """
        shape = self.shape
        if first is not None and shape and first < shape[0] and not self.columns_first:
            shape = (first, *shape[1:])
        size = math.prod(shape) * self.dtype.itemsize
        free = available_memory()
        if free is not None and size > free:
            raise InputError(
                f"{self.path}: {self.name} {self.shape} {self.dtype} would take "
                f"{size / 1e9:,.1f} GB of memory, {free / 1e9:,.1f} GB are free"
            )
        with _one_message(self.path), _opened(self.path, self.name) as file:
            _ = _head(file)
            flat = np.empty(math.prod(shape), self.dtype)
            _fill(file, flat.view(np.uint8).data if size else memoryview(b""))
        if self.columns_first:
            return flat.reshape(shape[::-1]).T[:first]
        return flat.reshape(shape)


def stored_arrays(path: Path, names: tuple[str, ...]) -> dict[str, StoredArray]:
    """Those of the named arrays that an ``.npz`` holds.

    Raises:
        InputError: not a readable ``.npz``.
    """
    with _one_message(path):
        check_file(path)
        with path.open("rb") as file:
            start = file.read(len(npy.MAGIC_PREFIX))
        if start == npy.MAGIC_PREFIX:
            raise ValueError("it holds a single array")
        if start and not zipfile.is_zipfile(path) and _is_text(path):
            raise ValueError(f"it is a text file; np.savez({path.stem + '.npz'!r}, ...) writes one")
        with zipfile.ZipFile(path) as archive:
            held = {info.filename: info.file_size for info in archive.infolist()}
        return {
            name: _stored(path, name, held[f"{name}.npy"])
            for name in names
            if f"{name}.npy" in held
        }


def _is_text(path: Path) -> bool:
    """Whether a file begins as people write: words, or numbers in columns."""
    with path.open("rb") as file:
        start = file.read(512)
    return not set(start) & set(range(9)) and start.isascii()


def read_npy(path: Path) -> np.ndarray:
    """The array of an ``.npy``.

    Raises:
        InputError: not a readable one.
    """
    with _one_message(path, ".npy"):
        check_file(path)
        stored = _stored(path, "", path.stat().st_size)
    return stored.read()


def _stored(path: Path, name: str, size: int) -> StoredArray:
    """What the head of an array says, compared with the bytes that there are."""
    with _opened(path, name) as file:
        shape, columns_first, dtype = _head(file)
        start = file.tell()
    if dtype.hasobject:
        raise ValueError(f"Object arrays are not read: {name} holds Python objects")
    if len(shape) > MOST_AXES or any(length < 0 for length in shape):
        raise ValueError(f"{name} claims the shape {str(shape)[:200]}")
    claimed = math.prod(shape) * dtype.itemsize
    if claimed != size - start:
        raise ValueError(
            f"{name} claims {dtype} {shape}, {claimed:,} bytes, and has {size - start:,}"
        )
    return StoredArray(path, name, shape, dtype, columns_first and len(shape) > 1)


def _head(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = npy.read_magic(file)
    if version == (1, 0):
        return npy.read_array_header_1_0(file)
    if version == (2, 0):
        return npy.read_array_header_2_0(file)
    raise ValueError(f"an array of the format {version[0]}.{version[1]}")


def _fill(file: IO[bytes], into: memoryview) -> None:
    done = 0
    while done < len(into):
        content = file.read(min(CHUNK, len(into) - done))
        if not content:
            raise EOFError("it ends within an array")
        into[done : done + len(content)] = content
        done += len(content)


@contextlib.contextmanager
def _opened(path: Path, name: str) -> Iterator[IO[bytes]]:
    if not name:
        with path.open("rb") as file:
            yield file
        return
    with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as file:
        yield file


@contextlib.contextmanager
def _one_message(path: Path, kind: str = ".npz") -> Iterator[None]:
    try:
        yield
    except (InputError, *DAMAGED) as error:
        ragged = "Object arrays" in str(error)
        reason = str(error).removeprefix(f"{path}: ") or repr(error)
        raise InputError(
            f"{path}: not a readable {kind} file: {reason[:500]}",
            fix=RAGGED if ragged else None,
        ) from None
