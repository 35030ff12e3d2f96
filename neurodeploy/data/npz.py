"""Any data set in one ``.npz``, and its arrays as samples: axes, lengths, levels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from neurodeploy.data.dataset import Dataset, Request
from neurodeploy.data.files import find_file
from neurodeploy.data.labels import class_numbers
from neurodeploy.data.lasting import own_steps
from neurodeploy.data.values import found_levels, integers, question
from neurodeploy.errors import InputError, Setting, Text
from neurodeploy.support.archives import stored_arrays

NAMES = ("x_train", "y_train", "x_test", "y_test")

STATED = ("levels", "classes")
"""Numbers that a file may state of its samples."""

LENGTHS = ("lengths_train", "lengths_test")

OTHER_SCALE = "training and test samples have to be of one scale"


def load_npz(request: Request) -> Dataset:
    """Load ``x_train``, ``y_train``, ``x_test`` and ``y_test`` of a file.

    Keras gave these names to MNIST's arrays.

    x is (N, F) features, (N, H, W) images, which get a channel axis, or (N, C, H, W) images; over
    time (N, T, F) features, (N, T, H, W) frames, which get a channel axis, or (N, T, C, H, W)
    frames. It holds integers 0 to 255, bools, or, where levels are stated, floats 0 to 1. y is (N,)
    class numbers. Of images with a ``side`` asked for, the middle is taken. The file may also hold

    levels, classes             largest integer of the samples, and number of classes, where the
                                request does not say
    lengths_train, lengths_test (N,) steps that a sample over time lasts; after them it is silent,
                                and its class is read at its own end

    Raises:
        InputError: the file is absent, changed, damaged, or does not hold these arrays.
    """
    source = find_file("npz", request.source)
    path = Path(source.path)
    stored = stored_arrays(path, (*NAMES, *STATED, *LENGTHS))
    arrays = {name: found.read() for name, found in stored.items()}
    missing = [name for name in NAMES if name not in arrays]
    if missing:
        raise InputError(f"{path}: holds no array {', '.join(missing)}")
    x_train, x_test = (
        _with_channels(arrays[name], f"{path}: {name}", request.over_time)
        for name in ("x_train", "x_test")
    )
    if x_train.shape[1:] != x_test.shape[1:]:
        raise InputError(
            f"{path}: samples differ: x_train {x_train.shape[1:]}, x_test {x_test.shape[1:]}"
        )
    side = request.source.side
    if side:
        x_train, x_test = (
            centre(x, side, f"{path}: {n}")
            for n, x in zip(NAMES[::2], (x_train, x_test), strict=True)
        )
        source = replace(source, side=side)
    over_time = request.over_time or x_train.ndim == 5
    if over_time and x_train.shape[1] != request.steps:
        raise InputError(
            f"{path}: samples have {x_train.shape[1]} steps, the network T = "
            f"{request.steps}; set training.steps={x_train.shape[1]}"
        )
    notes: list[str] = []
    parts = {"x_train": x_train, "x_test": x_test}
    lengths: dict[str, np.ndarray | None] = dict.fromkeys(LENGTHS)
    for name, key in zip(parts, LENGTHS, strict=True):
        if key in arrays:
            where = f"{path}: {key}"
            parts[name], note = silent_after(parts[name], arrays[key], over_time, where)
            lengths[key] = arrays[key].astype(np.int64)
            notes.append(f"{key}: {note}")
    levels = request.levels or stated_number(arrays, "levels", path)
    parts, levels, found = _with_levels(parts, levels, path)
    y_train = class_numbers(arrays["y_train"], len(x_train), f"{path}: y_train")
    y_test = class_numbers(arrays["y_test"], len(x_test), f"{path}: y_test")
    return Dataset(
        "npz",
        levels,
        parts["x_train"],
        y_train,
        parts["x_test"],
        y_test,
        over_time,
        source,
        stated_number(arrays, "classes", path),
        (*notes, *found),
        lengths_train=lengths.get("lengths_train"),
        lengths_test=lengths.get("lengths_test"),
    )


def _with_levels(
    parts: dict[str, np.ndarray], levels: int, path: Path
) -> tuple[dict[str, np.ndarray], int, list[str]]:
    """The parts as integers, where these end, and notes on what was rounded or looks wrong."""
    taken = {name: integers(x, f"{path}: {name}", levels) for name, x in parts.items()}
    notes = [note for _, note in taken.values() if note][:1]
    found = {name: x for name, (x, _) in taken.items()}
    kinds = {"i" if x.dtype.kind == "u" else x.dtype.kind for x in parts.values()}
    if len(kinds) > 1:
        listed = ", ".join(f"{name} {x.dtype}" for name, x in parts.items())
        raise InputError(f"{path}: samples differ: {listed}; store all in one type")
    if not levels and kinds == {"b"}:
        levels = 1
    elif not levels:
        levels, note = found_levels(*found.values())
        notes += [note] if note else []
    for name, x in found.items():
        top = int(x.max())
        stated = Setting("data.levels", str(top))
        fix = Text("if the values end there, state ", stated) if name == "x_train" else OTHER_SCALE
        asked = question(top, levels, fix)
        if asked:
            # Test samples of the same scale as these are in the same case.
            return found, levels, [*notes, Text(f"{name}: ", asked)]
    return found, levels, notes


def stated_number(arrays: dict[str, np.ndarray], name: str, path: Path) -> int:
    """A number that a file states of its samples; 0 where it does not.

    Raises:
        InputError: not one whole number in range.
    """
    if name not in arrays:
        return 0
    found: Any = arrays[name]
    low, high = (1, 255) if name == "levels" else (2, 2**31)
    if found.size != 1 or found.dtype.kind not in "iu" or not low <= int(found.item()) <= high:
        raise InputError(f"{path}: {name} is one whole number from {low} to {high}, found {found}")
    return int(found.item())


def silent_after(
    x: np.ndarray, lengths: np.ndarray, over_time: bool, where: str
) -> tuple[np.ndarray, str]:
    """Samples over time without what stands after their ends, and a note on it.

    Args:
        x: (N, T, *sample).
        lengths: (N,) steps that each lasts, 1..T.

    Raises:
        InputError: other lengths, or static samples.
    """
    if not over_time:
        raise InputError(f"{where}: lengths are of samples over time, and these are static")
    steps = x.shape[1]
    if lengths.shape != (len(x),) or lengths.dtype.kind not in "iu":
        raise InputError(
            f"{where} is {lengths.dtype} {lengths.shape}; expected ({len(x)},) integers"
        )
    if lengths.min() < 1 or lengths.max() > steps:
        raise InputError(
            f"{where} goes from {lengths.min()} to {lengths.max()}; samples have 1 to {steps} steps"
        )
    kept = np.where(own_steps(x, lengths), x, x.dtype.type(0))
    return kept, (
        f"samples last {lengths.min()} to {lengths.max()} of {steps} steps and are silent after "
        "that; the class of each is read at its own end"
    )


def centre(images: np.ndarray, side: int, where: str) -> np.ndarray:
    """The middle of images, side x side pixels; of an odd rest the larger half comes after it.

    Args:
        images: (..., H, W).

    Raises:
        InputError: no images, or smaller ones.
    """
    shape = images.shape
    if len(shape) < 4 or min(shape[-2:]) < side:
        raise InputError(
            f"{where} has shape {shape}: the middle of {side} x {side} pixels is taken of images "
            "that are at least as large",
            fix=Text("choose another ", Setting("data.side"), ", or 0 for whole samples"),
        )
    top, left = ((size - side) // 2 for size in shape[-2:])
    return images[..., top : top + side, left : left + side]


SHAPES = "(N, F), (N, H, W) or (N, C, H, W)"
OVER_TIME = "(N, T, F), (N, T, H, W) or (N, T, C, H, W)"


def _with_channels(x: np.ndarray, where: str, over_time: bool) -> np.ndarray:
    """Samples with their channel axis."""
    axes = (3, 5) if over_time else (2, 5)
    if x.size == 0 or not axes[0] <= x.ndim <= axes[1]:
        expected = f"{OVER_TIME} over time" if over_time else f"{SHAPES}, or {OVER_TIME} over time"
        raise InputError(f"{where} has shape {x.shape}; expected {expected}")
    # Without the samples, and the steps of those that have them.
    frame = x.shape[2 if over_time or x.ndim == 5 else 1 :]
    channels = (1, 2, 3) if len(x.shape) == 5 else (1, 3)
    if len(frame) == 3 and frame[2] in channels and frame[0] not in channels:
        right = "(N, T, C, H, W)" if x.ndim == 5 else "(N, C, H, W)"
        raise InputError(f"{where} has shape {x.shape}, channels last; store it as {right}")
    return np.expand_dims(x, -3) if len(frame) == 2 else x
