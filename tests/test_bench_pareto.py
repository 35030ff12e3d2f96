"""Accuracy against energy over one key: each point is a run, a deployment and a simulation."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from neurodeploy.bench.pareto import ParetoRow, knob_of, with_best
from neurodeploy.bench.pictures import pareto_picture
from neurodeploy.errors import InputError
from support.command import run_cli, run_json

pytestmark = pytest.mark.pictures

KEY = "regularisers.synaptic_operations.weight"
QUICK = ("--set", "training.epochs=2", "--set", "training.threads=1")


def row(accuracy: float, ops: float) -> ParetoRow:
    return ParetoRow("k", "1", accuracy, 0.9, 1.0, 2.0, ops, 10, 0.0, 4, 3.0, 1.0)


@pytest.mark.slow
def test_each_point_is_trained_deployed_and_simulated(tmp_path: Path) -> None:
    options = ("--set", f"{KEY}=0,20", *QUICK, "--keep", "kept", "--out", "p.png")
    found = run_json("bench", "pareto", *options, folder=tmp_path)
    assert found["picture"] == "p.png"
    for name in ("p.png", "p.svg"):
        assert (tmp_path / name).stat().st_size > 5000
    rows = found["rows"]
    assert [(r["key"], r["value"]) for r in rows] == [(KEY, "0"), (KEY, "20")]
    assert rows[1]["synaptic_ops"] < rows[0]["synaptic_ops"]
    assert rows[1]["energy_low_nj"] < rows[1]["energy_high_nj"] < rows[0]["energy_high_nj"]
    # The same as by hand.
    again = ("--set", f"{KEY}=20", *QUICK, "--out", "run")
    trained = run_json("train", "digits_conv", *again, folder=tmp_path)
    assert rows[1]["trained_accuracy"] == trained["test_accuracy"]
    exported = run_cli("export", "run", "--target", "loihi2", "--out", "d", folder=tmp_path)
    assert exported.exit_code == 0
    simulated = run_json("simulate", "d", "--engine", "reference", folder=tmp_path)
    assert rows[1]["accuracy"] == simulated["accuracy"]
    assert rows[1]["synaptic_ops"] == simulated["estimate"]["synaptic_ops"]
    assert rows[1]["energy_low_nj"] == simulated["estimate"]["energy_nj"]["low"]
    assert rows[1]["ann_nj"] == simulated["estimate"]["ann_nj"]
    mapping = json.loads((tmp_path / "d/mapping.json").read_text())
    assert rows[1]["synapse_words"] == sum(use["synapse_words"] for use in mapping["uses"])
    # Kept runs are not trained again.
    before = (tmp_path / "kept/01/run/best.safetensors").stat().st_mtime_ns
    said = run_cli("bench", "pareto", *options, folder=tmp_path).output
    assert (tmp_path / "kept/01/run/best.safetensors").stat().st_mtime_ns == before
    assert f"{rows[0]['synaptic_ops']:,.0f}" in said
    assert "Wrote p.png" in said
    assert rows[0]["energy_error"] == "within 1.1x on PilotNet LIF"
    assert "Energies against the chip: within 1.1x on PilotNet LIF" in said


@pytest.mark.slow
def test_points_are_the_same_on_workers(tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    options = ("--set", f"{KEY}=0,20", *QUICK, "--out", "p.png")
    alone = run_json("bench", "pareto", *options, folder=tmp_path)
    shared = run_json("bench", "pareto", *options, "--workers", "2", folder=tmp_path)
    assert shared == alone


def test_the_best_are_those_that_none_beats() -> None:
    rows = [row(0.9, 100), row(0.95, 200), row(0.95, 210), row(0.8, 150), row(0.9, 100)]
    assert [r.best for r in with_best(rows)] == [True, True, False, False, True]
    assert with_best(rows)[0] == replace(rows[0], best=True)
    assert asdict(rows[0])["best"] is False


def test_one_key_lists_values() -> None:
    knob, others = knob_of(["training.epochs=2", "prune.share=0.5,0.9", "network.channels=[4,8]"])
    assert (knob.key, knob.values) == ("prune.share", ("0.5", "0.9"))
    assert others == ("training.epochs=2", "network.channels=[4,8]")
    knob, _ = knob_of(["network.channels=[4,8],[8,8]"])
    assert knob.values == ("[4,8]", "[8,8]")
    assert [knob.set_to(value) for value in knob.values] == [
        *("network.channels=[4,8]", "network.channels=[8,8]"),
    ]
    for wrong in (["training.epochs=2"], [], ["a=1,2", "b=3,4"]):
        with pytest.raises(InputError, match="lists the values to compare"):
            knob_of(wrong)


def test_a_wrong_value_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    options = ("--set", "prune.share=0.5,1.5", *QUICK, "--keep", "kept")
    refused = run_cli("bench", "pareto", *options, folder=tmp_path)
    assert refused.exit_code == 2
    assert "share is from 0 to below 1, found 1.5" in refused.output
    assert not (tmp_path / "kept").exists()
    none = run_cli("bench", "pareto", "--set", "prune.share=0.5", folder=tmp_path)
    assert none.exit_code == 2
    assert "one --set KEY=A,B,... lists the values to compare, found none" in none.output


def test_the_picture_has_numbers_along_its_axes(tmp_path: Path) -> None:
    """Within one decade too, where a logarithmic axis would write formulas."""
    rows = with_best([row(0.9, 28_000), row(0.95, 72_000), row(0.95, 290_000)])
    pareto_picture("digits", rows, tmp_path / "p.png")
    drawn = (tmp_path / "p.svg").read_text(encoding="utf-8")
    assert "50,000" in drawn
    assert "mathdefault" not in drawn
