"""Networks that predict values: their loss, what is read of them, and a recipe all the way."""

from __future__ import annotations

import csv
import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import neurodeploy as nd
from neurodeploy.artifacts.epochs import EpochMetrics
from neurodeploy.artifacts.folders import read_training
from neurodeploy.data import Dataset
from neurodeploy.data.labels import target_values
from neurodeploy.errors import InputError, UnsupportedError
from neurodeploy.ir.contract import Contract, InputCode, Semantics
from neurodeploy.nn.loss import InstantaneousLoss, ValueLoss
from neurodeploy.recipe import load_recipe
from neurodeploy.simulation.values import PredictedValues, smape
from neurodeploy.training.assembly import load_data, loss_of, split_of
from support.command import run_cli, run_json

SMALL = (
    *("--set", "data.mackey_glass={train=5.0,test=2.0,window=12}"),
    *("--set", "network.hidden=[24]", "--set", "training.steps=6", "--set", "training.epochs=12"),
)


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict, dict]:
    """A folder in which a small recipe was trained and exported, and what the commands printed."""
    folder = tmp_path_factory.mktemp("regression")
    trained = run_json("train", "mackey_glass", *SMALL, folder=folder)
    return folder, trained, run_json("export", "--target", "loihi2", folder=folder)


def test_errors_are_those_of_the_harness() -> None:
    pytest.importorskip("neurobench", reason="NeuroBench's harness is not installed")
    from neurobench.metrics.workload import MSE, SMAPE

    rng = np.random.default_rng(0)
    predicted, targets = rng.normal(0, 1, (50, 2)), rng.normal(1, 1, (50, 2))
    found = PredictedValues(predicted, targets)
    # The harness gives a metric its model, which these do not look at, and a batch of data.
    given: Any = (None, torch.from_numpy(predicted), (None, torch.from_numpy(targets)))
    assert found.smape == pytest.approx(SMAPE()(*given), rel=1e-12)
    assert found.mse == pytest.approx(MSE()(*given), rel=1e-12)


def test_the_error_of_single_values_is_that_by_hand() -> None:
    assert smape(np.array([3.0]), np.array([1.0])) == 200 * 2 / 4
    assert smape(np.array([-1.0, 0.0, np.nan]), np.array([1.0, 0.0, 1.0])) == 400 / 3


def test_predicted_values_say_what_they_are() -> None:
    one = PredictedValues(np.array([[1.0], [1.0]]), np.array([[1.0], [2.0]]))
    assert one.warnings() == ("all 2 samples are given one value, 1",)
    whole = one.followed_by(PredictedValues(np.array([[4.0]]), np.array([[4.0]])))
    assert (whole.mse, whole.accuracy, whole.warnings()) == (1 / 3, None, ())
    assert whole.rows([7, 8, 9]).splitlines()[:3] == [
        *("sample,output,label,predicted", "7,0,1.0,1.0", "8,0,2.0,1.0")
    ]
    unknown = PredictedValues(np.zeros((3, 2)), None)
    assert (unknown.smape, unknown.mse, unknown.warnings()) == (None, None, ())
    assert unknown.rows().splitlines()[2] == "0,1,,0.0"


def test_the_loss_is_the_squared_error_in_deviations_from_the_mean() -> None:
    loss = ValueLoss(mean=5.0, deviation=2.0)
    outputs = torch.tensor([[0.0], [1.0]], requires_grad=True)
    labels = torch.tensor([[5.0], [9.0]], dtype=torch.float64)
    value = loss(outputs, labels)
    value.backward()
    assert value.item() == 0.5
    assert outputs.grad is not None and outputs.grad.tolist() == [[0.0], [-1.0]]
    two_steps = torch.stack([outputs.detach(), outputs.detach() + 1])
    assert loss.over_steps(two_steps, labels).item() == 0.5 + 0.5
    of_mean = dataclasses.replace(loss, over="mean").of_batch(None, labels, 2)
    assert of_mean is not None
    assert (of_mean(two_steps[0], labels).item(), of_mean(two_steps[1], labels).item()) == (0, 0.5)
    read = loss.read(two_steps.sum(0), torch.tensor([2, 2]))
    assert read.tolist() == [[6.0], [8.0]]
    assert loss.summed_score(two_steps.sum(0), torch.tensor([2, 2]), labels) == pytest.approx(
        200 / 11 + 200 / 17
    )


