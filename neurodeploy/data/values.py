"""Values of samples as integers 0..levels, where nobody but their owner knows what they mean."""

from __future__ import annotations

import numpy as np

from neurodeploy.errors import InputError, Setting, Text

BYTE = 255
"""Samples are kept in bytes, so no level is above this."""

FAR_BELOW = 4
"""Values that stay below a quarter of the levels are questioned: so dark, or so quiet, is seldom
what a network was made for, and factors of 15 or 255 are usual mistakes."""


def found_levels(*parts: np.ndarray) -> tuple[int, str | None]:
    """Levels of values of which nobody has said where they end, and a note on what was taken.

    255 where the largest value is in the upper half of a byte, as of images; else the largest
    value itself, as of counts and of zeros and ones.

    Args:
        parts: integers from 0, for example training and test samples.
    """
    largest = max(int(part.max()) for part in parts)
    if largest == BYTE:
        return BYTE, None
    stated = Setting("data.levels", "N")
    if 2 * largest > BYTE:
        return BYTE, Text(
            f"the largest value is {largest}, taken as one of a byte, 0 to {BYTE}; if the values "
            "end elsewhere, say where with ",
            stated,
        )
    if largest == 0:
        return 1, None
    return largest, Text(
        f"the largest value is {largest}, so the input has levels 0 to {largest}; if the values "
        "go further, say where they end with ",
        stated,
    )


def question(largest: int, levels: int, fix: str) -> Text | None:
    """What to ask of values that stay far below the levels of the input; None where they do not.

    Args:
        largest: of the values.
        levels: largest that the input takes.
        fix: what to do when it is a mistake.
    """
    if largest * FAR_BELOW > levels:
        return None
    if largest == 0:
        return Text("all values are 0; no input ever reaches the network")
    return Text(
        f"the largest value is {largest}, and the input takes 0 to {levels}: the network sees at "
        f"most 1/{levels // largest} of a full input; ",
        fix,
    )


def integers(x: np.ndarray, where: str, levels: int = 0) -> tuple[np.ndarray, str | None]:
    """Values as uint8, and a note where they were rounded.

    Args:
        x: bool; integers from 0; or, where ``levels`` are stated, floats from 0 to 1, of which the
            nearest of 0/levels, 1/levels, ... 1 is taken.
        where: names them in messages.
        levels: largest integer, 1..255; 0 where nobody has said.

    Raises:
        InputError: another type, or values out of range.
    """
    if x.dtype == bool:
        return x.astype(np.uint8), None
    if np.issubdtype(x.dtype, np.integer):
        low, high = int(x.min()), int(x.max())
        if low < 0 or high > (levels or BYTE):
            raise InputError(
                f"{where} holds values from {low} to {high}; expected 0 to {levels or BYTE}"
                + (", the levels that are stated" if levels else "")
            )
        return x.astype(np.uint8, copy=False), None
    if x.dtype.kind != "f":
        raise InputError(f"{where} is {x.dtype}; expected uint8 or another type of integers, bool")
    low, high = float(x.min()), float(x.max())
    within = low >= 0 and high <= 1  # not where one is NaN
    if not levels or not within:
        raise InputError(
            f"{where} is {x.dtype}; expected uint8, or another type of integers, or bool",
            fix=Text(
                f"floats from 0 to 1 (found {low:g} to {high:g}) are rounded to integers 0 to N "
                "with ",
                Setting("data.levels", "N"),
                ", for example 255 for images or 1 for spikes",
            ),
        )
    rounded = np.empty(x.shape, np.uint8)
    for number, sample in enumerate(x):
        rounded[number] = np.rint(sample.astype(np.float64) * levels)
    return rounded, (
        f"floats from {low:g} to {high:g} were rounded to the nearest of 0/{levels} to "
        f"{levels}/{levels}, by at most {0.5 / levels:.2g}"
    )
