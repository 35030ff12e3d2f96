"""Event data sets: each official form on small files, and frames made of events."""

from __future__ import annotations

import struct
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neurodeploy.data import Dataset, load_dataset
from neurodeploy.data.dataset import Request
from neurodeploy.data.events import EventFrames, Events, frames
from neurodeploy.errors import InputError, MissingDependencyError
from neurodeploy.ir.contract import DataSource
from support.shd_files import PARTS, write_shd


def load(name: str, path: Path, steps: int = 1, levels: int = 0, **options: Any) -> Dataset:
    return load_dataset(name, DataSource(str(path), **options), steps, levels)


def test_frames_by_time_and_by_count() -> None:
    t = np.array([5, 0, 9, 1, 1, 1])
    place = (np.array([0, 1, 0, 1, 1, 1]), np.array([2, 0, 2, 0, 0, 0]))
    by_time = frames(Events(t, place), (2, 3), 2, 3, "time")
    assert by_time.dtype == np.uint8
    expected = np.zeros((2, 2, 3), int)
    expected[0, 1, 0] = 3  # four events at 0, 1, 1, 1, clipped
    expected[1, 0, 2] = 2
    np.testing.assert_array_equal(by_time, expected)
    by_count = frames(Events(t, place), (2, 3), 3, 255, "count")
    assert by_count.sum(axis=(1, 2)).tolist() == [2, 2, 2]
    assert by_count[2, 0, 2] == 2
    binary = frames(Events(t, place), (2, 3), 2, 1, "time")
    np.testing.assert_array_equal(binary, expected > 0)
    none = Events(t[:0], (place[0][:0], place[1][:0]))
    assert frames(none, (2, 3), 2, 1, "time").sum() == 0


