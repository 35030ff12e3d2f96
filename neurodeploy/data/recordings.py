"""Data sets of event recordings: N-MNIST, DVS128 Gesture, CIFAR10-DVS and spoken digits (SHD)."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from neurodeploy.data.dataset import Dataset, Request
from neurodeploy.data.events import EventFrames, Events, event_set, numbered
from neurodeploy.data.files import downloader, find_folder, labels
from neurodeploy.errors import InputError, MissingDependencyError
from neurodeploy.support.archives import read_npy
from neurodeploy.support.hdf5_heaps import check_heaps, memory_bound
from neurodeploy.support.reading import check_file, read_bytes, shown

NMNIST_SENSOR = (2, 34, 34)
DVS_SENSOR = (2, 128, 128)
DVS_LEVELS = 15
"""Where an event camera of 128 x 128 has recorded, counts go up to this unless levels say else."""
COCHLEA = (700,)
MOST_RECORDING = 2**30
"""Bytes of a file; the longest official one has 130 million."""
MOST_TABLE = 2**24
"""Bytes of a list of recordings or of gestures."""
OVERFLOW_ROW, OVERFLOW = 240, 2**13
"""A row that does not exist marks that the clock ran over; 2^13 us are added from there on."""


def load_nmnist(request: Request) -> Dataset:
    """Load N-MNIST as (T, 2, 34, 34) frames, binary unless levels say otherwise.

    MNIST digits seen by a moving event camera, 60,000 + 10,000 recordings. Source: G. Orchard et
    al., "Converting Static Image Datasets to Spiking Neuromorphic Datasets Using Saccades",
    Frontiers in Neuroscience 9:437, 2015. Official form: Train/DIGIT/NUMBER.bin, and Test likewise.
    """
    fetch = downloader(
        "nmnist",
        "tonic.datasets",
        lambda sets, to: [sets.NMNIST(save_to=to, train=train) for train in (True, False)],
    )
    folder = find_folder("nmnist", request.source, ["Train/[0-9]"], fetch)
    levels = request.levels or 1
    parts = []
    for name in ("Train", "Test"):
        files = sorted((folder / name).glob("[0-9]/*.bin"))
        if not files:
            raise InputError(f"{folder / name}: no DIGIT/*.bin files of N-MNIST")
        x = EventFrames(files, read_bin, NMNIST_SENSOR, request, levels)
        parts.append((x, labels(int(file.parent.name) for file in files)))
    train, test = parts
    return event_set("nmnist", train, test, folder, request)


def read_bin(path: Path) -> Events:
    """Events of one recording of N-MNIST: microseconds; polarity (0 off, 1 on), row, column.

    Five bytes an event: x, y, then the polarity in the top bit and 23 bits of microseconds.
    """
    data = np.frombuffer(read_bytes(path, MOST_RECORDING), np.uint8)
    if data.size % 5:
        raise InputError(f"{path}: {data.size} bytes are not events of 5")
    x, y, *clock = data.reshape(-1, 5).T.astype(np.int64)
    t = (clock[0] & 0x7F) << 16 | clock[1] << 8 | clock[2]
    overflow = y == OVERFLOW_ROW
    t += OVERFLOW * np.cumsum(overflow)
    polarity = clock[0] >> 7
    kept = ~overflow
    return Events(t[kept], (polarity[kept], y[kept], x[kept]))


HEADER, POLARITY_EVENT = 28, 1
"""Bytes of an AEDAT 3.1 packet header, and the event type in it that we read."""


LONGEST_NAME = 255
"""Characters of a file's name, which no file system exceeds."""


class Gesture(NamedTuple):
    """Part of a recording: from ``start`` to ``end`` in microseconds; all of it when None."""

    path: Path
    label: int
    start: int | None = None
    end: int | None = None


def load_dvs_gesture(request: Request) -> Dataset:
    """Load DVS128 Gesture as (T, 2, 128, 128) frames, counts up to 15 unless levels say else.

    11 hand gestures of 29 people. Source: A. Amir et al., "A Low Power, Fully Event-Based Gesture
    Recognition System", CVPR 2017. Two forms are read. The official one: userNN_LIGHT.aedat (AEDAT
    3.1) with userNN_LIGHT_labels.csv (class from 1, start and end in microseconds) and
    trials_to_train.txt, trials_to_test.txt. The one that tonic downloads:
    ibmGestureTrain/userNN_LIGHT/CLASS.npy, rows of x, y, polarity, milliseconds.
    """
    fetch = downloader(
        "dvs_gesture",
        "tonic.datasets",
        lambda sets, to: [sets.DVSGesture(save_to=to, train=train) for train in (True, False)],
    )
    holds = ["trials_to_train.txt", "ibmGestureTrain"]
    folder = find_folder("dvs_gesture", request.source, holds, fetch)
    official = (folder / holds[0]).is_file()
    levels = request.levels or DVS_LEVELS
    parts = []
    for part in ("train", "test"):
        gestures = _official(folder, part) if official else _tonic(folder, part)
        if not gestures:
            raise InputError(f"{folder}: no {part}ing gestures in it")
        x = EventFrames(gestures, read_gesture, DVS_SENSOR, request, levels)
        parts.append((x, labels(gesture.label for gesture in gestures)))
    train, test = parts
    return event_set("dvs_gesture", train, test, folder, request)


