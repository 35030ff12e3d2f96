"""Input of the float network: values 0..1 or spikes for integers 0..levels, and images changed.

Images are changed at random, in training alone, as integers: a network still sees integer/levels.
Every sample has draws of its own, a function of the run's seed, the epoch and the sample's number:
what happens to it does not depend on which batch or which process it is in.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from neurodeploy.data.dataset import encode, spike_step
from neurodeploy.errors import InputError
from neurodeploy.ir.contract import InputCode
from neurodeploy.recipe import AugmentationRecipe

Frames = Iterator[Tensor]
"""(N, *sample) float32 of each step."""


def is_constant(code: InputCode) -> bool:
    """Whether the network sees the same input at every step."""
    return code.encoder == "direct"


def training_frames(
    samples: Tensor,
    code: InputCode,
    steps: int,
    generator: torch.Generator,
    first: int = 0,
    batch: int = 0,
) -> Iterator[Tensor]:
    """Input of T steps; ``rate`` spikes are drawn anew each time a sample is seen.

    Args:
        samples: (N, *sample) integers 0..levels, or (N, T, *sample) for ``events``.
        code: encoder and levels.
        steps: T.
        generator: of the Bernoulli draws, on the CPU, so that they are the same on any device.
        first, batch: where in a batch the samples begin, and its size; 0 when they are all of it.
            Draws are made for the whole batch: they do not depend on how it is shared out.

    Yields:
        (N, *sample) float32, T times; with ``direct`` the same tensor.
    """
    if code.encoder == "events":
        for t in range(steps):
            yield samples[:, t].to(torch.float32) / code.payload
        return
    if code.encoder == "latency":
        when = spike_step(samples.to(torch.int32), code.levels, steps)
        for t in range(steps):
            yield (when == t).to(torch.float32)
        return
    values = samples.to(torch.float32) / code.levels
    for _ in range(steps):
        if code.encoder == "direct":
            yield values
        else:
            shape = (batch or len(values), *values.shape[1:])
            draws = torch.rand(shape, generator=generator)[first : first + len(values)]
            yield (draws.to(values.device) < values).to(values.dtype)


def frames_of_parts(x: np.ndarray, numbers: np.ndarray, code: InputCode, steps: int) -> Frames:
    """``training_frames`` of ``events``, of which no copy with all their steps is made.

    Args:
        x: (N, T, *sample) integers in memory.
        numbers: (n,) of the samples wanted.
    """
    for t in range(steps):
        yield torch.from_numpy(x[numbers, t]).to(torch.float32) / code.payload


def evaluation_frames(
    samples: np.ndarray, code: InputCode, steps: int, first: int, device: torch.device
) -> Iterator[Tensor]:
    """Input of T steps as a deployment sees it: from ``encode``, with the draws of its seed 0.

    Args:
        samples: (N, *sample) integers 0..levels, or (N, T, *sample) for ``events``.
        code: encoder and levels.
        steps: T.
        first: index of the first sample in its data set.
        device: where the frames are wanted.

    Yields:
        (N, *sample) float32, T times.
    """
    encoded = torch.from_numpy(encode(samples, code, steps, first=first)).to(device)
    for t in range(steps):
        # "direct" has no time axis: each step sees the same integers.
        frame = encoded if code.encoder == "direct" else encoded[:, t]
        yield frame.to(torch.float32) / code.payload


AREA, RATIO, TRIES = (0.08, 1.0), (3 / 4, 4 / 3), 10
"""Of ``resized_crop``: share of the area, width to height, tries (as torchvision's)."""


def augment(
    images: np.ndarray, recipe: AugmentationRecipe, seed: tuple[int, ...], numbers: np.ndarray
) -> np.ndarray:
    """Change each image at random; the frames of one sample over time all alike.

    Args:
        images: (N, ..., C, H, W) uint8, left as they are.
        recipe: what to do.
        seed: of the run and the epoch.
        numbers: (N,) number of each sample in the training set.

    Returns:
        Images of the same shape, or ``images`` itself when there is nothing to do.

    Raises:
        InputError: the samples are not images, or the fill has not one value per channel.
    """
    if not recipe.active:
        return images
    check_images(images.shape[1:], recipe)
    changed = np.empty_like(images)
    draws = draws_of_samples(seed, numbers)
    for index, (image, rng) in enumerate(zip(images, draws, strict=True)):
        if recipe.resized_crop:
            image = _resized_crop(image, rng)
        if recipe.crop_padding:
            image = _padded_crop(image, recipe.crop_padding, rng)
        if recipe.flip and rng.random() < 0.5:
            image = image[..., ::-1]
        changed[index] = image
        if recipe.cutout:
            _cut_out(changed[index], recipe.cutout, recipe.cutout_fill, rng)
    return changed


def draws_of_samples(seed: tuple[int, ...], numbers: np.ndarray) -> Iterator[np.random.Generator]:
    """A generator at the start of each sample's own draws.

    Philox is a function of key and counter (Salmon et al. 2011): the seed is its key, the sample's
    number its counter. A generator seeded anew for each sample would take longer than its draws.
    """
    philox = np.random.Philox(key=np.random.SeedSequence(seed).generate_state(2, np.uint64))
    rng, start = np.random.Generator(philox), philox.state
    for number in numbers:
        # The lowest of the four words counts the draws.
        start["state"]["counter"][1] = number
        philox.state = start
        yield rng


def check_images(shape: tuple[int, ...], recipe: AugmentationRecipe) -> None:
    """Refuse samples that are not what the recipe's changes of images are for.

    Args:
        shape: of a sample.

    Raises:
        InputError: they are no images, or the fill has not one value per channel.
    """
    if not recipe.active:
        return
    if len(shape) < 3:
        raise InputError(f"[augmentation] needs images (C, H, W), found samples {shape}")
    fill, channels = recipe.cutout_fill, shape[-3]
    if recipe.cutout and len(fill) not in (0, channels):
        raise InputError(
            f"[augmentation] cutout_fill has {len(fill)} values, the images {channels} channels"
        )


def _padded_crop(image: np.ndarray, padding: int, rng: np.random.Generator) -> np.ndarray:
    """A part of the old size out of the image with ``padding`` zeros on each side."""
    (from_y, to_y), (from_x, to_x) = (
        _shifted(size, int(start) - padding)
        for size, start in zip(image.shape[-2:], rng.integers(0, 2 * padding + 1, 2), strict=True)
    )
    part = np.zeros_like(image)
    part[..., to_y, to_x] = image[..., from_y, from_x]
    return part


def _shifted(size: int, by: int) -> tuple[slice, slice]:
    """Which pixels of an axis are still there when it is moved back, and where they are then."""
    kept = max(size - abs(by), 0)
    source, place = min(max(by, 0), size), min(max(-by, 0), size)
    return slice(source, source + kept), slice(place, place + kept)


def _cut_out(image: np.ndarray, side: int, fill: tuple[int, ...], rng: np.random.Generator) -> None:
    """Blank a square of ``side`` pixels in place; it may reach over the edge."""
    height, width = image.shape[-2:]
    top, left = (int(rng.integers(size)) - side // 2 for size in (height, width))
    rows, columns = slice(max(top, 0), top + side), slice(max(left, 0), left + side)
    values = np.array(fill or 0, np.uint8)
    image[..., rows, columns] = values.reshape(-1, 1, 1)


def _resized_crop(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A random part, scaled to the full size with bilinear interpolation and rounded.

    Area and ratio are drawn until the part fits, the ratio evenly in its logarithm; after ten
    failures the whole image is taken.
    """
    height, width = image.shape[-2:]
    for _ in range(TRIES):
        area = height * width * rng.uniform(*AREA)
        ratio = math.exp(rng.uniform(math.log(RATIO[0]), math.log(RATIO[1])))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            top, left = int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1))
            part = image[..., top : top + h, left : left + w]
            break
    else:
        part = image
    pixels = torch.from_numpy(np.ascontiguousarray(part, np.float32))
    pixels = pixels.reshape(1, -1, *part.shape[-2:])
    scaled = F.interpolate(pixels, (height, width), mode="bilinear", antialias=True)
    return scaled.round().clamp(0, 255).to(torch.uint8).numpy().reshape(image.shape)