def test_event_frames_are_read_once_and_scaled_down(monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[int] = []

    def read(number: int) -> Events:
        reads.append(number)
        corner = np.array([0, 7])
        return Events(np.array([0, 1]), (np.array([0, 1]), corner, corner))

    request = Request(DataSource(side=4), steps=2)
    made = EventFrames([0, 1, 2], read, (2, 8, 8), request, 15)
    assert made.shape == (3, 2, 2, 4, 4)
    first = made[np.array([2, 0, 2])]
    assert sorted(reads) == [0, 2, 2]
    np.testing.assert_array_equal(made[:][[2, 0]], first[:2])
    assert sorted(reads) == [0, 1, 2, 2]
    assert (first[:, 0, 0, 0, 0] == 1).all() and (first[:, 1, 1, 3, 3] == 1).all()
    assert first.sum() == 6
    monkeypatch.setattr("neurodeploy.data.events.CACHE_BYTES", 0)
    uncached = EventFrames([0, 1, 2], read, (2, 8, 8), request, 15)
    np.testing.assert_array_equal(uncached[1:], made[1:])
    assert uncached[np.array([], int)].shape == (0, 2, 2, 4, 4)


def nmnist_bytes(events: list[tuple[int, int, int, int]]) -> bytes:
    """(x, y, polarity, microseconds) in five bytes each."""
    return b"".join(bytes([x, y]) + (p << 23 | t).to_bytes(3, "big") for x, y, p, t in events)


def test_nmnist(tmp_path: Path) -> None:
    for part in ("Train", "Test"):
        for digit in (0, 7):
            (tmp_path / part / str(digit)).mkdir(parents=True)
            # The row 240 stands for a clock that ran over: 8,192 us more from there on.
            events = [(33, 0, 1, 10), (2, 240, 0, 0), (1, 30, 0, 10)]
            (tmp_path / part / str(digit) / "00001.bin").write_bytes(nmnist_bytes(events))
    found = load("nmnist", tmp_path, steps=3)
    assert (found.over_time, found.levels, found.sample_shape) == (True, 1, (2, 34, 34))
    assert found.y_train.tolist() == [0, 7]
    sample = found.x_train[:1][0]
    assert sample.sum() == 2
    assert sample[0, 1, 0, 33] == 1 and sample[2, 0, 30, 1] == 1
    (tmp_path / "Test" / "0" / "00001.bin").write_bytes(b"1234567")
    with pytest.raises(InputError, match=r"00001\.bin: 7 bytes are not events of 5"):
        load("nmnist", tmp_path, steps=3).x_test[:1]


def test_shd(tmp_path: Path) -> None:
    first = np.array([0.0, 0.25, 0.5], "f2"), np.array([699, 3, 3])
    second = np.array([0.1], "f2"), np.array([5])
    for name in PARTS:
        write_shd(tmp_path / name, [first, second], [19, 4])
    found = load("shd", tmp_path, steps=2, levels=3)
    assert found.x_train.shape == (2, 2, 700)
    assert (found.sample_shape, found.levels, found.classes) == ((700,), 3, 20)
    sample = found.x_test[:1][0]
    # 0.25 s lies in the first half of 0.5 s and a microsecond.
    assert np.argwhere(sample).tolist() == [[0, 3], [0, 699], [1, 3]]
    (tmp_path / "shd_test.h5").write_bytes(b"no")
    with pytest.raises(InputError, match=r"shd_test\.h5: not a file of SHD"):
        load("shd", tmp_path)


def test_dvs_gesture_as_tonic_keeps_it(tmp_path: Path) -> None:
    for part in ("ibmGestureTrain", "ibmGestureTest"):
        (tmp_path / part / "user01_led").mkdir(parents=True)
        for label in (0, 10):
            rows = np.array([[127, 0, 1, 3.0], [5, 6, 0, 9.0], [5, 6, 0, 9.0]])
            np.save(tmp_path / part / "user01_led" / f"{label}.npy", rows)
    found = load("dvs_gesture", tmp_path, steps=2, bins="count")
    assert (found.levels, found.classes, found.source.bins) == (15, 11, "count")
    sample = found.x_train[:1][0]
    assert sample.sum() == 3
    assert sample[0, 1, 0, 127] == 1 and sample[:, 0, 6, 5].tolist() == [1, 1]


def aedat3(events: list[tuple[int, int, int, int]]) -> bytes:
    """(x, y, polarity, microseconds) as AEDAT 3.1, one event of another type before them."""
    other = struct.pack("<hhiiiiii", 0, 1, 8, 4, 0, 1, 1, 1) + bytes(8)
    head = struct.pack("<hhiiiiii", 1, 1, 8, 4, 0, len(events) + 1, len(events) + 1, len(events))
    body = b"".join(struct.pack("<II", x << 17 | y << 2 | p << 1 | 1, t) for x, y, p, t in events)
    invalid = struct.pack("<II", 9 << 17, 50)
    return b"#!AER-DAT3.1\r\n#Format: RAW\r\n#!END-HEADER\r\n" + other + head + body + invalid


def test_dvs_gesture_as_published(tmp_path: Path) -> None:
    events = [(1, 2, 1, 40), (3, 4, 0, 50), (127, 126, 1, 60), (7, 7, 0, 99)]
    for part in ("train", "test"):
        (tmp_path / f"user01_{part}.aedat").write_bytes(aedat3(events))
        table = "class,startTime_usec,endTime_usec\n11,50,99\n2,0,45\n"
        (tmp_path / f"user01_{part}_labels.csv").write_text(table)
        (tmp_path / f"trials_to_{part}.txt").write_text(f"user01_{part}.aedat\n")
    found = load("dvs_gesture", tmp_path, steps=1)
    assert found.y_train.tolist() == [10, 1]
    first, second = found.x_train[:]
    assert np.argwhere(first[0]).tolist() == [[0, 4, 3], [1, 126, 127]]
    assert np.argwhere(second[0]).tolist() == [[1, 2, 1]]
    content = (tmp_path / "user01_test.aedat").read_bytes()
    (tmp_path / "user01_test.aedat").write_bytes(content[:-3])
    with pytest.raises(InputError, match=r"user01_test\.aedat: cut off"):
        load("dvs_gesture", tmp_path).x_test[:1]


def test_dvs_cifar10(tmp_path: Path) -> None:
    from neurodeploy.data.recordings import CLASSES

    header = b"#!AER-DAT2.0\r\n# a comment\r\n"
    for name in CLASSES:
        (tmp_path / name).mkdir()
        for number in range(10):
            # Column counted from the far side; polarity 0 is on.
            address = 20 << 8 | (127 - number) << 1 | 0
            content = header + struct.pack(">IIII", address, 10, address | 1, 900)
            (tmp_path / name / f"cifar10_{name}_{number}.aedat").write_bytes(content)
    found = load("dvs_cifar10", tmp_path, steps=2, side=64, bins="count")
    assert found.x_train.shape == (90, 2, 2, 64, 64)
    assert found.x_test.shape[0] == 10
    assert found.y_test.tolist() == list(range(10))
    # The tenth recording of a class tests: row 20, column 9 of 128, so 10 and 4 of 64.
    assert np.argwhere(found.x_test[:1][0]).tolist() == [[0, 1, 10, 4], [1, 0, 10, 4]]
    last = tmp_path / "airplane" / "cifar10_airplane_9.aedat"
    last.write_bytes(header + b"1234567")
    with pytest.raises(InputError, match="7 bytes are not events of 8"):
        load("dvs_cifar10", tmp_path).x_test[:1]


def test_aedat4_needs_a_package_only_when_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from neurodeploy.data.recordings import CLASSES, read_aedat4

    monkeypatch.setitem(sys.modules, "aedat", None)
    for name in CLASSES:
        (tmp_path / name).mkdir()
        for number in range(2):
            (tmp_path / name / f"{number}.aedat4").touch()
    found = load("dvs_cifar10", tmp_path, steps=2)
    with pytest.raises(MissingDependencyError, match="pip install aedat"):
        _ = found.x_train[:1]
    kinds = [("t", "u8"), ("x", "u2"), ("y", "u2"), ("on", "?")]
    packet = np.array([(5, 3, 4, True)], kinds)
    decoder = types.SimpleNamespace(Decoder=lambda _: [{"frame": 0}, {"events": packet}])
    monkeypatch.setitem(sys.modules, "aedat", decoder)
    events = read_aedat4(tmp_path / "a.aedat4")
    assert [axis.tolist() for axis in (events.t, *events.place)] == [[5], [1], [4], [3]]