@pytest.mark.lava
def test_what_is_read_is_in_units_of_the_data() -> None:
    """From v of the integers as from that of the floats, whatever T is."""
    module = torch.nn.Sequential(torch.nn.Linear(4, 16), nd.nn.LIF(tau=2.0), torch.nn.Linear(16, 2))
    torch.manual_seed(1)
    network = nd.from_torch(module, sample_shape=(4,), steps=5, levels=16)
    x = np.random.default_rng(0).integers(0, 17, (6, 4))
    v = nd.simulate(network, x, engine="float")["readout"].v
    assert v is not None
    contract = dataclasses.replace(
        network.contract, task="regression", value_scale=0.5, value_offset=3.0
    )
    network = dataclasses.replace(network, contract=contract)
    found = nd.simulate(network, x, engine="float").predicted_values
    assert found is not None
    np.testing.assert_allclose(found, 3 + 0.5 * v[:, -1] / 5)
    integers = nd.quantize(network, "loihi2")
    values = nd.simulate(integers, x).predicted_values
    assert values is not None
    unit = integers.population("readout").scale * 64
    last = nd.simulate(integers, x)["readout"].v
    assert last is not None
    np.testing.assert_allclose(values, 3 + 0.5 * last[:, -1] / unit / 5)
    in_lava = nd.simulate(integers, x, "lava-fused").predicted_values
    assert in_lava is not None and in_lava.tolist() == values.tolist()
    report = nd.validate(integers, x, ("reference", "lava-fused"))
    assert (report.mismatches, report.agreeing_predictions) == (0, 6)
    assert report.max_value_difference == 0 and report.accuracies is None


def test_a_contract_says_it_and_one_of_classes_does_not() -> None:
    contract = Contract(Semantics(1e-3, "zero", ">="), InputCode("direct", 9), 4, "last_v")
    assert "task" not in contract.to_metadata() and "task" not in contract.to_table()
    values = dataclasses.replace(contract, task="regression", value_scale=0.2, value_offset=0.9)
    assert Contract.from_metadata(values.to_metadata(), "here") == values
    with pytest.raises(ValueError, match="of task = 'regression'"):
        dataclasses.replace(contract, value_scale=2.0)
    with pytest.raises(ValueError, match="the first not 0, found 0 and 0"):
        dataclasses.replace(values, value_scale=0.0, value_offset=0.0)


def test_epochs_are_judged_by_the_error_and_then_by_the_loss() -> None:
    epoch = EpochMetrics(
        *(1, 1.0, None, 1.0, None, 0.1, 1.0), train_smape=9.0, validation_smape=8.0
    )
    assert dataclasses.replace(epoch, validation_smape=7.0, validation_loss=9.0).better_than(epoch)
    assert dataclasses.replace(epoch, validation_loss=0.5).better_than(epoch)
    assert not dataclasses.replace(epoch, validation_smape=8.5).better_than(epoch)
    classes = EpochMetrics(1, 1.0, 0.5, 1.0, 0.5, 0.1, 1.0)
    assert set(epoch.to_table()) - set(classes.to_table()) == {"train_smape", "validation_smape"}
    with pytest.raises(ValueError, match="a validation_accuracy or a validation_smape"):
        EpochMetrics(1, 1.0, None, 1.0, None, 0.1, 1.0)


def test_the_last_samples_are_held_back() -> None:
    """Neighbours of a sample of a series show nearly the same."""
    recipe = load_recipe("mackey_glass")
    dataset = load_data(recipe)
    split = split_of(recipe, dataset)
    held_back = round(recipe.data.validation * len(dataset.y_train))
    np.testing.assert_array_equal(split.y_validation, dataset.y_train[-held_back:])
    np.testing.assert_array_equal(split.y_train, dataset.y_train[:-held_back])
    loss = loss_of(recipe, split.y_train, 1)
    assert isinstance(loss, ValueLoss) and isinstance(loss, InstantaneousLoss)
    assert (loss.mean, loss.deviation) == (split.y_train.mean(), split.y_train.std())


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ('training.class_weights="balanced"', "class_weights weigh the loss of classes, but"),
        ("training.mse_weight=0.1", "mse_weight weigh the loss of classes, but the data set"),
        ("data.exclude=[0]", "has values to predict, and no classes that could be left out"),
        ("data.classes=3", "has 1 values for each sample, but 3 outputs are asked for"),
        ("data.limit=5000", "limit = 5000: there are 726 training samples"),
        ("data.mackey_glass.window=0", "mackey_glass: window is from 1 to 4096, found 0"),
    ],
)
def test_what_says_something_of_classes_is_refused(
    override: str, message: str, tmp_path: Path
) -> None:
    done = run_cli("train", "mackey_glass", "--set", override, folder=tmp_path)
    assert done.exit_code == 2 and message in done.output
    assert not list(tmp_path.iterdir())


