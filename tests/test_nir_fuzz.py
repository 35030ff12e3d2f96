"""Damaged NIR files end in one clear message or a network: no traceback, hang or memory hog."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).parent
MEGABYTES = 1000


def run(folder: Path, seed: int, count: int) -> dict[str, Any]:
    """In a process of its own, whose memory is this alone, and which may crash."""
    done = subprocess.run(
        [sys.executable, "-m", "support.nir_fuzz", str(folder), str(seed), str(count)],
        cwd=TESTS,
        capture_output=True,
        text=True,
        timeout=3600,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def check(found: dict[str, Any]) -> None:
    assert not found["failures"], "\n".join(found["failures"][:3])
    assert found["megabytes"] < MEGABYTES
    assert found["imported"] > 0
    assert len(found["messages"]) > 10
    for message in found["messages"]:
        assert message.strip()
        assert "Traceback" not in message
        # Whatever is refused, the file or the node in it is named.
        assert all(".nir" in line for line in message.splitlines() if not line.startswith("  -"))


def test_some_damaged_files(tmp_path: Path) -> None:
    check(run(tmp_path, seed=0, count=40))


@pytest.mark.slow
def test_many_damaged_files(tmp_path: Path) -> None:
    check(run(tmp_path, seed=1, count=640))
