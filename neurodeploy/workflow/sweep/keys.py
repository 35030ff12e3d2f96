"""Keys of a recipe and what they may be: lists of values, and for a search ranges."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from neurodeploy.errors import InputError, Setting, Text

BRACKETS = {"[": "]", "{": "}", '"': '"', "'": "'"}
"""Within these a comma does not part two values."""

NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
RANGE = re.compile(rf"\s*({NUMBER})\s*\.\.\s*({NUMBER})\s*(@log)?\s*")


@dataclass(frozen=True)
class Axis:
    """A key, and the values that it takes."""

    key: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Range:
    """A key, and the numbers between which a search chooses.

    Attributes:
        low, high: both included.
        whole: whether only whole numbers are meant, as where both ends are written as such.
        log: whether their logarithm is drawn evenly.
    """

    key: str
    low: float
    high: float
    whole: bool
    log: bool


Key = Axis | Range


def values_of(override: str) -> tuple[str, ...]:
    """What stands behind ``=``, parted at commas that are in no brackets; each once."""
    parts, within = [""], []
    for letter in override.partition("=")[2]:
        if within and letter == within[-1]:
            within.pop()
        elif letter in BRACKETS:
            within.append(BRACKETS[letter])
        if letter == "," and not within:
            parts.append("")
        else:
            parts[-1] += letter
    return tuple(dict.fromkeys(part.strip() for part in parts))


def keys_of(overrides: Sequence[str]) -> tuple[list[Key], list[str]]:
    """The keys that vary, and the overrides that hold for all runs.

    Args:
        overrides: ``KEY=VALUE``; one of several values, ``KEY=A,B``, or of a range,
            ``KEY=LOW..HIGH`` or ``KEY=LOW..HIGH@log``, varies.

    Raises:
        InputError: a key varies twice, or a range is none.
    """
    found: dict[str, Key] = {}
    others = []
    for text in overrides:
        key, values = text.partition("=")[0].strip(), values_of(text)
        match = RANGE.fullmatch(text.partition("=")[2])
        if match is None and len(values) < 2:
            others.append(text)
            continue
        if key in found or any(key == other.partition("=")[0].strip() for other in others):
            raise InputError(Text(Setting("overrides", text), f": {key} is set twice"))
        found[key] = Axis(key, values) if match is None else _range(key, match, text)
    for text in others:
        if text.partition("=")[0].strip() in found:
            raise InputError(Text(Setting("overrides", text), ": is set twice"))
    return [*found.values()], others


def _range(key: str, match: re.Match[str], text: str) -> Range:
    low, high, log = float(match[1]), float(match[2]), bool(match[3])
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise InputError(
            Text(Setting("overrides", text), ": a range is LOW..HIGH, the lower number first")
        )
    if log and low <= 0:
        raise InputError(Text(Setting("overrides", text), ": logarithms need numbers above 0"))
    whole = all(re.fullmatch(r"[-+]?\d+", number) for number in (match[1], match[2]))
    return Range(key, low, high, whole, log)


def grid_of(keys: Sequence[Key]) -> Iterator[dict[str, str]]:
    """Every combination of values, the last key changing fastest.

    Raises:
        InputError: one is a range, of which there is no last value.
    """
    axes = []
    for key in keys:
        if isinstance(key, Range):
            raise InputError(
                Text(
                    Setting("overrides", f"{key.key}={key.low:g}..{key.high:g}"),
                    ": a range is for a search",
                ),
                fix=Text("list values as in 1,2,4, or search with ", Setting("trials", "40")),
            )
        axes.append(key.values)
    for values in itertools.product(*axes):
        yield dict(zip([key.key for key in keys], values, strict=True))
