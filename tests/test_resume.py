"""A run killed in the middle of an epoch goes on as if nothing had happened."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from neurodeploy.errors import SimulationError
from neurodeploy.training import epoch, resume_run, train
from neurodeploy.training.checkpoint import load_state
from support.command import run_json
from support.small_runs import make_recipe, metrics_of
from support.wording import refused

# 21 batches an epoch; the spikes of the input are drawn, and batch norm has running statistics.
COMMAND = ["train", "digits_mlp", "--set", "training.epochs=3", "--set", "training.steps=4"]
BATCHES = 21

KILLED = """
import os, signal, sys
import torch
from neurodeploy.cli import main

step, updates = torch.optim.Adam.step, 0

def step_or_die(*arguments):
    global updates
    updates += 1
    if updates == int(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGKILL)
    return step(*arguments)

torch.optim.Adam.step = step_or_die
main(sys.argv[2:])
"""


def assert_same_training(run: Path, other: Path) -> None:
    """Same metrics and weights, bit for bit."""
    assert metrics_of(run) == metrics_of(other)
    for name in ("best.safetensors", "last.safetensors"):
        weights = safetensors.numpy.load_file(run / name)
        others = safetensors.numpy.load_file(other / name)
        assert weights.keys() == others.keys()
        for key, value in weights.items():
            np.testing.assert_array_equal(value, others[key])


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    return folder / run_json(*COMMAND, folder=folder)["run"]


@pytest.mark.parametrize(
    ("minutes", "kept"),
    [
        pytest.param("0", 0, id="to the last epoch", marks=pytest.mark.slow),
        pytest.param("1e-9", 8, id="to the last batch"),
    ],
)
def test_killed_within_an_epoch_and_resumed(
    minutes: str, kept: int, whole: Path, tmp_path: Path
) -> None:
    command = [*COMMAND, "--set", f"training.checkpoint_minutes={minutes}"]
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(BATCHES + 9), *command],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    run = tmp_path / "runs" / "digits_mlp-001"
    state = load_state(run)
    assert state is not None
    assert (len(state.history), state.partial.batches) == (1, kept)
    assert run_json("train", "--resume", str(run), folder=tmp_path)["epochs"] == 3
    assert_same_training(run, whole)


@pytest.mark.parametrize("batch", [0, 1, 10, 11, 33], ids=lambda batch: f"after {batch}")
def test_interrupted_after_any_batch_and_resumed(
    batch: int, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 11 an epoch: also before any, in the first epoch, and between the last and validation."""
    recipe = make_recipe(training={"checkpoint_minutes": 1e-9})
    base = tmp_path_factory.getbasetemp()
    expected, run = base / "uninterrupted", tmp_path_factory.mktemp("interrupted") / "run"
    if not expected.exists():
        train(recipe, expected, progress=False)
    train_batch, calls = epoch._train_batch, 0

    def interrupt(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > batch:
            raise KeyboardInterrupt
        return train_batch(*arguments)

    with monkeypatch.context() as patch, refused(SimulationError, "--resume", by="train"):
        patch.setattr(epoch, "_train_batch", interrupt)
        train(recipe, run, progress=False)
    state = load_state(run)
    if state is None:
        assert batch == 0
    else:
        assert 11 * len(state.history) + state.partial.batches == batch
    resume_run(run, progress=False)
    assert_same_training(run, expected)


def test_no_checkpoint_within_an_epoch_before_its_time(tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(make_recipe(training={"epochs": 1, "warmup_epochs": 0}), run, progress=False)
    state = load_state(run)
    assert state is not None
    assert state.partial.batches == 0
