"""Classes read as soon as they are sure: where, by every decode, and the same in every engine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import neurodeploy as nd
from neurodeploy.errors import InputError
from neurodeploy.ir.contract import Decode
from neurodeploy.ir.network import Network
from neurodeploy.ir.quantized import QuantizedNetwork
from neurodeploy.lava.compat import lava_available
from neurodeploy.simulation.early_exit import EarlyReader
from neurodeploy.simulation.trace import PopulationTrace, SpikeTrace, WholeTrace
from support.command import run_cli, run_json

SHAPE, STEPS = (6,), 5


def network_of(last: nn.Module | None = None) -> Network:
    """Six inputs, eight neurons, three classes."""
    torch.manual_seed(2)
    layers = [nn.Linear(6, 8), nd.nn.LIF(2.0), nn.Linear(8, 3)]
    module = nn.Sequential(*layers, *([] if last is None else [last]))
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(3)
    return nd.from_torch(module.eval(), SHAPE, STEPS, levels=15)


def decoding(decode: Decode) -> Network:
    network = network_of()
    return replace(network, contract=replace(network.contract, decode=decode))


def trace_of(values: Any, decode: Decode) -> SpikeTrace:
    array = np.array(values)
    record = PopulationTrace(array.astype(np.uint8), v=array)
    if decode == "spike_count":
        record = PopulationTrace(array.astype(np.uint8))
    return SpikeTrace(0, {"readout": record}, "readout")


ONE = [[1, 0, 0], [1, 0, 0], [0, 1, 0], [1, 0, 0]]
"""Sums: 1-0, 2-0, 2-1, 3-1; differences: 1, 2, 1, 2."""


@pytest.mark.parametrize(
    ("decode", "margin", "steps", "lengths"),
    [
        ("sum_v", 1, 1, None),
        ("sum_v", 2, 2, None),
        ("sum_v", 2.5, 4, None),
        ("sum_v", 2, 1, 1),
        ("sum_v", 9, 3, 3),
        ("spike_count", 2, 2, None),
        ("last_v", 1, 1, None),
        ("last_v", 1.5, 4, None),
    ],
)
def test_a_sample_is_read_where_it_is_sure(
    decode: Decode, margin: float, steps: int, lengths: int | None
) -> None:
    lasts = None if lengths is None else np.array([lengths])
    found = EarlyReader(decoding(decode), margin).read(trace_of([ONE], decode), lasts)
    assert found.steps.tolist() == [steps]
    assert found.classes.tolist() == [0]
    assert found.classes.dtype == found.steps.dtype == np.int64


def test_the_lowest_class_on_a_tie_and_the_class_of_that_step() -> None:
    tied = [[0, 2, 2], [0, 2, 2]]
    changing = [[0, 3, 0], [9, 0, 0]]
    found = EarlyReader(decoding("sum_v"), 2).read(trace_of([tied, changing], "sum_v"))
    assert found.steps.tolist() == [2, 1]
    assert found.classes.tolist() == [1, 1]


def test_a_margin_is_above_zero() -> None:
    for margin in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(InputError, match="needs a margin above 0"):
            EarlyReader(network_of(), margin)


@pytest.mark.parametrize(
    "last", [None, nd.nn.LI(4.0), nd.nn.LIF(2.0)], ids=["sum", "leak", "count"]
)
def test_every_engine_exits_at_the_same_steps(last: nn.Module | None) -> None:
    network = network_of(last)
    integers = nd.quantize(network, "loihi2", bits=8)
    x = np.random.default_rng(0).integers(0, 16, (12, *SHAPE))
    stock = ["lava"] if last is None else []
    beside = ["lava-fused", *stock] if lava_available() else []
    traces = {
        engine: nd.simulate(integers, x[: 4 if engine == "lava" else 12], engine=engine)
        for engine in ("reference", *beside)
    }
    for margin in (0.3, 2.0, 1e6):
        check_exits(integers, traces, margin)


def check_exits(integers: QuantizedNetwork, traces: dict[str, WholeTrace], margin: float) -> None:
    contract, population = integers.contract, integers.population(integers.output)
    unit = 1 if contract.decode == "spike_count" else 64 * population.scale
    found = {name: nd.early_exits(integers, trace, margin) for name, trace in traces.items()}
    for name, exits in found.items():
        count = len(exits.steps)
        np.testing.assert_array_equal(exits.steps, found["reference"].steps[:count], name)
        np.testing.assert_array_equal(exits.classes, found["reference"].classes[:count], name)
    # Written plainly.
    trace = traces["reference"]
    output = trace[integers.output]
    for n, (step, label) in enumerate(
        zip(found["reference"].steps, found["reference"].classes, strict=True)
    ):
        total = np.zeros(3)
        for t in range(STEPS):
            if contract.decode == "spike_count":
                total = total + output.spikes[n, t].ravel()
            else:
                assert output.v is not None
                v = output.v[n, t].ravel()
                total = v if contract.decode == "last_v" else total + v
            first, second = sorted(total, reverse=True)[:2]
            if first - second >= margin * unit or t == STEPS - 1:
                assert (step, label) == (t + 1, int(np.argmax(total)))
                break
    if margin > 1e3:
        assert (found["reference"].steps == STEPS).all()
        np.testing.assert_array_equal(found["reference"].classes, trace.classes)


def test_potentials_have_to_be_recorded() -> None:
    integers = nd.quantize(network_of(), "loihi2")
    trace = nd.simulate(integers, np.full((2, *SHAPE), 15))
    without = {name: replace(record, v=None) for name, record in trace.items()}
    with pytest.raises(InputError, match="state=True"):
        nd.early_exits(integers, replace(trace, populations=without), 1.0)


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("early") / "deployed"
    nd.deploy(network_of(), "loihi2", folder)
    return folder


def test_the_command_tells_steps_and_energy(deployed: Path) -> None:
    chosen = ["simulate", str(deployed), "--engine", "reference", "--random", "20", "--rate", "0.5"]
    here = deployed.parent
    never = run_json(*chosen, "--early-exit", "1e9", folder=here)
    found = never["early_exit"]
    assert {*found} == {
        *("margin", "unit", "decode", "accuracy", "agreement", "mean_steps", "saved_steps"),
        *("all_steps", "steps", "predicted", "synaptic_ops", "energy_nj"),
    }
    assert found["steps"] == [STEPS] * 20
    assert found["agreement"] == 1
    assert (found["mean_steps"], found["saved_steps"]) == (STEPS, 0)
    assert found["energy_nj"] == never["estimate"]["energy_nj"]
    assert found["synaptic_ops"] == never["estimate"]["synaptic_ops"]
    at_once = run_json(*chosen, "--early-exit", "1e-9", folder=here)["early_exit"]
    assert at_once["mean_steps"] < STEPS
    assert at_once["energy_nj"]["low"] < found["energy_nj"]["low"]
    assert at_once["synaptic_ops"] < found["synaptic_ops"]
    assert run_json(*chosen, folder=here)["early_exit"] is None
    said = run_cli(*chosen, "--early-exit", "0.5", folder=here).output
    assert "Read early, once the output's potential is 0.5 above that of the second class" in said
    refused = run_cli(*chosen, "--early-exit", "0", folder=here)
    assert refused.exit_code == 2
    assert "--early-exit 0: needs a margin above 0" in refused.output
