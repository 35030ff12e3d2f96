"""Whatever is wrong with a file, a command ends soon, small and in words: never in a traceback.

A mutation that fails is made again by ``python -m support.fuzzing FOLDER NUMBER 1`` in ``tests``.
``FUZZ_FIRST`` and ``FUZZ_COUNT`` choose others for the slow test.
"""

from __future__ import annotations

import faulthandler
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support.fuzzing.attempts import MEGABYTES, SECONDS, Call, attempt, complaints, listing

TESTS = Path(__file__).parent


def run(folder: Path, first: int, count: int) -> dict[str, Any]:
    """In a process of its own, which has one thread and forks for every mutation."""
    done = subprocess.run(
        [sys.executable, "-m", "support.fuzzing", str(folder), str(first), str(count)],
        cwd=TESTS,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def check(found: dict[str, Any]) -> None:
    assert not found["failures"], "\n\n".join(found["failures"][:5])
    assert found["seconds"] < SECONDS
    assert found["megabytes"] < MEGABYTES
    # Damage is found out, and damage that changes nothing is none.
    assert found["endings"]["2"] > found["endings"]["0"] > 0


def test_damaged_files_of_every_kind(tmp_path: Path) -> None:
    check(run(tmp_path, first=0, count=600))


@pytest.mark.slow
def test_many_damaged_files_of_every_kind(tmp_path: Path) -> None:
    first, count = (int(os.environ.get(f"FUZZ_{name}", n)) for name, n in WANTED.items())
    check(run(tmp_path, first, count))


WANTED = {"FIRST": 100_000, "COUNT": 20_000}


# --- that it can fail ---


def defects() -> dict[str, Call]:
    """Calls with one defect each."""

    def traceback() -> None:
        raise KeyError("weights")

    def crash() -> None:
        faulthandler.disable()
        os.kill(os.getpid(), 11)

    def memory() -> None:
        held = bytearray(1200 * 2**20)
        held[::4096] = b"\1" * len(held[::4096])

    def hang() -> None:
        while True:
            pass

    def mismatch() -> None:
        raise SystemExit(1)

    def leftover() -> None:
        Path("half").write_bytes(b"")
        raise SystemExit(2)

    def silence() -> None:
        raise SystemExit(2)

    def warning() -> None:
        print("/a/b.py:3: RuntimeWarning: overflow")

    def flood() -> None:
        print("x" * 30_000)
        raise SystemExit(2)

    programs = (traceback, crash, memory, hang, mismatch, leftover, silence, warning, flood)
    return {program.__name__: Call((program.__name__,), program) for program in programs}


WORDS = {
    "traceback": "ended with code 70; said what only its makers understand",
    "crash": "died of signal 11",
    "memory": "MB",
    "hang": "took 1 s",
    "mismatch": "ended with 1, which is said of a mismatch; failed without a word",
    "leftover": "failed without a word; left half",
    "silence": "failed without a word",
    "warning": "said what only its makers understand",
    "flood": "characters",
}


@pytest.mark.parametrize("name", WORDS)
def test_a_defect_is_noticed(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("support.fuzzing.attempts.SECONDS", 1)
    folder = tmp_path / "folder"
    folder.mkdir()
    call, before = defects()[name], listing(folder)
    ending = attempt(call, folder, tmp_path / "log")
    wrong = "; ".join(complaints(call, ending, before, listing(folder)))
    assert WORDS[name] in wrong


def test_a_sound_call_is_none(tmp_path: Path) -> None:
    call = Call(("targets",))
    folder = tmp_path / "folder"
    folder.mkdir()
    ending = attempt(call, folder, tmp_path / "log")
    assert ending.code == 0 and "loihi2" in ending.output
    assert complaints(call, ending, set(), listing(folder)) == []
