"""Files of SHD, small ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np

PARTS = ("shd_train.h5", "shd_test.h5")
"""The files of the data set."""

Row = tuple[np.ndarray, np.ndarray]


def write_shd(path: Path, rows: Sequence[Row], labels: Sequence[int]) -> None:
    """A file of these recordings, times in seconds and channels."""
    kind = rows[0][0].dtype
    with h5py.File(path, "w") as file:
        times = file.create_dataset("spikes/times", len(rows), h5py.vlen_dtype(kind))
        units = file.create_dataset("spikes/units", len(rows), h5py.vlen_dtype(np.uint16))
        for index, (when, where) in enumerate(rows):
            times[index], units[index] = when, where
        file["labels"] = np.array(labels, np.uint16)
