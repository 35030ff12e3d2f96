"""Event recordings as frames: T steps of event counts per pixel and polarity.

A recording begins with its first event and lasts until its last.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np

from neurodeploy.data.dataset import Dataset, Request
from neurodeploy.data.lasting import fitted, stretched_note
from neurodeploy.errors import InputError, NeurodeployError
from neurodeploy.ir.source import MICROSECONDS, DataSource, TimeBins

CACHE_BYTES = 2 << 30
"""Frames are kept once they were made when all of them take no more than this."""

EVENT_DT = 1e-3
"""Seconds of a step of event recordings where nobody says."""

Recording = TypeVar("Recording")


class Events(NamedTuple):
    """Events of one recording, in the order of their times.

    Attributes:
        t: (n,) integer times.
        place: one (n,) integer array per axis of a frame, for example polarity, row, column.
        unit: microseconds that a time of 1 stands for.
    """

    t: np.ndarray
    place: tuple[np.ndarray, ...]
    unit: int = 1


def steps_of(events: Events, tick: int) -> np.ndarray:
    """The step, from 0, that each event falls into when a step lasts ``tick`` microseconds."""
    t = events.t.astype(np.int64)
    return (t - t[0]) * events.unit // tick


def frames(
    events: Events,
    shape: tuple[int, ...],
    steps: int,
    levels: int,
    bins: TimeBins,
    tick: int = 0,
) -> np.ndarray:
    """Count events per step and place, (T, *shape) uint8.

    Args:
        events: within ``shape``.
        shape: of one frame.
        steps: T.
        levels: counts are clipped to it: binary frames with 1, graded ones above, at most 255.
        bins: ``time`` gives each step the same share of the recording's duration, ``count`` the
            same number of events to within one (as Meng et al. 2023, after Fang et al. 2021),
            ``dt`` the same duration; what comes after T steps is left out.
        tick: of ``dt``, microseconds of a step.

    Raises:
        ValueError: an event outside ``shape``.
    """
    if len(events.t) == 0:
        return np.zeros((steps, *shape), np.uint8)
    if bins == "time":
        t = events.t.astype(np.int64)
        step = (t - t.min()) * steps // (t.max() - t.min() + 1)
    elif bins == "dt":
        step = steps_of(events, tick)
        kept = step < steps
        step, events = step[kept], events._replace(place=tuple(a[kept] for a in events.place))
    else:
        step = np.empty(len(events.t), np.int64)
        step[np.argsort(events.t, kind="stable")] = np.arange(len(step)) * steps // len(step)
    place = [np.asarray(axis, np.int64) for axis in events.place]
    flat = np.ravel_multi_index((step, *place), (steps, *shape))
    counts = np.bincount(flat, minlength=steps * math.prod(shape))
    return np.minimum(counts, levels).astype(np.uint8).reshape(steps, *shape)


class EventFrames(Generic[Recording]):
    """Recordings as (N, T, *frame) uint8, read and cut into frames when indexed.

    Steps of one duration ask for every recording at once, to know how long it lasts.

    Attributes:
        lengths: (N,) int64 steps that each recording lasts, 1..T; None where all are stretched.
        notes: on recordings that were cut.
    """

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
            request: T, bins and their dt, and the side that rows and columns are scaled down to.
            levels: largest count.

        Raises:
            InputError: of steps of one duration, what ``__getitem__`` raises of any recording, and
                recordings longer than T.
        """
        self.recordings = recordings
        self.read = read
        self.sensor = shape
        self.steps, self.levels = request.steps, levels
        self.bins: TimeBins = request.source.bins
        self.tick = _tick(request.source) if self.bins == "dt" else 0
        self.frame = _scaled(shape, request.source.side)
        # Pages of zeros take no memory before something is written to them.
        keep = len(recordings) * self.steps * math.prod(self.frame) <= CACHE_BYTES
        self.cache = np.zeros(self.shape, np.uint8) if keep else None
        self.known = np.zeros(len(recordings), bool)
        self.lengths: np.ndarray | None = None
        self.notes: tuple[str, ...] = ()
        if self.tick:
            last = [int(steps_of(self._events(n), self.tick)[-1]) for n in range(len(recordings))]
            lengths, dt = np.array(last, np.int64) + 1, self.tick / MICROSECONDS
            longer = request.source.longer
            self.lengths, note = fitted(lengths, self.steps, dt, longer, self._name)
            self.notes = () if note is None else (note,)

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
        events = self._events(number)
        # Scaled down like an image: every pixel of the sensor falls into one of the frame.
        pairs = zip(events.place, self.sensor, self.frame, strict=True)
        place = tuple(
            axis if old == new else axis.astype(np.int64) * new // old for axis, old, new in pairs
        )
        scaled = events._replace(place=place)
        return frames(scaled, self.frame, self.steps, self.levels, self.bins, self.tick)

    def _events(self, number: int) -> Events:
        """Events of one recording, checked.

        Raises:
            InputError: it is damaged or empty, its time runs backwards, or an event lies outside
                the sensor.
        """
        try:
            events = self.read(self.recordings[number])
        except NeurodeployError:
            raise
        except Exception as error:
            # What a damaged recording raises depends on where it is damaged.
            reason = repr(error)[:300]
            raise InputError(f"{self._name(number)}: not a readable recording: {reason}") from None
        check_events(events, self.sensor, self._name(number))
        return events

    def _name(self, number: int) -> str:
        """What messages call a recording."""
        recording: Any = self.recordings[number]
        path = getattr(recording, "path", recording)
        return str(path) if isinstance(path, Path) else f"recording {number}"


