"""Labels are checked against the outputs that there are, wherever they are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neurodeploy.data import CLASSES, class_numbers, load_dataset
from neurodeploy.data.labels import count_classes
from neurodeploy.errors import InputError
from neurodeploy.ir.contract import DataSource
from support.command import run_cli
from support.own_data import frames, write_own, write_recipe
from support.wording import refused

TEN = np.arange(40) % 10


def test_class_numbers_come_out_as_int64() -> None:
    for dtype in ("u1", "i2", ">i4", "u8"):
        found = class_numbers(np.array([0, 3, 1], dtype), 3, "y", 4)
        assert found.dtype == np.int64
        assert found.tolist() == [0, 3, 1]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (TEN + 1, "y goes up to 10, but there are 10 outputs, .* 0 to 9; labels counted from 1"),
        (TEN * 10, "y goes up to 90, but there are 10 outputs, for classes 0 to 9$"),
        (np.where(TEN == 3, 100_000, TEN), "y goes up to 100000"),
        (np.where(TEN == 3, 2**40, TEN), "y goes up to 1099511627776"),
        (TEN.astype(np.uint64) + np.uint64(2**63), "y goes up to 9223372036854775817"),
        (TEN - 1, "y goes down to -1; class numbers are integers from 0"),
        (TEN.astype(float), r"y is float64; class numbers .*; store y\.astype\(int\)"),
        (TEN + 0.5, "y is float64; class numbers are integers from 0$"),
        (np.full(40, np.nan), "y is float64; class numbers are integers from 0$"),
        (TEN > 4, r"y is bool; .* store y\.astype\(int\)"),
        (TEN.astype(str), r"y is <U21; .*number the names, .*np\.unique\(y, return_inverse=True"),
        (np.eye(10, dtype=int)[TEN], r"y has shape \(40, 10\), .*one-hot.*argmax\(axis=1\)"),
        (TEN[:, None], r"y has shape \(40, 1\), expected \(40,\); store y\.ravel\(\)"),
        (TEN[:-1], r"y has shape \(39,\), expected \(40,\)$"),
    ],
)
def test_labels_that_are_no_class_numbers_are_refused(labels: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        class_numbers(labels, 40, "y", 10)


def test_a_data_set_has_as_many_classes_as_have_samples() -> None:
    assert count_classes({"training": TEN, "test": TEN[:7]}, "set") == (
        10,
        ("no test sample of class 7 to 9",),
    )
    assert count_classes({"training": TEN, "test": TEN}, "set") == (10, ())


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        (TEN + 1, TEN + 1, "from 1 to 10 .*class 0; .*subtract 1, or .*--set data.classes=11"),
        (TEN + 5, TEN + 5, "from 5 to 14 .*class 0 to 4; .*subtract 5"),
        (TEN * 10, TEN * 10, "from 0 to 90 .*class 1 to 9, 11 to 19, .* 71 to 79 and 1 more rang"),
        (np.where(TEN == 3, 100_000, TEN), TEN, "to 100000 .*no sample of class 10 to 99999"),
        (np.where(TEN == 3, 2**40, TEN), TEN, "no sample of class 10 to 1099511627775"),
        (TEN, np.where(TEN == 3, 12, TEN), "no sample of class 10 to 11; number .*without gaps"),
        (TEN * 0, TEN[:1], "all labels are 0; two classes"),
    ],
)
def test_numbers_that_leave_classes_without_samples_are_refused(
    train: np.ndarray, test: np.ndarray, message: str
) -> None:
    with refused(InputError, message, by="train"):
        count_classes({"training": train, "test": test}, "set")


def test_classes_may_lack_samples_when_their_number_is_stated() -> None:
    lacking = TEN[TEN != 4]
    assert count_classes({"training": lacking, "test": TEN}, "set", 12) == (
        12,
        ("no training sample of class 4, 10 to 11", "no test sample of class 10 to 11"),
    )
    with pytest.raises(InputError, match="set: the array of test labels goes up to 9, but there"):
        count_classes({"training": TEN % 9, "test": TEN}, "set", 9)


def test_nobody_is_told_to_state_more_classes_than_can_be() -> None:
    far = np.where(TEN == 3, 2**40, TEN)
    with pytest.raises(InputError, match=r"without gaps$"):
        count_classes({"training": far, "test": TEN}, "set")
    with pytest.raises(InputError, match="set: 1,099,511,627,777 classes are stated; at most"):
        count_classes({"training": far, "test": TEN}, "set", 2**40 + 1)


def test_a_class_that_training_lacks_is_named_and_keeps_its_output(tmp_path: Path) -> None:
    x, y = frames(160)
    path = write_own(tmp_path / "a.npz", x_train=x[y != 2], y_train=y[y != 2])
    found = load_dataset("npz", DataSource(str(path)), steps=4)
    assert found.classes == 4
    assert "no training sample of class 2" in found.notes
    stated = load_dataset("npz", DataSource(str(path)), steps=4, classes=6)
    assert stated.classes == 6
    assert "no test sample of class 4 to 5" in stated.notes


def test_sets_with_classes_of_their_own_keep_an_output_for_all() -> None:
    assert load_dataset("digits").classes == 10
    assert CLASSES["shd"] == 20 and CLASSES["dvs_gesture"] == 11


BAD: dict[str, Any] = {
    "from 1": lambda y: y + 1,
    "tens": lambda y: y * 10,
    "huge": lambda y: np.where(y == 3, 100_000, y),
    "enormous": lambda y: np.where(y == 3, 2**40, y),
    "negative": lambda y: y - 1,
    "floats": lambda y: y.astype(float),
    "one-hot": lambda y: np.eye(4, dtype=int)[y],
}


@pytest.mark.parametrize("name", BAD)
def test_train_refuses_them_in_one_line_and_writes_nothing(tmp_path: Path, name: str) -> None:
    change = BAD[name]
    (_, y), (_, y_test) = frames(160), frames(80, seed=1)
    own = write_own(tmp_path / "own.npz", y_train=change(y), y_test=change(y_test))
    recipe = write_recipe(tmp_path)
    result = run_cli("train", str(recipe), "--data", str(own), folder=tmp_path)
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: ") and result.stderr.count("\n") == 1
    assert str(own) in result.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("name", BAD)
def test_simulate_and_validate_refuse_them_too(workspace: Path, tmp_path: Path, name: str) -> None:
    y = np.arange(40) % 10
    labels = np.eye(10, dtype=int)[y] if name == "one-hot" else BAD[name](y)
    if name == "negative":
        labels = y - 1
    own = tmp_path / "own.npz"
    np.savez(own, x=np.full((40, 1, 8, 8), 9), y=labels)
    for command in (("simulate", "--engine", "reference"), ("validate",)):
        result = run_cli(*command, "--data", str(own), folder=workspace)
        assert result.exit_code == 2
        assert result.stderr.splitlines()[-1].startswith(f"Error: {own}: y ")
