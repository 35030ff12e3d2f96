"""Damaged .net files: a correct import or one clear message, within a bounded memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from neurodeploy.interchange.netx.file import write_net
from neurodeploy.interchange.netx.network_out import to_layers
from neurodeploy.lava.compat import lava_available
from support.net_networks import CASES, random_net, slayer_files
from support.sigma_delta_networks import slayer_changes

TESTS = Path(__file__).parent


def check(folder: Path, first: int, count: int) -> None:
    if lava_available():
        slayer_files(folder)
        slayer_changes(folder)
    for name, case in CASES.items():
        network = random_net(0, *case)
        write_net(folder / f"{name}.net", to_layers(network).layers, network.contract.steps)
    done = subprocess.run(
        [sys.executable, "-m", "support.net_fuzz", folder, str(first), str(count)],
        cwd=TESTS,
        capture_output=True,
        text=True,
        timeout=600,  # a hang, not a slow machine
        check=True,
    )
    found = json.loads(done.stdout)
    assert not found["failures"], "\n".join(found["failures"][:3])
    assert sum(found["outcomes"].values()) == count
    assert found["outcomes"]["refused"] > count / 2
    assert found["outcomes"]["read"] > 0
    assert found["memory"] < 1000


def test_damaged_files(tmp_path: Path) -> None:
    check(tmp_path, 0, 200)


@pytest.mark.slow
def test_thousands_of_damaged_files(tmp_path: Path) -> None:
    check(tmp_path, 350, 5000)
