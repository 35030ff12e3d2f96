"""Classes that a network gives to samples: counted by hand, and kept wherever it is run."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from neurodeploy.reporting.confusion import confusion_matrix
from neurodeploy.reporting.text import by_class_text, spikes_text
from neurodeploy.simulation.predictions import MOST_CLASSES, Predictions
from neurodeploy.simulation.trace import PopulationTrace
from support.command import run_cli, run_json

LABELS = np.array([0, 0, 0, 0, 1, 1, 3, 3, 3, 3])
FOUND = np.array([0, 0, 1, 3, 1, 1, 0, 3, 3, 3])
"""Of four zeros two are right, of two ones both, of four threes three; there are no twos."""


def test_figures_by_class_are_those_counted_by_hand() -> None:
    found = Predictions(FOUND, LABELS, 4)
    assert found.accuracy == 0.7
    assert found.accuracy_by_class == [0.5, 1.0, None, 0.75]
    assert found.samples_by_class == [4, 2, 0, 4]
    assert found.balanced_accuracy == pytest.approx(0.75)
    assert found.as_dict()["confusion"] == [
        [2, 1, 0, 1],
        [0, 2, 0, 0],
        [0, 0, 0, 0],
        [1, 0, 0, 3],
    ]
    line = "Balanced accuracy 75.00%; by class: 0 50.0%, 1 100.0%, 3 75.0%; 1 without a sample"
    assert by_class_text(found.summary()) == line


def test_without_labels_there_are_classes_alone() -> None:
    found = Predictions(FOUND, None, 4)
    assert (found.accuracy, found.balanced_accuracy, found.confusion) == (None, None, None)
    assert found.as_dict()["predicted"] == FOUND.tolist()
    assert by_class_text(found.summary()) == ""
    assert found.rows().splitlines()[:2] == ["sample,label,predicted", "0,,0"]


def test_many_classes_have_a_short_line_and_no_matrix() -> None:
    classes = MOST_CLASSES + 1
    labels = np.repeat(np.arange(classes), 2)
    predicted = labels.copy()
    predicted[:8] = 50  # classes 0 to 3 are never right
    found = Predictions(predicted, labels, classes)
    assert found.confusion is None
    assert "lowest of 101 classes: 0 0.0%, 1 0.0%, 2 0.0%, 3 0.0%, 4 100" in by_class_text(
        found.summary()
    )
    assert found.accuracy == pytest.approx(1 - 8 / 202)


def test_batches_join_and_classes_can_be_left_out() -> None:
    whole = Predictions(FOUND[:3], LABELS[:3], 4).followed_by(Predictions(FOUND[3:], LABELS[3:], 4))
    np.testing.assert_array_equal(whole.predicted, FOUND)
    assert whole.confusion is not None and whole.confusion.sum() == 10
    assert whole.without((0,)).accuracy == pytest.approx(5 / 6)


@pytest.mark.parametrize(
    ("predicted", "labels", "said"),
    [
        (np.zeros(40, int), np.arange(40) % 4, "all 40 samples are given class 0, the label of 10"),
        (np.arange(40) // 39 * 3, np.arange(40) % 4, "39 of 40 samples are given class 0"),
        (np.arange(40) % 4, np.arange(40) % 4, None),
        (np.zeros(40, int), np.arange(40) // 39, None),  # as the labels are
        (np.zeros(3, int), np.arange(3), None),  # too few to say
        (np.zeros(40, int), None, None),
    ],
)
def test_one_class_for_nearly_all_samples_is_remarked(
    predicted: np.ndarray, labels: np.ndarray | None, said: str | None
) -> None:
    warnings = Predictions(predicted, labels, 4).warnings()
    assert len(warnings) == (said is not None)
    assert said is None or said in warnings[0]


def test_events_and_values_are_told_apart() -> None:
    record = PopulationTrace(np.array([[[0, 9, 7], [0, 0, 255]]], np.int32))
    assert record.events == 3
    assert spikes_text(3.0, 271.0).strip() == "3.0 events per sample, whose values sum to 271.0"
    assert spikes_text(3.0, 3.0).strip() == "3.0 spikes per sample"


def test_simulate_keeps_the_class_of_every_sample(workspace: Path, tmp_path: Path) -> None:
    trace = tmp_path / "trace.npz"
    found = run_json(
        *("simulate", "--engine", "reference", "--samples", "60", "--trace", str(trace)),
        folder=workspace,
    )
    said = found["predictions"]
    with np.load(trace) as arrays:
        predicted, labels, values = arrays["predicted"], arrays["labels"], arrays["input.s"]
    assert said["predicted"] == predicted.tolist()
    assert said["labels"] == labels.tolist()
    assert found["accuracy"] == (predicted == labels).mean()
    for number in range(10):
        right = predicted[labels == number] == number
        assert said["accuracy_by_class"][number] == pytest.approx(right.mean())
        assert said["confusion"][number][number] == right.sum()
    assert np.sum(said["confusion"]) == 60
    # Events of the input are counted, and what they carry is told beside them.
    assert found["spikes_per_sample"]["input"] == np.count_nonzero(values) / 60
    assert found["values_per_sample"]["input"] == values.sum() / 60
    assert found["spikes_per_sample"]["input"] <= 4 * 64
    assert found["total_spikes_per_sample"] == pytest.approx(
        sum(found["spikes_per_sample"].values())
    )
    both = found["estimate"]["spikes"] + found["estimate"]["input_spikes"]
    assert found["total_spikes_per_sample"] == pytest.approx(both)
    (results,) = workspace.glob("deployments/*/results/reference")
    with (results / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["predicted"]) for row in rows] == predicted.tolist()
    assert [int(row["label"]) for row in rows] == labels.tolist()
    text = run_cli("simulate", "--engine", "reference", "--samples", "60", folder=workspace).stdout
    assert "Balanced accuracy " in text and "events per sample, whose values sum to" in text


def test_validate_keeps_them_of_both_engines(workspace: Path) -> None:
    found = run_json(
        *("validate", "--engines", "reference,float", "--samples", "60"), folder=workspace
    )
    assert set(found["predictions"]) == {"reference", "float"}
    for engine, said in found["predictions"].items():
        right = np.equal(said["predicted"], said["labels"])
        assert found["accuracies"][engine] == right.mean()
    same = np.equal(*(said["predicted"] for said in found["predictions"].values()))
    assert found["agreeing_predictions"] == same.sum()
    text = run_cli(
        *("validate", "--engines", "reference,float", "--samples", "60"), folder=workspace
    ).stdout
    assert text.count("Balanced accuracy ") == 2


def test_the_report_shows_what_is_taken_for_what(workspace: Path) -> None:
    run_cli("simulate", "--engine", "reference", folder=workspace)
    (page,) = workspace.glob("deployments/*/report.html")
    text = page.read_text()
    assert "Confusion matrix: 360 samples on reference, " in text
    assert "Confusion matrix: Test samples in floating point, " in text
    assert text.count("Balanced accuracy ") >= 3  # validation, test, simulated


def test_samples_without_labels_leave_a_report_without_a_matrix(workspace: Path) -> None:
    arguments = ("simulate", "--engine", "reference", "--random", "3", "--rate", "0.5")
    found = run_json(*arguments, folder=workspace)
    assert found["accuracy"] is None and len(found["predictions"]["predicted"]) == 3
    (page,) = workspace.glob("deployments/*/report.html")
    assert "samples on reference, " not in page.read_text()


def test_a_confusion_matrix_shades_by_label() -> None:
    (axes, _) = confusion_matrix([[3, 1, 0], [0, 0, 0], [1, 1, 2]], "three").axes
    shown = axes.images[0].get_array()
    assert shown is not None
    np.testing.assert_array_equal(np.ma.getmaskarray(shown)[:, 0], [False, True, False])
    np.testing.assert_allclose(np.ma.filled(shown, -1)[0], [0.75, 0.25, 0])
    assert sorted(text.get_text() for text in axes.texts) == ["1", "1", "1", "2", "3"]


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.float64])
@pytest.mark.parametrize("shape", [(1, 1, 3), (300, 7, 2, 3), (2, 600, 5), (3, 4, 0)])
@pytest.mark.parametrize("layout", ["samples first", "steps first", "static"])
def test_events_of_each_neuron_are_counted(
    dtype: type, shape: tuple[int, ...], layout: str
) -> None:
    rng = np.random.default_rng(len(shape) + shape[0])
    s = rng.integers(0, 2, shape).astype(dtype)
    if dtype is not np.uint8:
        s *= rng.integers(-300, 300, shape).astype(dtype)
    s[0] = 1  # so that some counts leave 8 bits
    if layout == "steps first":
        s = np.ascontiguousarray(s.swapaxes(0, 1)).swapaxes(0, 1)
    elif layout == "static":
        s = np.broadcast_to(s[:, :1], shape)
    record = PopulationTrace(s)
    found = record.events_of_each()
    assert found.dtype == np.int64 and found.shape == shape[2:]
    assert np.array_equal(found, np.count_nonzero(s, axis=(0, 1)))
    assert found.sum() == record.events
