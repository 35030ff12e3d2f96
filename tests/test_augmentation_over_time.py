"""Augmentation of samples over time: what becomes of integers and of the ends of samples."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neurodeploy.data import Dataset
from neurodeploy.errors import InputError
from neurodeploy.recipe import AugmentationRecipe
from neurodeploy.support.schema import build
from neurodeploy.training.augmentation_over_time import (
    augment_over_time,
    augmented_lengths,
    check_augmentation,
)
from support.command import run_cli, run_json
from support.own_data import frames, write_own, write_recipe

STEPS, CHANNELS = 20, 6
RNG = np.random.default_rng(0)


def augmented(
    samples: np.ndarray, lengths: Any = None, epoch: int = 1, groups: int = 1, **options: Any
) -> tuple[np.ndarray, Any]:
    recipe, numbers = AugmentationRecipe(**options), np.arange(len(samples))
    found = augment_over_time(samples, lengths, recipe, (0, epoch), numbers, groups)
    if lengths is None:
        return found, None
    return found, augmented_lengths(lengths, recipe, (0, epoch), numbers, samples.shape[1])


def clocks(count: int, length: int) -> np.ndarray:
    """Samples whose value at step t is t + 1, and 0 after their end."""
    times = np.where(np.arange(STEPS) < length, np.arange(1, STEPS + 1), 0)
    return np.broadcast_to(times[None, :, None], (count, STEPS, CHANNELS)).astype(np.uint8)


def test_nothing_to_do_leaves_samples_alone() -> None:
    samples, lengths = clocks(3, 9), np.full(3, 9)
    found, ends = augmented(samples, lengths)
    assert found is samples and ends is lengths


def test_a_shift_in_time_takes_the_end_along() -> None:
    samples, lengths = clocks(300, 9), np.full(300, 9)
    found, ends = augmented(samples, lengths, time_shift=3)
    seen = set()
    for sample, end in zip(found[:, :, 0], ends, strict=True):
        by = int(end) - 9
        expected = np.zeros(STEPS, int)
        for t in range(9):
            if t + by >= 0:
                expected[t + by] = t + 1
        np.testing.assert_array_equal(sample, expected)
        seen.add(by)
    assert seen == set(range(-3, 4))
    late, cut = augmented(clocks(100, STEPS), np.full(100, STEPS), time_shift=3)
    assert cut.max() == STEPS and cut.min() == STEPS - 3
    assert late[:, -1].max() == STEPS and late[:, -1].min() == 0


def test_a_speed_keeps_the_order_of_steps_and_moves_the_end() -> None:
    samples, lengths = clocks(300, 10), np.full(300, 10)
    found, ends = augmented(samples, lengths, stretch=0.5)
    for sample, end in zip(found[:, :, 0].astype(int), ends, strict=True):
        assert (np.diff(sample[:end]) >= 0).all() and sample[0] == 1
        assert (sample[:end] > 0).all() and (sample[end:] == 0).all()
    # Speeds from 1/2 to 3/2: from ceil(10 / 1.5) steps to twice as many.
    assert ends.min() == 7 and 19 <= ends.max() <= 20
    whole, _ = augmented(clocks(50, STEPS), stretch=0.5)
    assert (whole[:, -1] == 0).any() and (whole[:, -1] > 0).any(), "where all last T"


def test_what_lies_behind_an_end_stays_out() -> None:
    noise = np.full((100, STEPS, CHANNELS), 7, np.uint8)
    noise[:, :8] = 1
    found, ends = augmented(noise, np.full(100, 8), stretch=0.3, time_shift=2)
    assert 7 not in found and len(set(ends.tolist())) > 5


def test_a_sample_keeps_one_step_at_least() -> None:
    _, ends = augmented(clocks(50, 1), np.full(50, 1), time_shift=5)
    assert ends.min() == 1 and ends.max() == 6


@pytest.mark.parametrize("groups", [1, 2])
def test_channels_move_within_their_row(groups: int) -> None:
    row = CHANNELS // groups
    frame = np.arange(1, CHANNELS + 1, dtype=np.uint8)
    samples = np.broadcast_to(frame, (200, STEPS, CHANNELS)).copy()
    found, _ = augmented(samples, groups=groups, channel_shift=2)
    assert (found == found[:, :1]).all(), "all steps alike"
    expected = set()
    for by in range(-2, 3):
        moved = np.zeros((groups, row), np.uint8)
        for c in range(row):
            if 0 <= c - by < row:
                moved[:, c] = frame.reshape(groups, row)[:, c - by]
        expected.add(moved.tobytes())
    assert {sample[0].tobytes() for sample in found} == expected
    assert (samples == frame).all(), "the data set itself is left alone"


def test_spikes_are_left_out_one_by_one() -> None:
    samples = RNG.integers(0, 5, (50, STEPS, CHANNELS)).astype(np.uint8)
    found, _ = augmented(samples, drop=0.2)
    assert (found <= samples).all() and found.dtype == np.uint8
    assert found.sum() / samples.sum() == pytest.approx(0.8, abs=0.02)
    assert ((found > 0) & (found < samples)).any(), "of a count a part"


@pytest.mark.parametrize("groups", [1, 2])
def test_channels_and_steps_on_end_fall_silent(groups: int) -> None:
    samples, ends = np.ones((300, STEPS, CHANNELS), np.uint8), RNG.integers(3, STEPS + 1, 300)
    for sample, end in zip(samples, ends, strict=True):
        sample[end:] = 0
    row = CHANNELS // groups
    found, after = augmented(samples, ends, groups=groups, channel_mask=2)
    np.testing.assert_array_equal(after, ends)
    gone = (found != samples).any(1).reshape(300, groups, row)
    assert (gone == gone[:, :1]).all(), "those with other signs alike"
    assert {int(count) for count in gone[:, 0].sum(1)} == {0, 1, 2}
    assert gone[:, 0].any(0).all(), "everywhere"
    assert all((np.diff(np.flatnonzero(one)) == 1).all() for one in gone[:, 0])
    found, _ = augmented(samples, ends, groups=groups, time_mask=4)
    quiet = (found != samples).any(2)
    assert (quiet == (found != samples).all(2)).all(), "all channels alike"
    assert {int(count) for count in quiet.sum(1)} == {0, 1, 2, 3, 4}
    assert all((np.diff(np.flatnonzero(one)) == 1).all() for one in quiet)


def test_it_depends_on_sample_and_epoch_and_on_nothing_else() -> None:
    samples = (RNG.random((6, STEPS, CHANNELS)) < 0.5).astype(np.uint8)
    lengths, order = np.array([20, 4, 9, 13, 17, 6]), np.array([4, 1])
    recipe = AugmentationRecipe(0.3, 2, 1, 0.1, channel_mask=1, time_mask=2)
    whole = augment_over_time(samples, lengths, recipe, (0, 1), np.arange(6), 2)
    ends = augmented_lengths(lengths, recipe, (0, 1), np.arange(6), STEPS)
    part = augment_over_time(samples[order], lengths[order], recipe, (0, 1), order, 2)
    np.testing.assert_array_equal(part, whole[order])
    some = augmented_lengths(lengths[order], recipe, (0, 1), order, STEPS)
    np.testing.assert_array_equal(some, ends[order])
    for seed in ((0, 2), (1, 1)):
        other = augment_over_time(samples, lengths, recipe, seed, np.arange(6), 2)
        assert not np.array_equal(other, whole)
    # How long a sample lasts does not depend on what else is done to it.
    plain = AugmentationRecipe(stretch=0.3, time_shift=2)
    np.testing.assert_array_equal(
        augmented_lengths(lengths, plain, (0, 1), np.arange(6), STEPS), ends
    )


def still(shape: tuple[int, ...], over_time: bool, groups: int = 1) -> Dataset:
    x, y = np.zeros((4, *shape), np.uint8), np.arange(4) % 2
    return Dataset("mine", 1, x, y, x, y, over_time, channel_groups=groups)


@pytest.mark.parametrize(
    ("options", "dataset", "message"),
    [
        (
            {"stretch": 0.1, "drop": 0.1},
            still((1, 8, 8), False),
            "stretch, drop: for samples over time; those of data set 'mine' are still",
        ),
        (
            {"channel_shift": 1},
            still((5, 2, 8, 8), True),
            r"channel_shift: for frames \(C,\) .*found \(2, 8, 8\); crop_padding shifts images",
        ),
        ({"channel_shift": 3}, still((5, 6), True, 2), "at most 2, since 3 channels"),
        ({"time_shift": 5}, still((5, 6), True), "at most 4, since samples have T = 5 steps"),
        ({"time_mask": 5}, still((5, 6), True), "time_mask = 5: at most 4, since samples"),
        ({"channel_mask": 3}, still((5, 6), True, 2), "channel_mask = 3: at most 2, since 3"),
        ({"flip": True}, still((5, 6), True), r"needs images \(C, H, W\), found samples \(6,\)"),
    ],
)
def test_samples_of_another_kind_are_refused(
    options: dict[str, Any], dataset: Dataset, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        check_augmentation(AugmentationRecipe(**options), dataset)
    check_augmentation(AugmentationRecipe(), dataset)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stretch": 1.0}, "stretch is a share from 0 to below 1, found 1"),
        ({"drop": -0.1}, "drop is a share from 0 to below 1, found -0.1"),
        ({"time_shift": -1}, "time_shift is in steps, from 0; found -1"),
        ({"channel_shift": -2}, "channel_shift is in channels, from 0; found -2"),
        ({"channel_mask": -2}, "channel_mask is in channels, from 0; found -2"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        build(AugmentationRecipe, options, "[augmentation]")


def test_a_run_trains_on_changed_samples_and_their_ends(tmp_path: Path) -> None:
    """The same in one piece and in several, which see the same samples."""
    arrays: dict[str, Any] = {}
    for part, count in (("train", 120), ("test", 40)):
        x, y = frames(count, 8, seed=count)
        lengths = np.full(count, 8)
        lengths[::3] = 5
        arrays |= {f"x_{part}": x, f"y_{part}": y, f"lengths_{part}": lengths}
    data = write_own(tmp_path / "data.npz", **arrays)
    recipe = write_recipe(tmp_path, "events", 8)
    losses = []
    for options in (
        ["stretch=0.2", "time_shift=2", "drop=0.1"],
        ["stretch=0.2", "time_shift=2", "drop=0.1", "../training.accumulate=3"],
        [],
    ):
        keys = [f"augmentation.{option}".replace("augmentation.../", "") for option in options]
        keys += ["training.epochs=1", "training.threads=1"]
        words = [word for key in keys for word in ("--set", key)]
        run = run_json("train", str(recipe), "--data", str(data), *words, folder=tmp_path)["run"]
        lines = (tmp_path / run / "metrics.jsonl").read_text().splitlines()
        losses.append(json.loads(lines[0])["train_loss"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert losses[0] != pytest.approx(losses[2], rel=1e-4)


def test_still_images_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    found = run_cli("train", "digits_mlp", "--set", "augmentation.stretch=0.1", folder=tmp_path)
    assert found.exit_code == 2
    assert "[augmentation] stretch: for samples over time" in " ".join(found.output.split())
    assert not (tmp_path / "runs").exists()
