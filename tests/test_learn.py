"""``neurodeploy learn``: a new deployment beside the old one, or nothing at all."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from neurodeploy.artifacts.deployment import read_deployment
from neurodeploy.data import load_dataset
from neurodeploy.errors import InputError
from neurodeploy.onchip.drifts import rotated
from neurodeploy.onchip.event_reference import EventReference
from neurodeploy.onchip.learner import StreamChunk, Trajectory
from neurodeploy.onchip.tasks import ROTATION, make_task
from neurodeploy.recipe import load_recipe
from neurodeploy.training.assembly import split_of
from neurodeploy.workflow.learning.data import thinned
from neurodeploy.workflow.learning.learn import recovered
from neurodeploy.workflow.learning.tags import first_tags
from support.command import run_cli, run_json
from support.command_processes import members, running, wait_until_lava_runs
from support.patience import patience
from support.quick import quick

OLD = "deployments/digits_conv-loihi2-001"


def fingerprint(folder: Path) -> dict[str, str]:
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def learn(workspace: Path, tmp_path: Path, *options: str) -> dict:
    out = str(tmp_path / "learnt")
    given = ("--held-out", "60", "--no-ceiling", "--out", out, *options)
    return run_json("learn", OLD, *given, folder=workspace)


def test_learning_writes_a_new_deployment_and_leaves_the_old(
    workspace: Path, tmp_path: Path
) -> None:
    before = fingerprint(workspace / OLD)
    found = learn(
        workspace, tmp_path, "--engine", "reference", "--task", "drift", "--samples", "30"
    )
    assert fingerprint(workspace / OLD) == before
    assert {"accuracy_before", "accuracy_after", "updates", "mismatches"} <= found.keys()
    assert found["updates"] == 30 and found["mismatches"] is None
    assert found["measure"] == "rotated" and found["samples"] == 30
    old, new = (read_deployment(Path(workspace, p)) for p in (OLD, found["deployment"]))
    for ours, theirs in zip(new.network.projections, old.network.projections, strict=True):
        assert ours.weight_format == theirs.weight_format
        assert (ours.operator.weights % ours.weight_format.step == 0).all()
    before, after = (d.network.projections[-1].operator.weights for d in (old, new))
    assert not np.array_equal(before, after)
    assert found["kept_after"] > 0
    assert f"learnt from {found['kept_after']} samples by sltt" in new.network.notes["learning"]
    kept = json.loads((new.path / "learning.json").read_text())
    assert kept["accuracy_after"] == found["accuracy_after"]
    assert [point["samples"] for point in kept["curve"]["points"]] == [0, 10, 20, 30]
    assert (new.path / "learning_curve.png").read_bytes().startswith(b"\x89PNG")
    report = (new.path / "report.html").read_text()
    assert "What was learnt after deployment" in report and "30 training samples" in report
    # Learning goes on from the tags that it left, and began with what rounding had left.
    tags = [first_tags(deployment) for deployment in (old, new)]
    for projection in old.network.projections:
        before, after = (found[projection.name] for found in tags)
        assert before.any() and not np.array_equal(before, after)
    # What was measured is what the new deployment does.
    upright = learn(
        workspace, tmp_path / "all", "--engine", "reference", "--task", "drift", "--samples", "30",
        "--held-out", "360",
    )  # fmt: skip
    again = run_json("simulate", upright["deployment"], "--engine", "reference", folder=workspace)
    assert upright["accuracies_after"]["upright"] == again["accuracy"]


def test_going_on_keeps_the_weights_that_did_best_on_samples_set_aside(
    workspace: Path, tmp_path: Path
) -> None:
    options = ("--engine", "reference", "--task", "continue", "--held-out", "360")
    found = learn(workspace, tmp_path / "a", *options, "--samples", "200", "--rate", "2^-8")
    new = read_deployment(tmp_path / "a" / "learnt")
    points = json.loads((new.path / "learning.json").read_text())["curve"]["points"]
    aside = [point["accuracies"]["set aside"] for point in points]
    best = points[aside.index(max(aside))]
    assert found["kept_after"] == best["samples"] > 0
    assert found["accuracies_after"] == best["accuracies"]
    again = run_json("simulate", str(new.path), "--engine", "reference", folder=workspace)
    assert again["accuracy"] == best["accuracies"]["test"]
    assert f"those after {best['samples']} samples" in (new.path / "report.html").read_text()


@pytest.mark.parametrize("task", quick(["continue", "drift", "new-class"], "new-class"))
def test_weights_that_learning_spoils_are_not_kept(
    workspace: Path, tmp_path: Path, task: str
) -> None:
    options = ("--engine", "reference", "--samples", "30", "--rate", "2^3", "--task", task)
    found = learn(workspace, tmp_path, *options)
    assert found["kept_after"] == 0 and found["accuracies_after"] == found["accuracies_before"]
    assert found["judge_before"] == found["accuracies_before"]["set aside"]
    assert found["judge_learnt"] <= found["judge_before"]
    old, new = (read_deployment(Path(workspace, p)) for p in (OLD, found["deployment"]))
    for ours, theirs in zip(new.network.projections, old.network.projections, strict=True):
        assert np.array_equal(ours.operator.weights, theirs.operator.weights)
    assert "not improved by learning from 30 samples" in new.network.notes["learning"]
    before, learnt = f"{found['judge_before']:.2%}", f"{found['judge_learnt']:.2%}"
    report = (new.path / "report.html").read_text()
    assert f"the old ones; none were better on the samples set aside: {before} before" in report
    out = ("--held-out", "60", "--no-ceiling", "--out", str(tmp_path / "again"))
    said = run_cli("learn", OLD, *options, *out, folder=workspace).stdout
    assert f"Kept the old weights: accuracy {before} on the samples set aside, the learnt" in said
    assert f"ones at best {learnt}" in said
    before, after = first_tags(old), first_tags(new)
    assert before.keys() == after.keys()
    assert all(np.array_equal(after[name], tags) for name, tags in before.items())


def test_the_ceiling_learns_from_the_same_samples(workspace: Path, tmp_path: Path) -> None:
    found = learn(
        workspace, tmp_path, "--engine", "reference", "--task", "drift", "--samples", "60",
        "--ceiling", "--update", "step", "--held-out", "360",
    )  # fmt: skip
    assert found["updates"] == 240
    gained = found["accuracy_after"] - found["accuracy_before"]
    assert gained > 0.05
    assert found["accuracy_ceiling"] == pytest.approx(found["accuracy_after"], abs=0.06)


@pytest.mark.lava
@pytest.mark.parametrize("engine", quick(["lava", "lava-fused"], "lava-fused"))
def test_learning_in_lava_matches_the_reference(
    workspace: Path, tmp_path: Path, engine: str
) -> None:
    options = ("--task", "new-class", "--samples", "10", "--seed", "4")
    found = learn(workspace, tmp_path / "a", "--engine", engine, *options)
    assert (found["mismatches"], found["updates"]) == (0, 10)
    assert set(found["accuracies_after"]) == {"all", "new", "old", "set aside"}
    expected = learn(workspace, tmp_path / "b", "--engine", "reference", *options)
    assert found["accuracies_after"] == expected["accuracies_after"]
    a, b = (read_deployment(tmp_path / which / "learnt").network for which in "ab")
    for ours, theirs in zip(a.projections, b.projections, strict=True):
        assert np.array_equal(ours.operator.weights, theirs.operator.weights)


@pytest.mark.lava
def test_delta_changes_the_output_layer_alone(workspace: Path, tmp_path: Path) -> None:
    found = learn(
        workspace, tmp_path, "--rule", "delta", "--samples", "20", "--update", "step",
        "--task", "drift",
    )  # fmt: skip
    assert (found["mismatches"], found["updates"]) == (0, 80)
    assert found["kept_after"] > 0
    old, new = (read_deployment(Path(workspace, p)).network for p in (OLD, found["deployment"]))
    same = [
        np.array_equal(ours.operator.weights, theirs.operator.weights)
        for ours, theirs in zip(new.projections, old.projections, strict=True)
    ]
    assert same == [True, True, False]


@pytest.mark.lava
def test_weights_that_differ_are_counted_and_nothing_is_written(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check is real: one synapse of the reference off by one, after one of the updates."""

    class Faulty(EventReference):
        def learn(self, chunk: StreamChunk) -> Trajectory:
            found = super().learn(chunk)
            states = found.states
            next(iter(states.values()))[1, 0, 5] += 1
            return Trajectory(states, found.scores)

    monkeypatch.setattr("neurodeploy.onchip.event_reference.EventReference", Faulty)
    out = tmp_path / "learnt"
    options = ("--samples", "4", "--held-out", "10", "--no-ceiling", "--engine", "lava-fused")
    result = run_cli("learn", OLD, *options, "--out", str(out), folder=workspace)
    assert result.exit_code == 1 and not out.exists()
    assert "MISMATCH: 1 weights differ from the reference's over 4 updates" in result.stdout


