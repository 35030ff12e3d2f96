"""Images as series: which pixel is shown when, the same in training and in deployment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neurodeploy.data import Dataset, load_dataset
from neurodeploy.data.scan import pixel_order
from neurodeploy.errors import InputError
from neurodeploy.ir.contract import Contract, DataSource, InputCode, Semantics
from neurodeploy.training.batches import split_training
from support.command import run_cli, run_json

IMAGES = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)


def write(path: Path, images: np.ndarray = IMAGES) -> Path:
    y = np.arange(len(images)) % 2
    np.savez(path, x_train=images, y_train=y, x_test=images[::-1], y_test=y[::-1])
    return path


def load(path: Path, steps: int, **options: Any) -> Dataset:
    source = DataSource(str(path), **options)
    return load_dataset("npz", source, steps, 255, encoder="events")


def test_rows_and_pixels_come_in_their_order(tmp_path: Path) -> None:
    path = write(tmp_path / "a.npz")
    rows = load(path, 3, scan="rows")
    assert rows.over_time and rows.sample_shape == (4,) and rows.levels == 255
    np.testing.assert_array_equal(rows.x_train[:], IMAGES)
    np.testing.assert_array_equal(rows.x_test[:], IMAGES[::-1])
    pixels = load(path, 12, scan="pixels")
    assert pixels.sample_shape == (1,)
    np.testing.assert_array_equal(pixels.x_train[:], IMAGES.reshape(2, 12, 1))


def test_channels_stay_together(tmp_path: Path) -> None:
    images = np.arange(2 * 3 * 2 * 2, dtype=np.uint8).reshape(2, 3, 2, 2)
    path = write(tmp_path / "a.npz", images)
    rows = load(path, 2, scan="rows").x_train[:]
    # Row 0 of sample 0: red, green and blue of its left pixel, then of its right one.
    assert rows[0, 0].tolist() == [0, 4, 8, 1, 5, 9]
    assert load(path, 4, scan="pixels").x_train[:][0].tolist() == [
        [0, 4, 8], [1, 5, 9], [2, 6, 10], [3, 7, 11],
    ]  # fmt: skip


def test_a_shuffled_order_is_the_same_for_all_and_for_ever(tmp_path: Path) -> None:
    assert pixel_order(12, 1).tolist() == [9, 2, 4, 7, 5, 0, 11, 8, 10, 6, 3, 1]
    path = write(tmp_path / "a.npz")
    shown = load(path, 3, scan="rows", permute=1)
    for found, images in ((shown.x_train[:], IMAGES), (shown.x_test[:], IMAGES[::-1])):
        expected = images.reshape(2, 12)[:, pixel_order(12, 1)].reshape(2, 3, 4)
        np.testing.assert_array_equal(found, expected)
    other = load(path, 3, scan="rows", permute=2).x_train[:]
    assert not np.array_equal(other, shown.x_train[:])


def test_pictures_in_files_are_scanned_when_they_are_read(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    rng = np.random.default_rng(0)
    for part in ("train", "val"):
        for name in ("a", "b"):
            folder = tmp_path / part / name
            folder.mkdir(parents=True)
            image.fromarray(rng.integers(0, 256, (9, 9, 3), np.uint8)).save(folder / "1.png")
    plain = load_dataset("image_folder", DataSource(str(tmp_path), side=4))
    source = DataSource(str(tmp_path), side=4, scan="rows", permute=3)
    shown = load_dataset("image_folder", source, 4, encoder="events")
    assert shown.x_train.shape == (2, 4, 12) and len(shown.x_train) == 2
    pixels = plain.x_train[:].transpose(0, 2, 3, 1).reshape(2, 16, 3)
    expected = pixels[:, pixel_order(16, 3)].reshape(2, 4, 12)
    np.testing.assert_array_equal(shown.x_train[np.array([1, 0])], expected[::-1])


def test_what_cannot_be_scanned_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.npz")
    with pytest.raises(InputError, match=r"3 rows, the network T = 28; set training.steps=3"):
        load(path, 28, scan="rows")
    with pytest.raises(InputError, match=r"12 pixels, the network T = 3"):
        load(path, 3, scan="pixels")
    flat = write(tmp_path / "b.npz", IMAGES.reshape(2, 12))
    with pytest.raises(InputError, match=r"'rows' is for images; .* have the shape \(12,\)"):
        load(flat, 3, scan="rows")
    over_time = write(tmp_path / "c.npz", IMAGES.reshape(2, 3, 1, 2, 2))
    with pytest.raises(InputError, match="have their steps already"):
        load(over_time, 3, scan="rows")
    with pytest.raises(ValueError, match="goes with scan"):
        DataSource(permute=1)
    with pytest.raises(ValueError, match="a seed from 1"):
        DataSource(scan="rows", permute=-1)
    with pytest.raises(InputError, match="would make them out of static samples"):
        from neurodeploy.data import check_encoder

        check_encoder(load(path, 3, scan="rows"), "direct")


def test_the_contract_says_the_order_and_older_ones_none() -> None:
    source = DataSource("a.npz", "f" * 64, scan="rows", permute=7)
    semantics, code = Semantics(1e-4, "zero", ">"), InputCode("events", 255)
    contract = Contract(semantics, code, 28, "last_v", "npz", source)
    metadata = contract.to_metadata()
    assert Contract.from_metadata(metadata, "file").source == source
    del metadata["source"]["scan"], metadata["source"]["permute"]
    assert Contract.from_metadata(metadata, "file").source == DataSource("a.npz", "f" * 64)


def test_a_deployment_sees_what_training_saw(tmp_path: Path) -> None:
    """From its own data set, and from a file that holds the same images."""
    rng = np.random.default_rng(0)
    labels = np.arange(90) % 3
    blocks = np.kron(np.eye(3, dtype=int).reshape(3, 3, 1, 1), np.ones((1, 1, 2, 6), int))
    images = rng.integers(0, 40, (90, 6, 6)) + 200 * blocks[labels].reshape(90, 6, 6)
    x, y, path = images.astype(np.uint8), labels, tmp_path / "blocks.npz"
    np.savez(path, x_train=x[:60], y_train=y[:60], x_test=x[60:], y_test=y[60:])
    settings = ("training.steps=6", "training.epochs=15", "network.hidden=[16]", "data.limit=48")
    chosen = [
        word
        for one in (*settings, "training.batch_size=8", "training.learning_rate=0.02")
        for word in ("--set", one)
    ]
    run = ("train", "pmnist_rows", "--data", str(path), *chosen, "--out", "run")
    accuracy = run_json(*run, folder=tmp_path)["test_accuracy"]
    assert accuracy > 0.7
    run_json("export", "run", "--target", "loihi2", "--out", "deployed", folder=tmp_path)
    engine = ("simulate", "deployed", "--engine", "float")
    own = run_json(*engine, folder=tmp_path)
    given = run_json(*engine, "--data", str(path), folder=tmp_path)
    assert own["accuracy"] == given["accuracy"] == accuracy
    np.savez(tmp_path / "flat.npz", x_test=x[60:].reshape(30, 36), y_test=y[60:])
    result = run_cli(*engine, "--data", "flat.npz", folder=tmp_path)
    assert result.exit_code == 2 and "trained on images, (N, H, W)" in result.output


def test_a_limit_takes_each_class_in_proportion(tmp_path: Path) -> None:
    images = np.zeros((300, 3, 4), np.uint8)
    images[:, 0, 0] = 255
    y = np.repeat([0, 1, 2], [50, 100, 150])
    np.savez(tmp_path / "a.npz", x_train=images, y_train=y, x_test=images, y_test=y)
    dataset = load(tmp_path / "a.npz", 3, scan="rows")
    split = split_training(dataset, 0.25, seed=0, limit=120)
    assert np.bincount(split.y_train).tolist() == [15, 30, 45]
    assert np.bincount(split.y_validation).tolist() == [5, 10, 15]
    again, other = (split_training(dataset, 0.25, seed, limit=120) for seed in (0, 1))
    np.testing.assert_array_equal(split.held_back, again.held_back)
    assert not np.array_equal(split.held_back, other.held_back)
    whole = split_training(dataset, 0.25, seed=0, limit=300)
    np.testing.assert_array_equal(whole.held_back, split_training(dataset, 0.25, 0).held_back)
    with pytest.raises(InputError, match="limit = 301: there are 300 training samples"):
        split_training(dataset, 0.25, seed=0, limit=301)
    with pytest.raises(InputError, match="cannot split 3 samples"):
        split_training(dataset, 0.25, seed=0, limit=3)
