"""A training run: what it writes, that it repeats, and that an interruption leaves no trace."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
import safetensors.numpy
import torch

from neurodeploy.data import load_dataset
from neurodeploy.data.dataset import encode
from neurodeploy.errors import InputError, NeurodeployError, SimulationError
from neurodeploy.ir.contract import InputCode
from neurodeploy.recipe import (
    DataRecipe,
    EncoderRecipe,
    NeuronRecipe,
)
from neurodeploy.training import epoch, resume_run, train
from neurodeploy.training.assembly import split_of
from neurodeploy.training.batches import epoch_batches, seed_piece
from neurodeploy.training.checkpoint import TrainingState, load_state, save_state
from neurodeploy.training.encoding import evaluation_frames, training_frames
from neurodeploy.training.loop import Recorder, reproducible
from neurodeploy.training.metrics import EpochMetrics
from neurodeploy.training.optimization import learning_rate
from support.narrow import node_of
from support.small_runs import EPOCHS, assert_same_run, make_recipe, metrics_of
from support.wording import refused

CPU = torch.device("cpu")


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Networks this small train faster on one thread, above all on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing interrupted."""
    run = tmp_path_factory.mktemp("whole") / "run"
    train(make_recipe(), run, progress=False)
    return run


def test_a_run_writes_everything_that_it_promises(whole: Path) -> None:
    assert sorted(path.name for path in whole.iterdir()) == [
        "best.safetensors",
        "last.safetensors",
        "learning_curve.png",
        "metrics.jsonl",
        "network.nir",
        "predictions.csv",
        "recipe.json",
        "run.json",
        "tensorboard",
        "train.log",
        "validation_predictions.csv",
    ]
    assert list((whole / "tensorboard").iterdir())
    summary = json.loads((whole / "run.json").read_text())
    assert summary["format"] == 2
    assert summary["kind"] == "run"
    assert summary["created"].endswith("+00:00")
    assert summary["recipe"]["network"] == {"family": "mlp", "hidden": [24], "batch_norm": True}
    assert {"python", "torch", "numpy", "nir"} <= set(summary["versions"])
    rows = metrics_of(whole)
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4]
    assert rows[-1]["train_accuracy"] > 0.8, "it learns"
    best = rows[summary["best_epoch"] - 1]
    assert best["validation_accuracy"] == summary["validation_accuracy"]
    assert best["validation_accuracy"] == max(row["validation_accuracy"] for row in rows)
    assert summary["test_accuracy"] > 0.8
    assert "readout" in nir.read(whole / "network.nir").nodes


def test_without_a_terminal_a_line_for_each_epoch(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = make_recipe(training={"epochs": 2, "warmup_epochs": 0})
    train(recipe, tmp_path / "told")
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("Epoch")]
    rows = metrics_of(tmp_path / "told")
    expected = [
        rf"Epoch {row['epoch']}/2: loss {row['train_loss']:.3f}, "
        rf"validation {100 * row['validation_accuracy']:.2f} %, \d+\.\d s; "
        for row in rows
    ]
    assert len(told) == len(expected) == 2
    for line, pattern, end in zip(told, expected, (r"about \d+\.\d min left", "done"), strict=True):
        assert re.fullmatch(pattern + end, line), line
    train(recipe, tmp_path / "silent", progress=False)
    assert "Epoch" not in capsys.readouterr().err


def test_result_says_what_is_in_the_folder(tmp_path: Path) -> None:
    result = train(make_recipe(training={"epochs": 1, "warmup_epochs": 0}), tmp_path / "run")
    summary = json.loads((tmp_path / "run" / "run.json").read_text())
    assert result.path == tmp_path / "run"
    found = {key: summary[key] for key in ("test_accuracy", "validation_accuracy", "best_epoch")}
    assert found == {key: getattr(result, key) for key in found}
    assert (result.epochs, summary["epochs"]) == (1, 1)
    assert result.seconds == summary["seconds"] > 0


def test_same_seed_same_run_and_another_seed_another(whole: Path, tmp_path: Path) -> None:
    state = torch.get_rng_state()
    train(make_recipe(), tmp_path / "again", progress=False)
    assert_same_run(whole, tmp_path / "again")
    assert torch.equal(torch.get_rng_state(), state), "the caller's generator is left alone"
    train(make_recipe(seed=1), tmp_path / "other", progress=False)
    assert metrics_of(whole) != metrics_of(tmp_path / "other")


