"""Public traces of one LIF neuron: Norse, Lava in floats and integers, and Loihi hardware.

From the NIR paper (Pedersen et al., Nature Communications 15:8122, 2024); ``data/README.md`` says
where from.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neurodeploy.interchange.nir.file import read_nir
from neurodeploy.interchange.nir.importing import import_nir
from neurodeploy.interchange.nir.network_in import to_network
from neurodeploy.ir.contract import Contract, InputCode, Semantics
from neurodeploy.ir.fixed_point import WeightFormat
from neurodeploy.ir.operators import Dense
from neurodeploy.ir.quantized import (
    QuantizedNetwork,
    QuantizedNeuron,
    QuantizedPopulation,
    QuantizedProjection,
)
from neurodeploy.simulation.engines import FloatEngine, ReferenceEngine
from neurodeploy.simulation.trace import PopulationTrace, SampleBatch

FOLDER = Path(__file__).parent / "data" / "lif"
STEPS = 1000


@dataclass(frozen=True)
class Recording:
    """Columns of one file, from the step that belongs to the first input.

    Lava's Dense sends what it computed in the step before, so its neuron is one step late.
    """

    inputs: np.ndarray
    v: np.ndarray
    fired: list[int]


def recording(name: str, late: int) -> Recording:
    inputs, v, spikes = np.loadtxt(FOLDER / f"{name}.csv", delimiter=",").T
    assert len(inputs) == STEPS
    assert not v[:late].any()
    return Recording(inputs.astype(np.uint8), v[late:], list(np.flatnonzero(spikes) - late))


def contract() -> Contract:
    """What Norse did: forward Euler at 0.1 ms, reset to zero, a spike above the threshold."""
    return Contract(
        Semantics(1e-4, "zero", ">", "euler"), InputCode("events"), STEPS, "spike_count"
    )


def deployed() -> QuantizedNetwork:
    """The integers of the paper's script: du 4095, dv 163, vth 25 and a weight of 10."""
    neuron = QuantizedNeuron(
        kind="LIF",
        u_decay=np.array([4096]),
        v_decay=np.array([163]),
        bias_mantissa=np.array([0]),
        bias_exponent=np.array([0]),
        threshold=np.array([25]),
        reset="zero",
        comparison=">",
    )
    populations = (
        QuantizedPopulation("input", (1,), None, 1.0),
        QuantizedPopulation("lif", (1,), neuron, 250.0),
    )
    weights = Dense(np.array([[10]]), (1,), (1,))
    form = WeightFormat(8, "excitatory")
    projection = QuantizedProjection("fc", "input", "lif", weights, form, 0, 1)
    return QuantizedNetwork("lif", populations, (projection,), "lif", contract())


def run(engine: Any, inputs: np.ndarray) -> PopulationTrace:
    ((_, trace),) = engine.run(
        [SampleBatch(0, inputs.reshape(1, STEPS, 1), static=False)], state=True
    )
    engine.close()
    return trace.populations[trace.output]


def fired(record: PopulationTrace) -> list[int]:
    return list(np.flatnonzero(record.s))


@pytest.mark.parametrize(("name", "late"), [("lif_norse", 0), ("lif_lava_cpu_float", 1)])
def test_the_imported_file_runs_as_norse_and_lava_ran_it(name: str, late: int) -> None:
    network = to_network(read_nir(FOLDER / "lif_norse.nir"), contract(), "lif")
    expected = recording(name, late)
    record = run(FloatEngine(network), expected.inputs)
    assert record.v is not None
    # They computed in float32.
    np.testing.assert_allclose(record.v.ravel()[: STEPS - late], expected.v, atol=2e-7)
    assert fired(record) == expected.fired == [460, 510, 710, 760]


@pytest.mark.parametrize(
    ("name", "late", "origin"),
    [("lif_norse", 0, "norse"), ("lif_lava_cpu_float", 1, "lava")],
)
def test_the_framework_alone_says_as_much(name: str, late: int, origin: Any) -> None:
    """All but dt for Norse, whose networks have their own; Lava's script has the same for all."""
    dt = 1e-4 if origin == "norse" else None
    found = import_nir(FOLDER / "lif_norse.nir", framework=origin, dt=dt, steps=STEPS)
    assert found.network.contract.semantics == contract().semantics
    expected = recording(name, late)
    assert fired(run(FloatEngine(found.network), expected.inputs)) == expected.fired


def reference() -> Any:
    return ReferenceEngine(deployed())


def lava() -> Any:
    from neurodeploy.lava.stock import LavaEngine

    return LavaEngine(deployed(), capacity=1, state=True, timeout=60)


def lava_fused() -> Any:
    from neurodeploy.lava.fused import FusedLavaEngine

    return FusedLavaEngine(deployed(), capacity=1, state=True, timeout=60)


@pytest.mark.parametrize(
    "engine",
    [
        reference,
        pytest.param(lava, marks=pytest.mark.lava),
        pytest.param(lava_fused, marks=[pytest.mark.lava, pytest.mark.slow]),
    ],
)
def test_integers_equal_lava_and_spike_as_the_chip_did(engine: Any) -> None:
    simulated, chip = recording("lif_lava_cpu_fixed", 1), recording("lif_lava_loihi_fixed", 1)
    np.testing.assert_array_equal(simulated.inputs, chip.inputs)
    record = run(engine(), simulated.inputs)
    assert record.v is not None
    v = record.v.ravel()[: STEPS - 1]
    np.testing.assert_array_equal(v, simulated.v)
    assert fired(record) == simulated.fired == chip.fired
    # The chip rounds its decay a little differently.
    assert np.abs(v - chip.v).max() <= 128
