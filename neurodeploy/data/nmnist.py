"""N-MNIST: MNIST digits seen by a moving event camera, 34 x 34, 60,000 + 10,000 recordings.

Source: G. Orchard et al., "Converting Static Image Datasets to Spiking Neuromorphic Datasets Using
Saccades", Frontiers in Neuroscience 9:437, 2015. Official form: Train/DIGIT/NUMBER.bin, and Test
likewise, five bytes an event: x, y, then the polarity in the top bit and 23 bits of microseconds.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from neurodeploy.data.dataset import Dataset, Request
from neurodeploy.data.events import EventFrames, Events
from neurodeploy.data.locate import downloader, find_folder, labels
from neurodeploy.errors import InputError
from neurodeploy.ir.contract import DataSource

SENSOR = (2, 34, 34)
OVERFLOW_ROW, OVERFLOW = 240, 2**13
"""A row that does not exist marks that the clock ran over; 2^13 us are added from there on."""


def load_nmnist(request: Request) -> Dataset:
    """Load N-MNIST as (T, 2, 34, 34) frames, binary unless levels say otherwise."""
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
        x = EventFrames(files, read_bin, SENSOR, request, levels)
        parts.append((x, labels(int(file.parent.name) for file in files)))
    (x_train, y_train), (x_test, y_test) = parts
    source = DataSource(str(folder), "", request.source.side, request.source.bins)
    return Dataset("nmnist", levels, x_train, y_train, x_test, y_test, True, source)


def read_bin(path: Path) -> Events:
    """Events of one recording: microseconds; polarity (0 off, 1 on), row, column."""
    data = np.fromfile(path, np.uint8)
    if data.size % 5:
        raise InputError(f"{path}: {data.size} bytes are not events of 5")
    x, y, *clock = data.reshape(-1, 5).T.astype(np.int64)
    t = (clock[0] & 0x7F) << 16 | clock[1] << 8 | clock[2]
    overflow = y == OVERFLOW_ROW
    t += OVERFLOW * np.cumsum(overflow)
    polarity = clock[0] >> 7
    kept = ~overflow
    return Events(t[kept], (polarity[kept], y[kept], x[kept]))
