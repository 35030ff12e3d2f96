"""A full disk, a limit on files, a folder that takes none: one message, nothing half-done."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from neurodeploy.artifacts.folders import NewFolder
from neurodeploy.artifacts.simulations import TraceFile
from neurodeploy.errors import InputError, PictureWarning, UnwritableError
from neurodeploy.interchange.hdf5 import hdf5_written
from neurodeploy.lava.shared import SharedArrays
from neurodeploy.simulation.trace import PopulationTrace, SpikeTrace
from neurodeploy.support.files import SPARE, check_place, check_writable, written_whole
from neurodeploy.support.partial import reserve, temporary_folder
from neurodeploy.training import resume_run, train
from neurodeploy.training.event_file import EventFile
from support.small_runs import assert_same_run, make_recipe
from support.wording import refused

LIMITED = """
import resource, sys
from neurodeploy.cli import main

resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
main(sys.argv[2:])
"""


def test_an_export_beyond_a_limit_on_files_is_one_message(workspace: Path, tmp_path: Path) -> None:
    """Written by HDF5 itself, the network would crash the process."""
    place = tmp_path / "place"
    shutil.copytree(workspace / "runs", place / "runs")
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, "8000", "export", "--target", "loihi2"],
        cwd=place, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    *stages, line = done.stderr.splitlines()
    assert not any("Error" in stage for stage in stages)
    assert line.startswith("Error: ") and line.endswith("cannot be written: File too large")
    assert list((place / "deployments").iterdir()) == []


def test_files_have_their_room_before_they_are_mapped(tmp_path: Path) -> None:
    reserve(tmp_path / "a", 1_000_000)
    found = (tmp_path / "a").stat()
    assert found.st_size == 1_000_000
    assert found.st_blocks * 512 >= 1_000_000
    assert not any((tmp_path / "a").read_bytes())
    with pytest.raises(InputError, match=r"need 1,.*,000\.0 MB here .* MB are free .*; set TMPDIR"):
        reserve(tmp_path / "b", 10**18)


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk without room for anything that is reserved."""

    def refuse(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", refuse)


@pytest.mark.usefixtures("full")
def test_no_room_for_shared_arrays_and_traces_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(InputError, match=r"No space left.*; set TMPDIR"), temporary_folder() as at:
        SharedArrays(at, {"drive": ((4, 5), np.int32)})
    trace = TraceFile(tmp_path / "a.npz", 2)
    record = PopulationTrace(np.zeros((2, 3, 4), np.uint8))
    with pytest.raises(InputError, match=f"{tmp_path}: temporary files need 0.0 MB"):
        trace.add(SpikeTrace(0, {"a": record}, "a"))
    trace.discard()
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_written_is_known_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is not a folder"):
        check_writable(tmp_path / "file" / "deep" / "a")
    check_writable(tmp_path / "deep" / "er" / "a")
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)
    for check in (check_writable, check_place, lambda path: NewFolder(path, path).check()):
        with pytest.raises(InputError, match=f"a: cannot be written: {tmp_path} is read-only"):
            check(tmp_path / "a")
    with pytest.raises(InputError, match="is read-only"):
        TraceFile(tmp_path / "a.npz", 1)
    monkeypatch.undo()
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=0))
    with pytest.raises(InputError, match="is on a disk that is full"):
        check_writable(tmp_path / "a")


def test_a_file_is_on_the_disk_before_it_takes_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    sync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (events.append("fsync"), sync(fd))[1])
    monkeypatch.setattr(os, "replace", lambda a, b: (events.append("replace"), replace(a, b))[1])
    with written_whole(tmp_path / "a") as file:
        file.write_text("x")
    assert events == ["fsync", "replace"]


def test_hdf5_is_written_whole(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), hdf5_written(tmp_path / "a") as file:
        file["x"] = 1
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_room_for_checkpoints_is_looked_for_before_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(resource, "getrlimit", lambda _: (1000, 1000))
        with pytest.raises(InputError, match=r"last.safetensors: .* a file may have 1\.0 kB"):
            train(make_recipe(), run, progress=False)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=SPARE))
        with pytest.raises(InputError, match=r"last.safetensors: .* and 65\.5 kB are free"):
            train(make_recipe(network={"family": "mlp", "hidden": [512]}), run, progress=False)
    assert not run.exists()


def refuse(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("name", ["network.nir", "run.json", "best.safetensors"])
def test_a_network_is_not_lost_when_the_disk_runs_full_in_the_end(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run goes on where it was, once there is room."""
    run, replace = tmp_path / "run", os.replace
    with monkeypatch.context() as patch:
        patch.setattr(
            os, "replace", lambda a, b: refuse() if Path(b).name == name else replace(a, b)
        )
        with refused(UnwritableError, "make room and continue with", by="train"):
            train(make_recipe(), run, progress=False)
    assert not (run / "run.json").exists() and not list(run.glob(".*"))
    resume_run(run, progress=False)
    train(make_recipe(), tmp_path / "whole", progress=False)
    assert_same_run(run, tmp_path / "whole")


def test_events_for_tensorboard_that_cannot_be_written_are_a_warning(tmp_path: Path) -> None:
    (tmp_path / "tensorboard").write_text("")
    with pytest.warns(PictureWarning, match="tensorboard: epochs are missing there: File exists"):
        board = EventFile(tmp_path / "tensorboard", 1)
    board.add(1, {"loss/train": 0.5})
    board.close()
