"""Arrays inside a page: narrow, compressed, and as text."""

from __future__ import annotations

import base64
import zlib
from typing import Any

import numpy as np

INTEGERS = (("i1", np.int8), ("i2", np.int16), ("i4", np.int32))
ALIGNED = 8
"""Bytes that an array starts at a multiple of, as a browser wants it."""


class Pack:
    """Collects arrays for one page, each of which the page finds by what ``add`` returns."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0

    def add(self, array: np.ndarray) -> dict[str, Any]:
        """Keep an array: zeros and ones as bits, integers as narrow as they are, else float32.

        Returns:
            where it is (``at``, in bytes), its ``kind`` and its ``shape``.
        """
        kind, content = _narrowed(array)
        at = self._size
        content += b"\0" * (-len(content) % ALIGNED)
        self._parts.append(content)
        self._size += len(content)
        return {"at": at, "kind": kind, "shape": list(array.shape)}

    def text(self) -> str:
        """All of them, as base64 of a zlib stream."""
        return base64.b64encode(zlib.compress(b"".join(self._parts), 9)).decode()


def _narrowed(array: np.ndarray) -> tuple[str, bytes]:
    if array.dtype.kind == "f":
        return "f4", array.astype("<f4").tobytes()
    low, high = int(array.min(initial=0)), int(array.max(initial=0))
    if low >= 0 and high <= 1:
        return "b1", np.packbits(array.astype(np.uint8).ravel(), bitorder="little").tobytes()
    for kind, dtype in INTEGERS:
        limits = np.iinfo(dtype)
        if limits.min <= low and high <= limits.max:
            return kind, array.astype(np.dtype(dtype).newbyteorder("<")).tobytes()
    return "f4", array.astype("<f4").tobytes()
