"""Sweeps: every combination once, whatever interrupts them, and searches that go on."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

from neurodeploy.errors import InputError
from neurodeploy.workflow.sweep import grid, point
from neurodeploy.workflow.sweep.keys import Axis, Range, grid_of, keys_of, values_of
from neurodeploy.workflow.sweep.point import SweepRow
from neurodeploy.workflow.sweep.summary import summarized, table
from support.command import run_cli, run_json
from support.command_processes import members, running

SMALL = (
    *("--set", "training.steps=2", "--set", "network.hidden=[8]"),
    *("--set", "training.threads=1", "--set", "training.batch_size=512"),
)
ONE = (*SMALL, "--set", "training.epochs=1")


def test_values_are_parted_at_commas_outside_of_brackets() -> None:
    assert values_of("network.hidden=[24, 32],[64],") == ("[24, 32]", "[64]", "")
    keys, others = keys_of(["neuron.tau=1.5,2,4", "a.b=3", "c=1..8", "d=1e-4..0.1@log"])
    assert others == ["a.b=3"]
    assert keys == [
        Axis("neuron.tau", ("1.5", "2", "4")),
        Range("c", 1, 8, True, False),
        Range("d", 1e-4, 0.1, False, True),
    ]
    assert list(grid_of([Axis("a", ("1", "2")), Axis("b", ("x", "y"))])) == [
        {"a": a, "b": b} for a in "12" for b in "xy"
    ]


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["a=1,2", "a=3"], "set twice"),
        (["a=3", "a=1,2"], "set twice"),
        (["a=8..1"], "the lower number first"),
        (["a=0..1@log"], "above 0"),
    ],
)
def test_keys_that_make_no_sense_are_refused(overrides: list[str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        keys_of(overrides)
    with pytest.raises(InputError, match="range is for a search"):
        list(grid_of(keys_of(["a=1..8"])[0]))


def test_twelve_runs_interrupted_twice_are_twelve_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    right = point.trained

    def counted(recipe, run, progress, **options):
        if len(made) in (5, 9) and not made[-1].startswith("cut"):
            made.append("cut")
            raise KeyboardInterrupt
        made.append(run.name)
        return right(recipe, run, progress, **options)

    monkeypatch.setattr(point, "trained", counted)
    command = ("sweep", "digits_mlp", "--set", "neuron.tau=1.5,2,4", "--set", "seed=0,1")
    command = (*command, "--set", "neuron.v_threshold=1.0,0.5", *ONE, "--out", "s")
    for _ in range(2):
        cut = run_cli(*command, folder=tmp_path)
        assert cut.exit_code == 130 and "the same command continues" in cut.stderr
    found = run_json(*command, folder=tmp_path)
    names = [name for name in made if name != "cut"]
    assert len(names) == len(set(names)) == len(found["rows"]) == 12
    assert len({json.dumps(row["settings"]) for row in found["rows"]}) == 12
    assert {path.stem for path in (tmp_path / "s/results").iterdir()} == set(names)
    assert (tmp_path / found["picture"]).exists()
    again = run_json(*command, folder=tmp_path)
    assert again == found and len([name for name in made if name != "cut"]) == 12


def test_a_sweep_on_workers_finds_what_one_process_finds(tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    command = ("sweep", "digits_mlp", "--set", "neuron.tau=1.5,4", "--seeds", "2", *ONE)
    alone = run_json(*command, folder=tmp_path)
    shared = run_json(*command, "--out", "other", "--workers", "2", folder=tmp_path)
    assert alone["folder"] == "sweeps/digits_mlp"

    def told(found: dict) -> list[tuple]:
        return sorted(
            (*row["settings"].values(), row["seed"], row["accuracy"], row["validation_accuracy"])
            for row in found["rows"]
        )

    assert told(alone) == told(shared)
    assert len(told(alone)) == 4 and len({row[2] for row in told(alone)}) > 1


@pytest.mark.slow
def test_ctrl_c_leaves_a_sweep_that_goes_on(workspace: Path, tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    place = tmp_path / "place"
    place.mkdir()
    command = ("sweep", "digits_mlp", "--set", "neuron.tau=1.5,4", *SMALL, "--workers", "2")
    long = (*command, "--set", "training.epochs=400")
    with running(place, tmp_path, *long) as process:
        deadline = time.monotonic() + 90
        while len(list(place.glob("sweeps/*/runs/*/last.safetensors"))) < 2:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=30)
        assert process.returncode == 130, errors
        assert "0 of 2 runs are in sweeps/digits_mlp; the same command continues" in errors
        assert members(process.pid) == []


def test_a_search_gives_up_runs_and_goes_on(tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    command = (
        *("sweep", "digits_mlp", "--set", "training.learning_rate=1e-4..0.1@log"),
        *("--set", "neuron.tau=1.5,4", *SMALL, "--set", "training.epochs=3", "--out", "s"),
    )
    first = run_json(*command, "--trials", "6", folder=tmp_path)
    assert len(first["rows"]) == 6
    found = run_json(*command, "--trials", "9", folder=tmp_path)
    assert found["rows"][:6] == first["rows"] and len(found["rows"]) == 9
    rates = [row["settings"]["training.learning_rate"] for row in found["rows"]]
    assert len(set(rates)) == 9 and all(1e-4 <= float(rate) <= 0.1 for rate in rates)
    ended = [row["ended"] for row in found["rows"] if row["accuracy"] is None]
    assert ended and all(said.startswith("stopped after epoch") for said in ended)
    other = run_cli(*command, "--set", "neuron.v_threshold=0.7", "--trials", "3", folder=tmp_path)
    assert other.exit_code == 2 and "a search of another recipe" in other.stderr


def test_means_are_taken_over_seeds_and_the_best_is_named() -> None:
    rows = [
        SweepRow({"tau": tau}, seed, accuracy, validation)
        for tau, seed, accuracy, validation in (
            *(("2", 0, 0.5, 0.8), ("2", 1, 0.7, 0.6)),
            *(("4", 0, 0.9, 0.6), ("4", 1, 0.9, 0.7)),
        )
    ]
    rows.append(SweepRow({"tau": "8"}, 0, ended="diverged: lost\nmore"))
    two, four, eight = summarized(rows)
    assert (two.accuracy, two.deviation) == (pytest.approx(0.6), pytest.approx(0.02**0.5))
    assert (two.validation, two.best, four.best) == (pytest.approx(0.7), True, False)
    assert (eight.runs, eight.results, eight.accuracy) == (1, 0, None)
    lines = table([two, four, eight]).splitlines()
    assert "60.00%" in lines[-3] and lines[-3].endswith("best")
    assert lines[-1].endswith("diverged: lost")


def test_what_cannot_be_swept_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    for arguments, said in (
        (("--set", "neuron.tau=1.5,0"), "tau"),
        (("--set", "neuron.tao=1,2"), "tao"),
        (("--set", "neuron.tau=1..2"), "--trials 40"),
        (("--set", "neuron.tau=1,2", "--seeds", "9999"), "at most 10,000"),
        (("--set", "neuron.tau=1..2", "--trials", "3", "--seeds", "2"), "--seeds"),
        (("--trials", "3"), "keys to vary"),
    ):
        done = run_cli("sweep", "digits_mlp", *arguments, folder=tmp_path)
        assert done.exit_code == 2 and said in done.stderr, done.stderr
    assert not list(tmp_path.iterdir())
    assert grid.MOST_RUNS == 10_000
