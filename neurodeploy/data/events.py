"""Event recordings as frames: T steps of event counts per pixel and polarity."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np

from neurodeploy.data.dataset import Request
from neurodeploy.errors import InputError, NeurodeployError
from neurodeploy.ir.contract import TimeBins

CACHE_BYTES = 2 << 30
"""Frames are kept once they were made when all of them take no more than this."""

Recording = TypeVar("Recording")


class Events(NamedTuple):
    """Events of one recording, in any order.

    Attributes:
        t: (n,) integer times of any unit.
        place: one (n,) integer array per axis of a frame, for example polarity, row, column.
    """

    t: np.ndarray
    place: tuple[np.ndarray, ...]


def frames(
    events: Events, shape: tuple[int, ...], steps: int, levels: int, bins: TimeBins
) -> np.ndarray:
    """Count events per step and place, (T, *shape) uint8.

    Args:
        events: within ``shape``.
        shape: of one frame.
        steps: T.
        levels: counts are clipped to it: binary frames with 1, graded ones above, at most 255.
        bins: ``time`` gives each step the same share of the recording's duration, ``count`` the
            same number of events to within one (as Meng et al. 2023, after Fang et al. 2021).

    Raises:
        ValueError: an event outside ``shape``.
    """
    if len(events.t) == 0:
        return np.zeros((steps, *shape), np.uint8)
    if bins == "time":
        t = events.t.astype(np.int64)
        step = (t - t.min()) * steps // (t.max() - t.min() + 1)
    else:
        step = np.empty(len(events.t), np.int64)
        step[np.argsort(events.t, kind="stable")] = np.arange(len(step)) * steps // len(step)
    place = [np.asarray(axis, np.int64) for axis in events.place]
    flat = np.ravel_multi_index((step, *place), (steps, *shape))
    counts = np.bincount(flat, minlength=steps * math.prod(shape))
    return np.minimum(counts, levels).astype(np.uint8).reshape(steps, *shape)


class EventFrames(Generic[Recording]):
    """Recordings as (N, T, *frame) uint8, read and cut into frames when indexed."""

    def __init__(
        self,
        recordings: list[Recording],
        read: Callable[[Recording], Events],
        shape: tuple[int, ...],
        request: Request,
        levels: int,
    ) -> None:
        """What to read, and how to make frames of it.

        Args:
            recordings: what ``read`` takes, one each.
            read: may raise anything when a recording is damaged.
            shape: of a frame as recorded.
            request: T, bins, and the side that rows and columns are scaled down to.
            levels: largest count.
        """
        self.recordings = recordings
        self.read = read
        self.sensor = shape
        self.steps, self.levels = request.steps, levels
        self.bins: TimeBins = request.source.bins
        self.frame = _scaled(shape, request.source.side)
        # Pages of zeros take no memory before something is written to them.
        keep = len(recordings) * self.steps * math.prod(self.frame) <= CACHE_BYTES
        self.cache = np.zeros(self.shape, np.uint8) if keep else None
        self.known = np.zeros(len(recordings), bool)

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, T, *frame)."""
        return (len(self.recordings), self.steps, *self.frame)

    def __len__(self) -> int:
        return len(self.recordings)

    def __getitem__(self, index: slice | np.ndarray, /) -> np.ndarray:
        numbers = np.arange(len(self.recordings))[index]
        if self.cache is None:
            found = [self._frames(number) for number in numbers]
            return np.stack(found) if found else np.zeros((0, *self.shape[1:]), np.uint8)
        for number in numbers[~self.known[numbers]]:
            self.cache[number] = self._frames(number)
            self.known[number] = True
        return self.cache[numbers]

    def _frames(self, number: int) -> np.ndarray:
        recording = self.recordings[number]
        try:
            events = self.read(recording)
            # Scaled down like an image: every pixel of the sensor falls into one of the frame.
            pairs = zip(events.place, self.sensor, self.frame, strict=True)
            place = tuple(
                axis if old == new else axis.astype(np.int64) * new // old
                for axis, old, new in pairs
            )
            return frames(Events(events.t, place), self.frame, self.steps, self.levels, self.bins)
        except NeurodeployError:
            raise
        except Exception as error:
            # What a damaged recording raises depends on where it is damaged.
            where = recording if isinstance(recording, Path) else f"recording {number}"
            raise InputError(f"{where}: not a readable recording: {error!r}") from None


def _scaled(shape: tuple[int, ...], side: int) -> tuple[int, ...]:
    """Shape of a frame whose last two axes are scaled down to ``side``."""
    if not side:
        return shape
    if len(shape) != 3 or side > min(shape[1:]):
        raise InputError(f"[data] side = {side} does not suit frames of {shape}")
    return (shape[0], side, side)


def numbered(path: Path) -> tuple[Any, ...]:
    """Sort key of a path that puts ``a_10`` after ``a_9``."""
    digits = "".join(c if c.isdigit() else " " for c in path.stem).split()
    return (str(path.parent), [int(number) for number in digits], path.stem)
