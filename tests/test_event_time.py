"""Event recordings in steps of one duration, and recordings that nothing can be made of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neurodeploy.data import Dataset, load_dataset
from neurodeploy.errors import InputError
from neurodeploy.ir.source import DataSource
from neurodeploy.recipe import load_recipe
from support.shd_files import PARTS, write_shd
from support.wording import refused

Event = tuple[int, int, int, int]


def nmnist_bytes(events: list[Event]) -> bytes:
    """(x, y, polarity, microseconds) in five bytes each."""
    return b"".join(bytes([x, y]) + (p << 23 | t).to_bytes(3, "big") for x, y, p, t in events)


def write_nmnist(folder: Path, *recordings: list[Event]) -> Path:
    """The recordings as those of digit 0 and 1 in turn, the same for training and test."""
    for part in ("Train", "Test"):
        for number, events in enumerate(recordings):
            path = folder / part / str(number % 2) / f"{number:05}.bin"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(nmnist_bytes(events))
    return folder


def load(name: str, path: Path, steps: int, classes: int = 2, **options: Any) -> Dataset:
    source = DataSource(str(path), **{"bins": "dt", "dt": 1e-3, **options})
    return load_dataset(name, source, steps, classes=classes, encoder="events")


def test_every_recording_has_its_own_steps(tmp_path: Path) -> None:
    """By hand: a step of 1 ms holds what comes less than that after its beginning."""
    late = 5000  # a recording begins with its first event
    first: list[Event] = [(1, 2, 1, late), (3, 4, 0, late + 999), (5, 6, 1, late + 1000)]
    second: list[Event] = [(7, 8, 0, 0), (9, 10, 1, 3999)]
    found = load("nmnist", write_nmnist(tmp_path, first, second), 6)
    assert found.lengths_train is not None and found.lengths_train.tolist() == [2, 4]
    assert found.x_train.shape == (2, 6, 2, 34, 34)
    assert np.argwhere(found.x_train[:1][0]).tolist() == [[0, 0, 4, 3], [0, 1, 2, 1], [1, 1, 6, 5]]
    assert np.argwhere(found.x_train[1:][0]).tolist() == [[0, 0, 8, 7], [3, 1, 10, 9]]
    assert (found.notes, found.source.dt) == ((), 1e-3)
    # The data set's own dt is a millisecond.
    assert load("nmnist", tmp_path, 6, dt=0.0).source.dt == 1e-3
    assert load("nmnist", tmp_path, 6, dt=2e-3).x_train[:].sum(axis=(2, 3, 4)).tolist() == [
        [3, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
    ]


def test_longer_than_the_steps(tmp_path: Path) -> None:
    write_nmnist(tmp_path, [(0, 0, 0, 0), (0, 0, 0, 9999)], [(0, 0, 0, 0), (1, 1, 1, 4000)])
    message = (
        r"2 of 2 recordings last longer than T = 4 steps of 0.001 s; the longest, .*00000\.bin"
    )
    with refused(InputError, message + r", lasts 10; set --set training\.steps=10", by="train"):
        load("nmnist", tmp_path, 4)
    found = load("nmnist", tmp_path, 4, longer="cut")
    assert found.lengths_test is not None and found.lengths_test.tolist() == [4, 4]
    assert found.x_test[:].sum() == 2
    assert [note.partition(":")[0] for note in found.notes] == ["training", "test"]
    assert "2 of 2 recordings last longer than T = 4" in found.notes[0]


@pytest.mark.parametrize("bins", ["time", "count"])
def test_stretched_time_is_said(tmp_path: Path, bins: str) -> None:
    write_nmnist(tmp_path, [(0, 0, 0, 0), (0, 0, 0, 9999)], [(0, 0, 0, 0)])
    found = load("nmnist", tmp_path, 4, bins=bins, dt=0.0)
    (note,) = found.notes
    assert f'bins = "{bins}": each recording is stretched over T = 4 steps' in note
    assert (found.lengths_train, found.lengths_test) == (None, None)


@pytest.mark.parametrize("bins", ["dt", "time", "count"])
def test_recordings_that_nothing_can_be_made_of(tmp_path: Path, bins: str) -> None:
    good: list[Event] = [(0, 0, 0, 0), (1, 1, 1, 4000)]
    cases: list[tuple[list[Event], str]] = [
        ([], "holds no events; leave this recording out"),
        ([(0, 0, 0, 7), (0, 0, 0, 5)], "time runs backwards at event 1, from 7 to 5"),
        ([(0, 0, 0, 7), (34, 0, 0, 8)], "event 1 has column 34, outside the sensor, whose columns"),
        ([(0, 40, 0, 7)], "event 0 has row 40, outside the sensor, whose rows are 0 to 33"),
    ]
    for number, (bad, message) in enumerate(cases):
        folder = write_nmnist(tmp_path / str(number), good, bad)
        options = {} if bins == "dt" else {"bins": bins, "dt": 0.0}
        with pytest.raises(InputError, match=r"00001\.bin: ") as caught:
            load("nmnist", folder, 9, **options).x_train[:]
        assert message in str(caught.value)


def test_steps_of_no_duration() -> None:
    for value in ("0", "0.0", "-1e-3"):
        with pytest.raises(InputError, match="dt is in seconds of a step and must be positive"):
            load_recipe("nmnist_conv", ['data.bins="dt"', f"data.dt={value}"])
    with pytest.raises(InputError, match="at most 3600, found 1e\\+06"):
        load_recipe("nmnist_conv", ['data.bins="dt"', "data.dt=1e6"])
    with pytest.raises(InputError, match='it goes with bins = "dt"'):
        load_recipe("shd_mlp", ['data.bins="time"', 'data.longer="cut"'])


def test_a_dt_of_whole_microseconds(tmp_path: Path) -> None:
    write_nmnist(tmp_path, [(0, 0, 0, 0), (0, 0, 0, 9)], [(0, 0, 0, 0)])
    with pytest.raises(InputError, match=r"dt = 1\.5e-06 s is 1\.5 microseconds"):
        load("nmnist", tmp_path, 9, dt=1.5e-6)
    with pytest.raises(InputError, match="microseconds"):
        load("nmnist", tmp_path, 9, dt=1e-9)
    with pytest.raises(InputError, match="split = half: data set 'nmnist' does not take this"):
        load("nmnist", tmp_path, 10, split="half")


def test_times_of_shd_and_of_gestures_have_units_of_their_own(tmp_path: Path) -> None:
    # Channels one after the other, not in the order of time.
    first = np.array([0.5, 0.25, 0.2505], "f4"), np.array([699, 3, 4])
    second = np.array([0.1], "f4"), np.array([5])
    for name in PARTS:
        write_shd(tmp_path / name, [first, second], [19, 4])
    found = load("shd", tmp_path, 300, classes=20)
    assert found.lengths_train is not None and found.lengths_train.tolist() == [251, 1]
    assert np.argwhere(found.x_train[:1][0]).tolist() == [[0, 3], [0, 4], [250, 699]]
    for part in ("ibmGestureTrain", "ibmGestureTest"):
        (tmp_path / part / "user01_led").mkdir(parents=True)
        for label in (0, 1):
            rows = np.array([[127, 0, 1, 3.0], [5, 6, 0, 9.0]])
            np.save(tmp_path / part / "user01_led" / f"{label}.npy", rows)
    gestures = load("dvs_gesture", tmp_path, 10)
    assert gestures.lengths_test is not None and gestures.lengths_test.tolist() == [7, 7]
