"""Labels that ``learn`` is given: classes of the read-out, or one line that says what is wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from support.command import run_cli, run_json

SAMPLES = 60
TRUTH = np.arange(SAMPLES) % 3


def write_file(folder: Path, labels: np.ndarray, test_labels: np.ndarray | None = None) -> Path:
    """Images of three classes, each a bright row, as an ``.npz``."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 40, (SAMPLES, 1, 6, 6)).astype(np.uint8)
    images[np.arange(SAMPLES), 0, 2 * TRUTH] += 200
    path = folder / "samples.npz"
    others = labels if test_labels is None else test_labels
    np.savez(path, x_train=images, y_train=labels, x_test=images, y_test=others)
    return path


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A perceptron of three classes."""
    folder = tmp_path_factory.mktemp("three")
    data = write_file(folder, TRUTH)
    overrides = (
        'network={family="mlp",hidden=[12],batch_norm=true}',
        'data.name="npz"',
        f'data.path="{data}"',
        "training.epochs=4",
    )
    options = [text for override in overrides for text in ("--set", override)]
    run_json("train", "digits_conv", *options, "--out", "run", folder=folder)
    run_json("export", "run", "--target", "loihi2", "--out", "deployed", folder=folder)
    return folder / "deployed"


@pytest.mark.parametrize("task", ["continue", "new-class"])
@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (TRUTH + 1, "goes up to 3, but there are 3 outputs"),
        (np.where(TRUTH == 2, 2**40, TRUTH), "goes up to 1099511627776, but there are 3 outputs"),
        (TRUTH - 1, "goes down to -1"),
        (TRUTH * 0.5, "class numbers are integers from 0"),
    ],
)
def test_labels_beyond_the_read_out_are_refused_in_one_line(
    deployed: Path, tmp_path: Path, task: str, labels: np.ndarray, message: str
) -> None:
    data = write_file(tmp_path, labels)
    options = ("--task", task, "--engine", "reference", "--data", str(data))
    out = tmp_path / "learnt"
    result = run_cli("learn", str(deployed), *options, "--out", str(out), folder=tmp_path)
    assert result.exit_code == 2 and not out.exists()
    errors = result.stderr.strip().splitlines()
    assert message in " ".join(errors) and len([e for e in errors if e.startswith("Error")]) == 1


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        (np.where(TRUTH == 2, 1, TRUTH), TRUTH, "no training sample of class 2, and needs 2"),
        (TRUTH, np.where(TRUTH == 2, 1, TRUTH), "no test sample of class 2, and needs 1"),
        (np.full(SAMPLES, 2), TRUTH, "no training sample beside class 2, and needs 2"),
    ],
)
def test_a_new_class_without_samples_is_refused(
    deployed: Path, tmp_path: Path, train: np.ndarray, test: np.ndarray, message: str
) -> None:
    data = write_file(tmp_path, train, test)
    options = ("--task", "new-class", "--engine", "reference", "--data", str(data))
    out = tmp_path / "learnt"
    result = run_cli("learn", str(deployed), *options, "--out", str(out), folder=tmp_path)
    assert result.exit_code == 2 and not out.exists()
    assert message in result.stderr.replace("\n", " ")


def test_labels_of_the_read_out_are_learnt(deployed: Path, tmp_path: Path) -> None:
    """A class that no sample has is no fault where it is not the one to learn."""
    data = write_file(tmp_path, np.where(TRUTH == 2, 1, TRUTH))
    options = ("--engine", "reference", "--no-ceiling", "--data", str(data))
    found = run_json("learn", str(deployed), *options, "--out", "learnt", folder=tmp_path)
    assert found["samples"] == SAMPLES - SAMPLES // 5
