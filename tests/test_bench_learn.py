"""``bench learn``: what it times is learning, and what cannot learn is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from neurodeploy.bench.learn import measure
from support.command import run_cli, run_json

OLD = "deployments/digits_conv-loihi2-001"


@pytest.mark.lava
@pytest.mark.parametrize(
    ("chosen", "engines"),
    [
        (("--engines", "lava-fused"), ["lava-fused"]),
        pytest.param((), ["lava", "lava-fused", "reference"], marks=pytest.mark.slow),
    ],
)
def test_every_engine_has_a_row_and_ratios_are_to_the_slowest(
    workspace: Path, chosen: tuple[str, ...], engines: list[str]
) -> None:
    options = ("--seconds", "0.2", "--rounds", "1", *chosen)
    rows = run_json("bench", "learn", OLD, *options, folder=workspace)["rows"]
    assert [row["engine"] for row in rows] == engines
    rates = [row["samples_per_second"] for row in rows]
    assert [row["ratio"] for row in rows] == pytest.approx([r / min(rates) for r in rates])
    assert min(row["peak_mb"] for row in rows) > 10


def test_the_clock_runs_only_while_learning(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clock that each look moves on by a second: 25 samples take one."""
    ticks = iter(range(1000))
    monkeypatch.setattr("neurodeploy.bench.learn.time.perf_counter", lambda: float(next(ticks)))
    row = measure("reference", workspace / OLD, "sltt", "step", 3.0, None)
    assert row.samples_per_second == 25.0 and row.update == "step"
    assert next(ticks) == 6, "two looks for each of three chunks, and none at the first"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--engines", "lave"), "engine 'lave' cannot learn"),
        (("--rule", "delta", "--engines", "lava-fused"), "no fused form"),
        (("--seconds", "0"), "0.0 is not in the range x>0"),
        (("--data", "nowhere", "--engines", "reference"), "takes no --data"),
    ],
)
def test_bad_options_say_what_is_wrong(
    workspace: Path, options: tuple[str, ...], message: str
) -> None:
    result = run_cli("bench", "learn", OLD, *options, folder=workspace)
    assert result.exit_code == 2 and message in result.stderr.replace("\n", " ")