def test_a_recipe_trains_a_network_that_predicts(deployed: tuple[Path, dict, dict]) -> None:
    folder, trained, _ = deployed
    run = folder / trained["run"]
    assert trained["task"] == "regression" and trained["test_accuracy"] is None
    # A guess of the mean is 20 off, the value before 8.
    assert trained["test_smape"] < 8
    written = json.loads((run / "run.json").read_text())
    for key in ("test_smape", "validation_smape", "test_mse", "test_accuracy", "best_epoch"):
        assert written[key] == trained[key]
    epochs = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    best = epochs[trained["best_epoch"] - 1]
    assert best["validation_smape"] == min(epoch["validation_smape"] for epoch in epochs)
    assert best["validation_smape"] == pytest.approx(trained["validation_smape"])
    assert best["train_smape"] > 0 and best["validation_accuracy"] is None
    rows = [*csv.DictReader((run / "predictions.csv").read_text().splitlines())]
    predicted, labels = (
        np.array([float(row[key]) for row in rows]) for key in ("predicted", "label")
    )
    assert trained["test_smape"] == pytest.approx(smape(predicted, labels))
    assert len(rows) == 150
    record = read_training(run)
    assert record.scores["test_smape"] == trained["test_smape"]
    with pytest.raises(ValueError, match="validation samples have no accuracy and no sMAPE"):
        dataclasses.replace(record, predictions={"test": record.predictions["test"]})
    said = run_cli("inspect", trained["run"], folder=folder).output
    assert f"test sMAPE {trained['test_smape']:.3f}" in said


def test_what_is_deployed_predicts_alike(deployed: tuple[Path, dict, dict]) -> None:
    folder, trained, exported = deployed
    found = {
        engine: run_json("simulate", "--engine", engine, folder=folder)
        for engine in ("reference", "float")
    }
    assert found["float"]["smape"] == pytest.approx(trained["test_smape"], rel=1e-3)
    assert found["reference"]["smape"] == pytest.approx(trained["test_smape"], rel=0.2)
    assert found["reference"]["accuracy"] is None
    assert found["reference"]["predictions"]["mse"] == found["reference"]["mse"]
    labels = np.array(found["reference"]["predictions"]["labels"])
    predicted = np.array(found["reference"]["predictions"]["predicted"])
    assert labels.shape == predicted.shape == (150, 1)
    np.testing.assert_array_equal(labels, load_data_of(folder, trained).y_test)
    report = (folder / exported["deployment"] / "report.html").read_text(encoding="utf-8")
    assert f"sMAPE {trained['test_smape']:.3f}" in report and "last_v / T" in report
    assert "Predicted values: 150 samples on" in report
    said = run_cli("simulate", "--engine", "reference", "--samples", "2", folder=folder).output
    assert re.search(r"^sMAPE \d+\.\d{3} \(of 0 to 200\), MSE ", said, re.MULTILINE)
    assert "Accuracy" not in said


def load_data_of(folder: Path, trained: dict) -> Dataset:
    recipe = json.loads((folder / trained["run"] / "recipe.json").read_text())
    options = recipe["data"]["mackey_glass"]
    return load_data(
        load_recipe("mackey_glass", [f"data.mackey_glass.{k}={v}" for k, v in options.items()])
    )


@pytest.mark.lava
def test_engines_are_compared_value_by_value(deployed: tuple[Path, dict, dict]) -> None:
    folder, _, _ = deployed
    exact = run_json("validate", "--engines", "reference,lava", "--samples", "4", folder=folder)
    assert (exact["mismatches"], exact["agreeing_predictions"]) == (0, 4)
    assert exact["max_value_difference"] == 0
    said = run_cli("validate", "--engines", "float,reference", folder=folder).output
    (parity,) = folder.glob("deployments/*/results/float-reference/parity.json")
    rounded = json.loads(parity.read_text())
    assert 0 < rounded["max_value_difference"] < 0.3
    assert rounded["populations"][-1]["mismatches"] == 0
    assert "Predicted values are at most" in said and "classified" not in said


