"""The number of CPU threads follows what other programs leave."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import torch

from neurodeploy.bench.busy import one_core_taken
from neurodeploy.support.cores import SpareCores
from neurodeploy.training.loop import reproducible
from neurodeploy.training.threads import INTERVAL, Threads
from support.command import run_cli, run_json

CPU = torch.device("cpu")


class Clock:
    """Time that passes when told to, and the seconds that each of four cores has run in it."""

    def __init__(self) -> None:
        self.now = 100.0
        self.others = self.own = 0.0

    def passes(self, seconds: float, others: float, own: float) -> None:
        """Others and this process run on so many cores meanwhile."""
        self.now += seconds
        self.others += seconds * others
        self.own += seconds * own


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    """A machine of four cores, and torch with four threads."""
    clock = Clock()
    times = type(psutil.cpu_times(percpu=True)[0])
    nothing = [0.0] * (len(times._fields) - 1)

    def cores(percpu: bool) -> list[object]:
        assert percpu
        busy = times(clock.others + clock.own, *nothing)
        rest = times(0.0, *nothing)._replace(idle=clock.now, iowait=clock.now)
        return [rest, rest, busy, rest, times(1e6 * clock.now, *nothing)]

    def own() -> os.times_result:
        return os.times_result((clock.own / 2, clock.own / 2, 0.0, 0.0, clock.now))

    def sleeps(seconds: float) -> None:
        clock.now += seconds

    def four() -> int:
        return 4

    def affinity(_: int) -> set[int]:
        return {0, 1, 2, 3}

    monkeypatch.setattr("neurodeploy.support.cores.psutil.cpu_times", cores)
    monkeypatch.setattr("neurodeploy.support.cores.os.times", own)
    monkeypatch.setattr("neurodeploy.support.cores.os.sched_getaffinity", affinity)
    monkeypatch.setattr("neurodeploy.support.cores.joblib.cpu_count", four)
    monkeypatch.setattr("time.monotonic", lambda: clock.now)
    monkeypatch.setattr("time.sleep", sleeps)
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield clock
    torch.set_num_threads(before)


def test_cores_that_others_use_are_not_spare(clock: Clock) -> None:
    cores = SpareCores()
    clock.passes(2.0, others=0.0, own=4.0)
    assert cores.now() == pytest.approx(4.0)
    clock.passes(2.0, others=1.5, own=2.0)
    assert cores.now() == pytest.approx(2.5)
    clock.passes(2.0, others=9.0, own=0.0)
    assert cores.now() == 0.0


def test_a_quota_of_a_container_is_a_limit(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("neurodeploy.support.cores.joblib.cpu_count", lambda: 2)
    cores = SpareCores()
    clock.passes(2.0, others=1.0, own=2.0)
    assert cores.now() == 2.0


@pytest.mark.parametrize(
    ("others", "expected"), [(0.0, 4), (0.3, 4), (0.5, 3), (1.2, 3), (2.9, 1), (7.0, 1)]
)
def test_threads_are_as_many_as_spare_cores_and_at_least_one(
    others: float, expected: int, clock: Clock
) -> None:
    threads = Threads()
    assert torch.get_num_threads() == 4
    clock.passes(INTERVAL, others, own=1.0)
    threads.adapt()
    assert torch.get_num_threads() == threads.fewest == expected
    clock.passes(INTERVAL, others=0.0, own=1.0)
    threads.adapt()
    assert torch.get_num_threads() == 4
    assert threads.fewest == expected


def test_others_are_not_looked_at_before_the_interval_is_over(clock: Clock) -> None:
    threads = Threads()
    clock.passes(INTERVAL / 2, others=4.0, own=0.0)
    threads.adapt()
    assert torch.get_num_threads() == 4


def test_threads_that_are_asked_for_stay(clock: Clock) -> None:
    with reproducible(CPU, threads=3) as threads:
        clock.passes(INTERVAL, others=4.0, own=0.0)
        threads.adapt()
        assert torch.get_num_threads() == 3
    assert torch.get_num_threads() == 4


def test_more_threads_than_torch_had_are_never_taken(clock: Clock) -> None:
    torch.set_num_threads(2)
    with reproducible(CPU) as threads:
        clock.passes(INTERVAL, others=0.0, own=1.0)
        threads.adapt()
        assert torch.get_num_threads() == 2


def test_a_program_that_takes_a_core_is_seen() -> None:
    cores, own = SpareCores(), psutil.Process()
    # Tests before this one may have left a process that tracks shared memory.
    before = {child.pid for child in own.children()}
    with one_core_taken():
        (other,) = (child for child in own.children() if child.pid not in before)
        while sum(other.cpu_times()[:2]) < 0.5:
            psutil.cpu_percent(interval=0.05)
        assert cores.now() < cores.most
    assert not other.is_running()


@pytest.mark.slow
def test_bench_busy_prints_a_row_for_each_subject(tmp_path: Path) -> None:
    options = ["--network", "conv-8-4-4-3", "--T", "2", "--batch", "8", "--seconds", "0.01"]
    options += ["--rounds", "1", "--subjects", "sltt,reference"]
    rows = run_json("bench", "busy", *options, folder=tmp_path)["rows"]
    assert [row["subject"] for row in rows] == ["sltt", "reference"]
    for row in rows:
        assert row["quiet"] > 0 and row["busy"] > 0
        assert row["slower"] == pytest.approx(row["quiet"] / row["busy"])


def test_bench_busy_refuses_what_it_does_not_know(tmp_path: Path) -> None:
    result = run_cli("bench", "busy", "--subjects", "sltt,gpu", folder=tmp_path)
    assert result.exit_code == 2
    assert "--subjects: 'gpu' is not one of sltt, reference, lava-fused, lava" in result.stderr
