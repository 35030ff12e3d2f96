"""Files and folders are written whole or not at all, and unfinished ones are never picked up."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from neurodeploy.artifacts.folders import newest_deployment, newest_run, read_run
from neurodeploy.errors import InputError
from neurodeploy.support.files import (
    check_new_folder,
    folder_written_whole,
    next_free,
    sha256,
    write_json,
    written_whole,
)
from neurodeploy.support.reading import read_json
from support.wording import refused


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


class Interruption(BaseException):
    """As KeyboardInterrupt, no ``Exception``."""


# --- one file ---


def test_a_file_changes_at_the_end_and_not_before(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with written_whole(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("error", [RuntimeError, Interruption, KeyboardInterrupt])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path, error: Any) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(error), written_whole(path) as temporary:
        temporary.write_text("half")
        raise error
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "file" / "a.json", tmp_path / "none" / "a.json", tmp_path / "folder"):
        with pytest.raises(InputError, match="cannot be written") as caught:
            write_json(path, {})
        assert str(caught.value).startswith(f"{path}: ")
    assert names(tmp_path) == ["file", "folder"]


def test_json_reads_back(tmp_path: Path) -> None:
    value = {"a": [1, 2.5, None, True], "b": {"c": "é"}}
    write_json(tmp_path / "a.json", value)
    assert read_json(tmp_path / "a.json") == value


def test_json_that_cannot_be_encoded_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", {"a": object()})
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "not valid JSON"),
        (b"", "not valid JSON"),
        (b"\xff\xfe{}", "not valid JSON"),
        (b"[1]", "expected a JSON object"),
        (None, "cannot be read: No such file"),
    ],
)
def test_json_that_cannot_be_read_is_named(
    tmp_path: Path, content: bytes | None, message: str
) -> None:
    path = tmp_path / "a.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        read_json(path)
    assert str(caught.value).startswith(f"{path}: ")
    with pytest.raises(InputError, match="cannot be read"):
        read_json(tmp_path)


def test_sha256_is_the_digest_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256(tmp_path / "a") == hashlib.sha256(b"abc").hexdigest()
    assert sha256(tmp_path / "a").startswith("ba7816bf8f01cfea")


# --- a folder ---


@pytest.mark.parametrize("exists", [False, True], ids=["new", "empty"])
def test_a_folder_appears_with_all_it_holds(tmp_path: Path, exists: bool) -> None:
    path = tmp_path / "deep" / "er"
    if exists:
        path.mkdir(parents=True)
    with folder_written_whole(path) as folder:
        (folder / "sub").mkdir()
        (folder / "sub" / "a").write_text("x")
        assert not path.exists() or names(path) == []
        assert all(name.startswith(".") for name in names(path.parent) if name != "er")
    assert names(path.parent) == ["er"]
    assert (path / "sub" / "a").read_text() == "x"
    assert path.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("error", [RuntimeError, Interruption, KeyboardInterrupt])
def test_a_failure_leaves_no_folder(tmp_path: Path, error: Any) -> None:
    with pytest.raises(error), folder_written_whole(tmp_path / "out") as folder:
        (folder / "manifest.json").write_text("{}")
        raise error
    assert names(tmp_path) == []


def test_a_process_that_dies_leaves_hidden_names_only(tmp_path: Path) -> None:
    program = (
        "import os\n"
        "from pathlib import Path\n"
        "from neurodeploy.support.files import folder_written_whole, written_whole\n"
        "with folder_written_whole(Path('out')) as folder, written_whole(Path('a')) as file:\n"
        "    (folder / 'manifest.json').write_text('{}')\n"
        "    (folder / 'run.json').write_text('{}')\n"
        "    file.write_text('half')\n"
        "    os._exit(9)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, check=False
    )
    assert done.returncode == 9
    left = names(tmp_path)
    assert len(left) == 2
    assert all(name.startswith(".") and name.endswith(".partial") for name in left)
    for find in (newest_run, newest_deployment):
        with pytest.raises(InputError):
            find(tmp_path)
    with folder_written_whole(tmp_path / "out") as folder:
        (folder / "new").write_text("")
    assert names(tmp_path / "out") == ["new"]


def test_a_folder_with_content_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious").write_text("x")
    (tmp_path / "file").write_text("x")
    for name in ("out", "file"):
        for refuse in (check_new_folder, lambda path: folder_written_whole(path).__enter__()):
            with pytest.raises(InputError, match="already exists; name another folder") as caught:
                refuse(tmp_path / name)
            assert str(caught.value).startswith(f"{tmp_path / name}: ")
    assert (tmp_path / "out" / "precious").read_text() == "x"
    assert names(tmp_path) == ["file", "out"]


def test_content_that_appears_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "out"
    with pytest.raises(InputError, match="cannot be written"), folder_written_whole(path):
        path.mkdir()
        (path / "theirs").write_text("x")
    assert names(tmp_path) == ["out"]
    assert names(path) == ["theirs"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    path = tmp_path / "file" / "out"
    with pytest.raises(InputError, match="cannot be written"), folder_written_whole(path):
        pass
    assert names(tmp_path) == ["file"]


# --- numbering ---


def test_numbers_go_up_and_are_never_used_twice(tmp_path: Path) -> None:
    assert next_free(tmp_path / "none", "net") == tmp_path / "none" / "net-001"
    for name in ("net-001", "net-007", "net-1000x", "other-900", "net-", "net-²", "800"):
        (tmp_path / name).mkdir()
    (tmp_path / "net-008").write_text("a file takes its number as well")
    assert next_free(tmp_path, "net").name == "net-009"
    assert next_free(tmp_path, "n.t").name == "n.t-001"
    (tmp_path / "net-999").mkdir()
    assert next_free(tmp_path, "net").name == "net-1000"


# --- the newest ---


def place(folder: Path, name: str, marker: str, age: float) -> Path:
    """A run or deployment whose marker was written ``age`` seconds ago."""
    (folder / name).mkdir(parents=True)
    file = folder / name / marker
    file.write_text(json.dumps({"name": name}))
    now = 1_700_000_000
    os.utime(file, (now - age, now - age))
    return folder / name


@pytest.mark.parametrize(
    ("find", "marker"), [(newest_run, "run.json"), (newest_deployment, "manifest.json")]
)
def test_the_newest_is_the_one_finished_last(tmp_path: Path, find: Any, marker: str) -> None:
    place(tmp_path, "b-old", marker, 50)
    newest = place(tmp_path, "a-new", marker, 20)
    place(tmp_path, "c-older", marker, 90)
    (tmp_path / "unfinished").mkdir()
    (tmp_path / "unfinished" / "recipe.json").write_text("{}")
    place(tmp_path, ".z.abc.partial", marker, 0)
    (tmp_path / marker).write_text("{}")
    assert find(tmp_path) == newest
    # Written in the same instant: the last name, so that the choice does not vary.
    assert find(tmp_path) != place(tmp_path, "a-another", marker, 20)
    assert find(tmp_path) == newest


@pytest.mark.parametrize(
    ("find", "message"),
    [
        (newest_run, "no finished training run in .*; make one with neurodeploy train"),
        (newest_deployment, "no deployment in .*; make one with neurodeploy export"),
    ],
)
def test_nothing_finished_says_what_to_do(tmp_path: Path, find: Any, message: str) -> None:
    (tmp_path / "unfinished").mkdir()
    for folder in (tmp_path, tmp_path / "absent"):
        with refused(InputError, message, by="export"):
            find(folder)


def test_a_run_is_read_only_when_it_finished(tmp_path: Path) -> None:
    assert read_run(place(tmp_path, "done", "run.json", 0)) == {"name": "done"}
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "recipe.json").write_text("{}")
    (tmp_path / "other").mkdir()
    for name, message in (
        ("begun", "did not finish; continue it with neurodeploy train --resume .*begun"),
        ("other", "not a training run"),
        ("absent", "no such run"),
    ):
        with refused(InputError, message, by="export"):
            read_run(tmp_path / name)