def check_events(events: Events, sensor: tuple[int, ...], where: str) -> None:
    """Refuse events that no sensor of that shape can have recorded one after the other.

    Raises:
        InputError: there are none, their times run backwards, or a place is outside the sensor.
    """
    if len(events.t) == 0:
        raise InputError(f"{where}: holds no events; leave this recording out of the data set")
    back = np.flatnonzero(np.diff(events.t.astype(np.int64)) < 0)
    if len(back):
        at = int(back[0]) + 1
        raise InputError(
            f"{where}: time runs backwards at event {at:,}, from {events.t[at - 1]} to "
            f"{events.t[at]}; correct its times, or leave this recording out of the data set"
        )
    for axis, size, of in zip(events.place, sensor, _axes(sensor), strict=True):
        outside = np.flatnonzero((axis < 0) | (axis >= size))
        if len(outside):
            at = int(outside[0])
            raise InputError(
                f"{where}: event {at:,} has {of} {int(axis[at])}, outside the sensor, whose "
                f"{of}s are 0 to {size - 1}"
            )


def _axes(sensor: tuple[int, ...]) -> tuple[str, ...]:
    """What the axes of a sensor are."""
    known = {1: ("channel",), 3: ("polarity", "row", "column")}
    return known.get(len(sensor)) or tuple(f"axis {n} place" for n in range(len(sensor)))


def _tick(source: DataSource) -> int:
    """Microseconds of a step.

    Raises:
        InputError: they are not a whole number.
    """
    try:
        return timed(source, EVENT_DT).tick
    except ValueError as error:
        raise InputError(f"[data] {error}") from None


def timed(source: DataSource, dt: float) -> DataSource:
    """The source with its own dt where nobody has said one and steps have a duration."""
    return source if source.dt or source.bins != "dt" else replace(source, dt=dt)


def event_set(
    name: str,
    train: tuple[EventFrames[Any], np.ndarray],
    test: tuple[EventFrames[Any], np.ndarray],
    place: Path,
    request: Request,
) -> Dataset:
    """A data set of recordings.

    Args:
        name: of the data set.
        train, test: recordings and their (N,) labels.
        place: file or folder that they were found in.
        request: what was asked for.
    """
    (x_train, y_train), (x_test, y_test) = train, test
    asked, notes = request.source, []
    if asked.bins == "dt":
        for part, x in (("training", x_train), ("test", x_test)):
            notes += [f"{part}: {note}" for note in x.notes]
    else:
        notes.append(stretched_note(asked.bins, request.steps))
    source = DataSource(
        str(place), "", asked.side, asked.bins, timed(asked, EVENT_DT).dt, asked.longer
    )
    return Dataset(
        name,
        x_train.levels,
        x_train,
        y_train,
        x_test,
        y_test,
        True,
        source,
        notes=tuple(notes),
        lengths_train=x_train.lengths,
        lengths_test=x_test.lengths,
    )


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
