"""Work over several processes: the same results, whoever is killed, and nothing left of it."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("distributed")

from neurodeploy.artifacts.deployment import read_deployment
from neurodeploy.errors import InputError, MissingDependencyError, SimulationError, UnsupportedError
from neurodeploy.farm import Calls, Farm, place, plan
from neurodeploy.simulation.trace import PopulationTrace, SampleBatch, SpikeTrace
from neurodeploy.workflow import all_cores, engines
from neurodeploy.workflow.all_cores import workers_worthwhile
from neurodeploy.workflow.samples import choose_samples
from neurodeploy.workflow.shards import cut
from neurodeploy.workflow.validate import validate
from support.command import run_cli, run_json
from support.command_processes import members, running
from support.narrow import there

DEPLOYED = "deployments/digits_conv-loihi2-001"
TWO = there(plan(2, None))


def late_first(piece: int) -> tuple[int, int]:
    """The first of all takes longest, and comes when many others are there."""
    time.sleep(0.3 if piece == 0 else 0.0)
    return piece * piece, os.getpid()


def killed_once(piece: tuple[int, str]) -> int:
    """One piece takes its process with it, when it is tried for the first time."""
    number, mark = piece
    if number == 3 and not os.path.exists(mark):
        Path(mark).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number * number


def killed_always(piece: int) -> int:
    if piece == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return piece


def refused(piece: int) -> int:
    if piece == 1:
        raise UnsupportedError("no such thing")
    return piece


def doubled(piece: int) -> tuple[int, int]:
    """What is asked of a piece, and who made it."""
    return 2 * piece, os.getpid()


def who_made(asked: tuple[int, int]) -> tuple[int, bool]:
    """What was asked, and whether this process made it; one takes its process with it."""
    number, maker = asked
    if number == 6 and maker == os.getpid():
        os.kill(maker, signal.SIGKILL)
    return number, maker == os.getpid()


def own_cores(piece: int) -> tuple[int, tuple[int, ...]]:
    time.sleep(0.1)
    return os.getpid(), tuple(sorted(os.sched_getaffinity(0)))


@pytest.fixture(autouse=True)
def _programs_find_this_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))


def named(number: int) -> str:
    return f"piece {number}"


def all_of(farm: Farm, pieces: list) -> list:
    arrived: list = []
    found = list(farm.in_order(pieces, named, arrived.append))
    assert len(arrived) == len(found)
    return found


def test_answers_stand_in_the_order_of_the_pieces_whenever_they_come() -> None:
    with Farm(TWO, Calls(late_first)) as farm:
        numbers = [number for number, _ in farm.answers(range(12), named)]
    assert sorted(numbers) == list(range(12)) and numbers[0] != 0
    with Farm(TWO, Calls(late_first)) as farm:
        found = all_of(farm, list(range(12)))
    assert [square for square, _ in found] == [n * n for n in range(12)]
    assert len({process for _, process in found} - {os.getpid()}) == 2


def test_a_farm_can_be_asked_again() -> None:
    """The second time too, each piece gets its own answer."""
    with Farm(there(plan(2, None)), Calls(doubled)) as farm:
        for first in (0, 10, 20):
            pieces = [*range(first, first + 5)]
            assert [answer for answer, _ in all_of(farm, pieces)] == [2 * n for n in pieces]


def test_a_piece_whose_worker_is_killed_is_tried_again(tmp_path: Path) -> None:
    with Farm(TWO, Calls(killed_once)) as farm:
        found = all_of(farm, [(number, str(tmp_path / "mark")) for number in range(8)])
    assert (tmp_path / "mark").exists()
    assert found == [n * n for n in range(8)]


def test_a_piece_that_never_succeeds_is_named() -> None:
    with (
        pytest.raises(SimulationError, match=r"piece 1: tried 3 times.*killed"),
        Farm(TWO, Calls(killed_always)) as farm,
    ):
        all_of(farm, [0, 1, 2])
    with (
        pytest.raises(UnsupportedError, match=r"^piece 1: no such thing"),
        Farm(TWO, Calls(refused)) as farm,
    ):
        all_of(farm, [0, 1, 2])


def test_pieces_are_made_when_there_is_work_for_them() -> None:
    made: list[int] = []

    def pieces() -> Iterator[int]:
        for number in range(40):
            made.append(number)
            yield number

    with Farm(TWO, Calls(late_first)) as farm:
        answers = farm.answers(pieces(), named)
        next(answers)
        assert len(made) <= 7
        answers.close()


def test_each_helper_makes_its_own_questions_and_one_that_replaces_it_is_given_them() -> None:
    with Farm(TWO, Calls(who_made), make=doubled) as farm:
        found = all_of(farm, list(range(8)))
    assert [number for number, _ in found] == [2 * n for n in range(8)]
    made = [by_itself for _, by_itself in found]
    assert not made[3] and sum(made) >= 3


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")
def test_helpers_share_the_cores() -> None:
    with Farm(TWO, Calls(own_cores)) as farm:
        found = dict(all_of(farm, list(range(8))))
    first, second = found.values()
    assert len(first) == len(second) == TWO.threads
    assert not set(first) & set(second)
    assert replace(TWO, workers=10**6).cores(10**6 - 1) <= os.sched_getaffinity(0)


@pytest.mark.parametrize("count", [1, 7, 100, 9_999, 30_000, 1_000_003])
@pytest.mark.parametrize("workers", [2, 3, 16])
def test_every_worker_gets_as_many_samples(workspace: Path, count: int, workers: int) -> None:
    network = read_deployment(workspace / DEPLOYED).network
    samples = choose_samples(network, random_count=count)
    pieces = cut(samples, network, ["reference"], workers)
    firsts = pieces.firsts()
    assert len(firsts) == pieces.shards and pieces.batch <= engines.batch_size(network)
    ends = [min(first + pieces.size, count) for first in firsts]
    assert [*firsts[1:], count] == ends
    busiest = -(-pieces.shards // workers) * pieces.size
    assert busiest <= 1.02 * count / workers + pieces.batches


def test_the_reference_takes_the_cores_that_there_is_work_for(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = read_deployment(workspace / DEPLOYED).network
    few = choose_samples(network, random_count=10)
    many = choose_samples(network, random_count=1_000_000)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(4)))
    assert workers_worthwhile(network, few, state=False) == 1
    assert workers_worthwhile(network, many, state=False) == 4
    need = all_cores.needed("reference", network, engines.batch_size(network), state=False)
    monkeypatch.setattr(all_cores, "available_memory", lambda: 7 * need)
    assert workers_worthwhile(network, many, state=False) == 3


def test_a_scheduler_needs_dask_and_workers_here_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("dask", "distributed"):
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setattr(place, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"scheduler needs Dask: pip install '"):
        plan(None, "tcp://127.0.0.1:1")
    with Farm(there(plan(2, None)), Calls(doubled)) as farm:
        assert [answer for answer, _ in all_of(farm, [1, 2, 3])] == [2, 4, 6]


def test_the_command_takes_them_unless_told_otherwise(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[int] = []

    def enter(farm: Farm, entered: Any = Farm.__enter__) -> Farm:
        taken.append(farm.workers)
        return entered(farm)

    monkeypatch.setattr(Farm, "__enter__", enter)
    monkeypatch.setattr(all_cores, "WORTH", 1e-9)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1})
    monkeypatch.setattr(os, "sched_setaffinity", lambda process, cores: None)
    command = ("simulate", DEPLOYED, "--samples", "64", "--engine")
    found = run_json(*command, "reference", folder=workspace)
    assert taken == [2]
    alone = run_json(*command, "reference", "--workers", "1", folder=workspace)
    run_json(*command, "float", folder=workspace)
    assert taken == [2]
    for table in (found, alone):
        del table["seconds"], table["samples_per_second"]
    assert found == alone


def test_what_is_no_place_is_refused() -> None:
    assert plan(None, None) is None and plan(1, None) is None
    with pytest.raises(InputError, match="not both"):
        plan(2, "tcp://127.0.0.1:1")
    with pytest.raises(InputError, match="workers=0"):
        plan(0, None)
    nowhere = there(plan(None, "tcp://127.0.0.1:1"))
    with pytest.raises(InputError, match="no Dask scheduler"), Farm(nowhere, Calls(refused)):
        pass


@pytest.fixture(scope="module")
def alone(workspace: Path) -> tuple[dict, dict]:
    """What one process finds, with everything that can be asked for."""
    return simulated(workspace)


ASKED = ("--trace-state", "--metrics", "neurobench", "--early-exit", "2")


def simulated(folder: Path, *options: str) -> tuple[dict, dict]:
    file = folder / "trace.npz"
    command = ("simulate", DEPLOYED, "--engine", "reference", "--samples", "300")
    found = run_json(*command, "--trace", str(file), *ASKED, *options, folder=folder)
    for name in ("seconds", "samples_per_second"):
        del found[name]
    with np.load(file) as arrays:
        return found, dict(arrays)


@pytest.mark.parametrize("workers", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_a_simulation_is_the_same_on_workers(
    workspace: Path, alone: tuple[dict, dict], workers: int
) -> None:
    found, arrays = simulated(workspace, "--workers", str(workers))
    spare = [said for said in found["warnings"] if "something to do" in said]
    found["warnings"] = [said for said in found["warnings"] if said not in spare]
    assert found == alone[0]
    assert arrays.keys() == alone[1].keys()
    for name, values in arrays.items():
        np.testing.assert_array_equal(values, alone[1][name], err_msg=name)
        assert values.dtype == alone[1][name].dtype
    assert len(spare) == (workers == 3)  # metrics count whole batches, of which there are two


class Wrong:
    """The reference, but for one spike in each of some samples."""

    name, at = "lava", (37, 90, 91)

    def __init__(self, source, settings) -> None:
        self._right = engines.ENGINES["reference"](source, settings)
        self.overflow = self._right.overflow

    def run(self, batches, *, state: bool = False) -> Iterator[tuple[SampleBatch, SpikeTrace]]:
        for batch, trace in self._right.run(batches, state=state):
            records = dict(trace.populations)
            name = [*records][1]
            spikes = records[name].s.copy()
            for sample in self.at:
                if 0 <= sample - batch.first < len(batch):
                    spikes[sample - batch.first, 2].flat[5] ^= 1
            records[name] = PopulationTrace.of(spikes, records[name].state)
            yield batch, replace(trace, populations=records)

    def close(self) -> None:
        self._right.close()


@pytest.mark.lava
def test_a_comparison_is_the_same_on_workers(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(engines.ENGINES, "lava", Wrong)
    deployment = read_deployment(workspace / DEPLOYED)
    samples = choose_samples(deployment.network, samples=100)
    pieces = cut(samples, deployment.network, ("reference", "lava"), 2)
    assert pieces.shards > 4 and pieces.name(1) == f"samples {pieces.size} to {2 * pieces.size - 1}"
    reports = [
        validate(deployment, samples, ("reference", "lava"), workers=workers, progress=False).report
        for workers in (None, 2)
    ]
    assert reports[0].as_dict() == reports[1].as_dict()
    assert there(reports[1].first_divergence).sample == Wrong.at[0]
    assert reports[1].mismatches == len(Wrong.at)


@pytest.mark.slow
def test_floats_are_added_up_in_the_batches_of_one_process(workspace: Path) -> None:
    deployment = read_deployment(workspace / DEPLOYED)
    network = deployment.network
    samples = choose_samples(network, samples=300)
    size = engines.batch_size(network)
    assert cut(samples, network, ["float"], 2).batch == size
    assert cut(samples, network, ["reference"], 2).batch < size
    found = [
        validate(deployment, samples, ("reference", "float"), workers=n, progress=False).report
        for n in (None, 2)
    ]
    assert found[0].as_dict() == found[1].as_dict()


def test_the_workers_of_a_scheduler_find_the_same(
    workspace: Path, tmp_path: Path, alone: tuple[dict, dict]
) -> None:
    from distributed import LocalCluster

    cluster: Any = LocalCluster(
        n_workers=1,
        threads_per_worker=1,
        processes=False,
        protocol="tcp://",
        dashboard_address="127.0.0.1:0",
        memory_limit=0,
        local_directory=str(tmp_path),
    )
    with cluster:
        found, arrays = simulated(workspace, "--scheduler", cluster.scheduler_address)
    assert found == alone[0]
    np.testing.assert_array_equal(arrays["predicted"], alone[1]["predicted"])


def test_an_export_that_calibrates_nothing_has_no_use_for_workers(workspace: Path) -> None:
    source = f"{DEPLOYED}/network.nir"
    command = ("export", source, "--target", "loihi2", "--scale", "mse", "--out", "other")
    done = run_cli(*command, "--workers", "2", folder=workspace)
    assert done.exit_code == 2
    assert (
        "--workers shares a calibration, and there is none: scales are chosen by mse" in done.stderr
    )
    assert not (workspace / "other").exists()


def test_a_missing_scheduler_is_one_line(workspace: Path) -> None:
    command = ("simulate", DEPLOYED, "--scheduler", "tcp://127.0.0.1:1")
    done = run_cli(*command, "--engine", "reference", folder=workspace)
    assert done.exit_code == 2
    assert "--scheduler tcp://127.0.0.1:1: no Dask scheduler answers" in done.stderr


def helpers_of(process: int) -> list[int]:
    return [pid for pid in members(process) if pid != process]


def wait_until(condition, process) -> None:
    deadline = time.monotonic() + 90
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


LONG = ("simulate", DEPLOYED, "--engine", "reference", "--workers", "2", "--random")


def test_a_worker_killed_in_mid_run_changes_nothing(workspace: Path, tmp_path: Path) -> None:
    command = (*LONG, "8000", "--json")
    with running(workspace, tmp_path, *command) as process:
        wait_until(lambda: len(helpers_of(process.pid)) == 2, process)
        time.sleep(0.3)
        os.kill(helpers_of(process.pid)[0], signal.SIGKILL)
        out, errors = process.communicate(timeout=100)
        assert process.returncode == 0, errors
        assert members(process.pid) == []
    found = json.loads(out)
    whole = run_json(*LONG[:4], "--random", "8000", folder=workspace)
    for table in (found, whole):
        del table["seconds"], table["samples_per_second"]
    assert found == whole


def test_ctrl_c_leaves_no_worker(workspace: Path, tmp_path: Path) -> None:
    with running(workspace, tmp_path, *LONG, "1000000") as process:
        wait_until(lambda: len(helpers_of(process.pid)) == 2, process)
        time.sleep(0.5)
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=20)
        assert process.returncode == 130, errors
        assert "Interrupted" in errors.splitlines()[-1] and "Traceback" not in errors
        assert members(process.pid) == []
        assert list(tmp_path.iterdir()) == []
