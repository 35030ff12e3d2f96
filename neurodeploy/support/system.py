"""What this program runs on: versions of packages, and memory given back to the kernel."""

from __future__ import annotations

import ctypes
import gc
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata

PACKAGES = ("neurodeploy", "torch", "numpy", "nir", "lava-nc", "lava-dl", "norse")


def version_of(package: str) -> str | None:
    """Installed version of a package, or None."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def versions() -> dict[str, str]:
    """Version of Python and of each installed package that can change a result, not imported."""
    found = {name: version_of(name) for name in PACKAGES}
    return {
        "python": platform.python_version(),
        **{name: version for name, version in found.items() if version},
    }


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


def give_back_freed_memory() -> None:
    """Return to the kernel what nobody uses any more; with another C library garbage alone."""
    gc.collect()
    libc = glibc()
    if libc is not None:
        libc.malloc_trim(0)


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Keep what is freed for reuse while the context lasts; then give it all back.

    What is freed and soon needed again is best kept: fresh pages have to be cleared by the kernel,
    one fault for each 4 KiB. glibc gives every block above 32 MiB back, and the end of its heap.
    With another C library nothing is changed.

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
