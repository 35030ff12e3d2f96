"""DVS128 Gesture: 11 hand gestures of 29 people before an event camera of 128 x 128.

Source: A. Amir et al., "A Low Power, Fully Event-Based Gesture Recognition System", CVPR 2017. Two
forms are read. The official one: userNN_LIGHT.aedat (AEDAT 3.1) with userNN_LIGHT_labels.csv
(class from 1, start and end in microseconds) and trials_to_train.txt, trials_to_test.txt. The one
that tonic downloads: ibmGestureTrain/userNN_LIGHT/CLASS.npy, rows of x, y, polarity, milliseconds.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import NamedTuple

import numpy as np

from neurodeploy.data.dataset import Dataset, Request
from neurodeploy.data.events import EventFrames, Events
from neurodeploy.data.locate import downloader, find_folder, labels
from neurodeploy.errors import InputError
from neurodeploy.ir.contract import DataSource

SENSOR = (2, 128, 128)
LEVELS = 15
HEADER, POLARITY_EVENT = 28, 1
"""Bytes of an AEDAT 3.1 packet header, and the event type in it that we read."""


class Gesture(NamedTuple):
    """Part of a recording: from ``start`` to ``end`` in microseconds; all of it when None."""

    path: Path
    label: int
    start: int | None = None
    end: int | None = None


def load_dvs_gesture(request: Request) -> Dataset:
    """Load DVS128 Gesture as (T, 2, 128, 128) frames, counts up to 15 unless levels say else."""
    fetch = downloader(
        "dvs_gesture",
        "tonic.datasets",
        lambda sets, to: [sets.DVSGesture(save_to=to, train=train) for train in (True, False)],
    )
    holds = ["trials_to_train.txt", "ibmGestureTrain"]
    folder = find_folder("dvs_gesture", request.source, holds, fetch)
    official = (folder / holds[0]).is_file()
    levels = request.levels or LEVELS
    parts = []
    for part in ("train", "test"):
        gestures = _official(folder, part) if official else _tonic(folder, part)
        if not gestures:
            raise InputError(f"{folder}: no {part}ing gestures in it")
        x = EventFrames(gestures, read_gesture, SENSOR, request, levels)
        parts.append((x, labels(gesture.label for gesture in gestures)))
    (x_train, y_train), (x_test, y_test) = parts
    source = DataSource(str(folder), "", request.source.side, request.source.bins)
    return Dataset("dvs_gesture", levels, x_train, y_train, x_test, y_test, True, source)


def _tonic(folder: Path, part: str) -> list[Gesture]:
    files = sorted((folder / f"ibmGesture{part.capitalize()}").glob("user*/*.npy"))
    return [Gesture(file, int(file.stem)) for file in files if file.stem.isdigit()]


def _official(folder: Path, part: str) -> list[Gesture]:
    gestures: list[Gesture] = []
    trials = folder / f"trials_to_{part}.txt"
    try:
        for name in trials.read_text().split():
            table = (folder / name).with_name(f"{Path(name).stem}_labels.csv")
            rows = np.loadtxt(table, np.int64, delimiter=",", skiprows=1, ndmin=2)
            gestures += [Gesture(folder / name, int(c) - 1, int(a), int(b)) for c, a, b in rows]
    except (OSError, ValueError) as error:
        raise InputError(f"{trials}: cannot be followed: {error}") from None
    return gestures


def read_gesture(gesture: Gesture) -> Events:
    """Events of one gesture: time; polarity (0 off, 1 on), row, column.

    Raises:
        InputError: its recording is damaged.
    """
    if gesture.start is None or gesture.end is None:
        try:
            x, y, polarity, t = np.load(gesture.path, allow_pickle=False).T.astype(np.int64)
        except (OSError, ValueError, EOFError) as error:
            raise InputError(f"{gesture.path}: not a recording of tonic's: {error}") from None
        return Events(t, (polarity, y, x))
    t, data = read_aedat3(gesture.path)
    kept = (t >= gesture.start) & (t < gesture.end)
    data = data[kept]
    # Bits of a polarity event: 1 polarity, 2 to 16 row, 17 to 31 column.
    return Events(t[kept], (data >> 1 & 1, data >> 2 & 0x7FFF, data >> 17))


@functools.lru_cache(maxsize=2)
def read_aedat3(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Times in microseconds and data words of the polarity events of an AEDAT 3.1 file.

    A text header ends with ``#!END-HEADER``. Packets follow: a header of 28 bytes (type int16,
    source int16, then size, timestamp offset, overflow, capacity, number, valid as int32), then
    events of 8 bytes, data and time, all little-endian. The last recording read is remembered,
    because its gestures are usually wanted one after the other.

    Raises:
        InputError: another format, or cut off.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    end = content.find(b"#!END-HEADER\r\n")
    if not content.startswith(b"#!AER-DAT3") or end < 0:
        raise InputError(f"{path}: not an AEDAT 3.1 file")
    position = end + len(b"#!END-HEADER\r\n")
    words: list[np.ndarray] = [np.zeros((0, 2), "<u4")]
    while position + HEADER <= len(content):
        kind = int(np.frombuffer(content, "<i2", 1, position)[0])
        size, _, _, _, number, _ = np.frombuffer(content, "<i4", 6, position + 4)
        position += HEADER
        length = int(size) * int(number)
        if length < 0 or position + length > len(content):
            raise InputError(f"{path}: cut off after {len(content):,} bytes")
        if kind == POLARITY_EVENT:
            packet = np.frombuffer(content, "<u4", length // 4, position).reshape(-1, 2)
            words.append(packet[packet[:, 0] & 1 == 1])  # bit 0: the event is valid
        position += length
    joined = np.concatenate(words)
    return joined[:, 1].astype(np.int64), joined[:, 0].astype(np.int64)
