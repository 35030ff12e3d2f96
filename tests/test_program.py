"""However a command is ended and wherever its output goes: a line, a code, nothing half-done."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from neurodeploy.artifacts.deployment import read_deployment
from support.command import run_cli
from support.command_processes import catches, members, running
from support.forked import Job, run_each

LINES = {130: "Interrupted", 143: "Terminated.", 129: "Terminated."}


def wait_until(process: subprocess.Popen[str], condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.01)


def hidden(*folders: Path) -> list[Path]:
    return [path for folder in folders for path in folder.rglob(".*")]


def test_a_signal_during_imports(tmp_path: Path) -> None:
    with running(tmp_path, tmp_path, "train") as process:
        wait_until(process, lambda: catches(process.pid, signal.SIGTERM))
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "Interrupted.\n")
    assert list(tmp_path.iterdir()) == []


SWALLOWED = """
import os, signal, time, weakref
from neurodeploy.support.program import program

class Thing:
    pass

# Whoever started the tests in the background has left it ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
with program(last=True):
    thing = Thing()
    kept = weakref.ref(thing, lambda _: (os.kill(os.getpid(), {number}), sum(range(1000))))
    del thing
    print("after it", flush=True)
    time.sleep(20)
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_where_no_exception_gets_out(number: int, code: int) -> None:
    program = [sys.executable, "-c", SWALLOWED.format(number=int(number))]
    done = subprocess.run(program, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (code, "after it\n")
    assert done.stderr == ("Interrupted.\n" if code == 130 else "Terminated.\n")


TURNED = """
import os, signal, time
from neurodeploy.support.program import program

signal.signal(signal.SIGINT, signal.default_int_handler)
with program(last=True):
    try:
        os.kill(os.getpid(), {number})
        time.sleep(20)
    except BaseException as error:
        raise ImportError("initialization failed") from error
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_that_an_extension_module_makes_an_error_of(number: int, code: int) -> None:
    """As those of pybind11 do while they are imported."""
    program = [sys.executable, "-c", TURNED.format(number=int(number))]
    done = subprocess.run(program, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr == ("Interrupted.\n" if code == 130 else "Terminated.\n")


STRING = """
import os, signal
from neurodeploy.support.program import program

signal.signal(signal.SIGINT, signal.default_int_handler)
with program(last=True):
    exec("os.kill(os.getpid(), signal.SIGINT); sum(range(1000))")
"""


def test_an_interruption_of_code_given_as_a_string(tmp_path: Path) -> None:
    """As the methods of a dataclass are while its module is imported."""
    (tmp_path / "interrupted.py").write_text(STRING)
    program = [sys.executable, "-m", "interrupted"]
    done = subprocess.run(
        program, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr) == (130, "Interrupted.\n")


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGTERM, 143),
        pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow),
        pytest.param(signal.SIGHUP, 129, marks=pytest.mark.slow),
    ],
)
def test_a_signal_ends_a_training_that_can_go_on(number: int, code: int, tmp_path: Path) -> None:
    temporary, place = tmp_path / "tmp", tmp_path / "place"
    temporary.mkdir()
    place.mkdir()
    command = ("train", "digits_mlp", "--set", "training.epochs=500", "--set", "training.steps=2")
    with running(place, temporary, *command) as process:
        run = place / "runs" / "digits_mlp-001"
        wait_until(process, (run / "last.safetensors").exists)
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == code, errors
    *_, last = errors.splitlines()
    assert last.startswith(LINES[code]) and "Traceback" not in errors
    if number == signal.SIGINT:
        assert last.endswith("continue with: neurodeploy train --resume runs/digits_mlp-001")
    assert hidden(place, temporary) == []
    assert not (run / "run.json").exists()


@pytest.mark.slow
def test_sigterm_ends_a_simulation_with_temporary_files(workspace: Path, tmp_path: Path) -> None:
    place, temporary = tmp_path / "place", tmp_path / "tmp"
    temporary.mkdir()
    shutil.copytree(workspace, place)
    command = ("simulate", "--engine", "reference", "--random", "100000", "--trace", "t.npz")
    with running(place, temporary, *command) as process:
        wait_until(process, lambda: bool(hidden(temporary)))
        process.terminate()
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors.splitlines()[-1]) == (143, "Terminated.")
    assert hidden(place, temporary) == []
    assert not (place / "t.npz").exists()
    assert members(process.pid) == []


# --- output that nobody takes ---


@pytest.fixture
def place(workspace: Path, tmp_path: Path) -> Path:
    """A copy of the shared run and deployment, to be added to."""
    return Path(shutil.copytree(workspace, tmp_path / "place"))


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    folder = tmp_path / "tmp"
    folder.mkdir()
    return folder


RUN = "runs/digits_conv-001"
DEPLOYED = "deployments/digits_conv-loihi2-001"
SIMULATE = ("simulate", DEPLOYED, "--engine", "reference")
QUICK = (("--help",), (*SIMULATE, "--random", "2"))
ALL = (
    *QUICK,
    ("targets", "--json"),
    ("--version",),
    ("targets",),
    ("models",),
    ("doctor",),
    ("inspect", "runs/digits_conv-001"),
    ("export", "--target", "loihi2"),
    ("export", "--target", "loihi2", "--json"),
    (*SIMULATE, "--random", "2", "--json"),
    ("validate", "--engines", "reference,float", "--random", "2"),
    ("validate", "--random", "2"),
    ("train", "digits_mlp", "--set", "training.epochs=1", "--set", "training.steps=2"),
    ("learn", "--engine", "reference", "--samples", "5", "--held-out", "5", "--no-ceiling"),
    ("bench", "mapping", "--network", "mlp-16-8-4", "--target", "loihi2"),
)
OUTPUTS = ("unread", "closed", "full")


@pytest.mark.parametrize(
    "commands",
    [QUICK, pytest.param(ALL, marks=[pytest.mark.lava, pytest.mark.slow])],
    ids=["quick", "all"],
)
def test_output_that_nobody_takes(
    commands: tuple[tuple[str, ...], ...], place: Path, temporary: Path
) -> None:
    jobs = [Job(command, output) for command in commands for output in OUTPUTS]
    ended = run_each(jobs, place, temporary)
    for (command, output, *_), (code, said) in zip(jobs, ended, strict=True):
        assert code == (2 if output == "full" else 0), (command, output, said)
        full = "Error: the output cannot be written: No space left on device\n"
        assert said.endswith(full) if output == "full" else "Error" not in said
        assert "Traceback" not in said and "Exception" not in said
    if commands is ALL:
        made = [path.name for path in (place / "deployments").glob("digits_conv-loihi2-???")]
        assert len(made) == 1 + 2 * len(OUTPUTS)
        assert len(list((place / "runs").glob("digits_mlp-*/run.json"))) == len(OUTPUTS)
    for deployment in (place / "deployments").iterdir():
        read_deployment(deployment)
    summary = place / DEPLOYED / "results" / "reference" / "summary.json"
    assert json.loads(summary.read_text())["samples"] == 2
    assert hidden(place, temporary) == []


@pytest.mark.lava
@pytest.mark.slow
def test_a_failed_check_is_one_also_when_nobody_reads(place: Path, temporary: Path) -> None:
    """And its code is not that of output that could not be written."""
    failing = ("validate", "--random", "2", "--engines", "reference,lava-fused", "--strict")
    jobs = [Job((*failing, "--rate", "0"), output) for output in ("", *OUTPUTS)]
    assert [code for code, _ in run_each(jobs, place, temporary)] == [1, 1, 1, 1]


# --- what is no file ---


def alarmed(*command: str, folder: Path) -> tuple[int, str]:
    """A command that is to end within seconds; else a test of it fails."""

    def fail(*_: object) -> None:
        pytest.fail(f"{command} hangs")

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(120)
    try:
        result = run_cli(*command, folder=folder)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    return result.exit_code, result.output


INPUTS = (
    ("export", "@.nir", "--target", "loihi2", "--steps", "4"),
    ("export", "@.net", "--target", "loihi2", "--steps", "4"),
    ("export", "--target", "./@.toml"),
    ("export", "--target", "loihi2", "--calibrate", "@.npz"),
    pytest.param(("export", "--target", "loihi2", "--activity", "@"), marks=pytest.mark.slow),
    ("export", "--target", "loihi2", "--out", "@"),
    ("train", "./@.toml"),
    ("train", "--data", "@.npz", "--set", "data.name=npz"),
    ("train", "--init", "@.nir"),
    ("train", "--init", "@"),
    ("train", "--resume", "@"),
    ("train", "--out", "@"),
    ("train", "--set", 'network.family="@.py:build"'),
    ("simulate", "@"),
    ("simulate", DEPLOYED, "--engine", "reference", "--data", "@.npz"),
    ("simulate", DEPLOYED, "--engine", "reference", "--random", "2", "--trace", "@.npz"),
    ("validate", DEPLOYED, "--data", "@.npz"),
    ("learn", DEPLOYED, "--engine", "reference", "--data", "@"),
    ("learn", DEPLOYED, "--engine", "reference", "--out", "@"),
    ("inspect", "@.nir"),
    ("inspect", "@.net"),
    ("inspect", "@"),
    ("bench", "mapping", "--network", "@"),
)


@pytest.mark.parametrize("command", INPUTS, ids=str)
def test_what_is_no_file_is_refused(
    command: tuple[str, ...], workspace: Path, tmp_path: Path
) -> None:
    """A pipe has no end, a device has everything, and a folder is none."""
    for folder in ("runs", "deployments"):
        (tmp_path / folder).symlink_to(workspace / folder)
    (ending,) = [re.sub("[^@]*@|:build.*", "", word) for word in command if "@" in word]
    os.mkfifo(tmp_path / f"pipe{ending}")
    (tmp_path / f"device{ending}").symlink_to("/dev/zero")
    (tmp_path / f"folder{ending}").mkdir()
    (tmp_path / f"folder{ending}" / "file").write_text("")
    for kind in ("pipe", "device", "folder"):
        named = [word.replace("@", kind) for word in command]
        code, said = alarmed(*named, folder=tmp_path)
        assert code == 2, (kind, said)
        assert said.splitlines()[-1].startswith("Error: "), said
        assert kind in said or "data set 'digits' ships with scikit-learn" in said


@pytest.mark.slow
def test_files_within_folders_that_are_none(place: Path) -> None:
    """Every file of a run and of a deployment in turn."""
    run_cli("simulate", "--engine", "reference", "--random", "2", folder=place)
    for folder, commands in (
        (RUN, [("export", RUN, "--target", "loihi2"), ("inspect", RUN)]),
        (DEPLOYED, [("simulate", DEPLOYED, "--engine", "reference", "--random", "2")]),
    ):
        for path in (place / folder).rglob("*"):
            if not path.is_file():
                continue
            content = path.read_bytes()
            path.unlink()
            os.mkfifo(path)
            for command in commands:
                code, said = alarmed(*command, folder=place)
                assert code in (0, 2), (path, said)
            path.unlink()
            path.write_bytes(content)


def test_a_trace_is_written_over_a_trace_alone(place: Path) -> None:
    command = ("simulate", DEPLOYED, "--engine", "reference", "--random", "2", "--trace")
    mine = {"notes.npz": b"", "data.npz": None, RUN + "/recipe.json": None}
    np.savez(place / "data.npz", x=np.zeros(3))
    for name, content in mine.items():
        if content is not None:
            (place / name).write_bytes(content)
        before = (place / name).read_bytes()
        result = run_cli(*command, name, folder=place)
        assert result.exit_code == 2
        assert "is not a trace, so it is not overwritten; name another file with --trace" in (
            result.output
        )
        assert (place / name).read_bytes() == before
    (place / "to_trace.npz").symlink_to("trace.npz")
    for _ in range(2):
        assert run_cli(*command, "trace.npz", folder=place).exit_code == 0
    assert run_cli(*command, "to_trace.npz", folder=place).exit_code == 0
    with np.load(place / "to_trace.npz") as found:
        assert "predicted" in found
