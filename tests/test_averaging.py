"""Means of weights over updates: the recursion in numpy, runs that keep them, and resumption."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import torch
from torch import nn

from neurodeploy.errors import UnsupportedError
from neurodeploy.recipe import PruneRecipe, QuantizeRecipe
from neurodeploy.training import resume_run, train
from neurodeploy.training.averaging import Average
from neurodeploy.training.checkpoint import TrainingState
from neurodeploy.training.loop import Recorder
from support.small_runs import assert_same_run, make_recipe
from support.wording import refused

DECAY = 0.9


def averaging(**changes: Any) -> Any:
    return make_recipe(training={"average": DECAY}, **changes)


def test_it_is_the_recursion_of_the_docstring() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)).double()
    average = Average(module, DECAY)
    names = ["0.weight", "0.bias", "1.weight", "1.bias", "1.running_mean", "1.running_var"]
    expected = {name: module.state_dict()[name].numpy().copy() for name in names}
    for k in range(120):
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.add_(torch.randn_like(parameter))
        module(torch.randn(5, 3, dtype=torch.float64))
        average.update()
        share = min(DECAY, (1 + k) / (10 + k))
        for name in names:
            value = module.state_dict()[name].numpy()
            expected[name] = share * expected[name] + (1 - share) * value
    before = {name: value.clone() for name, value in module.state_dict().items()}
    with average.in_place():
        for name in names:
            np.testing.assert_allclose(module.state_dict()[name].numpy(), expected[name], 1e-12)
            assert not torch.equal(module.state_dict()[name], before[name])
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name]), "the module has its own weights back"


def test_the_average_is_what_a_run_keeps(tmp_path: Path) -> None:
    run, plain = tmp_path / "run", tmp_path / "plain"
    result = train(averaging(), run, progress=False)
    train(make_recipe(), plain, progress=False)
    last = safetensors.numpy.load_file(run / "last.safetensors")
    alone = safetensors.numpy.load_file(plain / "last.safetensors")
    for name in (n for n in alone if n.startswith("model.")):
        np.testing.assert_array_equal(last[name], alone[name], "training itself is the same")
    assert result.best_epoch == result.epochs
    best = safetensors.numpy.load_file(run / "best.safetensors")
    kept = {k.removeprefix("optimizer.average."): v for k, v in last.items() if ".average." in k}
    assert kept.pop("updates") > 0
    for name, value in kept.items():
        np.testing.assert_array_equal(best[name], value)
        assert not np.array_equal(last[f"model.{name}"], value)


def test_an_interruption_leaves_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, run = tmp_path / "whole", tmp_path / "run"
    train(averaging(), whole, progress=False)
    end_epoch = Recorder.end_epoch

    def interrupt(recorder: Recorder, state: TrainingState) -> None:
        end_epoch(recorder, state)
        if len(state.history) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Recorder, "end_epoch", interrupt)
        with pytest.raises(Exception, match="nterrupt"):
            train(averaging(), run, progress=False)
    resume_run(run, progress=False)
    assert_same_run(whole, run)


def test_what_is_pruned_is_zero_in_the_average_too(tmp_path: Path) -> None:
    train(averaging(prune=PruneRecipe(share=0.5)), tmp_path / "run", progress=False)
    best = safetensors.numpy.load_file(tmp_path / "run" / "best.safetensors")
    for value in best.values():
        if value.ndim == 2:
            assert (value == 0).mean() == pytest.approx(0.5, abs=0.01)


def test_integers_are_not_averaged(tmp_path: Path) -> None:
    with refused(UnsupportedError, "average = 0.9: a mean", by="train"):
        train(averaging(quantize=QuantizeRecipe(bits=4)), tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


def test_a_share_of_one_would_never_learn() -> None:
    with pytest.raises(ValueError, match="average must be from 0 to below 1"):
        make_recipe(training={"average": 1.0})