@pytest.mark.lava
def test_ctrl_c_leaves_the_old_deployment_and_nothing_else(workspace: Path, tmp_path: Path) -> None:
    before = fingerprint(workspace / OLD)
    out = tmp_path / "out" / "learnt"
    command = ("learn", OLD, "--samples", "100000", "--out", str(out), "--held-out", "20")
    with running(workspace, tmp_path, *command, "--no-ceiling") as process:
        wait_until_lava_runs(process)
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=30 * patience())
        assert process.returncode == 130 and "Traceback" not in errors
        deadline = time.monotonic() + 10 * patience()
        while members(process.pid) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert members(process.pid) == []
    assert fingerprint(workspace / OLD) == before
    assert not out.exists() and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--rate", "0.3"), "must be a power of two"),
        (("--rate", "quick"), "expected a power of two"),
        (("--rate", "0"), "must be a power of two such as 2^-6, found 0"),
        (("--rate", "-0.5"), "must be a power of two such as 2^-6, found -0.5"),
        (("--rate", "nan"), "must be a power of two such as 2^-6, found nan"),
        (("--rate", "inf"), "must be a power of two such as 2^-6, found inf"),
        (("--rate", "3e38"), "must be a power of two such as 2^-6, found 3e+38"),
        (("--rate", "2^127"), "must be from 2^-24 to 2^4, found 2^127"),
        (("--rate", "2^99999"), "expected a power of two"),
        (("--engine", "float"), "engine 'float' cannot learn"),
        (("--engine", "lava-fused", "--rule", "delta"), "no fused form; use --engine lava"),
        (("--rule", "delta", "--feedback", "random"), "feedback is for rule sltt"),
        (("--rule", "local", "--feedback", "random"), "rule local carries no error back"),
        (("--rule", "delta", "--rate", "2^-20", "--engine", "reference"), "use 2^"),
        (("--degrees", "40"), "is for --task drift, not for continue"),
        (("--task", "drift", "--degrees", "0"), "an angle from -180 to 180, but not 0"),
        (("--task", "drift", "--degrees", "nan"), "'nan' is not a number"),
        (("--samples", "0"), "--samples 0: needs at least 1"),
        (("--held-out", "0"), "--held-out 0: needs at least 1"),
        (("--timeout", "-1"), "not in the range x>0"),
        (("--seed", "-1"), "seed must be from 0"),
        (("--data", "nowhere"), "takes no --data"),
    ],
)
def test_bad_options_say_what_is_wrong(
    workspace: Path, tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    out = tmp_path / "learnt"
    result = run_cli("learn", OLD, "--out", str(out), *options, folder=workspace)
    assert result.exit_code == 2
    assert message in result.stderr.replace("\n", " ") and not out.exists()


def test_an_existing_folder_is_refused_before_any_work(workspace: Path, tmp_path: Path) -> None:
    (tmp_path / "learnt").mkdir()
    (tmp_path / "learnt" / "mine").write_text("mine")
    result = run_cli("learn", OLD, "--out", str(tmp_path / "learnt"), folder=workspace)
    assert result.exit_code == 2 and "already exists" in result.stderr


def test_streams_are_what_they_say() -> None:
    digits = load_dataset("digits")
    again, other = (make_task("drift", digits, 50, seed) for seed in (0, 1))
    drift = make_task("drift", digits, 50, 0)
    assert np.array_equal(drift.x[:], again.x[:]) and not np.array_equal(drift.x[:], other.x[:])
    assert drift.x.shape == (50, 1, 8, 8) and drift.x[:].max() <= 16
    assert drift.measure == "rotated" and drift.baseline == "upright"
    steeper = make_task("drift", digits, 50, 0, degrees=40.0)
    assert "rotated by 40 degrees" in steeper.description
    np.testing.assert_array_equal(steeper.y, drift.y)
    assert not np.array_equal(steeper.x[:], drift.x[:])
    new = make_task("new-class", digits, None, 0)
    assert len(new.y) == 200 and (new.y == 9).sum() == 20
    assert np.flatnonzero(new.y == 9).tolist() == list(range(0, 200, 10))
    sets = new.held_out
    assert set(np.unique(sets["new"].y)) == {9} and 9 not in sets["old"].y
    third = make_task("new-class", digits, 40, 0, unseen=(3, 4))
    assert set(third.y[::10]) <= {3, 4} and not set(third.held_out["old"].y) & {3, 4}
    assert "classes 3, 4 of digits" in third.description
    whole = make_task("continue", digits, None, 0)
    aside = whole.held_out["set aside"]
    assert len(aside.y) == len(digits.y_train) // 5
    seen = np.concatenate([whole.x[:], aside.x[:]]).reshape(len(digits.y_train), -1)
    every = digits.x_train[:].reshape(seen.shape)
    ours, theirs = (x[np.lexsort(x.T)] for x in (seen, every))
    assert np.array_equal(ours, theirs), "each sample once"
    for task in (drift, new):
        aside = task.held_out["set aside"]
        turned = {image.tobytes() for image in aside.x[:]}
        assert len(turned) > 280 and not turned & {image.tobytes() for image in task.x}
    assert 20 < (new.held_out["set aside"].y == 9).sum() < 40, "its part of a fifth"
    part = thinned(whole, 100).held_out["test"]
    assert len(part.y) == 100
    with pytest.raises(InputError, match="needs at least 1"):
        make_task("continue", digits, 0, 0)


@pytest.mark.parametrize(
    ("changes", "unseen", "message"),
    [
        ({"y_train": (9, 8)}, (), "has no training sample of class 9, and needs 2 or more"),
        ({"y_test": (9, 8)}, (), "has no test sample of class 9, and needs 1 or more"),
        ({}, tuple(range(10)), "has no training sample beside classes 0, 1, 2"),
    ],
)
def test_a_new_class_needs_samples(
    changes: dict[str, tuple[int, int]], unseen: tuple[int, ...], message: str
) -> None:
    """Of it and of others; ``changes`` gives samples of one class to another."""
    digits = load_dataset("digits")
    labels = {
        name: np.where(getattr(digits, name) == old, new, getattr(digits, name))
        for name, (old, new) in changes.items()
    }
    with pytest.raises(InputError, match=message):
        make_task("new-class", replace(digits, **labels), None, 0, unseen)


def test_one_sample_of_a_new_class_cannot_judge_what_it_taught() -> None:
    digits = load_dataset("digits")
    nines = np.flatnonzero(digits.y_train == 9)
    labels = digits.y_train.copy()
    labels[nines[1:]] = 8
    with pytest.raises(InputError, match="has 1 training sample of class 9, and needs 2 or more"):
        make_task("new-class", replace(digits, y_train=labels), None, 0)
    labels[nines[1]] = 9
    task = make_task("new-class", replace(digits, y_train=labels), 40, 0)
    assert (task.held_out["set aside"].y == 9).sum() == 1 and (task.y == 9).sum() == 4


def test_rotation_is_about_the_centre_and_keeps_integers() -> None:
    image = np.zeros((1, 1, 5, 5), np.uint8)
    image[0, 0, 2, 2], image[0, 0, 2, 4] = 16, 8
    quarter = rotated(image, 90, 16)
    assert quarter.dtype == np.uint8
    assert quarter[0, 0, 2, 2] == 16 and quarter[0, 0, 0, 2] == 8
    assert 0 < rotated(image, ROTATION, 16)[0, 0, 2, 2] <= 16


def test_recovered_is_a_share_of_what_was_lost() -> None:
    assert recovered(0.6, 0.9, 1.0) == pytest.approx(0.75)
    assert recovered(0.9, 0.95, 0.9) is None and recovered(0.9, 0.95, None) is None


def test_an_excluded_class_is_seen_neither_in_training_nor_in_validation() -> None:
    digits = load_dataset("digits")
    recipe = load_recipe("digits_conv", ["data.exclude=[9,3]"])
    split = split_of(recipe, digits)
    for labels in (split.y_train, split.y_validation):
        assert set(np.unique(labels)) == {0, 1, 2, 4, 5, 6, 7, 8}
    assert digits.classes == 10, "the network keeps an output for them"
    with pytest.raises(InputError, match="exclude = \\[10\\]"):
        split_of(load_recipe("digits_conv", ["data.exclude=[10]"]), digits)


@pytest.mark.lava
@pytest.mark.slow
def test_digits_learn_what_they_should(tmp_path: Path) -> None:
    """Fifty epochs of digits_conv, with and without class 9, then every task in Lava."""

    def deployed(name: str, bits: int, *overrides: str) -> str:
        if not (tmp_path / name).is_dir():
            options = [text for key in overrides for text in ("--set", key)]
            run_json("train", "digits_conv", *options, "--out", name, folder=tmp_path)
        out = f"{name}-{bits}"
        options = ("--target", "loihi2", "--weight-bits", str(bits), "--out", out)
        run_json("export", name, *options, folder=tmp_path)
        return out

    def learnt(source: str, *options: str) -> dict:
        given = ("--engine", "lava-fused", "--no-ceiling", *options)
        found = run_json("learn", source, *given, folder=tmp_path)
        assert found["mismatches"] == 0
        return found

    drift = learnt(deployed("all", 8), "--task", "drift")
    assert drift["samples"] == 500 and drift["recovered"] >= 0.7
    assert drift["accuracies_before"]["upright"] - drift["accuracy_before"] >= 0.1
    new = learnt(deployed("without", 8, "data.exclude=[9]"), "--task", "new-class")
    assert new["accuracies_before"]["new"] == 0 and new["accuracies_after"]["new"] >= 0.85
    assert new["accuracies_before"]["old"] - new["accuracies_after"]["old"] <= 0.03
    going_on = learnt(deployed("all", 4), "--task", "continue")
    # One image of 360: what nothing has taught may go either way.
    assert going_on["accuracy_after"] >= going_on["accuracy_before"] - 1 / 359
