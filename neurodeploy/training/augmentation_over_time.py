"""Samples over time changed at random, in training alone, as integers.

Every sample has draws of its own, a function of the run's seed, the epoch and the sample's number,
as images have (``training.encoding``).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from neurodeploy.data import Dataset
from neurodeploy.errors import InputError
from neurodeploy.recipe import AugmentationRecipe
from neurodeploy.training.encoding import check_images, draws_of_samples

STREAM, VERSIONS = 1, 2
"""Set these draws apart from those for images, and from each other."""


def drawn_versions(count: int, seed: tuple[int, ...], numbers: np.ndarray) -> np.ndarray:
    """(N,) version that each sample is seen in, 0 for itself, all as likely.

    Args:
        count: changed versions of each.
        seed: of the run and the epoch.
        numbers: (N,) number of each sample in the training set.
    """
    rngs = draws_of_samples((*seed, VERSIONS), numbers)
    return np.fromiter((rng.integers(count + 1) for rng in rngs), np.int64, len(numbers))


def augment_over_time(
    samples: np.ndarray,
    lengths: np.ndarray | None,
    recipe: AugmentationRecipe,
    seed: tuple[int, ...],
    numbers: np.ndarray,
    groups: int = 1,
) -> np.ndarray:
    """Change each sample over time at random.

    Args:
        samples: (N, T, *frame) integers, left as they are.
        lengths: (N,) steps that each lasts, after which it is silent; None where all last T.
        recipe: what to do.
        seed: of the run and the epoch.
        numbers: (N,) number of each sample in the training set.
        groups: rows of channels, one behind the other, that a frame (C,) consists of.

    Returns:
        Samples of the same shape, or ``samples`` itself when there is nothing to do; how long they
        last is what ``augmented_lengths`` says.
    """
    if not recipe.of_time:
        return samples
    changed = np.zeros_like(samples)
    steps = samples.shape[1]
    ends = np.full(len(samples), steps) if lengths is None else lengths
    drawn = zip(samples, changed, ends, _draws(recipe, seed, numbers, steps), strict=True)
    for sample, new, end, (source, rng) in drawn:
        heard = np.flatnonzero((source >= 0) & (source < end))
        new[heard] = sample[source[heard]]
        if recipe.channel_shift:
            by = int(rng.integers(-recipe.channel_shift, recipe.channel_shift + 1))
            _shift_channels(new.reshape(steps, groups, -1), by)
        if recipe.drop:
            there = np.nonzero(new)
            new[there] = rng.binomial(new[there], 1 - recipe.drop)
        if recipe.channel_mask:
            rows = new.reshape(steps, groups, -1)
            rows[..., _masked(recipe.channel_mask, rows.shape[-1], rng)] = 0
        if recipe.time_mask:
            last = heard[-1] + 1 if len(heard) else steps
            new[_masked(recipe.time_mask, last, rng)] = 0
    return changed


def augmented_lengths(
    lengths: np.ndarray,
    recipe: AugmentationRecipe,
    seed: tuple[int, ...],
    numbers: np.ndarray,
    steps: int,
) -> np.ndarray:
    """(N,) steps that samples last once they are changed, from 1 to T.

    Args:
        lengths: (N,) steps that they last.
        recipe, seed, numbers: as of ``augment_over_time``.
        steps: T.
    """
    if not (recipe.stretch or recipe.time_shift):
        return lengths
    drawn = zip(lengths, _draws(recipe, seed, numbers, steps), strict=True)
    return np.array([max(1, int((source < end).sum())) for end, (source, _) in drawn], np.int64)


def check_augmentation(recipe: AugmentationRecipe, dataset: Dataset, where: str = "") -> None:
    """Refuse changes that are not for such samples.

    Args:
        where: names the recipe in messages.

    Raises:
        InputError: as it says.
    """
    where += "[augmentation]"
    shape, groups = dataset.sample_shape, dataset.channel_groups
    if recipe.of_time and not dataset.over_time:
        raise InputError(
            f"{where} {', '.join(recipe.of_time)}: for samples over time; those of data set "
            f"{dataset.name!r} are still"
        )
    of_rows = [name for name in ("channel_shift", "channel_mask") if getattr(recipe, name)]
    if of_rows and len(shape) != 1:
        raise InputError(
            f"{where} {', '.join(of_rows)}: for frames (C,) of channels in a row, found {shape}; "
            "crop_padding shifts images, cutout blanks a part of them"
        )
    row, steps = shape[0] // groups, dataset.x_train.shape[1]
    limits = [
        *((name, row, f"{row} channels stand in a row") for name in of_rows),
        *((name, steps, f"samples have T = {steps} steps") for name in ("time_shift", "time_mask")),
    ]
    for name, size, reason in limits:
        if getattr(recipe, name) >= size:
            raise InputError(
                f"{where} {name} = {getattr(recipe, name)}: at most {size - 1}, since {reason}"
            )
    check_images(shape, recipe)


def _draws(
    recipe: AugmentationRecipe, seed: tuple[int, ...], numbers: np.ndarray, steps: int
) -> Iterator[tuple[np.ndarray, np.random.Generator]]:
    """For each sample the old step of every new one, (T,), which may lie beyond it, and more draws.

    Speed and shift come first, so that they are the same whatever else is drawn.
    """
    for rng in draws_of_samples((*seed, STREAM), numbers):
        speed = rng.uniform(1 - recipe.stretch, 1 + recipe.stretch) if recipe.stretch else 1.0
        shift = 0
        if recipe.time_shift:
            shift = int(rng.integers(-recipe.time_shift, recipe.time_shift + 1))
        yield np.floor((np.arange(steps) - shift) * speed).astype(np.int64), rng


def _masked(most: int, size: int, rng: np.random.Generator) -> slice:
    """Up to ``most`` of ``size`` places on end, as many and where as they are drawn."""
    width = int(rng.integers(min(most, size) + 1))
    first = int(rng.integers(size - width + 1))
    return slice(first, first + width)


def _shift_channels(frames: np.ndarray, by: int) -> None:
    """Move (T, groups, C) by so many channels in place, within each group."""
    moved = np.zeros_like(frames)
    if by >= 0:
        moved[..., by:] = frames[..., : frames.shape[-1] - by]
    else:
        moved[..., :by] = frames[..., -by:]
    frames[...] = moved
