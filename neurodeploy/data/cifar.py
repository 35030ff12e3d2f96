"""CIFAR-10 and CIFAR-100: 50,000 + 10,000 colour images of 32 x 32 in 10 or 100 classes.

Source: A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009. Both official
forms are read: the Python batches (pickles; nothing but arrays, bytes, lists and dicts is let out
of them) and the binary ones. Images are channel, row, column in both.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np

from neurodeploy.data.dataset import Dataset, Request
from neurodeploy.data.locate import downloader, find_folder
from neurodeploy.errors import InputError
from neurodeploy.ir.contract import DataSource

SHAPE = (3, 32, 32)
PIXELS = 3 * 32 * 32
ALLOWED = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("_codecs", "encode"),
}
"""What a pickled array needs; ``encode`` is how Python 3 writes bytes into old pickles."""


def load_cifar10(request: Request) -> Dataset:
    """Load ``cifar-10-batches-py`` or ``cifar-10-batches-bin``."""
    training = [f"data_batch_{number}" for number in range(1, 6)]
    return _load("cifar10", "CIFAR10", request, training, "test_batch", b"labels", 1)


def load_cifar100(request: Request) -> Dataset:
    """Load ``cifar-100-python`` or ``cifar-100-binary`` with its 100 fine classes."""
    return _load("cifar100", "CIFAR100", request, ["train"], "test", b"fine_labels", 2)


def _load(
    name: str,
    official: str,
    request: Request,
    training: list[str],
    testing: str,
    labels: bytes,
    label_bytes: int,
) -> Dataset:
    fetch = downloader(
        name, "torchvision.datasets", lambda sets, to: getattr(sets, official)(to, download=True)
    )
    folder = find_folder(name, request.source, [training[0], f"{training[0]}.bin"], fetch)
    binary = not (folder / training[0]).is_file()

    def read(stem: str) -> tuple[np.ndarray, np.ndarray]:
        if binary:
            return _read_binary(folder / f"{stem}.bin", label_bytes)
        return _read_pickle(folder / stem, labels)

    images, classes = zip(*(read(stem) for stem in training), strict=True)
    x_test, y_test = read(testing)
    source = DataSource(str(folder))
    return Dataset(
        name, 255, np.concatenate(images), np.concatenate(classes), x_test, y_test, False, source
    )


class _Unpickler(pickle.Unpickler):
    """Builds arrays and plain values; anything else a pickle asks for is refused."""

    def find_class(self, module: str, name: str, /) -> Any:
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return super().find_class(module, name)


def _read_pickle(path: Path, labels: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Images and classes of one Python batch."""
    try:
        with path.open("rb") as file:
            # As bytes: the official files were written by Python 2.
            batch = _Unpickler(file, encoding="bytes").load()
        batch = {_bytes(key): value for key, value in batch.items()}
        images = np.asarray(batch[b"data"])
        classes = np.asarray(batch[labels], np.int64)
        if images.dtype != np.uint8 or images.shape != (len(classes), PIXELS):
            raise ValueError(f"images are {images.dtype} {images.shape}, {len(classes)} labels")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except Exception as error:
        # A damaged pickle can raise anything.
        raise InputError(f"{path}: not a CIFAR batch: {error!r}") from None
    return images.reshape(-1, *SHAPE), classes


def _bytes(key: Any) -> Any:
    return key.encode() if isinstance(key, str) else key


def _read_binary(path: Path, label_bytes: int) -> tuple[np.ndarray, np.ndarray]:
    """Images and classes of one binary batch: the last of its label bytes, then the pixels."""
    try:
        data = np.fromfile(path, np.uint8)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    record = label_bytes + PIXELS
    if data.size == 0 or data.size % record:
        raise InputError(f"{path}: {data.size:,} bytes are not records of {record:,}")
    rows = data.reshape(-1, record)
    return rows[:, label_bytes:].reshape(-1, *SHAPE), rows[:, label_bytes - 1].astype(np.int64)
