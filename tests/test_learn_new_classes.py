"""The command: classes one after the other by prototypes, and what it says of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from neurodeploy.artifacts.deployment import read_deployment
from support.command import run_cli, run_json

OLD = "deployments/digits_conv-loihi2-001"
SHORT = ("--held-out", "100", "--engine", "reference", "--no-ceiling")


def test_prototypes_learn_classes_one_after_the_other(workspace: Path, tmp_path: Path) -> None:
    out = tmp_path / "learnt"
    given = ("--task", "new-class", "--rule", "prototypes", "--classes", "8,9", "--samples", "20")
    found = run_json("learn", OLD, *given, *SHORT, "--out", str(out), folder=workspace)
    assert found["rule"] == "prototypes" and found["replay"] == 0
    assert found["samples"] == found["updates"] == found["kept_after"] == 20
    assert found["judge"] is None and found["judge_before"] is None
    assert [stage["met"] for stage in found["retention"]] == [[], [8], [8, 9]]
    last = found["retention"][-1]
    assert last["accuracy"] > 0.8 and last["forgetting"] < 0.1 and last["newest"] > 0.7
    assert set(found["accuracies_after"]) == {"all", "new", "old"}
    learnt = read_deployment(out)
    kept = json.loads((out / "learning.json").read_text())
    assert [point["samples"] for point in kept["curve"]["points"]] == [0, 10, 20]
    old = read_deployment(workspace / OLD).network
    for ours, theirs in zip(learnt.network.projections[:-1], old.projections[:-1], strict=True):
        assert np.array_equal(ours.operator.weights, theirs.operator.weights)
    assert "prototypes, one for each class" in (out / "report.html").read_text()
    again = run_json("simulate", str(out), "--samples", "100", "--engine", "reference",
                     folder=workspace)  # fmt: skip
    assert again["accuracy"] > 0.8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--classes", "8,x"), "expected numbers of classes such as 5,6,7"),
        (("--classes", "8"), "--classes is for --task new-class, not for continue"),
        (("--replay", "2"), "--replay 2 is for --task new-class, not for continue"),
        (("--rule", "prototypes", "--engine", "lava-fused"), "use --engine lava"),
        (("--rule", "prototypes", "--rate", "1"), "prototypes learn at 2^-7 to 2^-1"),
        (("--task", "drift", "--drift", "dead", "--degrees", "5"), "--drift dead turns nothing"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    workspace: Path, options: tuple[str, ...], message: str
) -> None:
    engine = () if "--engine" in options else ("--engine", "reference")
    found = run_cli("learn", OLD, *options, *engine, folder=workspace)
    assert found.exit_code == 2 and message in found.stderr.replace("\n", " ")