@pytest.mark.parametrize("moment", ["before the checkpoint", "after the checkpoint"])
def test_interrupted_and_resumed_equals_uninterrupted(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    run = tmp_path / "run"
    end_epoch = Recorder.end_epoch

    def interrupt(recorder: Recorder, state: TrainingState) -> None:
        if len(state.history) == 3:
            if moment == "after the checkpoint":
                save_state(run, state)
            raise KeyboardInterrupt
        end_epoch(recorder, state)

    with monkeypatch.context() as patch:
        patch.setattr(Recorder, "end_epoch", interrupt)
        with refused(SimulationError, f"neurodeploy train --resume {run}", by="train"):
            train(make_recipe(), run, progress=False)
    assert not (run / "run.json").exists()
    assert len(metrics_of(run)) == 2
    # Half a line, as a full disk or a power cut may leave it.
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 3, "tr')
    resume_run(run, progress=False)
    assert_same_run(whole, run)


KILLED = """
import os, signal, sys
from pathlib import Path
import torch
from support.small_runs import make_recipe
from neurodeploy.training import train

replace, renames = os.replace, []

def kill_while_writing(source, target):
    renames.append(target)
    if [Path(name).name for name in renames].count("last.safetensors") == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    replace(source, target)

os.replace = kill_while_writing
torch.set_num_threads(1)
train(make_recipe(), Path(sys.argv[1]), progress=False)
"""


def test_killed_while_writing_its_checkpoint_and_resumed(whole: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    paths = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(run)], env=environment, capture_output=True, check=False
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    state = load_state(run)
    assert state is not None
    assert len(state.history) == 2, "the third checkpoint never took its name"
    assert list(run.glob(".*.partial"))
    resume_run(run, progress=False)
    assert_same_run(whole, run)
    assert not list(run.glob(".*.partial"))


def test_interrupted_before_the_first_epoch_ended(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(epoch, "_train_batch", interrupt)
        with refused(SimulationError, "--resume", by="train"):
            train(make_recipe(), tmp_path / "run", progress=False)
    resume_run(tmp_path / "run", progress=False)
    assert_same_run(whole, tmp_path / "run")


def test_weights_of_the_best_epoch_are_tested_and_exported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(EpochMetrics, "better_than", lambda *_: False)
    run = tmp_path / "run"
    result = train(make_recipe(), run, progress=False)
    assert (result.best_epoch, result.epochs) == (1, EPOCHS)
    assert result.validation_accuracy == metrics_of(run)[0]["validation_accuracy"]
    assert result.test_accuracy < 0.9 < metrics_of(run)[-1]["validation_accuracy"]
    best = safetensors.numpy.load_file(run / "best.safetensors")
    last = safetensors.numpy.load_file(run / "last.safetensors")
    weight = node_of(nir.read(run / "network.nir"), "fc").weight
    np.testing.assert_array_equal(weight, best["layers.fc.weight"])
    np.testing.assert_array_equal(weight, last["best.layers.fc.weight"])
    assert not np.array_equal(weight, last["model.layers.fc.weight"])


@pytest.mark.parametrize("best_epoch", [1, 2])
def test_checkpoint_gives_back_what_was_saved(best_epoch: int, tmp_path: Path) -> None:
    history = tuple(EpochMetrics(e, 0.5, 0.9, 0.6, 0.8, 1e-3, 1 / 3) for e in (1, 2))
    model, other = {"a.weight": torch.rand(3, 2)}, {"a.weight": torch.rand(3, 2)}
    optimizer = {"0.step": torch.tensor(5.0), "0.exp_avg": torch.rand(3, 2)}
    best = model if best_epoch == 2 else other
    save_state(tmp_path, TrainingState(model, optimizer, best, history, best_epoch))
    state = load_state(tmp_path)
    assert state is not None
    assert (state.history, state.best_epoch) == (history, best_epoch)
    for found, saved in (
        (state.model, model),
        (state.optimizer, optimizer),
        (state.best, best),
    ):
        assert found.keys() == saved.keys()
        assert all(torch.equal(found[key], saved[key]) for key in saved)


def test_better_means_higher_accuracy_then_lower_loss() -> None:
    base = EpochMetrics(1, 0.5, 0.9, 0.6, 0.8, 1e-3, 1.0)
    assert dataclasses.replace(base, validation_accuracy=0.9, validation_loss=9).better_than(base)
    assert dataclasses.replace(base, validation_loss=0.5).better_than(base)
    assert not dataclasses.replace(base, validation_accuracy=0.7).better_than(base)
    assert not base.better_than(base), "the earlier of two equals is kept"


def test_every_batch_of_every_epoch_and_seed_draws_its_own_numbers() -> None:
    draws = set()
    cases = [(s, e, b) for s in (0, 1) for e in (1, 2) for b in (0, 1)]
    with reproducible(CPU):
        for seed, number, batch in cases:
            own = torch.rand(1, generator=seed_piece(seed, number, batch, 0, CPU))
            draws |= {own.item(), torch.rand(1).item()}
    assert len(draws) == 2 * len(cases)


def test_pieces_of_a_batch_share_the_draws_for_all_and_no_dropout_mask() -> None:
    shared, masks = set(), set()
    with reproducible(CPU):
        for piece in range(3):
            generator = seed_piece(0, 1, 0, piece, CPU)
            shared.add(torch.rand(1, generator=generator).item())
            masks.add(torch.rand(1).item())
    assert (len(shared), len(masks)) == (1, 3)


def test_every_epoch_has_an_order_of_its_own_with_every_sample_once() -> None:
    orders = [epoch_batches(300, 128, s, e) for s, e in ((0, 1), (0, 2), (1, 1))]
    for batches in orders:
        assert [len(batch) for batch in batches] == [100, 100, 100], "batch_size is 128"
        assert sorted(torch.cat(batches).tolist()) == list(range(300))
    assert len({tuple(torch.cat(batches).tolist()) for batches in orders}) == 3


def test_parameters_change_once_per_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = {"backward": 0, "update": 0}

    def counting(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **options: Any) -> Any:
            calls[name] += 1
            return function(*args, **options)

        return counted

    monkeypatch.setattr(torch.Tensor, "backward", counting("backward", torch.Tensor.backward))
    monkeypatch.setattr(torch.optim.Adam, "step", counting("update", torch.optim.Adam.step))
    one_step_at_a_time = {"epochs": 1, "warmup_epochs": 0, "time_chunk": 1}
    train(make_recipe(training=one_step_at_a_time), tmp_path / "run")
    batches = math.ceil(len(split_of(make_recipe(), load_dataset("digits")).y_train) / 128)
    assert calls == {"backward": 3 * batches, "update": batches}


def test_diverging_training_stops_with_advice(tmp_path: Path) -> None:
    recipe = make_recipe(training={"learning_rate": 1e30, "optimizer": "sgd", "mse_weight": 1.0})
    with pytest.raises(SimulationError, match=r"loss became (nan|inf) in training.*learning_rate"):
        train(recipe, tmp_path / "run", progress=False)
    assert not (tmp_path / "run" / "run.json").exists()


def test_out_folder_must_be_new_or_empty(whole: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").touch()
    (tmp_path / "file").touch()
    for out, message in (
        (tmp_path / "full", "already exists"),
        (tmp_path / "file", "already exists"),
        (tmp_path / "file" / "below", "cannot be written"),
        (whole, "already exists"),
    ):
        with pytest.raises(InputError, match=message):
            train(make_recipe(), out, progress=False)
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["mine.txt"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_out_folder_without_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(InputError, match="Permission denied"):
            train(make_recipe(), tmp_path / "run", progress=False)
    finally:
        tmp_path.chmod(0o700)


def test_resume_refuses_what_is_no_unfinished_run(whole: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="complete, there is nothing to resume"):
        resume_run(whole)
    with pytest.raises(InputError, match="not a run folder"):
        resume_run(tmp_path)
    unfinished = tmp_path / "run"
    unfinished.mkdir()
    (unfinished / "recipe.json").write_bytes((whole / "recipe.json").read_bytes())
    with pytest.raises(InputError, match="differs from the recipe given"):
        train(make_recipe(seed=5), unfinished, resume=True)
    with refused(InputError, r"unfinished run.*--resume", by="train"):
        train(make_recipe(), unfinished)
    (unfinished / "last.safetensors").write_bytes(b"\x00" * 16)
    with pytest.raises(InputError, match="not a readable checkpoint"):
        resume_run(unfinished)
    with pytest.raises(InputError, match="needs the folder"):
        train(make_recipe(), None, resume=True)


def test_default_folders_are_numbered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = make_recipe(training={"epochs": 1, "warmup_epochs": 0})
    assert train(recipe).path == Path("runs/small-001")
    assert train(recipe).path == Path("runs/small-002")
    with pytest.raises(InputError, match="cannot name a folder"):
        train(dataclasses.replace(recipe, name="../small"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"network": {"family": "mpl", "hidden": [8]}}, "did you mean 'mlp'"),
        ({"network": {"family": "mlp", "hiden": [8]}}, "did you mean 'hidden'"),
        ({"network": {"family": "mlp", "hidden": []}}, "at least one layer"),
        ({"rule": {"name": "stll"}}, "known: bptt, eprop, ottt, rate, sltt, sltt-k"),
        ({"rule": {"name": "sltt", "k": 2}}, "unknown key 'k'"),
        ({"neuron": NeuronRecipe(2.0, surrogate="box")}, "surrogate 'box' is not known"),
        ({"data": DataRecipe("digit")}, "did you mean 'digits'"),
        ({"data": DataRecipe("digits", validation=0.001)}, "cannot split 1437 samples"),
        ({"training": {"batch_size": 1}}, "at least 2"),
        ({"seed": -1}, "seed must be"),
    ],
)
def test_wrong_recipes_are_refused_and_leave_no_folder(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        train(make_recipe(**changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("device", ["gpu", "meta", "cuda:99"])
def test_unusable_devices_are_refused(device: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"device '{device}' cannot be used"):
        train(make_recipe(), tmp_path / "run", device=device)


@pytest.mark.parametrize(
    "options",
    [
        {"warmup_epochs": 4},
        {"momentum": 1.0},
        {"weight_decay": -1e-4},
        {"mse_weight": 1.5},
        {"learning_rate": 0.0},
        {"accumulate": 0},
        {"checkpoint_minutes": -1.0},
    ],
)
def test_training_options_are_checked(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        make_recipe(training=options)


def test_learning_rate_rises_then_falls_as_a_cosine() -> None:
    training = make_recipe(training={"epochs": 6, "warmup_epochs": 2}).training
    found = [learning_rate(training, epoch) / 0.01 for epoch in range(1, 7)]
    cosine = [(1 + math.cos(math.pi * k / 4)) / 2 for k in range(4)]
    assert found == pytest.approx([1 / 3, 2 / 3, *cosine])


def test_validation_split_keeps_classes_in_proportion_and_the_test_samples_out() -> None:
    dataset = load_dataset("digits")
    split = split_of(make_recipe(), dataset)
    assert len(split.y_validation) == 144
    assert len(split.y_train) + 144 == len(dataset.y_train)
    counts = np.bincount(split.y_validation)
    assert counts.min() >= 14
    assert counts.max() <= 15
    together = np.sort(
        np.concatenate([split.x_train[:], split.x_validation[:]]).reshape(-1, 64), axis=0
    )
    np.testing.assert_array_equal(together, np.sort(dataset.x_train[:].reshape(-1, 64), axis=0))
    other = split_of(make_recipe(seed=1), dataset)
    assert not np.array_equal(split.x_validation[:], other.x_validation[:])


def test_direct_input_is_the_same_fraction_at_every_step() -> None:
    samples = np.arange(17, dtype=np.uint8).reshape(1, 17)
    code, cpu = InputCode("direct", 16), torch.device("cpu")
    trained = list(training_frames(torch.from_numpy(samples), code, 3, torch.Generator()))
    evaluated = list(evaluation_frames(samples, code, 3, 0, cpu))
    for frame in (*trained, *evaluated):
        np.testing.assert_array_equal(frame.numpy(), samples / 16)
    assert len(trained) == len(evaluated) == 3


def test_rate_input_is_binary_with_the_value_as_probability() -> None:
    samples = np.tile(np.array([[0, 4, 16]], np.uint8), (500, 1))
    code, cpu = InputCode("rate", 16), torch.device("cpu")
    generator = torch.Generator().manual_seed(0)
    trained = torch.stack(list(training_frames(torch.from_numpy(samples), code, 20, generator)))
    evaluated = torch.stack(list(evaluation_frames(samples, code, 20, 7, cpu)))
    for frames in (trained, evaluated):
        assert set(frames.unique().tolist()) == {0.0, 1.0}
        assert frames[..., 0].max() == 0
        assert frames[..., 2].min() == 1
        # 10,000 draws: the standard deviation of their mean is 0.0043.
        assert frames[..., 1].mean().item() == pytest.approx(0.25, abs=0.02)
    # Evaluation sees the very spikes that a deployment sees.
    np.testing.assert_array_equal(
        evaluated.numpy(), encode(samples, code, 20, first=7).swapaxes(0, 1)
    )


def test_rate_encoded_network_learns_and_repeats(tmp_path: Path) -> None:
    recipe = make_recipe(encoder=EncoderRecipe("rate"), training={"epochs": 2, "steps": 6})
    first = train(recipe, tmp_path / "first", progress=False)
    assert first.test_accuracy > 0.6
    train(recipe, tmp_path / "second", progress=False)
    assert_same_run(tmp_path / "first", tmp_path / "second")


def test_every_error_is_one_of_ours() -> None:
    assert issubclass(InputError, NeurodeployError)
    assert SimulationError("x").exit_code == 2
