"""Each command where it can write little or nothing: 2 and a line, or its work; no half of it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import pytest

from neurodeploy.artifacts.deployment import read_deployment
from support.command import run_cli
from support.forked import Job, run_each
from support.zygote import zygote

pytestmark = [
    pytest.mark.slow,
    pytest.mark.lava,
]

RUN, DEPLOYED = "runs/digits_conv-001", "deployments/digits_conv-loihi2-001"
LEARN = ("learn", DEPLOYED, "--samples", "5", "--held-out", "5", "--no-ceiling")
WRITING = (
    ("train", "digits_mlp", "--set", "training.epochs=2", "--set", "training.steps=2"),
    ("export", RUN, "--target", "loihi2"),
    ("simulate", DEPLOYED, "--engine", "reference", "--random", "20", "--trace", "t.npz"),
    ("simulate", DEPLOYED, "--engine", "lava", "--random", "2"),
    ("simulate", DEPLOYED, "--engine", "lava-fused", "--random", "2"),
    ("validate", DEPLOYED, "--random", "2"),
    (*LEARN, "--engine", "reference"),
    (*LEARN, "--engine", "lava-fused"),
)
OTHERS = (
    ("bench", "mapping", "--network", "mlp-16-8-4", "--target", "loihi2"),
    ("bench", "simulate", "--network", "mlp-16-8-4", "--seconds", "0.1", "--rounds", "1"),
    ("inspect", DEPLOYED),
    ("targets",),
    ("models",),
)
MEGABYTE = 10**6


@pytest.fixture(scope="module")
def mounts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """Two small file systems of their own: to work in, and for temporary files."""
    base = tmp_path_factory.mktemp("mounts")
    with ExitStack() as held:
        yield held.enter_context(mounted(base / "work")), held.enter_context(mounted(base / "tmp"))


@contextmanager
def mounted(folder: Path) -> Iterator[Path]:
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64M", "tmpfs", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount")
    if done.returncode:
        pytest.skip("file systems are mounted by root alone")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)


@contextmanager
def filled(folder: Path, leave: int) -> Iterator[None]:
    """A file system that has no more room than this."""
    filler = folder / "filler"
    with filler.open("wb") as file:
        free = shutil.disk_usage(folder).free - leave
        while free > 0:
            size = min(free, MEGABYTE)
            try:
                file.write(bytes(size))
                file.flush()
            except OSError:
                break
            free -= size
    try:
        yield
    finally:
        filler.unlink()


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["mount", "-o", "remount,rw", str(folder)], check=True)


def fresh(workspace: Path, folder: Path) -> Path:
    place = folder / "place"
    shutil.rmtree(place, ignore_errors=True)
    return Path(shutil.copytree(workspace, place))


def check(code: int, said: str, place: Path, *others: Path) -> None:
    """Work or a line, and nothing half-done; a training goes on where it was."""
    assert code in (0, 2), said
    assert "Traceback" not in said
    # Before it, a line for each stage that was reached.
    lines = said.splitlines()
    errors = [line for line in lines if line.startswith("Error: ")]
    assert errors == (lines[-1:] if code else []), said
    assert not [path for folder in (place, *others) for path in folder.rglob(".*")]
    for path in (place / "deployments").iterdir():
        read_deployment(path)
    for path in (place / "runs").iterdir():
        if not (path / "run.json").exists():
            result = run_cli("train", "--resume", str(path), folder=place)
            assert result.exit_code == 0, result.output


def each_checked(
    workspace: Path,
    work: Path,
    tmp_path: Path,
    short: Callable[[], AbstractContextManager[None]],
    temporary: Path | None = None,
) -> Iterator[tuple[tuple[str, ...], int, str]]:
    """Run every command in a fresh copy while room is ``short``; it, its code and what it said."""
    with zygote(tmp_path, temporary or tmp_path, tmp_path / "said") as forks:
        for command in (*WRITING, *OTHERS):
            place = fresh(workspace, work)
            with short():
                code, said = forks.run(*command, folder=place)
            check(code, said, place, *([] if temporary is None else [temporary]))
            yield command, code, said


@pytest.mark.parametrize("limit", [1000, 8000, 40_000, 100_000])
def test_a_limit_on_files(limit: int, workspace: Path, tmp_path: Path) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    jobs = []
    for number, command in enumerate((*WRITING, *OTHERS)):
        place = shutil.copytree(workspace, tmp_path / f"place{number}")
        jobs.append(Job(command, limit=limit, folder=str(place)))
    for job, ended in zip(jobs, run_each(jobs, tmp_path, temporary), strict=True):
        check(*ended, Path(job.folder))
        assert "File too large" in ended.said or "a file may have" in ended.said or not ended.code


@pytest.mark.parametrize("leave", [0, 70_000, 300_000, MEGABYTE])
def test_a_full_output_folder(
    leave: int, workspace: Path, mounts: tuple[Path, Path], tmp_path: Path
) -> None:
    work, _ = mounts
    for command, code, said in each_checked(workspace, work, tmp_path, lambda: filled(work, leave)):
        if command in OTHERS:
            assert code == 0
        elif leave == 0:
            assert code == 2 and "is on a disk that is full" in said


def test_a_read_only_output_folder(
    workspace: Path, mounts: tuple[Path, Path], tmp_path: Path
) -> None:
    work, _ = mounts
    for command, code, said in each_checked(workspace, work, tmp_path, lambda: read_only(work)):
        assert code == (0 if command in OTHERS else 2), said
        assert command in OTHERS or said.endswith("is read-only\n")


@pytest.mark.parametrize("leave", [0, 100_000])
def test_a_full_place_for_temporary_files(
    leave: int, workspace: Path, mounts: tuple[Path, Path], tmp_path: Path
) -> None:
    """Where not even a byte fits, Python takes another place, as for other programs."""
    _, temporary = mounts
    full = each_checked(
        workspace, tmp_path, tmp_path, lambda: filled(temporary, leave), temporary=temporary
    )
    for _, code, said in full:
        assert not code or "set TMPDIR to a folder on a disk with more room" in said
