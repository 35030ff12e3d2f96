"""Data sets of images: scikit-learn's digits, CIFAR-10 and CIFAR-100, and folders of files."""

from __future__ import annotations

import io
import pickle
import pickletools
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from neurodeploy.data.dataset import Dataset, Request
from neurodeploy.data.files import downloader, find_folder, labels
from neurodeploy.errors import InputError, MissingDependencyError, Setting, Text
from neurodeploy.ir.contract import DataSource
from neurodeploy.support.reading import check_file, read_bytes

DIGITS_LEVELS = 16
TEST_SAMPLES = 360
SPLIT_SEED = 0
"""The split is part of the data set: every run and deployment tests on the same 360 images."""


def load_digits(request: Request) -> Dataset:
    """Load digits as (N, 1, 8, 8) uint8 with a fixed, stratified 1,437 / 360 split.

    1,797 real handwritten digits, 8 x 8, values 0..16. They ship inside scikit-learn, so they are
    there on any machine. Source: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten
    Digits", UCI Machine Learning Repository, 1998.

    Raises:
        InputError: a file or folder is named.
    """
    if request.source.path:
        raise InputError(
            Text("data set 'digits' ships with scikit-learn and takes no ", Setting("data")),
            fix=Text("for a file of your own also give ", Setting("data.name", "npz")),
        )
    from sklearn.datasets import load_digits as sklearn_digits
    from sklearn.model_selection import train_test_split

    digits: Any = sklearn_digits()
    images = digits.images.astype(np.uint8)[:, None]
    labels = digits.target.astype(np.int64)
    parts: Any = train_test_split(
        images, labels, test_size=TEST_SAMPLES, stratify=labels, random_state=SPLIT_SEED
    )
    x_train, x_test, y_train, y_test = parts
    return Dataset("digits", DIGITS_LEVELS, x_train, y_train, x_test, y_test)


CIFAR_SHAPE = (3, 32, 32)
PIXELS = 3 * 32 * 32
MOST_BATCH = 2**29
"""Bytes of a Python batch; the largest official one has 155 million."""

SHOWN = 300
"""Characters of another library's complaint; some repeat what they were given."""


def _array(kind: object, shape: object, code: object) -> np.ndarray:
    """An array that pickle fills, which starts empty."""
    return np.empty(0, np.uint8)


def _encoded(text: str, encoding: str) -> bytes:
    """How Python 3 writes bytes into old pickles."""
    if encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"it asks for the encoding {encoding!r}")
    return text.encode(encoding)


ALLOWED: dict[tuple[str, str], Any] = {
    # As a name alone: called, it would make an array of any size.
    ("numpy", "ndarray"): "ndarray",
    ("numpy", "dtype"): np.dtype,
    ("numpy.core.multiarray", "_reconstruct"): _array,
    ("numpy._core.multiarray", "_reconstruct"): _array,
    ("_codecs", "encode"): _encoded,
}
"""What a pickled array needs, and what it gets."""


def load_cifar10(request: Request) -> Dataset:
    """Load ``cifar-10-batches-py`` or ``cifar-10-batches-bin``.

    50,000 + 10,000 colour images of 32 x 32 in 10 classes. Source: A. Krizhevsky, "Learning
    Multiple Layers of Features from Tiny Images", 2009. Both official forms are read: the Python
    batches (pickles; nothing but arrays, bytes, lists and dicts is let out of them) and the binary
    ones. Images are channel, row, column in both.
    """
    training = [f"data_batch_{number}" for number in range(1, 6)]
    return _load_cifar("cifar10", "CIFAR10", request, training, "test_batch", b"labels", 1)


def load_cifar100(request: Request) -> Dataset:
    """Load ``cifar-100-python`` or ``cifar-100-binary`` with its 100 fine classes.

    Its images and forms are as those of ``load_cifar10``.
    """
    return _load_cifar("cifar100", "CIFAR100", request, ["train"], "test", b"fine_labels", 2)


