"""Image data sets: each official form on small files, and where data sets are looked for."""

from __future__ import annotations

import hashlib
import pickle
import struct
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neurodeploy.data import Dataset, choose, load_dataset
from neurodeploy.errors import InputError, MissingDependencyError
from neurodeploy.ir.contract import DataSource
from support.wording import refused

RNG = np.random.default_rng(0)
MNIST = Path(__file__).resolve().parent.parent.parent / "shared" / "data" / "mnist.npz"


def load(name: str, path: Path, steps: int = 1, levels: int = 0, **options: Any) -> Dataset:
    return load_dataset(name, DataSource(str(path), **options), steps, levels)


def write_npz(path: Path, **changes: Any) -> Path:
    arrays = {
        "x_train": RNG.integers(0, 256, (6, 5, 4)).astype(np.uint8),
        "y_train": np.arange(6) % 3,
        "x_test": RNG.integers(0, 256, (3, 5, 4)).astype(np.uint8),
        "y_test": np.arange(3, dtype=np.uint8),
        **changes,
    }
    np.savez(path, **{name: value for name, value in arrays.items() if value is not None})
    return path


# --- npz


def test_npz_gets_a_channel_axis_and_remembers_its_file(tmp_path: Path) -> None:
    path = write_npz(tmp_path / "a.npz")
    found = load("npz", path)
    assert found.sample_shape == (1, 5, 4)
    assert (found.levels, found.classes, found.over_time) == (255, 3, False)
    assert found.y_test.dtype == np.int64
    with np.load(path) as arrays:
        np.testing.assert_array_equal(found.x_test[:, 0], arrays["x_test"])
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert found.source == DataSource(str(path), digest)
    assert load_dataset("npz", found.source).x_train.shape == (6, 1, 5, 4)


