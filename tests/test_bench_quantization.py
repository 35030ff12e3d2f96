"""Accuracy against weight bits: each figure is that of the integers a user would deploy."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import run_cli, run_json

from neurodeploy.bench.quantization import bench_quantization, modes_named, widths_named
from neurodeploy.errors import InputError
from neurodeploy.recipe import load_recipe


def test_every_width_in_every_mode(workspace: Path, tmp_path: Path) -> None:
    run = workspace / "runs/digits_conv-001"
    options = ("--run", str(run), "--bits", "2,1", "--epochs", "1", "--out", "curve.png")
    found = run_json("bench", "quantization", *options, folder=tmp_path)
    rows = found["rows"]
    assert [(row["bits"], row["mode"]) for row in rows] == [
        *((2, "post-training"), (2, "aware"), (1, "post-training"), (1, "aware")),
    ]
    floats = run_json("simulate", "--engine", "float", folder=workspace)["accuracy"]
    assert {row["float_accuracy"] for row in rows} == {floats}
    arguments = ("export", str(run), "--target", "loihi2", "--weight-bits", "2", "--out", "d")
    assert run_cli(*arguments, folder=tmp_path).exit_code == 0
    deployed = run_json("simulate", "d", "--engine", "reference", folder=tmp_path)
    assert rows[0]["accuracy"] == deployed["accuracy"]
    # Further training must not do worse than rounding a network of one epoch.
    assert rows[1]["accuracy"] > rows[0]["accuracy"]
    for name in ("curve.png", "curve.svg"):
        assert (tmp_path / name).stat().st_size > 5000


def test_a_run_on_integers_is_the_one_that_train_would_give(
    workspace: Path, tmp_path: Path
) -> None:
    run = workspace / "runs/digits_conv-001"
    (row,) = bench_quantization(run, [3], ["aware"], epochs=1)
    rate = load_recipe("digits_conv").training.learning_rate
    options = ("quantize.bits=3", "training.epochs=1", f"training.learning_rate={rate * 0.1}")
    sets = [part for option in options for part in ("--set", option)]
    arguments = ("train", "digits_conv", *sets, "--init", str(run), "--out", "r")
    found = run_json(*arguments, "--target", "loihi2", folder=tmp_path)
    assert row.accuracy == found["test_accuracy"]
    assert json.loads((tmp_path / "r/run.json").read_text())["recipe"]["quantize"]["bits"] == 3


def test_wrong_options_are_refused(tmp_path: Path) -> None:
    assert widths_named("8,4,4") == [8, 4]
    assert modes_named("aware,post-training") == ["post-training", "aware"]
    for options, message in (
        (("--bits", "8,x"), "--bits 8,x: expected whole numbers"),
        (("--bits", "9"), "--bits: 9 is not from 1 to 8, as loihi2 has"),
        (("--modes", "aware,none"), "--modes: 'none' is not one of post-training, aware"),
        (("--recipe", "digits"), "recipe 'digits' is not built in"),
    ):
        result = run_cli("bench", "quantization", *options, folder=tmp_path)
        assert result.exit_code == 2 and message in result.output
    assert not [*tmp_path.iterdir()]
    with pytest.raises(InputError, match="none"):
        next(bench_quantization(tmp_path / "none", [8]))
