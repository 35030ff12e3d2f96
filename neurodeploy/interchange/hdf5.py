"""HDF5 from anywhere: bounded in size, closed upon itself, and one message for whatever is wrong.

An HDF5 file of a kilobyte can claim arrays of terabytes, contain itself, or point at other files.
Everything is looked at before any array is read, and so is the place where HDF5 keeps text, which
its library would read without end.
"""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from h5py import h5l, h5o  # pyright: ignore[reportAttributeAccessIssue]  # compiled, no stub

from neurodeploy.errors import InputError, NeurodeployError
from neurodeploy.support.files import write_whole
from neurodeploy.support.hdf5_heaps import check_heaps, memory_bound

MOST_OBJECTS = 100_000
"""Groups and arrays in a file."""

MOST_DEPTH = 32
"""Groups within groups."""

SMALL_BYTES = 128 * 2**20
"""Arrays up to this in all are read whatever the file's size; constant ones compress that well."""

MOST_EXPANSION = 16
"""How many times its size on disk a larger file may unpack to."""

TEXT_BYTES = 2**26
"""Text that is read at once, if every string is as long as the file."""

SPARE_BYTES = 2**28
"""What reading may take beside twice the arrays themselves."""

KINDS = "biufSO"
"""Letters of numpy types that are read: booleans, integers, floats, and strings of both kinds."""

Tree = dict[str, Any]
"""Groups as dicts, arrays as numpy arrays, single numbers as arrays of no axis."""


@contextlib.contextmanager
def hdf5_written(path: Path) -> Iterator[h5py.File]:
    """A new HDF5 file, written whole when the block ends well.

    It is put together in memory: on a disk that runs full, the library of HDF5 crashes.

    Raises:
        InputError: it cannot be written.
    """
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        yield file
    write_whole(path, content.getvalue())


def check_hdf5(path: Path, kind: str, small_bytes: int = SMALL_BYTES) -> None:
    """Refuse a file that is too large unpacked, or not plain arrays in plain groups.

    Args:
        kind: what the file should be, for messages: ``NIR``.
        small_bytes: arrays up to this in all are accepted whatever the file's size.

    Raises:
        InputError: the file is absent, not HDF5, damaged, or refused for one of these reasons.
    """
    with _opened(path, kind) as file:
        _checked(file, path, path.stat().st_size, small_bytes)


def check_content(content: bytes, name: str) -> None:
    """Refuse a file of ours, not written yet, that would be refused when read.

    Args:
        name: of the file, for messages.

    Raises:
        InputError: its arrays are too large unpacked for its size.
    """
    with h5py.File(io.BytesIO(content), "r") as file:
        _checked(file, Path(name), len(content))


def read_tree(path: Path, kind: str) -> Tree:
    """The whole file, after the same checks.

    Raises:
        InputError: as ``check_hdf5``, or an array that cannot be read.
    """
    tree: Tree = {}
    with _opened(path, kind) as file:
        for place, is_group in _checked(file, path, path.stat().st_size):
            branch = tree
            for group in place[:-1]:
                branch = branch[group]
            # Opened one after the other: each takes 70 kB as long as it is open.
            branch[place[-1]] = {} if is_group else _content(_dataset(file, place), path)
    return tree


@contextlib.contextmanager
def _opened(path: Path, kind: str) -> Iterator[h5py.File]:
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    # HDF5 believes the length that a file states for a string, before it looks for the string.
    enough = SPARE_BYTES + 2 * max(SMALL_BYTES, MOST_EXPANSION * path.stat().st_size)
    try:
        check_heaps(path)
        with memory_bound(enough), h5py.File(path, "r") as file:
            yield file
    except NeurodeployError:
        raise
    except Exception as error:  # h5py raises OSError, KeyError, RuntimeError, ... by the defect
        detail = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path}: not a readable {kind} file: {detail[:300]}") from None


def _checked(
    file: h5py.File, path: Path, size_on_disk: int, small_bytes: int = SMALL_BYTES
) -> list[tuple[tuple[str, ...], bool]]:
    """Names that lead to every group (true) and array; outer groups come first."""
    found: list[tuple[tuple[str, ...], bool]] = []
    known = {h5o.get_info(file.id).addr}  # where objects lie, whatever they are called
    most = max(small_bytes, MOST_EXPANSION * size_on_disk)
    size = 0
    waiting: list[tuple[tuple[str, ...], h5py.Group]] = [((), file)]
    while waiting:
        place, group = waiting.pop()
        for name in group:
            here = (*place, str(name))  # a damaged name may be no text
            where = f"{path}: {'/'.join(here)}"
            if len(found) >= MOST_OBJECTS or len(here) > MOST_DEPTH:
                raise InputError(
                    f"{where}: more than {MOST_OBJECTS:,} objects or {MOST_DEPTH} levels of groups"
                )
            link = group.id.links.get_info(name if isinstance(name, bytes) else str(name).encode())
            if link.type != h5l.TYPE_HARD:
                raise InputError(f"{where}: a link to somewhere else; copy what it points to here")
            if link.u in known:
                raise InputError(f"{where}: the same object as under another name")
            known.add(link.u)
            item = group[name]
            if isinstance(item, h5py.Group):
                waiting.append((here, item))
                found.append((here, True))
                continue
            if not isinstance(item, h5py.Dataset) or item.shape is None:
                raise InputError(f"{where}: neither a group nor an array")
            size += _bytes_read(item, where)
            if size > most:
                raise InputError(
                    f"{where}: the arrays up to here take {size:,} bytes unpacked; a file of "
                    f"{size_on_disk:,} bytes may hold {most:,}"
                )
            found.append((here, False))
    return found


def _dataset(file: h5py.File, place: tuple[str, ...]) -> h5py.Dataset:
    found = file["/".join(place)]
    if not isinstance(found, h5py.Dataset):
        raise ValueError(f"{'/'.join(place)} is not an array")
    return found


def _content(dataset: h5py.Dataset, path: Path) -> np.ndarray:
    """An array; text piece by piece, as many strings may be one and the same long one."""
    text = h5py.check_string_dtype(dataset.dtype)
    if text is None or text.length is not None or not dataset.shape:
        return np.asarray(dataset[()])
    pieces = [np.empty((0, *dataset.shape[1:]), dataset.dtype)]
    size = path.stat().st_size
    rows = max(1, TEXT_BYTES // (size * max(1, math.prod(dataset.shape[1:]))))
    read = 0
    for first in range(0, dataset.shape[0], rows):
        pieces.append(np.asarray(dataset[first : first + rows]))
        read += sum(map(len, pieces[-1].ravel()))
        if read > max(SMALL_BYTES, MOST_EXPANSION * size):
            raise InputError(f"{path}: {dataset.name}: more text than the file can hold")
    return np.concatenate(pieces)


def _bytes_read(item: h5py.Dataset, where: str) -> int:
    """Bytes of an array when read, with at least the eight that arithmetic takes per number."""
    dtype = item.dtype  # h5py makes it anew each time
    text = h5py.check_string_dtype(dtype) is not None
    if dtype.kind not in KINDS or (dtype.kind == "O" and not text):
        raise InputError(f"{where}: holds {dtype}; numbers and strings are read")
    if item.is_virtual or item.external:
        raise InputError(f"{where}: its content lies in other files; copy it here")
    return math.prod(item.shape) * max(dtype.itemsize, 8)
