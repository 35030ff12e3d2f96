"""Integers as plain ONNX, run by onnxruntime: the reference's own, bit for bit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neurodeploy.artifacts.deployment import read_deployment
from neurodeploy.errors import MissingDependencyError, UnsupportedError
from neurodeploy.interchange.onnx.network_out import Form, onnx_bytes, to_onnx
from neurodeploy.ir.quantized import QuantizedNetwork
from neurodeploy.simulation.engines import ReferenceEngine
from neurodeploy.simulation.trace import Samples
from support.command import run_json
from support.learning_networks import small_chain
from support.random_models import random_model_network
from support.random_networks import (
    GRAPHS,
    NEURONS,
    OPERATORS,
    SPIKING,
    random_input,
    random_network,
)
from support.temporal_networks import sparse_events, temporal_network

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")

FORMS: tuple[Form, ...] = ("unrolled", "scan")


def run(model: Any, values: np.ndarray) -> dict[str, np.ndarray]:
    """Every output, by its name."""
    session = runtime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]
    found = session.run(names, {"input": values.astype(np.uint8)})
    return dict(zip(names, found, strict=True))


def check(network: QuantizedNetwork, samples: Samples, form: Form) -> int:
    """u, v and s of every population at every step, and the scores; returns how many wrapped."""
    engine = ReferenceEngine(network)
    ((batch, trace),) = engine.run(samples.batches(samples.count), state=True)
    model = to_onnx(network, form, each_step=not batch.static, traces=True)
    found = run(model, batch.values)
    np.testing.assert_array_equal(found.pop("scores"), trace.scores(network.contract.decode))
    for population in network.populations:
        if population.neuron is not None:
            for what, values in trace.populations[population.name].arrays.items():
                at = f"{population.name}.{what}"
                np.testing.assert_array_equal(found.pop(at), values, at)
    assert found == {}
    return engine.overflow.total


@pytest.mark.parametrize("form", FORMS)
def test_random_networks_agree(form: Form) -> None:
    """Of every neuron, operator, graph and payload."""
    overflowed = 0
    for seed in range(0, 24, 1 if form == "scan" else 2):
        neurons = SPIKING[seed % 3], SPIKING[seed // 3 % 3], NEURONS[seed % 6]
        operators = OPERATORS[seed % 6], OPERATORS[(seed // 6 + seed) % 6]
        payload = (1, 16, 255)[seed % 3]
        network = random_network(seed, neurons, operators, GRAPHS[seed // 4 % 6], payload)
        overflowed += check(network, random_input(network, seed, 3, seed % 2 == 0), form) > 0
    # Equality means little where nothing leaves its width.
    assert overflowed > 3


def test_networks_in_time_agree() -> None:
    """Currents, recurrence, delays and rests over 20 steps."""
    for seed in range(4):
        network = temporal_network(seed, 20)
        check(network, sparse_events(network, seed, 2), FORMS[seed % 2])


@pytest.mark.parametrize("bits", [1, 4, 8])
def test_quantised_networks_agree(bits: int) -> None:
    network = small_chain("conv", bits=bits, payload=16, steps=4)
    network = replace(network, contract=replace(network.contract, decode="sum_v"))
    check(network, random_input(network, bits, 3, over_time=False), "unrolled")


def test_it_is_plain() -> None:
    """Operators of ONNX's own alone, and no loop where steps are written out; files are alike."""
    network = small_chain("conv", payload=16, steps=4)
    model = to_onnx(network, "unrolled")
    kinds = {node.op_type for node in model.graph.node}
    assert kinds >= {"ConvInteger", "MatMulInteger"} and "Scan" not in kinds
    assert {node.domain for node in model.graph.node} == {""}
    assert {node.op_type for node in to_onnx(network, "scan").graph.node} >= {"Scan"}
    assert onnx_bytes(network) == onnx_bytes(network)


def test_a_batch_may_have_any_size() -> None:
    network = small_chain("dense", payload=16)
    model = to_onnx(network, "scan")
    values = np.random.default_rng(0).integers(0, 17, (5, 7))
    one = [run(model, values[i : i + 1])["scores"] for i in range(5)]
    np.testing.assert_array_equal(np.concatenate(one), run(model, values)["scores"])


def test_what_it_cannot_hold_is_refused_by_name() -> None:
    models = random_model_network(0, ("LIF", "ATRLIF", "LI"), "chain")
    with pytest.raises(UnsupportedError, match=r"ONNX takes only leaky .*, found .* ATRLIF"):
        to_onnx(models)
    network = small_chain("dense", steps=100)
    with pytest.raises(
        UnsupportedError, match=r"100 steps are not written out, at most 64 .* scan"
    ):
        to_onnx(network, "unrolled")
    first, *others = network.projections
    wide = replace(network, projections=(replace(first, payload=256), *others))
    with pytest.raises(UnsupportedError, match=r"'w1': messages of up to 256, .* 8 bits reach 255"):
        to_onnx(wide)
    odd = first.operator.with_weights(first.operator.weights | 1)
    odd.weights.flat[:2] = 255, -255
    large = replace(network, projections=(replace(first, operator=odd), *others))
    with pytest.raises(
        UnsupportedError, match=r"'w1': weights from -255 to 255 times 1, which do not fit"
    ):
        to_onnx(large)


def test_export_writes_it_beside_the_integers(workspace: Path) -> None:
    """A trained network, on samples of its data."""
    out = workspace / "with-onnx"
    run_json("export", "--target", "loihi2", "--onnx", "scan", "--out", str(out), folder=workspace)
    deployed = read_deployment(out)
    samples = random_input(deployed.network, 0, 4, over_time=False)
    ((batch, trace),) = ReferenceEngine(deployed.network).run(samples.batches(4))
    found = run(onnx.load(out / "network.onnx"), batch.values)["scores"]
    np.testing.assert_array_equal(found, trace.scores(deployed.network.contract.decode))


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("neurodeploy.interchange.onnx.network_out.version_of", lambda _: None)
    with pytest.raises(MissingDependencyError, match="install it with `pip install onnx`"):
        to_onnx(small_chain("dense"))
