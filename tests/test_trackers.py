"""Trainings shown in MLflow and in Weights & Biases: the same epochs as in the run folder."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from neurodeploy.cli.values import TRACKERS as NAMES
from neurodeploy.errors import (
    DivergedError,
    InputError,
    InterruptionError,
    MissingDependencyError,
    PictureWarning,
)
from neurodeploy.training import epoch, resume_run, train
from neurodeploy.training.trackers.tracking import TRACKERS
from neurodeploy.workflow.sweep.grid import sweep
from support.command import run_cli
from support.fake_trackers import KeptRun, Service, fake_mlflow, fake_wandb
from support.small_runs import make_recipe
from support.wording import refused

SHORT = {"epochs": 2, "warmup_epochs": 0}
FAKES = {"mlflow": fake_mlflow, "wandb": fake_wandb}
ENDED = {"mlflow": ("FINISHED", "KILLED", "FAILED"), "wandb": ("exit 0", "exit 130", "exit 1")}
"""As each service calls a training that has finished, was stopped or has diverged."""


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(params=sorted(FAKES))
def service(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[str, Service]:
    return request.param, FAKES[request.param](monkeypatch)


def epochs_of(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def assert_has_the_epochs(found: KeptRun, run: Path) -> None:
    """Every number of ``metrics.jsonl`` under its tag, each once, at the step of its epoch."""
    rows = epochs_of(run)
    single = {
        "loss/train": "train_loss",
        "loss/validation": "validation_loss",
        "accuracy/train": "train_accuracy",
        "accuracy/validation": "validation_accuracy",
        **{name: name for name in ("learning_rate", "seconds", "zero_weights")},
    }
    wanted = {tag: [(row["epoch"], row[key]) for row in rows] for tag, key in single.items()}
    for tag, key in {
        "firing_rate": "firing_rates",
        "synaptic_operations": "synaptic_operations",
        "silent": "silent",
        "saturated": "saturated",
    }.items():
        for layer in rows[0][key]:
            wanted[f"{tag}/{layer}"] = [(row["epoch"], row[key][layer]) for row in rows]
    assert len(rows) > 0 and len(wanted) > len(single)
    assert {tag: found.rows[tag] for tag in wanted} == wanted
    assert found.rows.keys() - wanted.keys() <= SUMMARY


SUMMARY = {"test_accuracy", "validation_accuracy", "best_epoch"}


def test_a_training_is_shown_as_the_run_folder_has_it(
    service: tuple[str, Service], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name, kept = service
    run = tmp_path / "my run"
    result = train(make_recipe(training=SHORT), run, progress=False, track=[name])
    found = kept.only
    assert found.name == "my run"
    assert found.group == {"mlflow": "experiment small", "wandb": "small"}[name]
    assert_has_the_epochs(found, run)
    assert found.statuses == ["RUNNING", ENDED[name][0]]
    if name == "mlflow":
        assert found.params["training.epochs"] == "2"
        assert found.params["data.name"] == "digits"
        assert found.params["network.hidden"] == "[24]"
        summary = {tag: found.rows[tag] for tag in SUMMARY}
        assert summary["test_accuracy"] == [(2, result.test_accuracy)]
        assert summary["best_epoch"] == [(2, result.best_epoch)]
    else:
        assert found.params["training"]["epochs"] == 2
        assert found.finished["test_accuracy"] == result.test_accuracy
        assert found.finished.keys() == SUMMARY
    assert capsys.readouterr().out == "", "stdout may carry JSON"


def test_an_interrupted_training_goes_on_in_the_same_run(
    service: tuple[str, Service], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, kept = service
    run, train_batch, calls = tmp_path / "run", epoch._train_batch, 0

    def interrupt(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > 15:  # of 11 an epoch
            raise KeyboardInterrupt
        return train_batch(*arguments)

    with monkeypatch.context() as patch, pytest.raises(InterruptionError):
        patch.setattr(epoch, "_train_batch", interrupt)
        train(make_recipe(training=SHORT), run, progress=False, track=[name])
    assert kept.only.statuses == ["RUNNING", ENDED[name][1]]
    assert [step for step, _ in kept.only.rows["loss/train"]] == [1]
    assert json.loads((run / "trackers.json").read_text()) == {name: {"run": "run0", "epochs": 1}}
    # As after a kill between checkpoint and service, which lacks an epoch then.
    (run / "trackers.json").write_text(json.dumps({name: {"run": "run0", "epochs": 0}}))
    kept.only.rows.clear()
    resume_run(run, progress=False)
    assert_has_the_epochs(kept.only, run)
    assert kept.only.statuses[2:] == ["RUNNING", ENDED[name][0]]


def test_a_diverged_training_has_failed(service: tuple[str, Service], tmp_path: Path) -> None:
    name, kept = service
    recipe = make_recipe(training={**SHORT, "learning_rate": 1e20})
    with pytest.raises(DivergedError):
        train(recipe, tmp_path / "run", progress=False, track=[name])
    assert kept.only.statuses == ["RUNNING", ENDED[name][2]]


def test_a_service_that_fails_later_does_not_end_the_training(
    service: tuple[str, Service], tmp_path: Path
) -> None:
    name, kept = service

    def fail(metrics: Any) -> None:
        kept.broken = OSError("no route to host")

    run = tmp_path / "run"
    with pytest.warns(PictureWarning, match=f"{name}: epochs are missing there: no route to host"):
        train(
            make_recipe(training={**SHORT, "epochs": 3}),
            run,
            progress=False,
            track=[name],
            after_epoch=fail,
        )
    assert len(epochs_of(run)) == 3
    assert len(kept.only.rows["loss/train"]) == 1
    assert json.loads((run / "trackers.json").read_text())[name]["epochs"] == 1


def test_a_service_that_does_not_answer_is_said_before_training(
    service: tuple[str, Service], tmp_path: Path
) -> None:
    name, kept = service
    run, kept.broken = tmp_path / "run", OSError("no API key")
    wanted = rf"{name}: no API key; mend that, or remove .*trackers.json .*train --resume {run}"
    with refused(InputError, wanted, by="train"):
        train(make_recipe(training=SHORT), run, progress=False, track=[name])
    assert not (run / "metrics.jsonl").exists()
    kept.broken = None
    resume_run(run, progress=False)
    assert_has_the_epochs(kept.only, run)


@pytest.mark.parametrize("name", sorted(TRACKERS))
def test_a_missing_package_is_named_before_training(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    wanted = rf"--track {name}: .*pip install 'neurodeploy\[{name}\]'"
    for begin in (
        lambda: train(make_recipe(), tmp_path / "run", track=[name]),
        lambda: list(sweep("digits_mlp", ["seed=1,2"], tmp_path / "sweep", track=[name])),
    ):
        with refused(MissingDependencyError, wanted, by="train"):
            begin()
    assert list(tmp_path.iterdir()) == []


def test_other_names_are_refused_by_the_command(tmp_path: Path) -> None:
    found = run_cli("train", "digits_mlp", "--track", "mlflo", folder=tmp_path)
    assert found.exit_code == 2
    assert "--track mlflo: no such service; did you mean 'mlflow'?" in found.output
    assert list(tmp_path.iterdir()) == []


def test_resuming_takes_its_services_from_the_run(tmp_path: Path) -> None:
    found = run_cli("train", "--resume", ".", "--track", "mlflow", folder=tmp_path)
    assert found.exit_code == 2 and "--resume takes everything from the run" in found.output


@pytest.mark.parametrize(
    "text", ['{"mlflow": 3}', '{"comet": {}}', '{"mlflow": {"epochs": -1}}', '{"mlflow": {"a": 1}}']
)
def test_a_damaged_record_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "trackers.json").write_text(text)
    with pytest.raises(InputError, match=r"trackers\.json"):
        train(make_recipe(), tmp_path, resume=True)


def test_every_run_of_a_sweep_is_one_of_the_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = fake_mlflow(monkeypatch)
    short = ["training.epochs=1", "training.steps=2", "training.threads=1"]
    rows = list(sweep("digits_mlp", [*short, "neuron.tau=1.5,2"], tmp_path, track=["mlflow"]))
    assert {run.name for run in kept.runs.values()} == {Path(row.run).name for row in rows}
    assert {run.params["neuron.tau"] for run in kept.runs.values()} == {"1.5", "2.0"}
    for row in rows:
        (found,) = (run for run in kept.runs.values() if run.name == Path(row.run).name)
        assert_has_the_epochs(found, Path(row.run))


def test_help_names_every_service() -> None:
    assert set(NAMES) == set(TRACKERS)


def test_mlflow_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow: Any = pytest.importorskip("mlflow")
    # In files: the smaller of its two packages has no database.
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri((tmp_path / "mlruns").as_uri())
    try:
        result = train(
            make_recipe(training=SHORT), tmp_path / "run", progress=False, track=["mlflow"]
        )
        client = mlflow.MlflowClient()
        identity = json.loads((tmp_path / "run/trackers.json").read_text())["mlflow"]["run"]
        found = client.get_run(identity)
        kept = KeptRun(found.info.run_name, client.get_experiment(found.info.experiment_id).name)
        for tag in found.data.metrics:
            for metric in client.get_metric_history(identity, tag):
                kept.add(tag, metric.step, metric.value)
        assert (kept.name, kept.group, found.info.status) == ("run", "small", "FINISHED")
        assert found.data.params["training.epochs"] == "2"
        assert found.data.metrics["test_accuracy"] == result.test_accuracy
        assert_has_the_epochs(kept, tmp_path / "run")
    finally:
        mlflow.set_tracking_uri(before)


def test_wandb_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    result = train(make_recipe(training=SHORT), tmp_path / "run", progress=False, track=["wandb"])
    identity = json.loads((tmp_path / "run/trackers.json").read_text())["wandb"]["run"]
    (folder,) = (tmp_path / "wandb").glob(f"offline-run-*-{identity}")
    written = (folder / f"run-{identity}.wandb").read_bytes()
    for text in ("loss/validation", "firing_rate/", "test_accuracy", f"{result.best_epoch}"):
        assert text.encode() in written
