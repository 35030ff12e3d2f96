"""Folders of a user's own recordings: events and series, and those that cannot be read."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neurodeploy.data import Dataset, load_dataset
from neurodeploy.errors import InputError
from neurodeploy.ir.source import DataSource


def load(name: str, path: Path, steps: int = 6, levels: int = 0, **options: Any) -> Dataset:
    source = DataSource(str(path), **{"bins": "dt", "dt": 1e-3, **options})
    return load_dataset(name, source, steps, levels, encoder="events")


def write(folder: Path, **arrays: Any) -> Path:
    """The same recording in both classes of both parts."""
    for part in ("train", "test"):
        for label in (0, 1):
            (folder / part / str(label)).mkdir(parents=True, exist_ok=True)
            np.savez(folder / part / str(label) / "a.npz", **arrays)
    return folder


def test_events_of_a_camera_and_of_channels(tmp_path: Path) -> None:
    events = {"t": [5, 1004, 2005], "x": [0, 3, 1], "y": [2, 0, 0], "p": [1, 0, 0]}
    found = load("events", write(tmp_path / "camera", **events))
    assert (found.sample_shape, found.classes, found.levels) == ((2, 3, 4), 2, 1)
    assert found.lengths_train is not None and found.lengths_train.tolist() == [3, 3]
    assert np.argwhere(found.x_train[:1][0]).tolist() == [[0, 0, 0, 3], [0, 1, 2, 0], [2, 0, 0, 1]]
    channels = write(tmp_path / "channels", t=[0, 1, 3], channel=[4, 4, 0], unit=1000)
    found = load("events", channels, levels=3)
    assert found.sample_shape == (5,)
    assert np.argwhere(found.x_test[:1][0]).tolist() == [[0, 4], [1, 4], [3, 0]]
    (channels / "sensor.json").write_text('{"sensor": [9]}')
    assert load("events", channels).sample_shape == (9,)


def test_aedat_files_are_recordings_too(tmp_path: Path) -> None:
    write(tmp_path, t=[0], x=[127], y=[127], p=[1])
    event = struct.pack(">IIII", 20 << 8 | 127 - 3 << 1, 10, 20 << 8 | 1, 2010)
    (tmp_path / "train" / "1" / "b.aedat").write_bytes(b"#!AER-DAT2.0\r\n" + event)
    found = load("events", tmp_path)
    assert found.y_train.tolist() == [0, 1, 1]
    assert np.argwhere(found.x_train[2:][0]).tolist() == [[0, 1, 20, 3], [2, 0, 20, 127]]


def test_series_of_different_lengths(tmp_path: Path) -> None:
    write(tmp_path, x=np.arange(1, 9).reshape(4, 2))
    np.savez(tmp_path / "train" / "0" / "b.npz", x=np.ones((6, 2), bool))
    found = load("series", tmp_path)
    assert (found.levels, found.sample_shape) == (8, (2,))
    assert found.lengths_train is not None and found.lengths_train.tolist() == [4, 6, 4]
    assert found.x_train[:1][0].tolist() == [[1, 2], [3, 4], [5, 6], [7, 8], [0, 0], [0, 0]]
    with pytest.raises(InputError, match=r"1 of 3 recordings last longer .*0.b\.npz, lasts 6"):
        load("series", tmp_path, 5)
    cut = load("series", tmp_path, 5, longer="cut")
    assert cut.lengths_train is not None and cut.lengths_train.max() == 5
    with pytest.raises(InputError, match="values go up to 8; expected 0 to 7"):
        load("series", tmp_path, levels=7)
    np.savez(tmp_path / "test" / "0" / "b.npz", x=np.ones((6, 3), bool))
    with pytest.raises(InputError, match=r"b\.npz: frames are \(3,\), those of others \(2,\)"):
        load("series", tmp_path)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"t": [], "channel": []}, "is float64"),
        ({"t": np.zeros(0, int), "channel": np.zeros(0, int)}, "holds no events"),
        ({"t": [3, 2], "channel": [0, 0]}, "time runs backwards at event 1, from 3 to 2"),
        ({"t": [3, 4], "channel": [0, 9]}, "event 1 has channel 9, outside the sensor"),
        ({"t": [3, 4], "channel": [0, -1]}, "event 1 has channel -1, outside the sensor"),
        ({"t": [0.1, 0.2], "channel": [0, 0]}, "t is float64 .*times in microseconds"),
        ({"t": [1, 2], "channel": [0]}, r"channel is int64 \(1,\); expected integers, one for"),
        ({"t": [1], "x": [0], "p": [0]}, "holds no array y; a recording has t and channel, or"),
        ({"t": [0, 99_000], "channel": [0, 0]}, "last longer than T = 6 steps of 0.001 s"),
        ({"t": [0], "channel": [0], "unit": 0}, "unit is a whole number of microseconds"),
    ],
)
def test_bad_recordings(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    write(tmp_path, t=[0], channel=[0])
    (tmp_path / "sensor.json").write_text('{"sensor": [9]}')
    np.savez(tmp_path / "train" / "1" / "b.npz", **arrays)
    with pytest.raises(InputError, match=r"b\.npz") as caught:
        load("events", tmp_path)
    with pytest.raises(InputError, match=message):
        raise caught.value


def test_bad_folders(tmp_path: Path) -> None:
    write(tmp_path, t=[0], channel=[0])
    (tmp_path / "train" / "seven").mkdir()
    with pytest.raises(InputError, match="seven: folders are named by the number of their class"):
        load("events", tmp_path)
    (tmp_path / "train" / "seven").rmdir()
    (tmp_path / "sensor.json").write_text('{"sensor": [2, 0, 3]}')
    with pytest.raises(InputError, match=r"sensor is \[channels\] or \[2, rows, columns\]"):
        load("events", tmp_path)
    with pytest.raises(InputError, match="series have steps of their own"):
        load_dataset("series", DataSource(str(tmp_path)), 4)
