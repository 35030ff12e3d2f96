"""A large NIR file is imported in bounded memory, as measured in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent


def output(*arguments: str) -> dict[str, float]:
    command = [sys.executable, "-m", "support.nir_size", *arguments]
    done = subprocess.run(
        command, cwd=TESTS, capture_output=True, text=True, check=True, timeout=600
    )
    return json.loads(done.stdout)


@pytest.mark.slow
def test_five_million_weights_take_less_than_a_gigabyte(tmp_path: Path) -> None:
    path = str(tmp_path / "vgg.nir")
    assert output("--write", path)["weights"] > 5e6
    found = output(path)
    assert found["neurons"] > 2e5
    assert found["megabytes"] < 1000


def test_many_small_nodes_take_no_more_than_what_they_hold(tmp_path: Path) -> None:
    """HDF5 takes 70 kB for an array as long as it is open: 280 MB for these."""
    path = str(tmp_path / "chain.nir")
    assert output("--chain", path)["weights"] == 400 * 16
    found = output(path)
    assert found["neurons"] == 400 * 4
    assert found["megabytes"] - found["before"] < 120