def _tonic(folder: Path, part: str) -> list[Gesture]:
    files = sorted((folder / f"ibmGesture{part.capitalize()}").glob("user*/*.npy"))
    return [Gesture(file, int(file.stem)) for file in files if file.stem.isdigit()]


def _official(folder: Path, part: str) -> list[Gesture]:
    gestures: list[Gesture] = []
    trials = folder / f"trials_to_{part}.txt"
    try:
        for name in read_bytes(trials, MOST_TABLE).decode().split():
            if "/" in name or name in (".", "..") or len(name) > LONGEST_NAME:
                raise ValueError(f"{shown(name)} is not the name of a file next to it")
            table = (folder / name).with_name(f"{Path(name).stem}_labels.csv")
            lines = read_bytes(table, MOST_TABLE).decode().splitlines()[1:]
            if not any(line.strip() for line in lines):
                raise ValueError(f"{table} holds no gestures")
            rows = np.loadtxt(lines, np.int64, delimiter=",", ndmin=2)
            gestures += [Gesture(folder / name, int(c) - 1, int(a), int(b)) for c, a, b in rows]
    except (OSError, ValueError) as error:
        raise InputError(f"{trials}: cannot be followed: {str(error)[:300]}") from None
    return gestures


def read_gesture(gesture: Gesture) -> Events:
    """Events of one gesture: time; polarity (0 off, 1 on), row, column.

    Raises:
        InputError: its recording is damaged.
    """
    if gesture.start is None or gesture.end is None:
        stored = read_npy(gesture.path)
        if stored.ndim != 2 or stored.shape[1] != 4 or stored.dtype.kind not in "iuf":
            raise InputError(
                f"{gesture.path}: not a recording of tonic's: holds {stored.dtype} {stored.shape}, "
                "expected (N, 4) numbers"
            )
        if not np.abs(stored.astype(np.float64)).max(initial=0) < 2**53:
            raise InputError(f"{gesture.path}: holds values that are neither times nor coordinates")
        x, y, polarity, t = stored.T.astype(np.int64)
        return Events(t, (polarity, y, x), unit=1000)
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
    content = read_bytes(path, MOST_RECORDING)
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


CLASSES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)


def load_dvs_cifar10(request: Request) -> Dataset:
    """Load DVS-CIFAR10 as (T, 2, side, side) frames, counts up to 15 unless levels say else.

    CIFAR10-DVS: 10,000 images of CIFAR-10 moved before an event camera. Source: H. Li et al.,
    "CIFAR10-DVS: An Event-Stream Dataset for Object Classification", Frontiers in Neuroscience
    11:309, 2017. Two forms are read: the official CLASS/cifar10_CLASS_NUMBER.aedat (AEDAT 2.0), and
    CLASS/*.aedat4, which tonic downloads and the package ``aedat`` decodes. There is no official
    split: as is usual, the first nine of ten recordings of each class are for training.
    """
    fetch = downloader(
        "dvs_cifar10", "tonic.datasets", lambda sets, to: sets.CIFAR10DVS(save_to=to)
    )
    holds = [f"{CLASSES[0]}/*.aedat", f"{CLASSES[0]}/*.aedat4"]
    folder = find_folder("dvs_cifar10", request.source, holds, fetch)
    training: list[tuple[Path, int]] = []
    testing: list[tuple[Path, int]] = []
    for number, name in enumerate(CLASSES):
        files = sorted((folder / name).glob("*.aedat"), key=numbered)
        files = files or sorted((folder / name).glob("*.aedat4"), key=numbered)
        cut = len(files) * 9 // 10
        if cut == 0:
            raise InputError(f"{folder / name}: holds {len(files)} recordings, at least 2 needed")
        training += [(file, number) for file in files[:cut]]
        testing += [(file, number) for file in files[cut:]]
    levels = request.levels or DVS_LEVELS
    parts = []
    for found in (training, testing):
        x = EventFrames([file for file, _ in found], read_recording, DVS_SENSOR, request, levels)
        parts.append((x, labels(number for _, number in found)))
    train, test = parts
    return event_set("dvs_cifar10", train, test, folder, request)


def read_recording(path: Path) -> Events:
    """Events of one recording: microseconds; polarity (0 off, 1 on), row, column."""
    return read_aedat2(path) if path.suffix == ".aedat" else read_aedat4(path)


