"""Several commands at once: each gets a name of its own, and a run is trained by one alone."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from neurodeploy.artifacts.deployment import read_deployment
from neurodeploy.artifacts.folders import open_run, reopen_run
from neurodeploy.errors import InputError
from neurodeploy.support.files import next_claimed, written_whole
from neurodeploy.support.partial import claimed, partial_folder, remove_leftovers, temporary_folder
from support.at_once import Ended, at_once
from support.small_runs import make_recipe, metrics_of

COUNT = 20
COUNTS = (2, pytest.param(COUNT, marks=pytest.mark.slow))
LEARN = ("--engine", "reference", "--samples", "20", "--held-out", "10", "--no-ceiling")
TRAIN = ("train", "digits_mlp", "--set", "training.epochs=1", "--set", "training.steps=2")


@pytest.fixture(scope="module")
def place(workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the shared run and deployment, to be added to."""
    folder = tmp_path_factory.mktemp("place") / "workspace"
    shutil.copytree(workspace, folder)
    return folder


def hidden(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.name.startswith(".")]


def assert_all_well(ended: list[Ended]) -> None:
    assert [one for one in ended if one.code] == []


@pytest.mark.slow
def test_exports_and_learnings_get_names_of_their_own(place: Path) -> None:
    assert_all_well(at_once(COUNT, "export", "--target", "loihi2", folder=place))
    made = {path.name for path in (place / "deployments").glob("digits_conv-loihi2-*")}
    assert made == {f"digits_conv-loihi2-{number:03d}" for number in range(1, COUNT + 2)}
    old = Path("deployments/digits_conv-loihi2-001")
    assert_all_well(at_once(COUNT, "learn", str(old), *LEARN, folder=place))
    made = {path.name for path in (place / "deployments").glob("*-learned-*")}
    assert made == {f"{old.name}-learned-{number:03d}" for number in range(1, COUNT + 1)}
    for path in (place / "deployments").iterdir():
        read_deployment(path)
    for name in made:
        learning = json.loads((place / "deployments" / name / "learning.json").read_text())
        assert Path(learning["deployment"]).name == name
    assert hidden(place) == []


@pytest.mark.slow
def test_simulations_of_one_deployment(place: Path) -> None:
    command = ("simulate", "deployments/digits_conv-loihi2-001", "--engine", "reference")
    assert_all_well(at_once(COUNT, *command, "--random", "3", folder=place))
    assert hidden(place) == []


@pytest.mark.parametrize("count", COUNTS)
def test_trainings_get_folders_of_their_own(count: int, tmp_path: Path) -> None:
    assert_all_well(at_once(count, *TRAIN, folder=tmp_path))
    runs = sorted(path.name for path in (tmp_path / "runs").iterdir())
    assert runs == [f"digits_mlp-{number:03d}" for number in range(1, count + 1)]
    assert all((tmp_path / "runs" / run / "run.json").is_file() for run in runs)
    assert hidden(tmp_path) == []


@pytest.mark.slow
def test_one_name_for_all_goes_to_one(tmp_path: Path) -> None:
    ended = at_once(COUNT, *TRAIN, "--out", "run", folder=tmp_path)
    assert sorted(one.code for one in ended) == [0, *[2] * (COUNT - 1)]
    for code, said in ended:
        if code:
            assert said.splitlines()[-1].startswith("Error: run: ")
    assert len(metrics_of(tmp_path / "run")) == 1


@pytest.mark.slow
def test_one_resumes_and_the_others_say_why_not(tmp_path: Path) -> None:
    ended = at_once(1, *TRAIN, "--set", "training.epochs=4", folder=tmp_path)
    assert_all_well(ended)
    run = tmp_path / "runs" / "digits_mlp-001"
    whole = metrics_of(run)
    (run / "run.json").unlink()
    for name in ("last.safetensors", "best.safetensors", "metrics.jsonl"):
        (run / name).unlink()
    ended = at_once(4, "train", "--resume", str(run), folder=tmp_path)
    assert sorted(one.code for one in ended) == [0, 2, 2, 2]
    for code, said in ended:
        if code:
            last = said.splitlines()[-1]
            assert "another process is training" in last or "this run is complete" in last
    assert metrics_of(run) == whole


def test_a_run_is_free_when_its_training_ends(tmp_path: Path) -> None:
    run, recipe = tmp_path / "run", make_recipe()
    with open_run(recipe, run):
        for _ in range(2):
            with pytest.raises(InputError, match="another process is training this run"):
                reopen_run(recipe, run).__enter__()
    with reopen_run(recipe, run) as found:
        assert found == run


