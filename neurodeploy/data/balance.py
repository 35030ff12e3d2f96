"""How evenly samples fall into classes: within a set, and from one set to another."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

UNEVEN = 5
"""Times that the largest class may have the samples of the smallest before it is remarked."""

SHIFTED = 0.2
"""Share of samples that would have to change their class for two sets to be alike."""

CERTAIN = 4
"""Standard deviations beyond which a difference is not put down to chance."""


def unevenness(
    parts: Mapping[str, np.ndarray], classes: int, left_out: Sequence[int] = ()
) -> tuple[str, ...]:
    """Remarks on classes that have far more samples than others, and on sets that differ in that.

    Args:
        parts: for example ``training`` and ``test``, each with (N,) labels; the others are compared
            with the first.
        classes: how many there are.
        left_out: classes that are not to count.
    """
    kept = np.setdiff1d(np.arange(classes), left_out)
    counts = {name: np.bincount(y, minlength=classes)[kept] for name, y in parts.items()}
    found = []
    for name, count in counts.items():
        most, least = int(count.argmax()), int(np.where(count, count, count.max()).argmin())
        high, low = int(count[most]), int(count[least])
        if high >= UNEVEN * low and high - low > CERTAIN * math.sqrt(high + low):
            found.append(
                f"{name} samples are unevenly spread over the classes: {high:,} of class "
                f"{kept[most]}, {low:,} of class {kept[least]}; accuracy hardly reflects the "
                "rare ones, balanced accuracy does"
            )
    (first, reference), *others = counts.items()
    for name, count in others:
        remark = _shift(first, reference, name, count, kept)
        found += [remark] if remark else []
    return tuple(found)


def _shift(
    one: str, counts: np.ndarray, other: str, other_counts: np.ndarray, classes: np.ndarray
) -> str | None:
    """What to say of two sets whose shares of the classes differ more than by chance."""
    n, m = int(counts.sum()), int(other_counts.sum())
    if not n or not m:
        return None
    p, q = counts / n, other_counts / m
    together = (counts + other_counts) / (n + m)
    chance = 0.5 * float(np.sqrt(together * (1 - together) * (1 / n + 1 / m)).sum())
    moved = 0.5 * float(np.abs(p - q).sum())
    if moved < SHIFTED or moved < CERTAIN * chance:
        return None
    most = int(np.abs(p - q).argmax())
    return (
        f"{one} and {other} samples are spread differently over the classes: class {classes[most]} "
        f"has {p[most]:.1%} of the {one} and {q[most]:.1%} of the {other} samples"
    )
