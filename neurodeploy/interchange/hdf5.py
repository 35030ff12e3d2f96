"""HDF5 from anywhere: bounded in size, closed upon itself, and one message for whatever is wrong.

An HDF5 file of a kilobyte can claim arrays of terabytes, contain itself, or point at other files.
Everything is looked at before any array is read, and so is the place where HDF5 keeps text, which
its library would read without end.
"""

from __future__ import annotations

import contextlib
import io
import math
import mmap
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from h5py import h5o  # pyright: ignore[reportAttributeAccessIssue]  # compiled, no stub

from neurodeploy.errors import InputError, NeurodeployError
from neurodeploy.support.files import write_whole

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

COLLECTION = b"GCOL\x01\x00\x00\x00"
"""How one begins: signature, version 1, three zeros."""

SIGNATURE = b"\x89HDF\r\n\x1a\n"
WIDTHS = (2, 4, 8, 16, 32)
"""Bytes that a length may take."""


_STATM = Path("/proc/self/statm")


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
        for (*groups, name), dataset in _checked(file, path, path.stat().st_size):
            branch = tree
            for group in groups:
                branch = branch[group]
            branch[name] = {} if dataset is None else _content(dataset, path)
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
        raise InputError(f"{path}: not a readable {kind} file: {detail}") from None


def _checked(
    file: h5py.File, path: Path, size_on_disk: int, small_bytes: int = SMALL_BYTES
) -> list[tuple[tuple[str, ...], h5py.Dataset | None]]:
    """Every array, or None for a group, with the names that lead to it; outer groups come first."""
    found: list[tuple[tuple[str, ...], h5py.Dataset | None]] = []
    known = {_identity(file)}
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
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise InputError(f"{where}: a link to somewhere else; copy what it points to here")
            item = group[name]
            identity = _identity(item)
            if identity in known:
                raise InputError(f"{where}: the same object as under another name")
            known.add(identity)
            if isinstance(item, h5py.Group):
                waiting.append((here, item))
                found.append((here, None))
                continue
            if not isinstance(item, h5py.Dataset) or item.shape is None:
                raise InputError(f"{where}: neither a group nor an array")
            size += _bytes_read(item, where)
            if size > most:
                raise InputError(
                    f"{where}: the arrays up to here take {size:,} bytes unpacked; a file of "
                    f"{size_on_disk:,} bytes may hold {most:,}"
                )
            found.append((here, item))
    return found


def _identity(item: Any) -> tuple[int, int]:
    """Where an object lies, whatever it is called."""
    info = h5o.get_info(item.id)
    return info.fileno, info.addr


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
    text = h5py.check_string_dtype(item.dtype) is not None
    if item.dtype.kind not in KINDS or (item.dtype.kind == "O" and not text):
        raise InputError(f"{where}: holds {item.dtype}; numbers and strings are read")
    if item.is_virtual or item.external:
        raise InputError(f"{where}: its content lies in other files; copy it here")
    return math.prod(item.shape) * max(item.dtype.itemsize, 8)


def check_heaps(path: Path) -> None:
    """Refuse a file whose text the library would look for without end.

    Strings of no fixed length lie in global heap collections (HDF5 File Format Specification,
    section III.E): a header, then objects one behind the other, each with its size. At a free
    object (index 0) of size 0 the library (2.0.0, too) never gets further.

    Raises:
        InputError: objects of a collection do not follow one another up to its end.
    """
    with path.open("rb") as file:
        if not file.read(1):
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            width = _length_bytes(content)
            start = content.find(COLLECTION)
            while start >= 0:
                if not _ends(content, start, width):
                    raise InputError(
                        f"{path}: not a readable file: the collection of text at byte {start:,} is "
                        "damaged"
                    )
                start = content.find(COLLECTION, start + len(COLLECTION))


def _length_bytes(content: mmap.mmap) -> int:
    """Bytes of a length, as the superblock says."""
    if content[: len(SIGNATURE)] != SIGNATURE or len(content) < 16:
        return 8
    stated = content[14 if content[8] < 2 else 10]
    return stated if stated in WIDTHS else 8


def _ends(content: mmap.mmap, start: int, width: int) -> bool:
    """Whether walking from object to object leads to the end of the collection."""
    header = _to_eight(8 + width)
    end = start + int.from_bytes(content[start + 8 : start + 8 + width], "little")
    at = start + header
    while at + header <= min(end, len(content)):
        index = int.from_bytes(content[at : at + 2], "little")
        size = int.from_bytes(content[at + 8 : at + 8 + width], "little")
        taken = size if index == 0 else header + _to_eight(size)
        if not 0 < taken <= end - at:
            return False
        at += taken
    return True


def _to_eight(size: int) -> int:
    return -(-size // 8) * 8


@contextlib.contextmanager
def memory_bound(extra: int) -> Iterator[None]:
    """Let this program grow by at most ``extra`` bytes within the block.

    An allocation beyond that fails as if the machine had no more: MemoryError, or the error of the
    library that asked. Where the system does not tell how much is in use, nothing is limited.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    try:
        in_use = int(_STATM.read_text().split()[0]) * resource.getpagesize()
    except OSError:
        yield
        return
    limits = [limit for limit in (soft, hard) if limit != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_AS, (min([in_use + extra, *limits]), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
