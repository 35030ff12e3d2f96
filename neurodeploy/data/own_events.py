"""Recordings of a user's own: events or series, one file each, in folders by class.

    train/3/a.npz   t, x, y, p          times in microseconds; column, row, polarity of each event
    train/3/b.npz   t, channel          the same of sensors with one axis
    train/3/c.npz   x                   a series, (steps, *frame) integers, a step each
    test/...                            likewise; .aedat and .aedat4 are read too
    sensor.json                         {"sensor": [2, 34, 34]}, where it does not follow

Class folders are named by number. ``unit``, in a file of events, says how many microseconds a time
of 1 stands for.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from neurodeploy.data.dataset import Dataset, Request
from neurodeploy.data.events import EventFrames, Events, check_events, event_set
from neurodeploy.data.files import find_folder, labels
from neurodeploy.data.lasting import padded
from neurodeploy.data.recordings import read_recording
from neurodeploy.data.values import integers
from neurodeploy.errors import InputError
from neurodeploy.support.archives import stored_arrays
from neurodeploy.support.reading import read_json

PARTS = ("train", "test")
ENDINGS = (".npz", ".aedat", ".aedat4")
SENSOR = "sensor.json"


def load_events(request: Request) -> Dataset:
    """Load a folder of events as (T, *sensor) frames, binary unless levels say otherwise.

    Raises:
        InputError: no such folder, a class that is no number, or recordings that are damaged,
            empty, run backwards, reach beyond the sensor or are no events.
    """
    folder = find_folder("events", request.source, ["train"], None)
    found = {part: _labelled(folder, part) for part in PARTS}
    sensor = _sensor(folder, [path for files in found.values() for path, _ in files])
    levels = request.levels or 1
    parts = []
    for files in found.values():
        paths = [path for path, _ in files]
        x = EventFrames(paths, read_events, sensor, request, levels)
        parts.append((x, labels(label for _, label in files)))
    train, test = parts
    return event_set("events", train, test, folder, request)


def load_series(request: Request) -> Dataset:
    """Load a folder of series, each (steps, *frame) integers in an ``x``, silent up to T.

    Raises:
        InputError: as ``load_events``, or series that are longer than T or of different frames.
    """
    asked = request.source
    if asked.bins != "dt":
        raise InputError(
            f"[data] bins = {asked.bins}: series have steps of their own, one after the other; set "
            'bins = "dt", and dt to the seconds that one of them lasts'
        )
    folder = find_folder("series", asked, ["train"], None)
    parts, notes, frame, top = [], [], None, 1
    for part in PARTS:
        files = _labelled(folder, part)
        series = [_series(path) for path, _ in files]
        for (path, _), one in zip(files, series, strict=True):
            frame = one.shape[1:] if frame is None else frame
            if one.shape[1:] != frame:
                raise InputError(f"{path}: frames are {one.shape[1:]}, those of others {frame}")
        names = [str(path) for path, _ in files]
        x, lengths, note = padded(series, request.steps, asked.dt, asked.longer, names.__getitem__)
        notes += [f"{part}: {note}"] if note else []
        top = max([top, *(int(one.max()) for one in series)])
        parts.append((x, labels(label for _, label in files), lengths))
    if request.levels and top > request.levels:
        raise InputError(f"{folder}: values go up to {top}; expected 0 to {request.levels}")
    (x_train, y_train, train), (x_test, y_test, test) = parts
    source = replace(asked, path=str(folder), sha256="")
    return Dataset(
        *("series", request.levels or top, x_train, y_train, x_test, y_test, True, source),
        notes=tuple(notes),
        lengths_train=train,
        lengths_test=test,
    )


def read_events(path: Path) -> Events:
    """Events of one file.

    Raises:
        InputError: it is no recording of events.
    """
    if path.suffix != ".npz":
        return read_recording(path)
    stored = stored_arrays(path, ("t", "x", "y", "p", "channel", "unit"))
    arrays = {name: found.read() for name, found in stored.items()}
    axes = ("channel",) if "channel" in arrays else ("p", "y", "x")
    lacking = [name for name in ("t", *axes) if name not in arrays]
    if lacking:
        raise InputError(
            f"{path}: holds no array {', '.join(lacking)}; a recording has t and channel, or t, x, "
            "y and p"
        )
    taken = {name: np.asarray(arrays[name]) for name in ("t", *axes)}
    for name, values in taken.items():
        if values.dtype.kind not in "iub" or values.shape != taken["t"].shape or values.ndim != 1:
            raise InputError(
                f"{path}: {name} is {values.dtype} {values.shape}; expected integers, one for each "
                "event, times in microseconds"
            )
    unit: Any = arrays.get("unit", np.int64(1))
    if unit.size != 1 or unit.dtype.kind not in "iu" or int(unit.item()) < 1:
        raise InputError(f"{path}: unit is a whole number of microseconds, found {unit}")
    t = taken["t"].astype(np.int64)
    return Events(t, tuple(taken[name].astype(np.int64) for name in axes), int(unit.item()))


def _series(path: Path) -> np.ndarray:
    """(steps, *frame) uint8 of one file.

    Raises:
        InputError: it holds none, or one of no steps.
    """
    stored = stored_arrays(path, ("x",)).get("x")
    x = None if stored is None else stored.read()
    if x is None or x.ndim < 2 or x.size == 0:
        found = "none" if x is None else str(x.shape)
        raise InputError(f"{path}: a series is x of shape (steps, *frame), found {found}")
    return integers(x, f"{path}: x")[0]


def _labelled(folder: Path, part: str) -> list[tuple[Path, int]]:
    """Files of a part and their classes.

    Raises:
        InputError: there are none, or a class folder is not named by a number.
    """
    found: list[tuple[Path, int]] = []
    root = folder / part
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; recordings lie in train/CLASS and test/CLASS")
    for entry in sorted(root.iterdir()):
        if not entry.is_dir() or entry.name.startswith("."):
            continue
        if not (entry.name.isascii() and entry.name.isdigit()):
            raise InputError(
                f"{entry}: folders are named by the number of their class, from 0; number the names"
            )
        files = (file for file in sorted(entry.iterdir()) if file.suffix in ENDINGS)
        found += [(file, int(entry.name)) for file in files]
    if not found:
        raise InputError(f"{root}: holds no recordings, CLASS/*.npz, *.aedat or *.aedat4")
    return found


def _sensor(folder: Path, paths: list[Path]) -> tuple[int, ...]:
    """Shape of the sensor: as stated, or as far as the events of all recordings reach.

    Raises:
        InputError: what is stated is none, or recordings have different axes.
    """
    stated = folder / SENSOR
    if stated.is_file():
        table = read_json(stated)
        sensor: Any = table.get("sensor")
        valid = isinstance(sensor, list) and all(type(n) is int and n > 0 for n in sensor)
        if not valid or len(sensor) not in (1, 3):
            raise InputError(f"{stated}: sensor is [channels] or [2, rows, columns]: {sensor!r}")
        return tuple(sensor)
    reach: np.ndarray | None = None
    for path in paths:
        events = read_events(path)
        check_events(events, (2**31,) * len(events.place), str(path))
        ends = np.array([int(axis.max()) + 1 for axis in events.place])
        if reach is not None and len(ends) != len(reach):
            raise InputError(f"{path}: has {len(ends)} axes of place, the others {len(reach)}")
        reach = ends if reach is None else np.maximum(reach, ends)
    if reach is None:
        raise InputError(f"{folder}: holds no recordings")
    return tuple(int(n) for n in reach) if len(reach) == 1 else (2, *(int(n) for n in reach[1:]))
