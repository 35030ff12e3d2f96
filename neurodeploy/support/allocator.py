"""How this process gives memory back to the kernel: at once, or not at all.

What is freed and soon needed again is best kept: fresh pages have to be cleared by the kernel, one
fault for each 4 KiB. glibc gives every block above 32 MiB back, and the end of its heap. With
another C library nothing is changed.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -3, -4
"""Options of glibc's mallopt(3)."""

LARGEST_THRESHOLD = 32 << 20
"""Bytes. Left alone, glibc's threshold for blocks with pages of their own grows up to here."""

MAPPED_BLOCKS = 65536
"""glibc's own limit of them."""


def glibc() -> ctypes.CDLL | None:
    """The C library, where it is glibc."""
    found = ctypes.CDLL(None)
    return found if hasattr(found, "mallopt") and hasattr(found, "malloc_trim") else None


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Keep what is freed for reuse while the context lasts; then give it all back.

    For loops that take and free the same large blocks again and again. Resident memory stays at
    its peak, and above it by what fragments.
    """
    libc = glibc()
    if libc is None:
        yield
        return
    libc.mallopt(M_MMAP_MAX, 0)
    libc.mallopt(M_TRIM_THRESHOLD, -1)
    try:
        yield
    finally:
        libc.mallopt(M_MMAP_MAX, MAPPED_BLOCKS)
        libc.mallopt(M_MMAP_THRESHOLD, LARGEST_THRESHOLD)
        libc.mallopt(M_TRIM_THRESHOLD, 2 * LARGEST_THRESHOLD)
        libc.malloc_trim(0)