@pytest.mark.parametrize(
    ("shape", "dtype", "sample", "levels"),
    [
        ((20,), np.uint8, (20,), 1),
        ((3, 5, 4), np.uint8, (3, 5, 4), 1),
        ((5, 4), bool, (1, 5, 4), 1),
        ((2, 3, 5, 4), np.uint8, (3, 5, 4), 1),
    ],
)
def test_npz_shapes(
    tmp_path: Path, shape: tuple[int, ...], dtype: type, sample: tuple[int, ...], levels: int
) -> None:
    x = {name: np.ones((n, *shape)).astype(dtype) for name, n in (("x_train", 6), ("x_test", 3))}
    found = load("npz", write_npz(tmp_path / "a.npz", **x), steps=2)
    assert (found.sample_shape, found.levels) == (sample, levels)
    assert found.over_time == (len(shape) == 4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y_test": None}, "holds no array y_test"),
        ({"x_train": np.zeros((6, 5, 4))}, "x_train is float64; expected uint8"),
        ({"x_train": np.zeros((6, 32, 32, 3), np.uint8)}, "channels last"),
        ({"x_train": np.zeros((6, 5, 5), np.uint8)}, "samples differ"),
        ({"y_train": np.zeros(5, int)}, r"y_train has shape \(5,\), expected \(6,\)"),
        ({"y_train": np.full(6, -1)}, "class numbers are integers from 0"),
        ({"y_train": np.zeros(6)}, "class numbers are integers from 0"),
        (
            {n: np.zeros((k, 7, 1, 5, 4), np.uint8) for n, k in (("x_train", 6), ("x_test", 3))},
            "training.steps=7",
        ),
    ],
)
def test_npz_refuses_what_it_would_have_to_guess(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        load("npz", write_npz(tmp_path / "a.npz", **changes))


def test_npz_that_moved_changed_or_is_none(tmp_path: Path) -> None:
    path = write_npz(tmp_path / "a.npz")
    source = load("npz", path).source
    write_npz(path)
    with refused(InputError, r"changed since it was used.*--data FILE", by="simulate"):
        load_dataset("npz", source)
    path.unlink()
    with refused(InputError, r"does not exist \(any more\).*--data FILE", by="simulate"):
        load_dataset("npz", source)
    path.write_bytes(b"PK\x03\x04 not an archive")
    with pytest.raises(InputError, match=r"not a readable \.npz"):
        load("npz", path)
    with refused(InputError, "needs a file; name it with --data FILE", by="train"):
        load_dataset("npz")


@pytest.mark.skipif(not MNIST.is_file(), reason="no MNIST file here")
def test_mnist() -> None:
    found = load("npz", MNIST)
    assert found.x_train.shape == (60000, 1, 28, 28)
    assert found.x_test.shape == (10000, 1, 28, 28)
    assert found.classes == 10


# --- options and names


def test_options_that_a_data_set_does_not_take_are_refused(tmp_path: Path) -> None:
    with refused(InputError, "ships with scikit-learn and takes no --data", by="train"):
        load("digits", tmp_path)
    with pytest.raises(InputError, match="side = 4"):
        load_dataset("digits", DataSource(side=4))
    with pytest.raises(InputError, match="levels = 3"):
        load_dataset("digits", levels=3)
    with pytest.raises(InputError, match="'digit' is not known; did you mean 'digits'"):
        load_dataset("digit")


@pytest.mark.parametrize(
    ("name", "package"),
    [
        ("cifar10", "torchvision"),
        ("cifar100", "torchvision"),
        ("nmnist", "tonic"),
        ("shd", "tonic"),
        ("dvs_gesture", "tonic"),
        ("dvs_cifar10", "tonic"),
    ],
)
def test_without_a_folder_a_package_fetches_it_or_is_named(
    name: str, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, f"{package}.datasets", None)
    with refused(MissingDependencyError, rf"--data FOLDER, or pip install {package} ", by="train"):
        load_dataset(name)
    calls: list[str] = []

    class Fetcher:
        def __getattr__(self, official: str) -> Callable[..., None]:
            def download(*_: object, **__: object) -> None:
                calls.append(official)

            return download

    fetcher: Any = Fetcher()
    parent = types.ModuleType(package)
    parent.datasets = fetcher  # pyright: ignore[reportAttributeAccessIssue]
    monkeypatch.setitem(sys.modules, package, parent)
    monkeypatch.setitem(sys.modules, f"{package}.datasets", fetcher)
    with pytest.raises(InputError, match=rf"{tmp_path / 'data'}: holds none of"):
        load_dataset(name)
    assert {call.lower() for call in calls} == {
        name.replace("_", "").replace("dvscifar10", "cifar10dvs")
    }


def test_a_folder_without_the_data_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds none of Train"):
        load("nmnist", tmp_path)
    with pytest.raises(InputError, match="is not a folder"):
        load("nmnist", tmp_path / "absent")
    with pytest.raises(InputError, match="needs a folder"):
        load_dataset("image_folder")


# --- CIFAR


def cifar_batch(count: int) -> tuple[np.ndarray, list[int]]:
    return RNG.integers(0, 256, (count, 3072)).astype(np.uint8), [n % 10 for n in range(count)]


def python2_pickle(images: np.ndarray, key: bytes, labels: list[int]) -> bytes:
    """A batch as Python 2 pickled it: protocol 2, bytes as short strings."""

    def text(value: bytes) -> bytes:
        return b"T" + struct.pack("<I", len(value)) + value

    array = (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85"
        + text(b"b")
        + b"tR(K\x01K"
        + bytes([images.shape[0]])
        + b"M\x00\x0c\x86cnumpy\ndtype\n("
        + text(b"u1")
        + b"K\x00K\x01tR(K\x03"
        + text(b"|")
        + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
        + text(images.tobytes())
        + b"tb"
    )
    classes = b"](" + b"".join(b"K" + bytes([label]) for label in labels) + b"e"
    return b"\x80\x02}(" + text(b"data") + array + text(key) + classes + b"u."


@pytest.mark.parametrize("protocol", ["python 2", 2, 4])
def test_cifar10_python_batches(tmp_path: Path, protocol: int | str) -> None:
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    batches = {}
    for name in (*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"):
        images, labels = batches[name] = cifar_batch(4)
        if isinstance(protocol, int):
            content = pickle.dumps({b"data": images, b"labels": labels}, protocol)
        else:
            content = python2_pickle(images, b"labels", labels)
        (folder / name).write_bytes(content)
    for place in (tmp_path, folder):
        found = load("cifar10", place)
        assert found.x_train.shape == (20, 3, 32, 32)
        assert (found.levels, found.source.path) == (255, str(folder))
        np.testing.assert_array_equal(found.x_test[:].reshape(4, 3072), batches["test_batch"][0])
        np.testing.assert_array_equal(found.x_train[4:8].reshape(4, -1), batches["data_batch_2"][0])
        assert found.y_test.tolist() == [0, 1, 2, 3]


def test_cifar_pickles_cannot_call_anything(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "touched",))

    for name in (*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"):
        (tmp_path / name).write_bytes(pickle.dumps({b"data": Evil(), b"labels": []}))
    with pytest.raises(InputError, match=r"not a CIFAR batch.*it asks for pathlib"):
        load("cifar10", tmp_path)
    assert not (tmp_path / "touched").exists()


@pytest.mark.parametrize("content", [b"", b"\x80\x04garbage", pickle.dumps([1]), pickle.dumps({})])
def test_damaged_cifar_batches(tmp_path: Path, content: bytes) -> None:
    for name in ("train", "test"):
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match="not a CIFAR batch"):
        load("cifar100", tmp_path)


def test_cifar_binary_forms(tmp_path: Path) -> None:
    images, labels = cifar_batch(3)
    ten, hundred = tmp_path / "cifar-10-batches-bin", tmp_path / "cifar-100-binary"
    ten.mkdir()
    hundred.mkdir()
    rows = np.concatenate([np.array(labels, np.uint8)[:, None], images], axis=1)
    for name in (*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"):
        rows.tofile(ten / f"{name}.bin")
    coarse = np.full((3, 1), 19, np.uint8)
    for name in ("train", "test"):
        np.concatenate([coarse, rows], axis=1).tofile(hundred / f"{name}.bin")
    for name in ("cifar10", "cifar100"):
        found = load(name, tmp_path)
        assert found.y_test.tolist() == labels
        np.testing.assert_array_equal(found.x_test[:].reshape(3, -1), images)
    (hundred / "test.bin").write_bytes(b"short")
    with pytest.raises(InputError, match="5 bytes are not records of 3,074"):
        load("cifar100", tmp_path)


# --- images in folders


def write_images(folder: Path, classes: tuple[str, ...] = ("cat", "dog")) -> None:
    from PIL import Image

    for part in ("train", "val"):
        for number, name in enumerate(classes):
            (folder / part / name).mkdir(parents=True)
            pixels = np.zeros((20, 40, 3), np.uint8)
            pixels[:, 20:] = 100 * number + 50
            for index in range(2):
                Image.fromarray(pixels).save(folder / part / name / f"{index}.png")
            (folder / part / name / "notes.txt").touch()


def test_image_folder_is_read_when_indexed(tmp_path: Path) -> None:
    write_images(tmp_path)
    found = load("image_folder", tmp_path, side=14)
    assert found.x_train.shape == (4, 3, 14, 14)
    assert found.y_train.tolist() == [0, 0, 1, 1]
    assert not isinstance(found.x_train, np.ndarray)
    images = found.x_train[np.array([3, 0])]
    # 40 x 20 becomes 32 x 16, of which the middle 14 x 14 is taken: its left half is black.
    assert images.dtype == np.uint8
    assert (images[:, :, :, :5] == 0).all()
    assert (images[0, :, :, 9:] == 150).all() and (images[1, :, :, 9:] == 50).all()
    part = choose(found.x_train, np.array([2, 1]))
    np.testing.assert_array_equal(part[0:1], found.x_train[2:3])
    assert (len(part), part.shape) == (2, (2, 3, 14, 14))
    assert load("image_folder", tmp_path).sample_shape == (3, 224, 224)


def test_image_folder_faults(tmp_path: Path) -> None:
    write_images(tmp_path)
    (tmp_path / "train" / "cat" / "0.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"0\.png: not a readable image"):
        load("image_folder", tmp_path).x_train[:1]
    (tmp_path / "val" / "emu").mkdir()
    with pytest.raises(InputError, match="same class folders"):
        load("image_folder", tmp_path)
