"""``bench paper``: rows for every combination, none measured twice, and what is made of them."""

from __future__ import annotations

import json
import time
import tracemalloc
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from neurodeploy.bench import paper_run
from neurodeploy.bench.configuration import Configuration
from neurodeploy.bench.iteration import Iteration
from neurodeploy.bench.paper import (
    Combination,
    PaperRow,
    bench_paper,
    combinations,
    recipes_named,
    rule_named,
)
from neurodeploy.bench.paper_summary import draw, summarized, table
from neurodeploy.bench.side_by_side import Task, on_workers, side_by_side
from neurodeploy.bench.train import alone
from neurodeploy.data import Dataset
from neurodeploy.data.dataset import Subset
from neurodeploy.errors import InputError, InterruptionError, SimulationError
from neurodeploy.farm import Place
from neurodeploy.recipe import load_recipe, recipe_from_dict
from support.command import run_cli, run_json
from support.small_runs import make_recipe

SMALL = make_recipe(
    training={"epochs": 1, "warmup_epochs": 0}, network={"family": "mlp", "hidden": [24]}
)
TWO_MIB = 2.0


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Measure here, memory as always the same; what was asked for, in its order."""
    asked: list[str] = []

    def run(tasks: Sequence[Task], processes: int) -> Iterator[tuple[int, dict[str, Any]]]:
        for number, task in enumerate(tasks):
            asked.append(task.what)
            kind, recipe, device, where = json.loads(task.arguments[0])
            chosen = recipe_from_dict(recipe, "recipe")
            if kind == "memory":
                yield number, {"peak_mb_above_model": TWO_MIB}
            else:
                yield number, paper_run.trained(chosen, Path(where), device)

    monkeypatch.setattr("neurodeploy.bench.paper.side_by_side", run)
    return asked


def test_a_combination_sets_rule_steps_tau_and_seed() -> None:
    chosen = combinations(SMALL, ["bptt", "sltt-2"], [2, 4], [2.0, 8.0], seeds=2)
    assert len({one.name for one in chosen}) == len(chosen) == 16
    last = chosen[-1]
    assert last.name == "small-sltt-2-T4-tau8-seed1"
    recipe = last.recipe
    assert (recipe.rule, recipe.training.steps) == ({"name": "sltt-k", "K": 2}, 4)
    assert (recipe.neuron.tau, recipe.seed) == (8.0, 1)
    own = combinations(SMALL, ["sltt"])
    assert [(one.T, one.tau, one.recipe.seed) for one in own] == [(3, 2.0, s) for s in range(3)]


def test_more_steps_of_a_recording_are_shorter_ones() -> None:
    """The time that a sample may last stays as it is."""
    fsdd = load_recipe("fsdd", ["training.steps=132", "data.dt=1e-2"])
    (one,) = combinations(fsdd, ["sltt"], [66], seeds=1)
    assert (one.recipe.data.dt, one.recipe.training.steps) == (0.02, 66)
    unstated = replace(fsdd, data=replace(fsdd.data, dt=None))
    with pytest.raises(InputError, match="another T is another duration"):
        combinations(unstated, ["sltt"], [66])


def test_rules_go_by_both_kinds_of_names() -> None:
    assert rule_named("rate") == {"name": "rate"}
    assert rule_named("rate_s") == {"name": "rate", "variant": "s"}
    assert rule_named("sltt-3") == {"name": "sltt-k", "K": 3}
    for name in ("yardstick", "sltt-0", "hebb"):
        with pytest.raises(InputError, match=f"'{name}' is not one of sltt, sltt-k, bptt"):
            rule_named(name)


def test_data_are_named_for_all_recipes_or_for_one() -> None:
    data = ["fsdd=sounds", "pmnist_rows=digits.npz"]
    sounds, digits = recipes_named(["fsdd", "pmnist_rows"], data, ["seed=3"], 5)
    assert Path(sounds.data.path).name == "sounds" and Path(digits.data.path).name == "digits.npz"
    assert (sounds.seed, digits.seed, sounds.training.epochs) == (3, 3, 5)
    (own,) = recipes_named(["fsdd"], ["sounds"], [], None)
    assert Path(own.data.path).name == "sounds"
    assert own.training.epochs == load_recipe("fsdd").training.epochs


def test_what_is_measured_is_not_measured_again(tmp_path: Path, in_this_process: list[str]) -> None:
    """More rules and seeds go into the same folder, other options do not."""
    first = [*bench_paper(combinations(SMALL, ["sltt"], seeds=1), tmp_path)]
    assert in_this_process == [
        "small-sltt-T3-tau2-seed0 (memory)",
        "small-sltt-T3-tau2-seed0 (train)",
    ]
    (row,) = first
    assert row.accuracy is not None and row.accuracy > 0.3
    assert (row.memory_mb, row.epochs, row.batch, row.refused) == (TWO_MIB, 1, 128, "")
    trained = json.loads((tmp_path / "runs/small-sltt-T3-tau2-seed0/run.json").read_text())
    assert (row.accuracy, row.seconds) == (trained["test_accuracy"], trained["seconds"])
    in_this_process.clear()
    again = [*bench_paper(combinations(SMALL, ["sltt", "bptt"], seeds=1), tmp_path)]
    assert again[0] == row and again[1].rule == "bptt"
    assert [what.split("-T")[0] for what in in_this_process] == ["small-bptt"] * 2
    # As it is when it was interrupted between the training and its record.
    (tmp_path / "measured/small-sltt-T3-tau2-seed0.json").unlink()
    assert [*bench_paper(combinations(SMALL, ["sltt"], seeds=1), tmp_path)] == first
    other = replace(SMALL, training=replace(SMALL.training, learning_rate=0.1))
    with pytest.raises(InputError, match="measured for another recipe"):
        next(bench_paper(combinations(other, ["sltt"], seeds=1), tmp_path))
    (tmp_path / "measured/small-sltt-T3-tau2-seed0.json").write_text("{}")
    with pytest.raises(InputError, match="damaged; remove it"):
        next(bench_paper(combinations(SMALL, ["sltt"], seeds=1), tmp_path))


def test_a_rule_that_refuses_and_a_run_that_diverges_are_rows(
    tmp_path: Path, in_this_process: list[str]
) -> None:
    wild = replace(SMALL, training=replace(SMALL.training, learning_rate=1e30, optimizer="sgd"))
    recurrent = {"family": "mlp", "hidden": [6], "recurrent": True}
    chosen = [
        *combinations(replace(SMALL, name="recurrent", network=recurrent), ["rate"], seeds=2),
        *combinations(wild, ["sltt"], seeds=1),
    ]
    *refused, diverged = bench_paper(chosen, tmp_path)
    assert [row.seed for row in refused] == [0, 1]
    for row in (*refused, diverged):
        assert (row.accuracy, row.seconds) == (None, None)
    assert all("rate" in row.refused for row in refused)
    assert "epoch 1" in diverged.refused
    assert all("wild" not in what and "rate" not in what for what in in_this_process)


def test_wrong_options_are_refused_before_anything_is_measured(
    tmp_path: Path, in_this_process: list[str]
) -> None:
    small = ("--set", "training.epochs=1")
    for options, message in (
        (("digits_mlp", "--rules", "sltt,hebb"), "--rules: 'hebb' is not one of sltt"),
        (("digits_mlp", "--tau", "1"), "--tau 1: tau is in steps and must be above 1"),
        (("digits_mlp", "--T", "0"), "--T 0: steps must be at least 1"),
        (("digits_mlp", "--T", "2", "--rules", "sltt-3"), "K = 3 steps cannot be drawn"),
        (("digits_mlp", "nothing"), "recipe 'nothing' is not built in"),
        (("pmnist_rows", *small), "data set 'npz' needs a file; name it with --data FILE"),
        (("digits_mlp", "--set", "quantize.bits=4"), "trains on integers"),
        ((), "Missing argument 'RECIPE...'"),
    ):
        result = run_cli("bench", "paper", *options, folder=tmp_path)
        assert result.exit_code == 2 and message in result.output, result.output
    assert in_this_process == [] and not [*tmp_path.iterdir()]


def test_an_interruption_says_how_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> Iterator[tuple[int, dict[str, Any]]]:
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr("neurodeploy.bench.paper.side_by_side", interrupted)
    with pytest.raises(InterruptionError, match="the same command continues"):
        list(bench_paper(combinations(SMALL, ["sltt"], seeds=1), tmp_path))


@pytest.mark.pictures
def test_the_command_prints_rows_and_draws(tmp_path: Path, in_this_process: list[str]) -> None:
    options = ("digits_mlp", "--rules", "bptt,sltt,eprop", "--seeds", "1", "--epochs", "1")
    sets = ("--T", "2", "--set", "network.hidden=[8]", "--set", "network.batch_norm=false")
    found = run_json("bench", "paper", *options, *sets, folder=tmp_path)
    assert [row["rule"] for row in found["rows"]] == ["bptt", "sltt", "eprop"]
    for row in found["rows"]:
        assert {"recipe", "rule", "T", "tau", "seed", "accuracy", "memory_mb", "seconds"} <= {*row}
    assert [row["seeds"] for row in found["summary"]] == [1, 1, 1]
    assert (tmp_path / found["picture"]).stat().st_size > 5000
    told = run_cli("bench", "paper", *options, *sets, folder=tmp_path).output.splitlines()
    assert told[0].startswith("digits_mlp by bptt, T = 2, tau = 2, seed 0: accuracy ")
    assert told[3].split()[:4] == ["recipe", "rule", "T", "tau"]


def row(rule: str, seed: int, accuracy: float | None, memory: float, seconds: float) -> PaperRow:
    refused = "" if accuracy is not None else f"rule {rule} cannot do that"
    there = accuracy is not None
    return PaperRow(
        recipe="r",
        rule=rule,
        T=4,
        tau=2.0,
        seed=seed,
        accuracy=accuracy,
        validation_accuracy=accuracy,
        memory_mb=memory if there else None,
        seconds=seconds if there else None,
        epochs=1,
        batch=8,
        device="cpu",
        refused=refused,
    )


ROWS = [
    *(row("bptt", seed, accuracy, 40.0, 8.0) for seed, accuracy in enumerate((0.88, 0.92))),
    *(row("sltt", seed, accuracy, 10.0, 2.0) for seed, accuracy in enumerate((0.78, 0.82))),
    *(row("eprop", seed, accuracy, 20.0, 4.0) for seed, accuracy in enumerate((0.87, 0.89))),
    *(row("rate", seed, None, 0.0, 0.0) for seed in range(2)),
]


def test_the_summary_says_what_of_the_gap_is_closed() -> None:
    bptt, sltt, eprop, rate = summarized(ROWS)
    assert eprop.accuracy == pytest.approx(0.88)
    assert eprop.deviation == pytest.approx(0.02 / 2**0.5)
    assert [r.gap_closed for r in (bptt, sltt, eprop)] == pytest.approx([1.0, 0.0, 0.8])
    # Two means of two values that are 0.04 apart.
    assert eprop.gap_deviation == pytest.approx((2 * 0.0008 / 2) ** 0.5)
    assert (eprop.memory_to_bptt, eprop.time_to_bptt) == (0.5, 0.5)
    assert (rate.seeds, rate.accuracy, rate.gap_closed) == (0, None, None)
    *lines, reason = table([bptt, sltt, eprop, rate]).splitlines()
    assert "88.00 ± 1.41 %" in lines[3] and "80%" in lines[3] and "0.50x" in lines[3]
    assert reason == "r, rate: rule rate cannot do that"


def test_no_share_is_told_of_a_gap_that_is_not_there() -> None:
    worse = [replace(r, accuracy=0.7) if r.rule == "bptt" else r for r in ROWS]
    assert all(found.gap_closed is None for found in summarized(worse))
    assert all(found.gap_closed is None for found in summarized(ROWS[2:]))


def test_the_picture_has_what_was_varied() -> None:
    def labels(rows: list[PaperRow]) -> list[str]:
        return [axes.get_xlabel() for axes in draw(summarized(rows)).axes]

    cost = ["peak of an iteration in MiB (T = 4)", "seconds of an epoch (T = 4)"]
    assert labels(ROWS) == ["test accuracy (T = 4, τ = 2)", *cost]
    longer = [replace(r, T=8) for r in ROWS]
    assert labels([*ROWS, *longer]) == ["T (τ = 2)", "T", "T"]
    slower = [replace(r, tau=9.0) for r in (*ROWS, *longer)]
    figure = draw(summarized([*ROWS, *longer, *slower]))
    every = ["τ in steps (T = 8)", "T (τ = 2)", "T", "T"]
    assert [axes.get_xlabel() for axes in figure.axes] == every
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["bptt", "sltt", "eprop"]


def test_processes_run_side_by_side_and_none_is_left(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"a": 1}')
    (tmp_path / "bad.json").write_text("no json")
    good, bad = (
        Task("json.tool", ("--compact", str(tmp_path / name)), name)
        for name in ("a.json", "bad.json")
    )
    assert dict(side_by_side([good] * 3, 2)) == {0: {"a": 1}, 1: {"a": 1}, 2: {"a": 1}}
    slow = Task("timeit", ("-n", "1", "import time; time.sleep(600)"), "sleep")
    started = time.monotonic()
    with pytest.raises(SimulationError, match=r"bench of bad\.json failed: Expecting value"):
        list(side_by_side([slow, bad], 2))
    assert time.monotonic() - started < 300


def test_workers_run_the_same_tasks(tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    (tmp_path / "a.json").write_text('{"a": 1}')
    good = Task("json.tool", ("--compact", str(tmp_path / "a.json")), "a.json")
    assert dict(on_workers(Place(2), [good] * 3, tmp_path)) == {n: {"a": 1} for n in range(3)}


# --- memory


EVENTS = Configuration("sltt", "rnn-256-8-3", T=200, batch=16, threads=1)


def test_an_iteration_makes_no_copy_of_long_samples() -> None:
    """What numpy takes is far below the batch, which has 16 x 200 x 256 bytes."""
    iteration = Iteration(EVENTS)
    iteration.settle()
    tracemalloc.start()
    try:
        iteration(epoch=1)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 16 * 200 * 256 / 4


def test_reading_step_by_step_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against a batch that is read as a whole, as from files."""
    weights = []
    for kind in (np.asarray, lambda x: Subset(x, np.arange(len(x)))):
        made = EVENTS.dataset()

        def dataset(_: Configuration, made: Dataset = made, kind: Any = kind) -> Dataset:
            return replace(made, x_train=kind(made.x_train))

        monkeypatch.setattr(Configuration, "dataset", dataset)
        iteration = Iteration(EVENTS)
        before = [p.clone() for p in iteration.model.parameters()]
        iteration(epoch=1)
        weights.append([p.clone() for p in iteration.model.parameters()])
        monkeypatch.undo()
        assert not torch.equal(before[0], weights[-1][0])
    assert all(torch.equal(a, b) for a, b in zip(*weights, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "network", "few", "many"),
    [
        ("sltt", "rnn-700-64-20", 50, 500),
        ("sltt-1", "rnn-700-64-20", 50, 500),
        ("eprop", "rnn-64-128-10", 20, 80),
    ],
)
def test_memory_does_not_grow_with_T(method: str, network: str, few: int, many: int) -> None:
    def peak(T: int) -> float:
        configuration = Configuration(method, network, T, batch=64, threads=1)
        return alone(configuration, 0, exact=True)["peak_mb_above_model"]

    assert peak(many) <= 1.05 * peak(few)


@pytest.mark.slow
def test_runs_in_processes_of_their_own(tmp_path: Path) -> None:
    chosen: list[Combination] = combinations(SMALL, ["bptt", "sltt"], [3, 12], seeds=1)
    rows = {(r.rule, r.T): r for r in bench_paper(chosen, tmp_path, processes=2)}
    assert len(rows) == 4
    for found in rows.values():
        assert found.accuracy is not None and found.memory_mb is not None
        assert found.memory_mb > 0
    (here,) = combinations(SMALL, ["sltt"], [3], seeds=1)
    assert paper_run.trained(here.recipe, tmp_path / "here", "cpu")["accuracy"] == (
        rows["sltt", 3].accuracy
    )
