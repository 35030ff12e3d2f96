"""How the world changes after training: every sample of a data set in the same way.

``DRIFTS`` maps a name to the function that makes the change; a new drift is a function and one
line here.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from neurodeploy.data import Dataset
from neurodeploy.errors import InputError, Setting, Text, nearest

Change = Callable[[np.ndarray], np.ndarray]
"""Samples (N, ...) of integers to as many changed ones."""

NOISE = 0.25
"""Standard deviation of noise, of the largest integer of a sample."""

DEAD = 0.25
"""Share of inputs that give nothing any more."""

GAIN = 0.4
"""What is left of every value."""

_SEED = 0xD21F7
"""Of what does not depend on the order of learning: which inputs are dead."""


def rotated(images: np.ndarray, degrees: float, levels: int) -> np.ndarray:
    """Images turned counter-clockwise about their centre, zeros coming in at the corners.

    Between pixels linear interpolation, to the nearest integer.

    Args:
        images: (..., height, width) integers 0..levels.
    """
    from scipy.ndimage import rotate

    turned = rotate(images.astype(np.float64), degrees, axes=(-1, -2), reshape=False, order=1)
    return np.clip(np.rint(turned), 0, levels).astype(images.dtype)


def _rotation(dataset: Dataset, degrees: float) -> tuple[Change, str]:
    if len(dataset.sample_shape) != 3:
        raise InputError(
            f"task drift rotates images, and a sample of {dataset.name!r} has shape "
            f"{dataset.sample_shape}",
            fix=Text("use ", Setting("drift", "noise"), " or ", Setting("task", "continue")),
        )
    return lambda x: rotated(x, degrees, dataset.levels), f"rotated by {degrees:g} degrees"


def _noise(dataset: Dataset, degrees: float) -> tuple[Change, str]:
    _ = degrees
    levels = dataset.levels

    def change(x: np.ndarray) -> np.ndarray:
        # The same samples get the same noise, whatever they are drawn for.
        rng = np.random.default_rng((_SEED, len(x), int(x.sum(dtype=np.int64)) & 0xFFFFFFFF))
        if levels == 1:
            return np.where(rng.random(x.shape) < NOISE / 2, 1 - x, x).astype(x.dtype)
        noisy = x + rng.normal(0, NOISE * levels, x.shape)
        return np.clip(np.rint(noisy), 0, levels).astype(x.dtype)

    if levels == 1:
        return change, f"{NOISE / 2:.1%} of their values flipped"
    return change, f"under noise with a standard deviation of {NOISE:.0%} of the largest value"


def _dead(dataset: Dataset, degrees: float) -> tuple[Change, str]:
    _ = degrees
    alive = np.random.default_rng(_SEED).random(dataset.sample_shape) >= DEAD
    return lambda x: (x * alive).astype(x.dtype), f"{DEAD:.0%} of their inputs dead"


def _gain(dataset: Dataset, degrees: float) -> tuple[Change, str]:
    _ = degrees
    if dataset.levels == 1:
        raise InputError(
            f"drift gain weakens integers, and samples of {dataset.name!r} are binary",
            fix=Text("use ", Setting("drift", "dead"), " or ", Setting("drift", "noise")),
        )
    return (
        lambda x: np.rint(x * GAIN).astype(x.dtype),
        f"with their values reduced to {GAIN:.0%}",
    )


DRIFTS: dict[str, Callable[[Dataset, float], tuple[Change, str]]] = {
    "rotation": _rotation,
    "noise": _noise,
    "dead": _dead,
    "gain": _gain,
}


def make_drift(name: str, dataset: Dataset, degrees: float) -> tuple[Change, str]:
    """A change of a data set's samples, and what it does in words.

    Args:
        degrees: of ``rotation``.

    Raises:
        InputError: no such drift, or samples that it cannot change.
    """
    if name not in DRIFTS:
        raise InputError(f"drift {name!r} is not known{nearest(name, [*DRIFTS, 'speaker'])}")
    return DRIFTS[name](dataset, degrees)