def read_aedat2(path: Path) -> Events:
    """Read AEDAT 2.0: comment lines, then address and time of each event, big-endian 32 bits.

    Address of the DVS128: bit 0 polarity (0 is on), bits 1 to 7 column, counted from the far side,
    bits 8 to 14 row; as the official code of Meng et al. 2023 takes them.

    Raises:
        InputError: another format.
    """
    content = read_bytes(path, MOST_RECORDING)
    if not content.startswith(b"#!AER-DAT2"):
        raise InputError(f"{path}: not an AEDAT 2.0 file")
    start = 0
    while content[start : start + 1] == b"#":
        end = content.find(b"\n", start)
        start = len(content) if end < 0 else end + 1
    if (len(content) - start) % 8:
        raise InputError(f"{path}: {len(content) - start:,} bytes are not events of 8")
    words = np.frombuffer(content, ">u4", offset=start).reshape(-1, 2).astype(np.int64)
    address, t = words[:, 0], words[:, 1]
    place = (1 - (address & 1), address >> 8 & 0x7F, 127 - (address >> 1 & 0x7F))
    return Events(t, place)


def read_aedat4(path: Path) -> Events:
    """Read AEDAT 4 by the package ``aedat``.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        import aedat  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise MissingDependencyError(
            f"{path}: reading AEDAT 4 needs: pip install aedat (the official .aedat files do not)"
        ) from None
    packets = [packet["events"] for packet in aedat.Decoder(path) if "events" in packet]
    if not packets:
        raise InputError(f"{path}: holds no events")
    events = np.concatenate(packets)
    return Events(events["t"].astype(np.int64), (events["on"] * 1, events["y"], events["x"]))


def load_shd(request: Request) -> Dataset:
    """Load SHD as (T, 700) frames, binary unless levels say otherwise.

    Spoken digits in two languages as spikes of 700 cochlear channels, 20 classes, 8,156 + 2,264
    recordings. Source: B. Cramer et al., "The Heidelberg Spiking Data Sets for the Systematic
    Evaluation of Spiking Neural Networks", IEEE TNNLS 33(7), 2022. Official form: shd_train.h5 and
    shd_test.h5 with spikes/times (seconds), spikes/units and labels.
    """
    fetch = downloader(
        "shd",
        "tonic.datasets",
        lambda sets, to: [sets.SHD(save_to=to, train=train) for train in (True, False)],
    )
    folder = find_folder("shd", request.source, ["shd_train.h5"], fetch)
    levels = request.levels or 1
    parts = []
    for name in ("shd_train.h5", "shd_test.h5"):
        recordings, y = read_h5(folder / name)
        parts.append((EventFrames(recordings, _events, COCHLEA, request, levels), y))
    train, test = parts
    return event_set("shd", train, test, folder, request)


MOST_EXPANSION = 16
"""How many times its size on disk a file of SHD may take in memory."""

LEAST_BYTES = 2**24
"""Of memory that any file may take."""


def read_h5(path: Path) -> tuple[list[tuple[np.ndarray, np.ndarray]], np.ndarray]:
    """Times in seconds and channels of each recording, and their (N,) classes.

    Raises:
        InputError: absent, damaged or of another layout.
    """
    import h5py

    check_file(path)
    most = max(LEAST_BYTES, MOST_EXPANSION * path.stat().st_size)
    try:
        check_heaps(path)
        with memory_bound(2 * most + 2**28), h5py.File(path) as file:
            times, units = (_ragged(file, f"spikes/{name}", most) for name in ("times", "units"))
            found: Any = file["labels"]
            if found.shape != (len(times),) or found.dtype.kind not in "iu":
                raise ValueError(f"labels are {found.dtype} {found.shape}")
            return list(zip(times, units, strict=True)), found[()].astype(np.int64)
    except InputError:
        raise
    except Exception as error:
        # What the library raises depends on where a file is damaged.
        raise InputError(f"{path}: not a file of SHD: {str(error)[:300]}") from None


def _ragged(file: Any, name: str, most: int) -> list[np.ndarray]:
    """Rows of different lengths, of at most so many bytes in all."""
    import h5py

    found = file[name]
    kind = h5py.check_vlen_dtype(found.dtype)
    if kind is None or np.dtype(kind).kind not in "iuf" or len(found.shape) != 1:
        raise ValueError(f"{name} is {found.dtype} {found.shape}, expected rows of numbers")
    # A row takes a place in the file, however short it is.
    left = most - found.shape[0] * found.dtype.itemsize
    rows: list[np.ndarray] = []
    for index in range(found.shape[0] if left > 0 else 0):
        rows.append(np.asarray(found[index]))
        left -= rows[-1].nbytes
        if left < 0:
            break
    if left < 0:
        raise ValueError(f"{name} takes more than {most:,} bytes, too many for a file of its size")
    return rows


def _events(recording: tuple[np.ndarray, np.ndarray]) -> Events:
    times, units = recording
    if len(times) != len(units):
        raise ValueError(f"{len(times)} times and {len(units)} channels")
    if not np.isfinite(times).all():
        raise ValueError("a time is not a number")
    t = np.round(times.astype(np.float64) * 1e6).astype(np.int64)
    # Spikes of many channels, not what one clock has written: any order of them is right.
    order = np.argsort(t, kind="stable")
    return Events(t[order], (units[order],))
