"""A limit on how much memory a block of code may take, for libraries that trust a file."""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Iterator
from pathlib import Path

_STATM = Path("/proc/self/statm")


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
