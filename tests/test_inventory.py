"""Runs and deployments: listed with what is wrong with them, and removed when told to."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from neurodeploy.artifacts.folders import alone
from neurodeploy.support.partial import LEFTOVER
from support.command import run_cli, run_json

RUN, DEPLOYED = "runs/digits_conv-001", "deployments/digits_conv-loihi2-001"


@pytest.fixture
def place(workspace: Path, tmp_path: Path) -> Path:
    """A folder with a whole run, one cut short, a damaged one, and a deployment."""
    for name in (RUN, DEPLOYED):
        shutil.copytree(workspace / name, tmp_path / name)
    cut, bad = tmp_path / "runs/cut", tmp_path / "runs/bad"
    for copy in (cut, bad):
        shutil.copytree(workspace / RUN, copy)
    (cut / "run.json").unlink()
    (bad / "run.json").write_text(
        (bad / "run.json").read_text().replace('"epochs": 1', '"epochs": 2')
    )
    (tmp_path / "runs/notes").mkdir()
    return tmp_path


def test_a_list_has_every_run_with_its_state(place: Path) -> None:
    found = {entry["path"]: entry for entry in run_json("runs", "list", folder=place)["runs"]}
    assert {path: entry["state"] for path, entry in found.items()} == {
        RUN: "complete",
        "runs/cut": "unfinished",
        "runs/bad": "damaged",
    }
    told = json.loads((place / RUN / "run.json").read_text())
    whole = found[RUN]
    assert whole["scores"]["test_accuracy"] == told["test_accuracy"]
    assert (whole["epochs"], whole["recipe"], whole["created"]) == (
        1,
        "digits_conv",
        told["created"],
    )
    size = sum(path.stat().st_size for path in (place / RUN).rglob("*") if path.is_file())
    assert whole["megabytes"] == round(size / 1e6, 2)
    said = run_cli("runs", "list", folder=place).stdout
    assert f"{told['test_accuracy']:.2%}" in said and "changed since the training" in said
    assert run_cli("runs", "list", "nowhere", folder=place).stdout == "no runs in nowhere/\n"


def test_deployments_are_listed_with_what_was_simulated(place: Path) -> None:
    simulated = run_json(
        *("simulate", DEPLOYED, "--engine", "reference", "--samples", "20"), folder=place
    )
    (entry,) = run_json("deployments", "list", folder=place)["deployments"]
    assert entry["accuracy"]["reference"] == simulated["accuracy"]
    assert entry["digest"] == simulated["digest"] and entry["target"] == "loihi2"
    mapping = json.loads((place / DEPLOYED / "mapping.json").read_text())
    assert entry["cores"] == len(mapping["uses"])
    (place / DEPLOYED / "integers.safetensors").write_bytes(b"")
    (entry,) = run_json("deployments", "list", folder=place)["deployments"]
    assert entry["state"] == "damaged" and "integers.safetensors" in entry["reason"]


def test_a_run_is_shown_and_two_are_compared(place: Path) -> None:
    options = ("--set", "training.epochs=1", "--set", "training.steps=1", "--seed", "3")
    run_json("train", "digits_conv", *options, "--out", "other", folder=place)
    shown = run_json("runs", "show", "other", folder=place)
    assert shown["recipe"]["training"]["steps"] == 1 and len(shown["history"]) == 1
    said = run_cli("runs", "show", "other", folder=place).stdout
    assert said.index("scores.test_accuracy: ") < said.index("recipe.name: ")
    found = run_json("runs", "compare", RUN, "other", folder=place)
    alone = run_json("compare", RUN, "other", folder=place)
    assert {**found, "command": 0} == {**alone, "command": 0}
    bad = run_cli("runs", "compare", RUN, "runs/bad", folder=place)
    assert bad.exit_code == 2 and "runs/bad" in bad.stderr


def test_nothing_is_removed_unless_told_to(place: Path) -> None:
    asked = run_cli("runs", "remove", "runs/cut", folder=place)
    assert asked.exit_code == 2 and "--yes" in asked.stderr
    wrong = run_cli("runs", "remove", "runs/cut", "runs/notes", "--yes", folder=place)
    assert wrong.exit_code == 2 and "runs/notes: not a run" in wrong.stderr
    (place / "link").symlink_to(place / RUN)
    link = run_cli("runs", "remove", "link", "--yes", folder=place)
    assert link.exit_code == 2 and "a link to" in link.stderr
    with alone(place / "runs/cut"):
        busy = run_cli("runs", "remove", "runs/cut", "--yes", folder=place)
    assert busy.exit_code == 2 and "another process is training" in busy.stderr
    assert (place / "runs/cut").is_dir() and (place / RUN).is_dir()
    gone = run_json("runs", "remove", "runs/cut", "runs/bad", "--yes", folder=place)
    assert gone["removed"] == ["runs/cut", "runs/bad"]
    assert run_json("deployments", "remove", DEPLOYED, "--yes", folder=place)["removed"]
    assert sorted(path.name for path in (place / "runs").iterdir()) == ["digits_conv-001", "notes"]
    assert not any(LEFTOVER.fullmatch(path.name) for path in place.rglob("*"))
