"""What is remarked of classes and of accuracies, and what a run keeps of its predictions."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from neurodeploy.data.balance import unevenness
from neurodeploy.simulation.predictions import Predictions
from neurodeploy.training.outcome import Outcome
from support.command import run_cli, run_json
from support.own_data import frames, write_own, write_recipe


def labels(*counts: int) -> np.ndarray:
    """So many samples of each class."""
    return np.repeat(np.arange(len(counts)), counts)


@pytest.mark.parametrize(
    ("counts", "remarked"),
    [
        ((100, 100, 90), False),
        ((100, 21), False),
        ((100, 20), True),
        ((1000, 1000, 100), True),
        ((5, 1), False),  # too few to say
        ((1000, 900, 0), False),  # a class without samples is named elsewhere
    ],
)
def test_classes_of_very_different_size_are_remarked(
    counts: tuple[int, ...], remarked: bool
) -> None:
    found = unevenness({"training": labels(*counts)}, len(counts))
    assert len(found) == remarked
    if remarked:
        rare = int(np.argmin(counts))
        assert f"{max(counts):,} of class 0, {counts[rare]:,} of class {rare}; " in found[0]


def test_sets_of_different_shares_are_remarked_and_chance_is_not() -> None:
    (_, _, told) = unevenness({"training": labels(900, 100), "test": labels(10, 190)}, 2)
    assert told.endswith("class 0 has 90.0% of the training and 5.0% of the test samples")
    assert unevenness({"training": labels(500, 500), "test": labels(3, 1)}, 2) == ()
    rng = np.random.default_rng(0)
    for _ in range(20):
        drawn = {"training": rng.integers(0, 10, 2000), "test": rng.integers(0, 10, 200)}
        assert unevenness(drawn, 10) == ()


def test_classes_left_out_do_not_count() -> None:
    parts = {"training": labels(100, 100, 5), "test": labels(50, 50, 50)}
    assert len(unevenness(parts, 3)) == 2
    assert unevenness(parts, 3, (2,)) == ()


def outcome(validation: tuple[int, int], test: tuple[int, int]) -> Outcome:
    """Predictions of two classes of which so many of so many are right."""

    def part(right: int, count: int) -> Predictions:
        y = np.arange(count) % 2
        return Predictions(np.where(np.arange(count) < right, y, 1 - y), y, 2)

    return Outcome(part(*validation), part(*test))


@pytest.mark.parametrize(
    ("validation", "test", "remarked"),
    [
        ((938, 1000), (169, 1000), True),
        ((30, 32), (169, 1000), True),
        ((99, 100), (930, 1000), False),
        ((10, 10), (80, 100), False),
        ((9900, 10000), (9700, 10000), False),  # beyond chance, and of no matter
        ((700, 1000), (900, 1000), True),
    ],
)
def test_accuracies_far_apart_are_remarked(
    validation: tuple[int, int], test: tuple[int, int], remarked: bool
) -> None:
    found = outcome(validation, test).warnings()
    assert len(found) == remarked
    if remarked:
        a, b = (f"{right / count:.2%}" for right, count in (validation, test))
        assert f"validation accuracy is {a} and test accuracy {b} (balanced " in found[0]


def test_a_class_left_out_of_training_is_no_surprise_in_the_test() -> None:
    y = np.arange(1000) % 2
    found = Outcome(Predictions(y[:400], y[:400], 3), Predictions(y, np.where(y, 2, 0), 3))
    assert len(found.warnings()) == 1
    assert found.warnings((2,)) == ()


@pytest.fixture(scope="module")
def uneven(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run on data of which half the classes are rare in training."""
    folder = tmp_path_factory.mktemp("uneven")
    x, y = frames(640)
    # 160 of classes 0 and 1, eight of 2 and 3.
    kept = np.flatnonzero((y < 2) | (np.arange(640) < 32))
    write_own(folder / "own.npz", x_train=x[kept], y_train=y[kept])
    write_recipe(folder)
    return folder


def test_a_run_keeps_the_class_of_every_sample_and_says_what_is_odd(uneven: Path) -> None:
    found = run_json("train", "own.toml", "--data", "own.npz", folder=uneven)
    run = uneven / found["run"]
    for part, name in (("test", "predictions.csv"), ("validation", "validation_predictions.csv")):
        with (run / name).open() as file:
            rows = list(csv.DictReader(file))
        said = found["predictions"][part]
        assert [int(row["predicted"]) for row in rows] == said["predicted"]
        assert [int(row["label"]) for row in rows] == said["labels"]
        right = np.equal(said["predicted"], said["labels"])
        assert found[f"{part}_accuracy"] == pytest.approx(right.mean())
        assert np.sum(said["confusion"]) == len(rows)
        with np.load(uneven / "own.npz") as arrays:
            y = arrays["y_train" if part == "validation" else "y_test"]
        assert [int(y[int(row["sample"])]) for row in rows] == said["labels"]
    kept = json.loads((run / "run.json").read_text())
    assert kept["warnings"] == found["warnings"]
    by_class = found["predictions"]["test"]["accuracy_by_class"]
    assert kept["predictions"]["test"]["accuracy_by_class"] == by_class
    uneven_training, spread = found["warnings"][1:3]
    assert "training samples are unevenly spread" in uneven_training
    assert "160 of class 0, 8 of class 2" in uneven_training
    assert "training and test samples are spread differently" in spread
    text = run_cli("train", "own.toml", "--data", "own.npz", folder=uneven)
    advice = """to give them equal weight, train with --set 'training.class_weights="balanced"'"""
    assert advice in text.stdout and "Warning: training samples are unevenly" in text.stderr
    assert "Balanced accuracy " in text.stdout
    assert run_cli("export", "--target", "loihi2", folder=uneven).exit_code == 0
    (page,) = uneven.glob("deployments/*/report.html")
    assert "training samples are unevenly spread" in page.read_text()


def test_weights_are_not_advised_to_who_has_them(uneven: Path) -> None:
    chosen = ("--set", 'training.class_weights="balanced"')
    found = run_json("train", "own.toml", "--data", "own.npz", *chosen, folder=uneven)
    (said,) = (w for w in found["warnings"] if w.startswith("training samples are unevenly"))
    assert "class_weights" not in said
