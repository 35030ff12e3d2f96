"""Training in other number formats: near float32 where low, exact where high, never silent."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
import safetensors.numpy
import torch

from neurodeploy.data import load_dataset
from neurodeploy.errors import SimulationError
from neurodeploy.nn.device import parameter_dtype
from neurodeploy.nn.families import SpikingNetwork
from neurodeploy.recipe import Precision, Recipe
from neurodeploy.rules import RULES
from neurodeploy.support.processes import Processes
from neurodeploy.training import resume_run, train
from neurodeploy.training.assembly import input_code, network_of, rule_of, split_of
from neurodeploy.training.checkpoint import TrainingState
from neurodeploy.training.epoch import Job, train_epoch
from neurodeploy.training.loop import Recorder
from neurodeploy.training.metrics import PartialEpoch
from neurodeploy.training.optimization import LEAST_SCALE, Updater
from support.command import run_json
from support.small_runs import assert_same_run, make_recipe
from support.wording import refused

CPU = torch.device("cpu")
LOW: list[Precision] = ["bf16", "fp16"]


def recipe_in(precision: Precision, **training: Any) -> Recipe:
    return make_recipe(training={"warmup_epochs": 0, "precision": precision, **training})


def first_update(precision: Precision, rule: str) -> dict[str, np.ndarray]:
    """How the first update of plain gradient descent changes each parameter."""
    recipe = make_recipe(
        rule={"name": rule},
        training={"precision": precision, "optimizer": "sgd", "momentum": 0.0, "learning_rate": 1},
    )
    dataset = load_dataset("digits")
    torch.manual_seed(0)
    model = network_of(recipe, dataset).to(CPU, parameter_dtype(precision))
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    split, code = split_of(recipe, dataset), input_code(recipe, dataset)
    job = Job(recipe, model, rule_of(recipe), split, code, Processes())
    next(train_epoch(job, Updater(model, recipe.training, Processes()), 1, PartialEpoch()))
    return {n: (p.detach() - before[n]).double().numpy() for n, p in model.named_parameters()}


@pytest.mark.parametrize("precision", LOW)
@pytest.mark.parametrize("rule", [name for name in RULES if name != "eprop"])  # no convolutions
def test_every_rule_updates_in_low_precision_nearly_as_in_float64(
    rule: str, precision: Precision
) -> None:
    expected, found = first_update("fp64", rule), first_update(precision, rule)
    for name, update in expected.items():
        norms = np.linalg.norm(update), np.linalg.norm(found[name])
        assert norms[1] == pytest.approx(norms[0], rel=0.2), name
        # Single spikes differ, so directions are near and no more.
        assert (update * found[name]).sum() / np.prod(norms) > 0.95, name


@pytest.mark.parametrize("precision", LOW)
def test_low_precision_learns_and_leaves_float32(precision: Precision, tmp_path: Path) -> None:
    result = train(recipe_in(precision, epochs=3), tmp_path / "run", progress=False)
    assert result.test_accuracy > 0.8
    for name in ("last", "best"):
        weights = safetensors.numpy.load_file(tmp_path / "run" / f"{name}.safetensors")
        floats = {w.dtype for key, w in weights.items() if "layers" in key and w.dtype.kind == "f"}
        assert floats == {np.dtype(np.float32)}
    assert "readout" in nir.read(tmp_path / "run" / "network.nir").nodes


def test_float64_is_float64_from_the_input_to_the_checkpoint(tmp_path: Path) -> None:
    train(recipe_in("fp64", epochs=1), tmp_path / "run", progress=False)
    best = safetensors.numpy.load_file(tmp_path / "run" / "best.safetensors")
    assert {w.dtype for w in best.values() if w.dtype.kind == "f"} == {np.dtype(np.float64)}


def test_fp16_with_its_scale_of_the_loss_resumes_exactly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So large at first that updates overflow: what is resumed is not the first scale.
    start = partial(torch.amp.GradScaler, init_scale=2.0**24)
    monkeypatch.setattr("torch.amp.GradScaler", start)
    train(recipe_in("fp16", epochs=2), tmp_path / "whole", progress=False)
    end_epoch = Recorder.end_epoch

    def interrupt(recorder: Recorder, state: TrainingState) -> None:
        end_epoch(recorder, state)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, refused(SimulationError, "--resume", by="train"):
        patch.setattr(Recorder, "end_epoch", interrupt)
        train(recipe_in("fp16", epochs=2), tmp_path / "run", progress=False)
    last = safetensors.numpy.load_file(tmp_path / "run" / "last.safetensors")
    assert LEAST_SCALE < last["optimizer.scaler.scale"] < 2.0**24
    resume_run(tmp_path / "run", progress=False)
    assert_same_run(tmp_path / "whole", tmp_path / "run")


class TestScaleOfTheLoss:
    """What happens to gradients that do not fit into fp16."""

    def updater(self) -> tuple[SpikingNetwork, Updater]:
        recipe = recipe_in("fp16")
        model = network_of(recipe, load_dataset("digits"))
        return model, Updater(model, recipe.training, Processes())

    def fill(self, model: SpikingNetwork, value: float) -> None:
        for parameter in model.parameters():
            parameter.grad = torch.full_like(parameter, value)

    def test_an_overflow_skips_the_update_and_halves_the_scale(self) -> None:
        model, update = self.updater()
        before, scale = [p.detach().clone() for p in model.parameters()], update.scale
        assert scale == 2.0**16
        self.fill(model, float("inf"))
        update()
        assert update.scale == scale / 2
        assert all(torch.equal(p, b) for p, b in zip(model.parameters(), before, strict=True))
        self.fill(model, 1.0)
        update()
        assert update.scale == scale / 2
        assert not any(torch.equal(p, b) for p, b in zip(model.parameters(), before, strict=True))

    def test_the_scale_is_in_the_state(self) -> None:
        model, update = self.updater()
        self.fill(model, float("nan"))
        update()
        other = self.updater()[1]
        other.restore(update.state())
        assert other.scale == update.scale == 2.0**15

    def test_gradients_that_no_scale_fits_end_the_training(self) -> None:
        model, update = self.updater()
        with pytest.raises(SimulationError, match=r"too large for fp16.*precision=bf16"):
            for _ in range(30):
                self.fill(model, float("inf"))
                update()


@pytest.mark.parametrize("precision", LOW)
def test_diverging_training_stops_with_advice(precision: Precision, tmp_path: Path) -> None:
    recipe = recipe_in(precision, learning_rate=1e30, optimizer="sgd", mse_weight=1.0)
    with pytest.raises(SimulationError, match=r"loss became (nan|inf) in training.*learning_rate"):
        train(recipe, tmp_path / "run", progress=False)
    assert not (tmp_path / "run" / "run.json").exists()


def test_the_precision_is_an_option_of_the_command(tmp_path: Path) -> None:
    arguments = ["train", "digits_mlp", "--set", "training.epochs=1", "--precision", "bf16"]
    run = tmp_path / run_json(*arguments, folder=tmp_path)["run"]
    assert json.loads((run / "recipe.json").read_text())["training"]["precision"] == "bf16"
