"""A training that runs away is stopped, says where and what is left; clipping holds it back."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import torch
from torch import nn

from neurodeploy.errors import DivergedError, InputError, SimulationError
from neurodeploy.nn.network import SpikingNetwork
from neurodeploy.recipe import Recipe, load_recipe
from neurodeploy.support.processes import Processes
from neurodeploy.training import epoch as epochs
from neurodeploy.training import resume_run, train
from neurodeploy.training.checkpoint import TrainingState, load_state
from neurodeploy.training.divergence import FAR, PATIENCE, Guard, not_finite
from neurodeploy.training.metrics import EpochMetrics, PartialEpoch
from neurodeploy.training.optimization import Updater
from support.small_runs import make_recipe
from support.wording import refused

SGD = {"optimizer": "sgd", "momentum": 0.0, "warmup_epochs": 0, "threads": 1}


def make_guard(recipe: Recipe | None = None, initial: float = 0.0) -> Guard:
    return Guard(recipe or make_recipe(), Path("runs/a"), 20, 10, initial)


def after(epochs_done: int) -> TrainingState:
    history = tuple(
        EpochMetrics(e, 0.5, 0.9, 0.6, 0.8, 1e-3, 1.0) for e in range(1, epochs_done + 1)
    )
    return TrainingState({}, {}, {}, history, min(epochs_done, 2))


def batch(loss: float, number: int = 1) -> PartialEpoch:
    return PartialEpoch(batches=number, loss=loss)


def test_a_loss_that_is_no_number_ends_it_at_once() -> None:
    guard = make_guard()
    guard.check_batch(after(3), batch(2.0, 6), 0.1)
    with pytest.raises(DivergedError) as caught:
        guard.check_batch(after(3), batch(math.nan, 7), 0.1)
    message = str(caught.value)
    assert caught.value.exit_code == 1
    assert "the loss became nan in training, epoch 4, iteration 7 of 20" in message
    assert "at a learning rate of 0.1 " in message
    assert "training.learning_rate=0.01 or training.clip_norm=1" in message
    assert "runs/a/last.safetensors keeps the state of epoch 3" in message
    assert "runs/a/best.safetensors the weights of epoch 2" in message
    assert "training.start_from=runs/a begins" in message


def test_without_an_epoch_nothing_is_promised() -> None:
    with pytest.raises(DivergedError, match="no epoch had finished, so runs/a holds no weights"):
        make_guard().check_batch(after(0), batch(math.inf, 2), 0.1)


def test_before_any_update_no_rate_is_to_blame() -> None:
    with pytest.raises(DivergedError, match=r"loss is inf in training.* before any update") as c:
        make_guard().check_batch(after(0), batch(math.inf), 0.1)
    assert "learning_rate" not in str(c.value)
    online = make_guard(make_recipe(rule={"name": "sltt", "update": "step"}))
    with pytest.raises(DivergedError, match=r"learning_rate=0\.01"):
        online.check_batch(after(0), batch(math.inf), 0.1)


@pytest.mark.parametrize(("first", "bound"), [(7.0, 7 * FAR), (0.01, math.log(10) * FAR)])
def test_a_loss_far_beyond_the_first_may_stay_there_for_some_iterations(
    first: float, bound: float
) -> None:
    guard, now = make_guard(), after(1)
    guard.check_batch(now, batch(first), 0.1)
    for _ in range(3):  # each time it comes back in time
        for _ in range(PATIENCE - 1):
            guard.check_batch(now, batch(bound * 1.01), 0.1)
        assert not guard.is_calm(nn.Linear(1, 1))
        guard.check_batch(now, batch(bound * 0.99), 0.1)
        assert guard.is_calm(nn.Linear(1, 1))
    for _ in range(PATIENCE - 1):
        guard.check_batch(now, batch(bound * 1.01), 0.1)
    with pytest.raises(DivergedError, match="more than 100 times the"):
        guard.check_batch(now, batch(bound * 1.01), 0.1)


def test_an_epoch_that_ends_beyond_the_bound_is_not_kept() -> None:
    guard, now, model = make_guard(), after(1), nn.Linear(1, 1)
    guard.check_batch(now, batch(2.0), 0.1)
    guard.check_epoch(now, 1e6, model, 0.1)  # statistics may not have settled
    guard.check_batch(now, batch(1e6), 0.1)
    guard.check_epoch(now, 2.0, model, 0.1)
    with pytest.raises(DivergedError, match=r"became 1e\+06 in validation, epoch 2"):
        guard.check_epoch(now, 1e6, model, 0.1)


def test_what_is_not_finite_is_named_and_constants_may_be_infinite() -> None:
    class Neurons(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("tau", torch.tensor(math.inf))

    layers = {"fc1": nn.Linear(2, 2), "bn1": nn.BatchNorm1d(2), "lif1": Neurons()}
    model = SpikingNetwork(layers, (2,))
    assert not_finite(model) == ""
    for name in ("fc1.weight", "bn1.running_var"):
        values = model.state_dict()[f"layers.{name}"]
        kept = values.flatten()[0].item()
        values.flatten()[0] = math.nan
        assert not_finite(model) == name
        values.flatten()[0] = kept
    assert not_finite(model) == ""


def test_a_silent_network_with_lost_weights_is_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its membranes are no numbers, so nothing fires, and the loss is that of a bias."""
    update = Updater.__call__
    calls = []

    def lose(updater: Updater) -> None:
        update(updater)
        calls.append(None)
        if len(calls) == 30:  # in the third epoch of 11 iterations
            with torch.no_grad():
                next(iter(updater.optimizer.param_groups[0]["params"])).fill_(math.nan)

    monkeypatch.setattr(Updater, "__call__", lose)
    run = tmp_path / "run"
    recipe = make_recipe(network={"family": "mlp", "hidden": [24]}, training=SGD)
    with refused(DivergedError, "fc1.weight is not finite at the end of epoch 3", by="train"):
        train(recipe, run, progress=False)
    kept = load_state(run)
    assert kept is not None
    assert len(kept.history) == 2
    for name in ("last", "best"):
        weights = safetensors.numpy.load_file(run / f"{name}.safetensors")
        assert all(np.isfinite(values).all() for values in weights.values())
    assert not (run / "run.json").exists()


