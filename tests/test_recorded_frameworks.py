"""Files of frameworks that are not installed here, against what those computed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from neurodeploy.interchange.nir.importing import import_nir, open_nir
from neurodeploy.ir.contract import Origin
from support.framework_runs import here
from support.narrow import there
from support.recorded import DATA, recorded_file, recorded_traces

NAMES = sorted(path.name.removesuffix(".nir.gz") for path in DATA.glob("*.nir.gz"))

READOUTS = {"3_ExpSynTorch", "nengo_readout"}
"""Layers recorded by their potential: float32 in Rockpool."""


def framework_of(name: str) -> Origin:
    known: dict[str, Origin] = {
        "spyx": "spyx",
        "rockpool": "rockpool",
        "nengo": "nengo",
        "lava": "lava",
    }
    return known[name.split("_")[0]]


def test_there_are_traces() -> None:
    assert len(NAMES) == 17
    assert {framework_of(name) for name in NAMES} == {"spyx", "rockpool", "nengo", "lava"}


@pytest.mark.parametrize("name", NAMES)
def test_every_neuron_at_every_step(name: str, tmp_path: Path) -> None:
    x, layers = recorded_traces(name)
    found = import_nir(
        recorded_file(name, tmp_path), framework=framework_of(name), steps=x.shape[1]
    )
    traces = here(found, x)
    for layer, theirs in layers.items():
        known = (layer, f"{layer}.lif", f"{layer}_threshold")
        trace = next(traces[at] for at in known if at in traces)
        if layer in READOUTS or name in READOUTS:
            np.testing.assert_allclose(there(trace.v), theirs, atol=2e-6)
            continue
        # Spyx hands the spikes of the step before on, but for neurons without a reset.
        late = name.startswith("spyx") and f"{layer}_threshold" not in traces
        ours, theirs = (trace.s[:, :-1], theirs[:, 1:]) if late else (trace.s, theirs)
        np.testing.assert_array_equal(ours, theirs, f"{name}: {layer}")
        assert 0.02 < theirs.mean() < 0.98


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith(("nengo", "lava"))])
def test_such_a_file_is_known(name: str, tmp_path: Path) -> None:
    assert next(iter(open_nir(recorded_file(name, tmp_path)).likely)) == framework_of(name)
