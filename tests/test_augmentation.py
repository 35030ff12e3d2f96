"""Augmentation: what it does to integers, and that it depends on sample and epoch alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from neurodeploy.errors import InputError
from neurodeploy.recipe import AugmentationRecipe
from neurodeploy.training.encoding import augment

RNG = np.random.default_rng(0)


def augmented(images: np.ndarray, epoch: int = 1, **options: Any) -> np.ndarray:
    numbers = np.arange(len(images))
    return augment(images, AugmentationRecipe(**options), (0, epoch), numbers)


def test_nothing_to_do_leaves_images_alone() -> None:
    images = RNG.integers(0, 256, (2, 3, 8, 8)).astype(np.uint8)
    assert augmented(images) is images


def test_crops_are_shifts_with_zeros_behind() -> None:
    image = np.arange(1, 65, dtype=np.uint8).reshape(1, 1, 8, 8)
    padded = np.pad(image[0, 0], 2)
    shifts = {padded[r : r + 8, c : c + 8].tobytes(): (r, c) for r in range(5) for c in range(5)}
    found = augmented(np.repeat(image, 400, 0), crop_padding=2)
    seen = {shifts[crop.tobytes()] for crop in found}
    assert len(seen) == 25, "every shift comes up"
    assert found.dtype == np.uint8


@pytest.mark.parametrize("padding", [1, 4, 12])
def test_crops_are_parts_of_a_padded_image(padding: int) -> None:
    image = RNG.integers(1, 256, (1, 2, 9, 7)).astype(np.uint8)
    found = augmented(np.repeat(image, 40, 0), crop_padding=padding)
    padded = np.pad(image[0], [(0, 0), (padding, padding), (padding, padding)])
    parts = {
        padded[:, top : top + 9, left : left + 7].tobytes()
        for top in range(2 * padding + 1)
        for left in range(2 * padding + 1)
    }
    assert {part.tobytes() for part in found} <= parts
    assert len({part.tobytes() for part in found}) > 5


def test_flips_are_about_half() -> None:
    image = np.arange(64, dtype=np.uint8).reshape(1, 1, 8, 8)
    found = augmented(np.repeat(image, 400, 0), flip=True)
    flipped = (found == image[..., ::-1]).all((1, 2, 3))
    assert (flipped | (found == image).all((1, 2, 3))).all()
    assert 150 < flipped.sum() < 250


def test_cutout_blanks_a_square() -> None:
    images = np.full((300, 2, 8, 8), 9, np.uint8)
    found = augmented(images, cutout=4, cutout_fill=(1, 2))
    blank = found[:, 0] == 1
    np.testing.assert_array_equal(blank, found[:, 1] == 2)
    assert (found[:, 0][~blank] == 9).all()
    counts = blank.sum((1, 2))
    # Centred on a corner, half of each side is left (rows -2 to 1), at the other end too.
    assert counts.max() == 16 and counts.min() >= 4
    assert (blank.any(2).sum(1) * blank.any(1).sum(1) == counts).all(), "a rectangle"
    assert (images == 9).all(), "the data set itself is left alone"
    with pytest.raises(InputError, match="cutout_fill has 3 values, the images 2 channels"):
        augmented(images, cutout=4, cutout_fill=(1, 2, 3))


def test_resized_crops_stay_within_the_images_values() -> None:
    ramp = np.broadcast_to(np.arange(32, dtype=np.uint8) + 50, (20, 3, 32, 32))
    found = augmented(ramp, resized_crop=True)
    assert found.min() >= 50 and found.max() <= 81
    # Scaling a part of a ramp gives a ramp again, as steep or less.
    steps = np.diff(found.astype(int), axis=-1)
    assert steps.min() >= 0 and steps.max() <= 1
    assert len({image.tobytes() for image in found}) > 15


def test_augmentation_depends_on_sample_and_epoch_and_on_nothing_else() -> None:
    images = RNG.integers(0, 256, (6, 3, 8, 8)).astype(np.uint8)
    recipe = AugmentationRecipe(crop_padding=2, flip=True, cutout=3)
    whole = augment(images, recipe, (0, 1), np.arange(6))
    order = np.array([4, 1])
    np.testing.assert_array_equal(augment(images[order], recipe, (0, 1), order), whole[order])
    for seed in ((0, 2), (1, 1)):
        assert not np.array_equal(augment(images, recipe, seed, np.arange(6)), whole)


def test_frames_of_one_sample_change_alike() -> None:
    frame = RNG.integers(0, 256, (5, 1, 2, 8, 8)).astype(np.uint8)
    found = augmented(np.repeat(frame, 3, 1), crop_padding=2, flip=True, cutout=3)
    assert (found == found[:, :1]).all()
    assert not np.array_equal(found[:, :1], frame)
    with pytest.raises(InputError, match="needs images"):
        augmented(np.zeros((2, 7), np.uint8), flip=True)
