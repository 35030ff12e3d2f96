"""The part of an HDF5 file that its library reads without end, and memory that it may not pass.

Nothing here needs the library itself.
"""

from __future__ import annotations

import contextlib
import mmap
import resource
from collections.abc import Iterator
from pathlib import Path

from neurodeploy.errors import InputError

COLLECTION = b"GCOL\x01\x00\x00\x00"
"""How one begins: signature, version 1, three zeros."""

SIGNATURE = b"\x89HDF\r\n\x1a\n"
WIDTHS = (2, 4, 8, 16, 32)
"""Bytes that a length may take."""


_STATM = Path("/proc/self/statm")


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