def test_a_run_with_an_absurd_rate_is_refused_and_resuming_ends_alike(tmp_path: Path) -> None:
    run = tmp_path / "run"
    recipe = make_recipe(training={**SGD, "learning_rate": 1e4, "epochs": 3})
    with pytest.raises(DivergedError, match=r"more than 100 times the 2\.") as first:
        train(recipe, run, progress=False)
    with pytest.raises(DivergedError) as second:
        resume_run(run, progress=False)
    assert str(second.value) == str(first.value)


def test_the_first_loss_outlives_an_interruption(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses: list[float] = []
    check = Guard.check_batch

    def note(guard: Guard, now: TrainingState, done: PartialEpoch, rate: float) -> None:
        check(guard, now, done, rate)
        losses.append(guard.initial_loss)
        if len(losses) == 15:
            raise KeyboardInterrupt

    monkeypatch.setattr(Guard, "check_batch", note)
    run = tmp_path / "run"
    with refused(SimulationError, "--resume", by="train"):
        train(make_recipe(), run, progress=False)
    resume_run(run, progress=False)
    assert len({*losses}) == 1
    assert losses[0] > 0


# --- gradient clipping ---


def first_change(clip_norm: float) -> np.ndarray:
    """What one update of plain gradient descent with rate 1 does to all parameters, in a row."""
    from neurodeploy.data import load_dataset
    from neurodeploy.training.assembly import input_code, network_of, rule_of, split_of

    training = {**SGD, "learning_rate": 1.0, "precision": "fp64", "clip_norm": clip_norm}
    recipe = make_recipe(training=training)
    dataset = load_dataset("digits")
    torch.manual_seed(0)
    model = network_of(recipe, dataset).double()
    before = nn.utils.parameters_to_vector(model.parameters()).detach().clone()
    split, code, alone = split_of(recipe, dataset), input_code(recipe, dataset), Processes()
    job = epochs.Job(recipe, model, rule_of(recipe), split, code, alone)
    next(epochs.train_epoch(job, Updater(model, recipe.training, alone), 1, PartialEpoch()))
    return (nn.utils.parameters_to_vector(model.parameters()).detach() - before).numpy()


def test_clipping_shortens_the_whole_gradient_and_keeps_its_direction() -> None:
    free = first_change(0.0)
    length = float(np.linalg.norm(free))
    clipped = first_change(length / 4)
    np.testing.assert_allclose(clipped, free / 4, rtol=1e-4, atol=1e-9)
    np.testing.assert_array_equal(first_change(2 * length), free)


def test_clipping_keeps_a_training_that_would_diverge(tmp_path: Path) -> None:
    training = {**SGD, "learning_rate": 1e4, "epochs": 1}
    with pytest.raises(DivergedError):
        train(make_recipe(training=training), tmp_path / "a", progress=False)
    train(make_recipe(training={**training, "clip_norm": 1e-4}), tmp_path / "b", progress=False)
    row = json.loads((tmp_path / "b/metrics.jsonl").read_text())
    assert row["train_loss"] < 5


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("neuron.v_threshold=1e300", r"v_threshold must be from 1e-15 to 1e\+15, found 1e\+300"),
        ("neuron.v_threshold=1e-300", r"v_threshold must be from 1e-15 to 1e\+15, found 1e-300"),
        ("training.weight_decay=1e39", r"weight_decay must be 1e\+30 or less, found 1e\+39"),
    ],
)
def test_what_no_float_of_the_training_holds_is_refused(key: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_recipe("digits_mlp", [key])


def test_a_negative_length_is_refused() -> None:
    with pytest.raises(ValueError, match="clip_norm must not be negative"):
        make_recipe(training={"clip_norm": -1.0})


@pytest.mark.parametrize("given", [[1.0, 2.0], [1.0] * 11])
def test_class_weights_for_other_classes_are_refused_before_a_folder_is_made(
    tmp_path: Path, given: list[float]
) -> None:
    recipe = make_recipe(training={"class_weights": tuple(given)})
    with pytest.raises(InputError, match=f"class_weights has {len(given)} numbers for 10 classes"):
        train(recipe, tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()
