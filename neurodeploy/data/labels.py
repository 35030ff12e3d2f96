"""Labels: whole numbers of classes from 0, or values, checked against the outputs of a network."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping

import numpy as np

from neurodeploy.errors import InputError, Setting, Text

FROM_ZERO = "class numbers are integers from 0"

MOST_CLASSES = 2**20
"""More than any data set has; every class is a neuron, and a count for each is kept in memory."""

MOST_NAMED = 8
"""So many classes, or ranges of classes, are named in a message."""


def class_numbers(y: np.ndarray, count: int, where: str, classes: int | None = None) -> np.ndarray:
    """Labels as (N,) int64, checked.

    Args:
        y: as a user gave them.
        count: N, of the samples.
        where: names them in messages.
        classes: that a network tells apart, as many as it has outputs; None where none is known.

    Raises:
        InputError: another shape, not integers, negative, or of a class that there is no output
            for.
    """
    if y.shape != (count,):
        raise InputError(f"{where} has shape {y.shape}, expected ({count},){_flattened(y, count)}")
    if not np.issubdtype(y.dtype, np.integer):
        raise InputError(f"{where} is {y.dtype}; {FROM_ZERO}{_whole(y)}")
    if count and y.min() < 0:
        raise InputError(f"{where} goes down to {y.min()}; {FROM_ZERO}")
    if count and classes is not None and y.max() >= classes:
        one_high = y.min() > 0 and y.max() == classes
        raise InputError(
            f"{where} goes up to {y.max()}, but there are {classes} outputs, for classes 0 to "
            f"{classes - 1}" + ("; labels counted from 1 need 1 subtracted" if one_high else "")
        )
    if count and int(y.max()) > np.iinfo(np.int64).max:
        raise InputError(f"{where} goes up to {y.max()}; number the classes from 0 on")
    return y.astype(np.int64)


def target_values(y: np.ndarray, count: int, where: str, outputs: int) -> np.ndarray:
    """Values to be predicted as (N, outputs) float64, checked.

    Args:
        y: as a user gave them; (N,) where there is one output.
        count: N, of the samples.
        where: names them in messages.
        outputs: that the network has.

    Raises:
        InputError: another shape, no numbers, or some that are not finite.
    """
    shaped = y[:, None] if y.ndim == 1 else y
    if shaped.shape != (count, outputs):
        raise InputError(f"{where} has shape {y.shape}, expected ({count}, {outputs})")
    if y.dtype.kind not in "iuf" or not np.isfinite(y).all():
        raise InputError(f"{where} is {y.dtype}; values to be predicted are finite numbers")
    return shaped.astype(np.float64)


def _flattened(y: np.ndarray, count: int) -> str:
    """What makes class numbers of labels in two axes."""
    if y.ndim != 2 or len(y) != count:
        return ""
    if y.shape[1] == 1:
        return "; store y.ravel()"
    return "; of one-hot rows, store y.argmax(axis=1)"


def _whole(y: np.ndarray) -> str:
    """What makes integers of labels of another type."""
    if y.dtype.kind in "US":
        return "; number the names, for example by np.unique(y, return_inverse=True)[1]"
    if y.dtype == bool or (y.dtype.kind == "f" and np.array_equal(y, np.rint(y))):
        return "; store y.astype(int)"
    return ""


def count_classes(
    parts: Mapping[str, np.ndarray], where: str, stated: int = 0
) -> tuple[int, tuple[str, ...]]:
    """Number of classes in a data set, where each needs samples unless their number is stated.

    Args:
        parts: for example ``training`` and ``test``, each with (N,) labels from 0.
        where: names the data set in messages.
        stated: number of classes that somebody has said; 0 counts those that have samples.

    Returns:
        The number, and a note for each part in which classes have no sample.

    Raises:
        InputError: a label beyond the stated classes, or more of these than ``MOST_CLASSES``; or,
            where none are stated, classes without any sample, or fewer than two.
    """
    found = np.unique(np.concatenate(list(parts.values())))
    if stated > MOST_CLASSES:
        raise InputError(f"{where}: {stated:,} classes are stated; at most {MOST_CLASSES:,} can be")
    if stated:
        for name, labels in parts.items():
            class_numbers(labels, len(labels), f"{where}: the array of {name} labels", stated)
    elif len(found) < 2:
        raise InputError(
            f"{where}: all labels are {found[0]}; two classes are the fewest to tell apart"
            if len(found)
            else f"{where}: holds no labels"
        )
    elif (top := int(found[-1])) >= len(found):
        shift = found[0] > 0 and top - int(found[0]) + 1 == len(found)
        state = Text(", or state how many there are with ", Setting("data.classes", str(top + 1)))
        raise InputError(
            f"{where}: labels go from {found[0]} to {top} and there is no sample of class "
            f"{_listed(_missing(found, top + 1))}",
            fix=Text(
                f"classes are counted from 0: subtract {found[0]}"
                if shift
                else "number the classes from 0 on without gaps",
                *(state,) * (top < MOST_CLASSES),
            ),
        )
    classes = stated or len(found)
    notes = []
    for name, labels in parts.items():
        lacking = _missing(np.unique(labels), classes)
        if lacking:
            notes.append(f"no {name} sample of class {_listed(lacking)}")
    return classes, tuple(notes)


def _missing(present: np.ndarray, classes: int) -> list[tuple[int, int]]:
    """Ranges of the classes below ``classes``, first and last, that are not among the sorted."""
    bounds = [-1, *(int(number) for number in present), classes]
    return [(a + 1, b - 1) for a, b in itertools.pairwise(bounds) if b - a > 1]


def _listed(ranges: Iterable[tuple[int, int]]) -> str:
    """Ranges as people write them."""
    words = [str(a) if a == b else f"{a} to {b}" for a, b in ranges]
    more = len(words) - MOST_NAMED
    return ", ".join(words[:MOST_NAMED]) + (f" and {more} more ranges" if more > 0 else "")