CLAIMING = """
import multiprocessing, time
from pathlib import Path
from neurodeploy.support.files import folder_written_whole, next_claimed

def claim(barrier):
    barrier.wait()
    with next_claimed(Path("made"), "net") as path, folder_written_whole(path) as folder:
        (folder / "mine").write_text(path.name)

if __name__ == "__main__":
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(16)
    processes = [context.Process(target=claim, args=(barrier,)) for _ in range(16)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
"""


def test_claims_at_once_are_of_different_numbers(tmp_path: Path) -> None:
    program(CLAIMING, tmp_path)
    made = {path.name: (path / "mine").read_text() for path in (tmp_path / "made").iterdir()}
    assert made == {f"net-{number:03d}": f"net-{number:03d}" for number in range(1, 17)}


def test_one_who_comes_too_late_takes_no_claim_away(tmp_path: Path) -> None:
    """Its own claim, not locked yet or no more, looks like that of a killed process."""
    path = tmp_path / "net-001"
    with claimed(path) as mine:
        late = tmp_path / ".net-001.claim.1-0123abcd.partial"
        late.touch()
        remove_leftovers(tmp_path)
        assert mine and path.is_dir() and not late.exists()
    path.mkdir()
    late.touch()
    remove_leftovers(tmp_path)
    assert [*tmp_path.iterdir()] == []


def program(text: str, folder: Path) -> None:
    paths = os.pathsep.join(filter(None, sys.path))
    environment = {**os.environ, "PYTHONPATH": paths}
    subprocess.run([sys.executable, "-c", text], cwd=folder, env=environment, check=True)


# --- what a killed process leaves ---

KILLED = """
import os, signal, sys
from contextlib import ExitStack
from pathlib import Path
from neurodeploy.support.files import folder_written_whole, next_claimed, written_whole
from neurodeploy.support.partial import temporary_folder

with ExitStack() as held:
    folder = held.enter_context(folder_written_whole(Path("out")))
    (folder / "manifest.json").write_text("{}")
    held.enter_context(written_whole(Path("a"))).write_text("half")
    held.enter_context(next_claimed(Path.cwd(), "net"))
    (held.enter_context(temporary_folder()) / "big").write_text("")
    print("ready", flush=True)
    sys.stdin.read(1)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_leftovers_of_the_dead_are_removed_and_those_of_the_living_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work, temporary = tmp_path / "work", tmp_path / "tmp"
    work.mkdir()
    temporary.mkdir()
    (work / ".notes.partial").write_text("somebody else's")
    (work / ".old.4000000.partial").write_text("as version 0.2 left it")
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    paths = os.pathsep.join(filter(None, sys.path))
    with subprocess.Popen(
        [sys.executable, "-c", KILLED],
        cwd=work,
        env={**os.environ, "PYTHONPATH": paths, "TMPDIR": str(temporary)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        theirs = {path for folder in (work, temporary) for path in folder.iterdir()}
        assert len(theirs) == 6, "a partial folder and file, a claim and its folder, a temporary"
        assert not (work / ".old.4000000.partial").exists()
        with written_whole(work / "a") as file, temporary_folder():
            file.write_text("whole")
        with next_claimed(work, "net") as path:
            assert path.name == "net-002"
        assert all(path.exists() for path in theirs)
        process.stdin.write(b"x")
        process.stdin.flush()
        assert process.wait() == -signal.SIGKILL
    assert all(path.exists() for path in theirs)
    with written_whole(work / "b") as file, temporary_folder():
        file.write_text("whole")
    assert sorted(path.name for path in work.iterdir()) == [".notes.partial", "a", "b"]
    assert list(temporary.iterdir()) == []
    with next_claimed(work, "net") as path:
        assert path.name == "net-001"


def test_a_claimed_name_stays_only_with_something_in_it(tmp_path: Path) -> None:
    with next_claimed(tmp_path / "new", "a") as path:
        assert path.is_dir()
        with claimed(path) as mine:
            assert not mine
    assert list((tmp_path / "new").iterdir()) == []
    with next_claimed(tmp_path, "a") as path:
        (path / "file").write_text("")
    assert path.is_dir()
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        next_claimed(tmp_path / "file", "a").__enter__()


def test_a_partial_folder_is_private_and_goes(tmp_path: Path) -> None:
    with partial_folder(tmp_path / "out") as folder:
        assert folder.stat().st_mode & 0o777 == 0o700
        (folder / "deep").mkdir()
    assert list(tmp_path.iterdir()) == []
