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
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from support.fuzzing.attempts import MEGABYTES, SECONDS, Call, attempt, complaints, listing

TESTS = Path(__file__).parent


def run(folder: Path, first: int, count: int, processes: int = 2) -> dict[str, Any]:
    """In processes of their own, which have one thread and fork for every mutation."""
    share = -(-count // processes)
    begun = [
        subprocess.Popen(
            [
                *(sys.executable, "-m", "support.fuzzing", str(folder / str(begin))),
                *(str(begin), str(min(share, first + count - begin))),
            ],
            cwd=TESTS,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"},
        )
        for begin in range(first, first + count, share)
    ]
    said = [process.communicate() for process in begun]
    for process, (_, errors) in zip(begun, said, strict=True):
        assert process.returncode == 0, errors[-3000:]
    found = [json.loads(output.splitlines()[-1]) for output, _ in said]
    return {
        "endings": sum((Counter(one["endings"]) for one in found), Counter()),
        "failures": [failure for one in found for failure in one["failures"]],
        "seconds": max(one["seconds"] for one in found),
        "megabytes": max(one["megabytes"] for one in found),
    }


def check(found: dict[str, Any]) -> None:
    assert not found["failures"], "\n\n".join(found["failures"][:5])
    assert found["seconds"] < SECONDS
    assert found["megabytes"] < MEGABYTES
    # Damage is found out, and damage that changes nothing is none.
    assert found["endings"]["2"] > found["endings"]["0"] > 0


def test_damaged_files_of_every_kind(tmp_path: Path) -> None:
    check(run(tmp_path, first=0, count=100, processes=1))


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
