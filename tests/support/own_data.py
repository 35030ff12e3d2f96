"""A data set of a user's own in an ``.npz``, and a recipe that learns it in no time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

CLASSES = 4

RECIPE = """\
description = "A small network for data of one's own"
[data]
name = "npz"
validation = 0.25
[encoder]
name = "{encoder}"
[network]
family = "mlp"
hidden = [24]
[neuron]
tau = 2.0
[training]
steps = {steps}
epochs = 6
batch_size = 32
learning_rate = 0.02
threads = 1
"""


def frames(count: int, steps: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Event frames (N, T, 2, 4, 4) uint8 of 0 and 1, and their classes (N,).

    Each class has a quarter of the pixels that fire often; the others fire seldom.
    """
    rng = np.random.default_rng(seed)
    y = np.arange(count) % CLASSES
    often = np.repeat(np.eye(CLASSES), 8, axis=1)[y].reshape(count, 1, 2, 4, 4)
    x = rng.random((count, steps, 2, 4, 4)) < 0.05 + 0.75 * often
    return x.astype(np.uint8), y


def write_own(path: Path, **changes: Any) -> Path:
    """Frames for training (160) and test (80), with arrays changed, added or (None) left out."""
    x_train, y_train = frames(160)
    x_test, y_test = frames(80, seed=1)
    arrays = {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test} | changes
    np.savez(path, **{name: value for name, value in arrays.items() if value is not None})
    return path


def write_recipe(folder: Path, encoder: str = "events", steps: int = 4) -> Path:
    """A recipe that takes six epochs of a blink."""
    path = folder / "own.toml"
    path.write_text(RECIPE.format(encoder=encoder, steps=steps))
    return path
