"""DVS-CIFAR10 (CIFAR10-DVS): 10,000 CIFAR-10 images moved before an event camera of 128 x 128.

Source: H. Li et al., "CIFAR10-DVS: An Event-Stream Dataset for Object Classification", Frontiers in
Neuroscience 11:309, 2017. Two forms are read: the official CLASS/cifar10_CLASS_NUMBER.aedat
(AEDAT 2.0), and CLASS/*.aedat4, which tonic downloads and the package ``aedat`` decodes. There is
no official split: as is usual, the first nine of ten recordings of each class are for training.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from neurodeploy.data.dataset import Dataset, Request
from neurodeploy.data.events import EventFrames, Events, numbered
from neurodeploy.data.locate import downloader, find_folder, labels
from neurodeploy.errors import InputError, MissingDependencyError
from neurodeploy.ir.contract import DataSource

SENSOR = (2, 128, 128)
LEVELS = 15
CLASSES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)


def load_dvs_cifar10(request: Request) -> Dataset:
    """Load DVS-CIFAR10 as (T, 2, side, side) frames, counts up to 15 unless levels say else."""
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
    levels = request.levels or LEVELS
    parts = []
    for found in (training, testing):
        x = EventFrames([file for file, _ in found], read_recording, SENSOR, request, levels)
        parts.append((x, labels(number for _, number in found)))
    (x_train, y_train), (x_test, y_test) = parts
    source = DataSource(str(folder), "", request.source.side, request.source.bins)
    return Dataset("dvs_cifar10", levels, x_train, y_train, x_test, y_test, True, source)


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
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
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
