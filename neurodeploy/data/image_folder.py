"""Images in folders by class, as ImageNet is kept: train/CLASS/*.jpg and val/CLASS/*.jpg.

The layout is that of torchvision's ``ImageFolder``; classes are numbered in the order of their
folders' names. Images are read when they are wanted, so the set may be larger than memory.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from neurodeploy.data.dataset import Dataset, Request
from neurodeploy.data.locate import find_folder, labels
from neurodeploy.errors import InputError, MissingDependencyError
from neurodeploy.ir.contract import DataSource

SIDE = 224
ENDINGS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
"""Those that torchvision's ImageFolder takes."""


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
        from PIL import Image, UnidentifiedImageError

        try:
            with Image.open(path) as opened:
                image = opened.convert("RGB")
        except (OSError, UnidentifiedImageError) as error:
            raise InputError(f"{path}: not a readable image: {error}") from None
        width, height = image.size
        shorter = round(self.side * 8 / 7)
        scale = shorter / min(width, height)
        size = max(shorter, round(width * scale)), max(shorter, round(height * scale))
        image = image.resize(size, Image.Resampling.BILINEAR)
        left, top = (size[0] - self.side) // 2, (size[1] - self.side) // 2
        image = image.crop((left, top, left + self.side, top + self.side))
        return np.asarray(image).transpose(2, 0, 1)


def load_image_folder(request: Request) -> Dataset:
    """Load a folder with ``train`` and ``val`` (or ``test``), images as side x side (224).

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
    return Dataset("image_folder", 255, x_train, y_train, x_test, y_test, False, source)


def _classes(folder: Path) -> list[str]:
    names = sorted(entry.name for entry in folder.iterdir() if entry.is_dir())
    if not names:
        raise InputError(f"{folder}: holds no class folders")
    return names
