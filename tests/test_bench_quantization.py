"""Accuracy against weight bits: each figure is that of the integers a user would deploy."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from neurodeploy.bench.quantization import (
    QuantizationRow,
    bench_quantization,
    modes_named,
    widths_named,
)
from neurodeploy.errors import InputError, SimulationError
from neurodeploy.recipe import load_recipe
from support.command import run_cli, run_json
from support.quick import quick
from support.wording import refused


@pytest.mark.pictures
@pytest.mark.parametrize("bits", quick(["2", "2,1"], "2"))
def test_every_width_in_every_mode(workspace: Path, tmp_path: Path, bits: str) -> None:
    run = workspace / "runs/digits_conv-001"
    options = ("--run", str(run), "--bits", bits, "--epochs", "1", "--out", "curve.png")
    found = run_json("bench", "quantization", *options, folder=tmp_path)
    rows = found["rows"]
    assert [(row["bits"], row["mode"]) for row in rows] == [
        (int(width), mode) for width in bits.split(",") for mode in ("post-training", "aware")
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


def test_kept_runs_are_taken_again_or_gone_on_with(workspace: Path, tmp_path: Path) -> None:
    run = workspace / "runs/digits_conv-001"

    def rows(*, bits: int = 3, epochs: int = 2) -> list[QuantizationRow]:
        keep = tmp_path / "kept"
        return [*bench_quantization(run, [bits], ["aware"], epochs=epochs, keep=keep)]

    first, kept = rows(), tmp_path / "kept/aware-3"
    before = (kept / "best.safetensors").stat().st_mtime_ns
    assert rows() == first
    assert (kept / "best.safetensors").stat().st_mtime_ns == before, "not trained again"
    # As a run looks that was interrupted behind its last epoch.
    (kept / "run.json").unlink()
    assert rows() == first
    with pytest.raises(InputError, match="another recipe, of other data or with other options"):
        rows(epochs=1)


@pytest.mark.slow
def test_widths_are_the_same_on_workers(workspace: Path) -> None:
    pytest.importorskip("distributed")
    run = workspace / "runs/digits_conv-001"
    alone = [*bench_quantization(run, [4, 3], epochs=1)]
    assert [*bench_quantization(run, [4, 3], epochs=1, workers=2)] == alone


def test_an_interruption_says_how_to_go_on(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from neurodeploy.training import loop

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "save_state", interrupted)
    run = workspace / "runs/digits_conv-001"
    with refused(SimulationError, "with --keep FOLDER the runs stay", by="bench quantization"):
        list(bench_quantization(run, [3], ["aware"], epochs=1))
    with refused(SimulationError, r"--resume .*kept/aware-3", by="bench quantization"):
        list(bench_quantization(run, [3], ["aware"], epochs=1, keep=tmp_path / "kept"))


def test_data_of_a_run_that_moved_can_be_named(tmp_path: Path) -> None:
    """The network's own file never says in which folder its data lay."""
    rng = np.random.default_rng(0)
    arrays = {}
    for part, count in (("train", 40), ("test", 20)):
        arrays[f"x_{part}"] = rng.integers(0, 256, (count, 8, 8)).astype(np.uint8)
        arrays[f"y_{part}"] = rng.integers(0, 3, count)
    images, moved = tmp_path / "images.npz", tmp_path / "elsewhere.npz"
    np.savez(images, **arrays)
    small = ("--set", "training.epochs=1", "--set", "data.validation=0.2")
    options = ("mnist_conv", "--data", str(images), *small, "--out", "run")
    run_json("train", *options, folder=tmp_path)
    bench = ("bench", "quantization", "--run", "run", "--bits", "4")
    (row,) = run_json(*bench, "--modes", "post-training", folder=tmp_path)["rows"]
    images.rename(moved)
    refused = run_cli(*bench, folder=tmp_path)
    assert refused.exit_code == 2 and "the file of data set 'npz' does not exist" in refused.output
    again = run_json(*bench, "--data", str(moved), "--epochs", "1", folder=tmp_path)["rows"]
    assert again[0] == row and again[1]["mode"] == "aware"


def test_wrong_options_are_refused(tmp_path: Path) -> None:
    assert widths_named("8,4,4") == [8, 4]
    assert modes_named("aware,post-training") == ["post-training", "aware"]
    for options, message in (
        (("--bits", "8,x"), "--bits 8,x: expected whole numbers"),
        (("--bits", "9"), "--bits: 9 is not from 1 to 8, as loihi2 has"),
        (("--modes", "aware,none"), "--modes: 'none' is not one of post-training, aware"),
        (("--recipe", "digits"), "recipe 'digits' is not built in"),
        (("--recipe", "digits_conv", "--run", "r"), "give either --recipe or --run, not both"),
        (("--epochs", "-1"), "'--epochs': -1 is not in the range 1<=x"),
        (("--target", "loihi9"), "target 'loihi9' is not built in"),
        (("--out", "none/p.png"), "none/p.png: cannot be written: none is not a folder"),
    ):
        result = run_cli("bench", "quantization", *options, folder=tmp_path)
        assert result.exit_code == 2 and message in result.output
    assert not [*tmp_path.iterdir()]
    with pytest.raises(InputError, match="none"):
        next(bench_quantization(tmp_path / "none", [8]))
