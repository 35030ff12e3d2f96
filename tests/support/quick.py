"""Parameters of which a few stand for their kind by default, while the others are slow."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def quick(values: Iterable[Any], *kept: Any) -> list[Any]:
    """All values, those that are not kept marked ``slow``.

    Raises:
        ValueError: one to be kept is none of them.
    """
    found = list(values)
    unknown = [value for value in kept if value not in found]
    if unknown:
        raise ValueError(f"to be kept, but not there: {unknown}")
    return [value if value in kept else _slow(value) for value in found]


def _slow(value: Any) -> Any:
    """One parameter, or as a tuple several."""
    values = value if isinstance(value, tuple) else (value,)
    return pytest.param(*values, marks=pytest.mark.slow)
