"""A user's own data: what values, axes and lengths are taken for, and what is asked of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import neurodeploy as nd
from neurodeploy.data import Dataset, load_dataset
from neurodeploy.data.values import found_levels, question
from neurodeploy.errors import DataWarning, InputError
from neurodeploy.ir.contract import DataSource, Encoder
from support.command import run_cli, run_json
from support.own_data import frames, write_own, write_recipe
from support.quick import quick
from support.wording import refused, said_by

ONES = np.ones((6, 5, 4))


def load(path: Path, *, encoder: Encoder = "direct", steps: int = 1, levels: int = 0) -> Dataset:
    return load_dataset("npz", DataSource(str(path)), steps, levels, encoder=encoder)


def write(path: Path, x_train: np.ndarray, x_test: np.ndarray | None = None, **more: Any) -> Path:
    x_test = x_train if x_test is None else x_test
    y = {f"y_{part}": np.arange(len(x)) % 2 for part, x in (("train", x_train), ("test", x_test))}
    np.savez(path, x_train=x_train, x_test=x_test, **{**y, **more})
    return path


# --- levels


@pytest.mark.parametrize(
    ("largest", "levels", "noted"),
    [
        (1, 1, "the largest value is 1, so the input has levels 0 to 1"),
        (15, 15, "levels 0 to 15"),
        (127, 127, "levels 0 to 127"),
        (128, 255, "the largest value is 128, taken as one of a byte, 0 to 255"),
        (254, 255, "taken as one of a byte"),
        (255, 255, None),
    ],
)
@pytest.mark.parametrize("dtype", ["u1", "i8", ">u2"])
def test_levels_are_found_from_the_values_and_said(
    tmp_path: Path, largest: int, levels: int, noted: str | None, dtype: str
) -> None:
    found = load(write(tmp_path / "a.npz", (ONES * largest).astype(dtype)))
    assert found.levels == levels
    assert found.x_train[:].dtype == np.uint8 and found.x_train[:].max() == largest
    if noted is None:
        assert found.notes == ()
    else:
        (note,) = found.notes
        assert noted in note
        assert "say where" in said_by("train", note) and "--set data.levels=N" in said_by(
            "train", note
        )


def test_test_samples_count_too() -> None:
    assert found_levels(np.array([3]), np.array([5]))[0] == 5


def test_levels_may_be_stated_by_the_recipe_or_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a.npz", ONES.astype(np.uint8) * 12, levels=15)
    assert (load(path).levels, load(path).notes) == (15, ())
    assert load(path, levels=20).levels == 20
    with refused(InputError, r"x_train holds values from 12 to 12; expected 0 to 10", by="train"):
        load(path, levels=10)
    for wrong in (0, 256, 1.5, np.array([1, 2])):
        bad = write(tmp_path / "b.npz", ONES.astype(np.uint8), levels=wrong)
        with pytest.raises(InputError, match="levels is one whole number from 1 to 255, found"):
            load(bad)


@pytest.mark.parametrize(
    ("largest", "levels", "asked"),
    [(1, 255, "at most 1/255 of"), (15, 255, "at most 1/17 of"), (4, 16, "at most 1/4 of")],
)
def test_values_far_below_the_levels_are_questioned(
    tmp_path: Path, largest: int, levels: int, asked: str
) -> None:
    (note,) = load(write(tmp_path / "a.npz", ONES.astype("u1") * largest), levels=levels).notes[:1]
    said = said_by("train", note)
    assert f"the largest value is {largest}, and the input takes 0 to {levels}" in said
    assert asked in said and f"--set data.levels={largest}" in said
    assert question(5, 16, "") is None
    assert "all values are 0" in str(question(0, 1, ""))


def test_test_samples_of_another_scale_are_questioned(tmp_path: Path) -> None:
    path = write(tmp_path / "a.npz", ONES.astype("u1") * 255, ONES.astype("u1"))
    (note,) = load(path).notes
    assert note.startswith("x_test: the largest value is 1, and the input takes 0 to 255")
    assert "of one scale" in note


# --- floats


def test_floats_are_rounded_when_levels_are_stated(tmp_path: Path) -> None:
    x = np.linspace(0, 1, 120, dtype=np.float32).reshape(6, 5, 4)
    found = load(write(tmp_path / "a.npz", x), levels=15)
    # The nearest of 0/15 ... 15/15, by hand for a few: 0.5 is between 7/15 and 8/15.
    np.testing.assert_array_equal(
        found.x_train[:].ravel(), np.floor(x.astype(np.float64).ravel() * 15 + 0.5)
    )
    assert "floats from 0 to 1 were rounded to the nearest of 0/15 to 15/15" in found.notes[0]
    assert "0.033" in found.notes[0]
    with_key = load(write(tmp_path / "b.npz", x, levels=15))
    np.testing.assert_array_equal(with_key.x_train[:], found.x_train[:])


@pytest.mark.parametrize(
    ("x", "levels", "message"),
    [
        (ONES, 0, r"x_train is float64; expected uint8.*found 1 to 1.*--set data\.levels=N"),
        (ONES * 255, 255, r"x_train is float64; .*floats from 0 to 1 \(found 255 to 255\)"),
        (ONES * -0.5, 255, r"found -0\.5 to -0\.5"),
        (ONES * np.nan, 255, "found nan to nan"),
        (ONES.astype(complex), 255, "x_train is complex128; expected uint8"),
        (ONES.astype(int) * 300, 0, "values from 300 to 300; expected 0 to 255"),
        (ONES.astype(int) * -1, 0, "values from -1 to -1; expected 0 to 255"),
    ],
)
def test_values_that_cannot_be_taken_are_refused(
    tmp_path: Path, x: np.ndarray, levels: int, message: str
) -> None:
    with refused(InputError, message, by="train"):
        load(write(tmp_path / "a.npz", x), levels=levels)


def test_training_and_test_samples_are_of_one_type(tmp_path: Path) -> None:
    path = write(tmp_path / "a.npz", ONES.astype(bool), ONES.astype("u1"))
    with pytest.raises(InputError, match="samples differ: x_train bool, x_test uint8"):
        load(path)


# --- axes and lengths


@pytest.mark.parametrize(
    ("axes", "encoder", "sample"),
    [
        ((20,), "direct", (20,)),
        ((5, 4), "direct", (1, 5, 4)),
        ((3, 5, 4), "direct", (3, 5, 4)),
        ((7, 20), "events", (20,)),
        ((7, 5, 4), "events", (1, 5, 4)),
        ((7, 2, 5, 4), "events", (2, 5, 4)),
    ],
)
def test_axes_are_those_that_the_encoder_takes(
    tmp_path: Path, axes: tuple[int, ...], encoder: Encoder, sample: tuple[int, ...]
) -> None:
    path = write(tmp_path / "a.npz", np.ones((6, *axes), bool))
    found = load(path, encoder=encoder, steps=7)
    assert (found.sample_shape, found.over_time) == (sample, encoder == "events")


@pytest.mark.parametrize(
    ("axes", "encoder", "message"),
    [
        ((), "direct", r"shape \(6,\); expected \(N, F\), \(N, H, W\) or \(N, C, H, W\)"),
        ((20,), "events", r"shape \(6, 20\); expected \(N, T, F\), .* over time"),
        ((9, 20), "events", "samples have 9 steps, the network T = 7; set training.steps=9"),
        ((7, 5, 4, 2), "events", r"channels last; store it as \(N, T, C, H, W\)"),
        ((0, 4), "direct", r"shape \(6, 0, 4\); expected"),
    ],
)
def test_axes_that_do_not_fit_are_refused(
    tmp_path: Path, axes: tuple[int, ...], encoder: Encoder, message: str
) -> None:
    path = write(tmp_path / "a.npz", np.ones((6, *axes), bool))
    with pytest.raises(InputError, match=message):
        load(path, encoder=encoder, steps=7)


def test_samples_of_different_lengths_end_in_silence(tmp_path: Path) -> None:
    x = np.ones((6, 7, 20), bool)
    lengths = {"lengths_train": np.arange(1, 7), "lengths_test": np.full(6, 7)}
    found = load(write(tmp_path / "a.npz", x, **lengths), encoder="events", steps=7)
    per_step = found.x_train[:].sum(axis=2)
    assert per_step.tolist() == [[20] * n + [0] * (7 - n) for n in range(1, 7)]
    assert found.x_test[:].all()
    assert found.lengths_train is not None and found.lengths_test is not None
    assert (found.lengths_train.tolist(), {*found.lengths_test}) == ([1, 2, 3, 4, 5, 6], {7})
    assert (
        "last 1 to 6 of 7 steps and are silent after that; the class of each is read at its own end"
        in (found.notes[0])
    )


@pytest.mark.parametrize(
    ("lengths", "encoder", "message"),
    [
        (np.arange(6), "events", "lengths_train goes from 0 to 5; samples have 1 to 7 steps"),
        (np.arange(6) + 3, "events", "goes from 3 to 8"),
        (np.ones(5, int), "events", r"lengths_train is int64 \(5,\); expected \(6,\) integers"),
        (np.ones(6), "events", r"lengths_train is float64 \(6,\)"),
        (np.ones(6, int), "direct", "lengths are of samples over time, and these are static"),
    ],
)
def test_lengths_that_do_not_fit_are_refused(
    tmp_path: Path, lengths: np.ndarray, encoder: Encoder, message: str
) -> None:
    path = write(tmp_path / "a.npz", np.ones((6, 7, 20), bool), lengths_train=lengths)
    with pytest.raises(InputError, match=message):
        load(path, encoder=encoder, steps=7)


def test_ragged_lists_are_refused_with_the_way_to_store_them(tmp_path: Path) -> None:
    ragged = np.empty(2, object)
    ragged[:] = [np.zeros(3), np.zeros(4)]
    path = tmp_path / "a.npz"
    np.savez(path, x_train=ragged)
    with pytest.raises(InputError, match="filled up with zeros, and their lengths as lengths_trai"):
        load(path)


# --- the whole road


@pytest.mark.parametrize("scale", quick(["uint8", "counts", "floats"], "counts", "floats"))
def test_frames_train_and_deploy_whatever_type_they_come_in(tmp_path: Path, scale: str) -> None:
    change: dict[str, Any] = {
        "uint8": lambda x: x,
        "counts": lambda x: x * 15,
        "floats": lambda x: x.astype(np.float32),
    }
    (x_train, _), (x_test, _) = frames(160), frames(80, seed=1)
    own = write_own(
        tmp_path / "own.npz", x_train=change[scale](x_train), x_test=change[scale](x_test)
    )
    stated = ("--set", "data.levels=4") if scale == "floats" else ()
    recipe = write_recipe(tmp_path)
    trained = run_json("train", str(recipe), "--data", str(own), *stated, folder=tmp_path)
    assert trained["test_accuracy"] > 0.9
    run_json("export", "--target", "loihi2", folder=tmp_path)
    found = run_json("simulate", "--engine", "reference", folder=tmp_path)
    assert found["accuracy"] > 0.9
    assert found["warnings"] == []
    levels = {"uint8": 1, "counts": 15, "floats": 4}[scale]
    events = np.count_nonzero(x_test) / len(x_test)
    assert found["spikes_per_sample"]["input"] == pytest.approx(events)
    assert found["values_per_sample"]["input"] == pytest.approx(events * levels)
    again = run_json("simulate", "--engine", "reference", "--data", str(own), folder=tmp_path)
    assert again["accuracy"] == found["accuracy"]


def test_a_guess_is_said_before_training_in_the_words_of_the_command_line(tmp_path: Path) -> None:
    own, recipe = write_own(tmp_path / "own.npz"), write_recipe(tmp_path)
    result = run_cli("train", str(recipe), "--data", str(own), folder=tmp_path)
    assert result.exit_code == 0, result.output
    asked = "so the input has levels 0 to 1; if the values go further, say where they end with "
    for said in (result.stderr, result.stdout):  # before, and beside the accuracies
        assert said.count(f"{asked}--set data.levels=N") == said.count("levels=N") == 1


def test_simulation_and_validation_question_data_far_too_small(
    workspace: Path, tmp_path: Path
) -> None:
    own = tmp_path / "own.npz"
    np.savez(own, x=np.ones((3, 1, 8, 8), np.uint8))
    result = run_cli("simulate", "--engine", "reference", "--data", str(own), folder=workspace)
    asked = "Warning: the largest value is 1, and the input takes 0 to 16: the network sees at most"
    assert f"{asked} 1/16 of a full input; if the values end there, multiply them by 16" in (
        result.stdout
    )
    for command in (("simulate", "--engine", "reference"), ("validate", "--engines", PAIR)):
        found = run_json(*command, "--data", str(own), folder=workspace)
        assert f"Warning: {found['warnings'][0]}".startswith(asked)


PAIR = "reference,float"


def test_a_file_that_states_other_levels_is_refused(workspace: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.npz"
    np.savez(own, x=np.ones((3, 1, 8, 8), np.uint8), levels=1)
    result = run_cli("simulate", "--data", str(own), folder=workspace)
    assert result.exit_code == 2
    assert "states levels 0 to 1; this network's input takes 0 to 16" in result.stderr
    np.savez(own, x=np.ones((3, 1, 8, 8)) / 2)
    result = run_cli("simulate", "--data", str(own), folder=workspace)
    assert result.exit_code == 2
    assert "x is float64; spikes and graded inputs are integers; " in result.stderr
    assert "give np.rint(16 * x).astype(int)" in result.stderr
    np.savez(own, x=np.ones((3, 1, 8, 8)) / 2, levels=16)
    found = run_json("simulate", "--engine", "reference", "--data", str(own), folder=workspace)
    assert found["values_per_sample"]["input"] == 8 * 64 * 4
    assert found["spikes_per_sample"]["input"] == 64 * 4


def test_calibration_questions_its_data(workspace: Path, tmp_path: Path) -> None:
    own, out = tmp_path / "own.npz", tmp_path / "deployment"
    np.savez(own, x=np.ones((8, 1, 8, 8), np.uint8))
    found = run_json(
        *("export", "--target", "loihi2", "--calibrate", str(own), "--out", str(out)),
        folder=workspace,
    )
    assert "the largest value is 1, and the input takes 0 to 16" in found["warnings"][0]


def test_functions_in_memory_warn(workspace: Path) -> None:
    (run,) = (workspace / "runs").glob("*/network.nir")
    network = nd.import_nir(run)
    dark = np.ones((2, 1, 8, 8), np.uint8)
    with pytest.warns(DataWarning, match="the largest value is 1, and the input takes 0 to 16"):
        nd.simulate(network, dark, engine="float")
    with pytest.warns(DataWarning, match="takes 0 to 16"):
        integers = nd.quantize(network, "loihi2", calibration=dark)
    with pytest.warns(DataWarning, match="takes 0 to 16"):
        nd.simulate(integers, dark)
