"""Mistakes that are easily made, and what the message says to do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from neurodeploy.errors import Setting, Text
from neurodeploy.training.checkpoint import find_start
from support.command import run_cli, run_json
from support.wording import said_by

RUN = "runs/digits_conv-001"


def test_floats_are_scaled_when_asked(workspace: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.npz"
    np.savez(own, x=np.full((3, 1, 8, 8), 0.5))
    arguments = ("simulate", "--engine", "reference", "--data", str(own))
    refused = run_cli(*arguments, folder=workspace)
    assert refused.exit_code == 2
    assert "or have those of a file multiplied and rounded with --scale-floats" in refused.stderr
    found = run_json(*arguments, "--scale-floats", folder=workspace)
    assert found["values_per_sample"]["input"] == 8 * 64 * 4
    assert any("rounded to the nearest of 0/16" in said for said in found["warnings"])
    np.savez(own, x=np.full((3, 1, 8, 8), 1.5))
    assert run_cli(*arguments, "--scale-floats", folder=workspace).exit_code == 2


def test_levels_are_explained(tmp_path: Path) -> None:
    parts = {f"x_{part}": np.zeros((9, 4)) + 0.5 for part in ("train", "test")}
    labels = {f"y_{part}": np.arange(9) % 2 for part in ("train", "test")}
    np.savez(tmp_path / "own.npz", **parts, **labels)
    arguments = ("train", "digits_mlp", "--set", "data.name=npz", "--data", "own.npz")
    done = run_cli(*arguments, folder=tmp_path)
    assert done.exit_code == 2
    assert "with --set data.levels=N, for example 255 for images or 1 for spikes" in done.stderr


def test_a_text_file_is_called_one(workspace: Path, tmp_path: Path) -> None:
    own = tmp_path / "notes.txt"
    own.write_text("0.1, 0.2\n0.3, 0.4\n")
    done = run_cli("simulate", "--engine", "reference", "--data", str(own), folder=workspace)
    assert done.exit_code == 2
    assert "notes.txt: not a readable .npz file: it is a text file; np.savez('notes.npz', ...)" in (
        done.stderr
    )


def test_the_weights_of_a_run_stand_for_the_run(workspace: Path) -> None:
    weights = f"{RUN}/best.safetensors"
    done = run_cli("export", weights, "--target", "loihi2", folder=workspace)
    assert done.exit_code == 2
    assert f"is expected; name the run, {RUN}" in done.stderr
    start = find_start(str(workspace / weights), workspace / "runs")
    assert start == find_start(str(workspace / RUN), workspace / "runs")


def test_a_start_that_is_not_there_is_called_by_its_option(tmp_path: Path) -> None:
    done = run_cli("train", "digits_mlp", "--init", "nothing", folder=tmp_path)
    assert done.exit_code == 2
    assert "Error: --init nothing: neither a run folder" in done.stderr
    assert "start_from" not in done.stderr


def test_what_is_for_a_file_names_the_keys_of_a_recipe(tmp_path: Path) -> None:
    arguments = ("train", "digits_mlp", "--encoder", "rate", "--steps", "7")
    done = run_cli(*arguments, folder=tmp_path)
    assert done.exit_code == 2
    assert "For this recipe: --set encoder.name=rate --set training.steps=7" in done.stderr


@pytest.mark.parametrize(
    ("engine", "said"),
    [("float", "--engines float,reference"), ("reference", "--engines reference,float")],
)
def test_a_hint_names_an_option_that_the_command_has(engine: str, said: str) -> None:
    text = Text("use ", Setting("engine", engine))
    assert said_by("validate", text) == f"use {said}"
    assert said_by("simulate", text) == f"use --engine {engine}"


def test_a_class_that_is_known_is_said_before_learning(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("neurodeploy.workflow.learning.learn.KNOWN", -1.0)
    done = run_cli(
        "learn", "deployments/digits_conv-loihi2-001", "--task", "new-class", "--samples", "10",
        "--engine", "reference", "--held-out", "40", "--no-ceiling", "--out", str(tmp_path / "new"),
        folder=workspace,
    )  # fmt: skip
    said = done.stderr.splitlines()
    (warning,) = (
        line for line in said if "of the new class are classified correctly before learning" in line
    )
    assert said.index(warning) < next(i for i, line in enumerate(said) if "Learning from" in line)
