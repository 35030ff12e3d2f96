"""Spiking Heidelberg Digits: spoken digits in two languages as spikes of 700 cochlear channels.

Source: B. Cramer et al., "The Heidelberg Spiking Data Sets for the Systematic Evaluation of Spiking
Neural Networks", IEEE TNNLS 33(7), 2022. 8,156 + 2,264 recordings, 20 classes. Official form:
shd_train.h5 and shd_test.h5 with spikes/times (seconds), spikes/units and labels.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from neurodeploy.data.dataset import Dataset, Request
from neurodeploy.data.events import EventFrames, Events
from neurodeploy.data.locate import downloader, find_folder
from neurodeploy.errors import InputError
from neurodeploy.ir.contract import DataSource

CHANNELS = (700,)


def load_shd(request: Request) -> Dataset:
    """Load SHD as (T, 700) frames, binary unless levels say otherwise."""
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
        parts.append((EventFrames(recordings, _events, CHANNELS, request, levels), y))
    (x_train, y_train), (x_test, y_test) = parts
    source = DataSource(str(folder), "", request.source.side, request.source.bins)
    return Dataset("shd", levels, x_train, y_train, x_test, y_test, True, source)


def read_h5(path: Path) -> tuple[list[tuple[np.ndarray, np.ndarray]], np.ndarray]:
    """Times in seconds and channels of each recording, and their (N,) classes.

    Raises:
        InputError: absent, damaged or of another layout.
    """
    import h5py

    try:
        with h5py.File(path) as file:
            times, units, y = (
                np.asarray(file[key]) for key in ("spikes/times", "spikes/units", "labels")
            )
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: not a file of SHD: {error}") from None
    return list(zip(times, units, strict=True)), y.astype(np.int64)


def _events(recording: tuple[np.ndarray, np.ndarray]) -> Events:
    times, units = recording
    return Events(np.round(times.astype(np.float64) * 1e6).astype(np.int64), (units,))
