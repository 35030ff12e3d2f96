"""How long recordings last in steps of a fixed duration, and what is said where they do not fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from neurodeploy.errors import InputError, Setting, Text
from neurodeploy.ir.source import Longer


def fitted(
    lengths: np.ndarray, steps: int, dt: float, longer: Longer, name: Callable[[int], str]
) -> tuple[np.ndarray, str | None]:
    """Steps of each recording within T, and a note on those that were cut.

    Args:
        lengths: (N,) steps that the recordings last, at least 1.
        steps: T.
        dt: seconds of a step; 0 where nobody knows.
        longer: what to do with more than T.
        name: of the recording of a number, for people to read.

    Raises:
        InputError: some last longer, and are to be refused.
    """
    beyond = np.flatnonzero(lengths > steps)
    if not len(beyond):
        return lengths, None
    most = int(lengths.argmax())
    count = f"{len(beyond):,} of {len(lengths):,} recordings"
    each = f" of {dt:g} s" if dt else ""
    longest = f"the longest, {name(most)}, lasts {lengths[most]:,}"
    if longer == "cut":
        return np.minimum(lengths, steps), (
            f"{count} last longer than T = {steps} steps{each} and were cut there; {longest}"
        )
    raise InputError(
        f"{count} last longer than T = {steps} steps{each}; {longest}",
        fix=Text(
            "set ",
            Setting("training.steps", str(lengths[most])),
            ', or cut them with [data] longer = "cut"',
        ),
    )


def padded(
    recordings: Sequence[np.ndarray],
    steps: int,
    dt: float,
    longer: Longer,
    name: Callable[[int], str],
) -> tuple[np.ndarray, np.ndarray, str | None]:
    """Recordings with silence up to T, the steps of each, and a note on those that were cut.

    Args:
        recordings: at least one, each (its steps, *frame) uint8.
        steps, dt, longer, name: as of ``fitted``.

    Raises:
        InputError: as ``fitted``.
    """
    whole = np.array([len(recording) for recording in recordings], np.int64)
    lengths, note = fitted(whole, steps, dt, longer, name)
    x = np.zeros((len(recordings), steps, *recordings[0].shape[1:]), np.uint8)
    for row, recording, length in zip(x, recordings, lengths, strict=True):
        row[:length] = recording[:length]
    return x, lengths, note


def own_steps(values: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Which steps of (N, T, ...) lie before each sample's end, (N, T, 1, ...) bool."""
    own = np.arange(values.shape[1]) < lengths[:, None]
    return own.reshape(*own.shape, *[1] * (values.ndim - 2))


def stretched_note(bins: str, steps: int) -> str:
    """What to know of recordings whose steps have no duration of their own."""
    shared = {"time": "time", "count": "events"}[bins]
    return (
        f'bins = "{bins}": each recording is stretched over T = {steps} steps, which share its '
        f"{shared} evenly, however long it is; a chip whose step has a fixed duration cannot do "
        'that. bins = "dt" trains on steps of one duration'
    )