def test_a_forecast_goes_on_with_its_own_predictions(deployed: tuple[Path, dict, dict]) -> None:
    """Shown window by window, what a network has predicted makes it predict the same again."""
    folder, trained, _ = deployed
    options = ("--engine", "reference", "--samples", "1")
    found = run_json("simulate", "--forecast", *options, folder=folder)["forecast"]
    dataset, predicted = load_data_of(folder, trained), np.array(found["predicted"])
    assert found["labels"] == dataset.y_test.tolist()
    assert found["smape"] == pytest.approx(smape(predicted, dataset.y_test))
    row = [*dataset.x_test[:1][0], *dataset.as_input(predicted[:, 0])]
    windows = np.lib.stride_tricks.sliding_window_view(np.array(row), 12)[: len(predicted)]
    network = nd.load(next((folder / "deployments").iterdir())).network
    again = nd.simulate(network, windows.astype(np.int64)).predicted_values
    assert again is not None and again.tolist() == predicted.tolist()


def test_a_forecast_of_no_series_is_refused(workspace: Path) -> None:
    done = run_cli("simulate", "--forecast", folder=workspace)
    assert done.exit_code == 2 and "was not trained on a series to predict" in done.output


def test_samples_of_a_file_have_values_for_labels(
    deployed: tuple[Path, dict, dict], tmp_path: Path
) -> None:
    folder, trained, _ = deployed
    dataset = load_data_of(folder, trained)
    file = tmp_path / "given.npz"
    np.savez(file, x=dataset.x_test[:9], y=dataset.y_test[:9, 0])
    options = ("--engine", "reference", "--data", str(file))
    found = run_json("simulate", *options, folder=folder)
    assert np.array(found["predictions"]["labels"]).tolist() == dataset.y_test[:9].tolist()
    np.savez(file, x=dataset.x_test[:9], y=np.full(9, np.nan))
    done = run_cli("simulate", *options, folder=folder)
    assert done.exit_code == 2 and "values to be predicted are finite numbers" in done.output
    with pytest.raises(InputError, match=r"y has shape \(3, 2\), expected \(3, 1\)"):
        target_values(np.zeros((3, 2)), 3, "y", 1)


def test_what_counts_right_classes_refuses_values(deployed: tuple[Path, dict, dict]) -> None:
    folder, trained, _ = deployed
    done = run_cli("learn", "--engine", "reference", folder=folder)
    assert done.exit_code == 2 and "learn counts right classes, but the outputs" in done.output
    done = run_cli("bench", "quantization", "--run", trained["run"], folder=folder)
    assert done.exit_code == 2 and "bench quantization counts right classes" in done.output
    done = run_cli("bench", "paper", "mackey_glass", folder=folder)
    assert done.exit_code == 2
    assert "bench paper counts right classes, but the outputs of recipe mackey_glass" in done.output
    rates = "training.learning_rate=1e-2,1e-3"
    named = ("--recipe", "mackey_glass", "--set", rates)
    done = run_cli("bench", "pareto", *named, folder=folder)
    assert done.exit_code == 2 and "bench pareto counts right classes" in done.output
    with pytest.raises(UnsupportedError, match="outputs are values"):
        nd.load(next((folder / "deployments").iterdir())).net_file  # noqa: B018


def test_a_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    recipe = load_recipe("mackey_glass", [v for v in SMALL if v != "--set"] + ["training.epochs=2"])
    whole = nd.train(recipe, out=tmp_path / "whole", progress=False)
    from neurodeploy.training.checkpoint import load_state

    state = load_state(tmp_path / "whole")
    assert state is not None and state.history[-1].validation_smape is not None
    assert np.isnan(whole.test_accuracy) and whole.scores["test_smape"] > 0


@pytest.mark.slow
def test_values_are_learned_on_integers_too(tmp_path: Path) -> None:
    options = ("--set", "quantize.bits=4", "--set", "training.epochs=6")
    trained = run_json("train", "mackey_glass", *SMALL, *options, folder=tmp_path)
    run_json("export", "--target", "loihi2", folder=tmp_path)
    found = run_json("simulate", "--engine", "reference", folder=tmp_path)
    # Trained on the very integers that are deployed.
    assert found["smape"] == pytest.approx(trained["test_smape"], rel=1e-6)
