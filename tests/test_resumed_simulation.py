"""A simulation that is cut short goes on where it was, and finds what an uncut one finds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from neurodeploy.artifacts.names import SHOWN
from neurodeploy.simulation.engines import ReferenceEngine
from support.command import run_cli, run_json

DEPLOYED = "deployments/digits_conv-loihi2-001"
UNFINISHED = Path(DEPLOYED, "results/reference/unfinished")
COMMAND = ("simulate", DEPLOYED, "--engine", "reference", "--random", "1500", "--rate", "0.3")
ASKED = ("--metrics", "neurobench", "--early-exit", "2")


def found_by(*options: str, folder: Path) -> dict:
    found = run_json(*COMMAND, *options, folder=folder)
    for name in ("seconds", "samples_per_second"):
        del found[name]
    return found


@pytest.mark.parametrize("workers", [(), pytest.param(("--workers", "2"), marks=pytest.mark.slow)])
def test_it_finds_the_same(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, workers: tuple[str, ...]
) -> None:
    if workers:
        pytest.importorskip("distributed")
    whole, in_full = found_by(*ASKED, folder=workspace), workspace / UNFINISHED.parent / SHOWN
    shown = load_file(in_full)
    right = ReferenceEngine.run

    def cut(self, batches, *, state: bool = False):
        for number, found in enumerate(right(self, batches, state=state)):
            if number == 3:
                raise KeyboardInterrupt
            yield found

    with monkeypatch.context() as patched:
        patched.setattr(ReferenceEngine, "run", cut)
        done = run_cli(*COMMAND, *ASKED, folder=workspace)
    assert done.exit_code == 130
    assert "Interrupted after 768 of 1,500 samples" in done.stderr and "--resume" in done.stderr
    assert (workspace / UNFINISHED).is_dir()
    (counts,) = (workspace / UNFINISHED).glob("counts-*.safetensors")
    content = counts.read_bytes()
    counts.write_bytes(content[:-1])
    damaged = run_cli(*COMMAND, *ASKED, "--resume", folder=workspace)
    assert damaged.exit_code == 2 and "missing or changed" in damaged.stderr
    counts.write_bytes(content)
    other = run_cli(*COMMAND, "--resume", folder=workspace)
    assert other.exit_code == 2 and "other samples, another deployment or other" in other.stderr
    assert found_by(*ASKED, "--resume", *workers, folder=workspace) == whole
    again = load_file(in_full)
    assert again.keys() == shown.keys()
    for name, value in again.items():
        np.testing.assert_array_equal(value, shown[name])
    assert not (workspace / UNFINISHED).exists()
    nothing = run_cli(*COMMAND, *ASKED, "--resume", folder=workspace)
    assert nothing.exit_code == 2 and "there is no interrupted simulation here" in nothing.stderr
    trace = run_cli(*COMMAND, "--resume", "--trace", "t.npz", folder=workspace)
    assert trace.exit_code == 2 and "which hold no trace" in trace.stderr