def _load_cifar(
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
        return ALLOWED[module, name]


def _check_pickle(content: bytes) -> None:
    """Refuse a pickle that announces more than it holds.

    Raises:
        ValueError: it ends early, is none, or numbers a value beyond all that it can have.
    """
    for operation, value, _ in pickletools.genops(content):
        if "PUT" in operation.name and not 0 <= int(value or 0) <= len(content):
            raise ValueError(f"a value with the number {value}")


def _read_pickle(path: Path, labels: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Images and classes of one Python batch."""
    content = read_bytes(path, MOST_BATCH)
    try:
        _check_pickle(content)
        # As bytes: the official files were written by Python 2.
        batch = _Unpickler(io.BytesIO(content), encoding="bytes").load()
        batch = {_bytes(key): value for key, value in batch.items()}
        images, classes = batch[b"data"], batch[labels]
        if not isinstance(images, np.ndarray):
            raise ValueError(f"images are of the type {type(images).__name__}")
        # A list can hold itself, or another one many times over.
        if isinstance(classes, list) and not all(type(number) is int for number in classes):
            raise ValueError("labels are not whole numbers")
        numbers = np.asarray(classes, np.int64)
        if numbers.ndim != 1 or images.dtype != np.uint8 or images.shape != (len(numbers), PIXELS):
            raise ValueError(f"images are {images.dtype} {images.shape}, labels {numbers.shape}")
    except Exception as error:
        # A damaged pickle can raise anything.
        raise InputError(f"{path}: not a CIFAR batch: {repr(error)[:SHOWN]}") from None
    return images.reshape(-1, *CIFAR_SHAPE), numbers


def _bytes(key: Any) -> Any:
    return key.encode() if isinstance(key, str) else key


def _read_binary(path: Path, label_bytes: int) -> tuple[np.ndarray, np.ndarray]:
    """Images and classes of one binary batch: the last of its label bytes, then the pixels."""
    check_file(path)
    try:
        data = np.fromfile(path, np.uint8)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    record = label_bytes + PIXELS
    if data.size == 0 or data.size % record:
        raise InputError(f"{path}: {data.size:,} bytes are not records of {record:,}")
    rows = data.reshape(-1, record)
    return rows[:, label_bytes:].reshape(-1, *CIFAR_SHAPE), rows[:, label_bytes - 1].astype(
        np.int64
    )


SIDE = 224
ENDINGS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
"""Those that torchvision's ImageFolder takes."""


MOST_PIXELS = 2**26
"""Of an image, each of which takes up to eight bytes while it is read."""

MOST_LONGER = 64
"""How many times as long as the other one side of an image may be: both are scaled alike."""


class ImageFiles:
    """Image files as (N, 3, side, side) uint8, read when indexed.

    The shorter side is scaled to 8/7 side (256 for 224) and the middle is cut out, which is what
    ImageNet networks are tested on; random parts are taken by the augmentation.
    """

    def __init__(self, files: list[Path], side: int) -> None:
        self.files = files
        self.side = side

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, 3, side, side)."""
        return (len(self.files), 3, self.side, self.side)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: slice | np.ndarray, /) -> np.ndarray:
        numbers = np.arange(len(self.files))[index]
        images = np.empty((len(numbers), *self.shape[1:]), np.uint8)
        for image, number in zip(images, numbers, strict=True):
            image[:] = self._read(self.files[number])
        return images

    def _read(self, path: Path) -> np.ndarray:
        from PIL import Image

        check_file(path)
        try:
            with warnings.catch_warnings():
                # Of pictures that are refused below.
                warnings.simplefilter("ignore", Image.DecompressionBombWarning)
                opened = Image.open(path)
            with opened:
                width, height = opened.size
                if width * height > MOST_PIXELS or max(width, height) > MOST_LONGER * min(
                    width, height
                ):
                    raise ValueError(
                        f"{width:,} x {height:,} pixels; at most {MOST_PIXELS:,} are read, and one "
                        f"side may be {MOST_LONGER} times as long as the other"
                    )
                image = opened.convert("RGB")
        except Exception as error:
            # What a damaged picture raises depends on its format and on where it is damaged.
            raise InputError(f"{path}: not a readable image: {str(error)[:SHOWN]}") from None
        shorter = round(self.side * 8 / 7)
        scale = shorter / min(width, height)
        size = max(shorter, round(width * scale)), max(shorter, round(height * scale))
        image = image.resize(size, Image.Resampling.BILINEAR)
        left, top = (size[0] - self.side) // 2, (size[1] - self.side) // 2
        image = image.crop((left, top, left + self.side, top + self.side))
        return np.asarray(image).transpose(2, 0, 1)


def load_image_folder(request: Request) -> Dataset:
    """Load a folder with ``train`` and ``val`` (or ``test``), images as side x side (224).

    Images lie in folders by class, as ImageNet is kept: train/CLASS/*.jpg and val/CLASS/*.jpg. The
    layout is that of torchvision's ``ImageFolder``; classes are numbered in the order of their
    folders' names. Images are read when they are wanted, so the set may be larger than memory.

    Raises:
        InputError: no such folder, or the two parts have not the same classes.
        MissingDependencyError: Pillow is not installed.
    """
    try:
        import PIL  # noqa: F401
    except ImportError:
        raise MissingDependencyError("data set 'image_folder' needs: pip install pillow") from None
    folder = find_folder("image_folder", request.source, ["train"], None)
    test = next((folder / name for name in ("val", "test") if (folder / name).is_dir()), None)
    if test is None:
        raise InputError(f"{folder}: holds 'train' but neither 'val' nor 'test'")
    classes = _classes(folder / "train")
    if _classes(test) != classes:
        raise InputError(f"{folder}: train and {test.name} do not hold the same class folders")
    side = request.source.side or SIDE
    parts = []
    for part in (folder / "train", test):
        found = [
            (file, number)
            for number, name in enumerate(classes)
            for file in sorted((part / name).rglob("*"))
            if file.suffix.lower() in ENDINGS
        ]
        if not found:
            raise InputError(f"{part}: no images in its class folders")
        files, numbers = zip(*found, strict=True)
        parts.append((ImageFiles(list(files), side), labels(numbers)))
    (x_train, y_train), (x_test, y_test) = parts
    source = DataSource(str(folder), side=request.source.side)
    return Dataset(
        "image_folder", 255, x_train, y_train, x_test, y_test, False, source, len(classes)
    )


def _classes(folder: Path) -> list[str]:
    names = sorted(entry.name for entry in folder.iterdir() if entry.is_dir())
    if not names:
        raise InputError(f"{folder}: holds no class folders")
    return names
