"""Images as series: a row or a pixel at each step, in their own order or a shuffled one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from neurodeploy.data.dataset import Dataset, SampleArray
from neurodeploy.errors import InputError
from neurodeploy.ir.contract import DataSource


def scanned(dataset: Dataset, source: DataSource, steps: int) -> Dataset:
    """A data set of images as ``source.scan`` and ``source.permute`` show them.

    Raises:
        InputError: its samples are no images, or have not as many rows or pixels as there are
            steps.
    """
    shape = dataset.x_train.shape[1:]
    asked = f"[data] scan = {source.scan!r}"
    if dataset.over_time or len(shape) != 3:
        has = "their steps already" if dataset.over_time else f"the shape {shape}"
        raise InputError(
            f"{asked} is for images; the samples of data set {dataset.name!r} have {has}"
        )
    needed = shape[1] if source.scan == "rows" else shape[1] * shape[2]
    if steps != needed:
        raise InputError(
            f"{asked}: images of {shape[1]} x {shape[2]} have {needed} {source.scan}, the network "
            f"T = {steps}; set training.steps={needed}"
        )
    return replace(
        dataset,
        x_train=_lazily(dataset.x_train, source),
        x_test=_lazily(dataset.x_test, source),
        over_time=True,
        source=replace(dataset.source, scan=source.scan, permute=source.permute),
    )


def in_scan_order(images: np.ndarray, source: DataSource) -> np.ndarray:
    """Images (N, C, H, W) as (N, H, W C) by rows, or (N, H W, C) by pixels.

    Pixels are counted row by row. Shuffled, place p shows pixel ``pixel_order(H W, permute)[p]``.
    """
    count, channels, height, width = images.shape
    pixels = images.transpose(0, 2, 3, 1).reshape(count, height * width, channels)
    if source.permute:
        pixels = pixels[:, pixel_order(height * width, source.permute)]
    if source.scan == "rows":
        pixels = pixels.reshape(count, height, width * channels)
    return np.ascontiguousarray(pixels)


def pixel_order(count: int, seed: int) -> np.ndarray:
    """Numbers 0 to ``count`` - 1 as uniform draws of numpy's PCG64 with this seed sort them."""
    return np.argsort(np.random.default_rng(seed).random(count), kind="stable")


class _Scanned:
    """Images that are read, and scanned, when indexed."""

    def __init__(self, images: SampleArray, source: DataSource) -> None:
        self._images = images
        self._source = source

    @property
    def shape(self) -> tuple[int, ...]:
        count, channels, height, width = self._images.shape
        if self._source.scan == "rows":
            return (count, height, width * channels)
        return (count, height * width, channels)

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: Any, /) -> np.ndarray:
        return in_scan_order(self._images[index], self._source)


def _lazily(images: SampleArray, source: DataSource) -> SampleArray:
    """At once where the images are in memory, else when they are read."""
    if isinstance(images, np.ndarray):
        return in_scan_order(images, source)
    return _Scanned(images, source)
