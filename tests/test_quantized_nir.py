"""Quantised networks as NIR: other tools see the deployed integers, and we find them again."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import nir
import numpy as np
from hypothesis import HealthCheck, Phase, assume, given, reject, settings
from hypothesis import strategies as st

from neurodeploy.artifacts.deployment import read_deployment
from neurodeploy.artifacts.names import MANIFEST
from neurodeploy.errors import UnsupportedError
from neurodeploy.interchange.nir.file import read_nir
from neurodeploy.interchange.nir.network_in import contract_of, to_network
from neurodeploy.interchange.nir_file import write_nir
from neurodeploy.ir.contract import Comparison, Reset
from neurodeploy.ir.network import Network
from neurodeploy.ir.operators import SparseMatrix
from neurodeploy.ir.quantized import PLAN_KEY, QuantizationPlan, QuantizedNetwork, QuantizedNeuron
from neurodeploy.quantization.planned import on_grid, quantize_as_planned
from neurodeploy.simulation.engines import FloatEngine, ReferenceEngine
from neurodeploy.simulation.trace import SpikeTrace
from neurodeploy.support.files import sha256
from neurodeploy.target import load_target
from neurodeploy.workflow.quantization import quantized_graph
from support.command import run_cli, run_json
from support.manifests import edit_manifest, make_old
from support.narrow import node_of, there
from support.random_networks import (
    GRAPHS,
    NEURONS,
    OPERATORS,
    SPIKING,
    random_input,
    random_network,
)

TARGET = load_target("loihi2")


def expressible(
    network: QuantizedNetwork, reset: Reset, comparison: Comparison
) -> QuantizedNetwork:
    """The network with one reset and comparison, and biases only where NIR has a place for them."""

    def neuron(found: QuantizedNeuron) -> QuantizedNeuron:
        leaks = bool((found.v_decay > 0).all())
        mantissa = found.bias_mantissa if leaks else np.zeros_like(found.bias_mantissa)
        changed: Any = {"reset": reset, "comparison": comparison, "bias_mantissa": mantissa}
        return replace(found, **changed)

    populations = tuple(
        replace(p, neuron=None if p.neuron is None else neuron(p.leaky))
        for p in network.populations
    )
    semantics = replace(network.contract.semantics, reset=reset, comparison=comparison)
    contract = replace(network.contract, semantics=semantics)
    return replace(network, populations=populations, contract=contract)


def through_a_file(network: QuantizedNetwork, path: Path) -> tuple[Network, QuantizedNetwork]:
    """The float network in a written file, and the integers found in it."""
    nir.write(path, quantized_graph(network, "loihi2"), compression=None)  # pyright: ignore[reportArgumentType]
    graph = read_nir(path)
    contract = contract_of(graph, "file")
    assert contract is not None
    floats = to_network(graph, contract, network.name)
    plan = QuantizationPlan.from_metadata(graph.metadata[PLAN_KEY], "file")
    return floats, quantize_as_planned(floats, TARGET, plan)


def check_same_integers(network: QuantizedNetwork, found: QuantizedNetwork) -> None:
    """Everything that the chip holds; what has many axes may have been written in one."""
    assert (found.output, found.contract.steps) == (network.output, network.contract.steps)
    for expected in network.populations:
        got = found.population(expected.name)
        if expected.neuron is None or got.neuron is None:
            assert expected.neuron is got.neuron is None
            assert (got.scale, got.shape) == (expected.scale, expected.shape)
            continue
        for name in ("u_decay", "v_decay", "threshold"):
            left, right = (getattr(neuron, name) for neuron in (expected.leaky, got.leaky))
            assert (left is None) == (right is None)
            if left is not None:
                full = np.broadcast_to(left, expected.shape).ravel()
                np.testing.assert_array_equal(right.ravel(), full, f"{expected.name}.{name}")
        biases = [
            np.broadcast_to(n.bias_mantissa << n.bias_exponent, p.shape).ravel()
            for p, n in ((expected, expected.leaky), (got, got.leaky))
        ]
        np.testing.assert_array_equal(biases[1], biases[0], expected.name)
        assert (got.leaky.kind, got.leaky.reset) == (expected.leaky.kind, expected.leaky.reset)
    by_name = {p.name: p for p in found.projections}
    assert len(by_name) == len(network.projections)
    for expected in network.projections:
        got = by_name[expected.name]
        for name in ("source", "target", "weight_format", "exponent", "payload", "delay"):
            assert getattr(got, name) == getattr(expected, name), (expected.name, name)
        assert (got.operator.matrix() - expected.operator.matrix()).nnz == 0
        same_axes = got.operator.output_shape == expected.operator.output_shape
        if same_axes and not isinstance(expected.operator, SparseMatrix):
            assert got.operator.kind == expected.operator.kind
        assert got.clipped == 0


def traces(network: QuantizedNetwork, engine: Any, seed: int) -> list[SpikeTrace]:
    samples = random_input(network, seed, 3, over_time=True)
    return [trace for _, trace in engine.run(samples.batches(2), state=True)]


drawn = given(
    seed=st.integers(0, 2**32 - 1),
    neurons=st.tuples(*[st.sampled_from(SPIKING)] * 2, st.sampled_from(NEURONS)),
    operators=st.tuples(*[st.sampled_from(OPERATORS)] * 2),
    graph=st.sampled_from(GRAPHS),
    payload=st.sampled_from([1, 16, 255]),
    reset=st.sampled_from(["zero", "subtract"]),
    comparison=st.sampled_from([">", ">="]),
)
options = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    # A failing network is small already, and shrinking it takes minutes.
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),  # pyright: ignore[reportArgumentType]
)


def build(**choice: Any) -> QuantizedNetwork:
    try:
        return random_network(**choice)
    except ValueError:  # a kernel that does not fit what is left of the image
        reject()


def test_random_integers_come_back_from_nir(tmp_path: Path) -> None:
    seen = {"whole": 0, "refused": 0}

    @options
    @drawn
    def property_holds(reset: Reset, comparison: Comparison, **choice: Any) -> None:
        network = expressible(build(**choice), reset, comparison)
        try:
            _, found = through_a_file(network, tmp_path / "a.nir")
        except UnsupportedError as error:
            # A loop without delay beyond one step, or a bias with no node to carry it.
            assert "NIR has no" in str(error) or "its bias" in str(error), error
            seen["refused"] += 1
            return
        seen["whole"] += 1
        check_same_integers(network, found)
        pair = (traces(network, ReferenceEngine(net), 3) for net in (network, found))
        for left, right in zip(*pair, strict=True):
            for name in left.populations:
                for variable in ("s", "u", "v"):
                    expected, got = (getattr(t.populations[name], variable) for t in (left, right))
                    if expected is not None:
                        np.testing.assert_array_equal(got.reshape(expected.shape), expected)

    property_holds()
    assert seen["whole"] > 10 * seen["refused"]


# --- what floats on the grid compute ---


def without_rounding(network: QuantizedNetwork, rng: np.random.Generator) -> QuantizedNetwork:
    """The network with leaks of a half or nothing, so that T = 5 steps need no fraction of a unit.

    A state is a multiple of 64 when it enters and is halved at most five times; biases are
    multiples of 64 as well. Right shifts of the activation round, so there are none.
    """

    def decay(values: np.ndarray, least: int) -> np.ndarray:
        return np.where(rng.random(values.shape) < 0.7, 2048, least)

    def neuron(found: QuantizedNeuron) -> QuantizedNeuron:
        cuba, leaky = found.kind.startswith("Cuba"), found.kind not in ("IF", "I")
        return replace(
            found,
            u_decay=decay(found.u_decay, 4096) if cuba else found.u_decay,
            v_decay=decay(found.v_decay, 0) if leaky else found.v_decay,
            bias_mantissa=found.bias_mantissa // 64,
            bias_exponent=np.maximum(found.bias_exponent, 6),
        )

    populations = tuple(
        replace(p, neuron=None if p.neuron is None else neuron(p.leaky))
        for p in network.populations
    )
    projections = tuple(
        replace(p, exponent=min(max(p.exponent, 0), 2)) for p in network.projections
    )
    return replace(network, populations=populations, projections=projections)


def test_the_float_engine_on_the_grid_equals_the_reference_where_nothing_is_rounded() -> None:
    """u and v too: states are 64 times as fine as activations. Ties at the threshold included."""
    seen = {"compared": 0, "fired": 0}

    @options
    @drawn
    def property_holds(reset: Reset, comparison: Comparison, **choice: Any) -> None:
        exactly = without_rounding(build(**choice), np.random.default_rng(1))
        network = expressible(exactly, reset, comparison)
        reference = ReferenceEngine(network)
        exact = traces(network, reference, 5)
        assume(not reference.overflow.total)
        for left, right in zip(
            exact, traces(network, FloatEngine(on_grid(network)), 5), strict=True
        ):
            for name, record in left.populations.items():
                other = right.populations[name]
                np.testing.assert_array_equal(other.s, record.s, err_msg=name)
                for mine, found in ((record.v, other.v), (record.u, other.u)):
                    if mine is not None and found is not None:
                        np.testing.assert_array_equal(found * 64, mine, err_msg=name)
                seen["fired"] += name != "input" and bool(record.s.any())
        seen["compared"] += 1

    property_holds()
    assert seen["compared"] >= 60
    assert seen["fired"] > 60


def test_the_reference_rounds_leaks_towards_zero_and_floats_do_not() -> None:
    """v = 64 decays by 1/4 a step: 48, 36, 27, then 20 for 20.25 and 15 for 15.1875."""
    network = random_network(0, ("LIF", "LIF", "LI"), ("scale", "dense"), "chain", 1)
    populations = []
    for p in network.populations:
        neuron = p.neuron
        if neuron is not None:
            neuron = replace(
                p.leaky,
                v_decay=np.full(p.shape, 1024),
                bias_mantissa=np.zeros(p.shape, np.int64),
                threshold=None if p.leaky.threshold is None else np.full(p.shape, 1000),
            )
        populations.append(replace(p, neuron=neuron))
    first = network.projections[0]
    ones = first.operator.with_weights(np.ones_like(first.operator.weights))
    first = replace(first, operator=ones, exponent=0)
    network = replace(
        network,
        populations=tuple(populations),
        projections=(first, *network.projections[1:]),
        contract=replace(network.contract, steps=5),
    )
    batch = next(random_input(network, 0, 1, over_time=True).batches(1))
    pulse = np.zeros_like(batch.values)
    pulse[:, 0] = 1
    batch = replace(batch, values=pulse)
    ((_, exact),) = ReferenceEngine(network).run([batch], state=True)
    ((_, floats),) = FloatEngine(on_grid(network)).run([batch], state=True)
    v, w = (trace.populations["a"].v for trace in (exact, floats))
    assert v is not None
    assert w is not None
    assert v[0, :, 0, 0, 0].tolist() == [64, 48, 36, 27, 20]
    assert (64 * w[0, :, 0, 0, 0]).tolist() == [64, 48, 36, 27, 20.25]


# --- in a deployment ---


def test_a_deployment_holds_its_integers_as_nir_and_exports_to_them_again(
    workspace: Path, tmp_path: Path
) -> None:
    (first,) = (workspace / "deployments").glob("digits_conv-loihi2-001")
    manifest = json.loads((first / MANIFEST).read_text())
    assert manifest["files"]["quantized.nir"] == sha256(first / "quantized.nir")
    graph = nir.read(first / "quantized.nir", type_check=True)
    deployed = read_deployment(first).network
    conv = deployed.projections[1]
    np.testing.assert_array_equal(
        node_of(graph, conv.name).weight, conv.operator.weights * 2.0**conv.exponent
    )
    lif = deployed.population("lif1").leaky
    np.testing.assert_array_equal(node_of(graph, "lif1").v_threshold, there(lif.threshold))
    source = str(first / "quantized.nir")
    again = run_json("export", source, "--target", "loihi2", "--out", "again", folder=tmp_path)
    assert "as trained for loihi2" in again["notes"]["scales"]
    for name in ("integers.safetensors", "quantized.nir"):
        assert sha256(tmp_path / "again" / name) == sha256(first / name), name
    report = run_json(
        "validate", "again", "--engines", "float,reference", "--samples", "40", folder=tmp_path
    )
    assert min(p["spike_agreement"] for p in report["populations"]) > 0.9999
    anew = run_json(
        *("export", source, "--target", "loihi2", "--scale", "mse", "--out", "anew"),
        folder=tmp_path,
    )
    assert anew["notes"]["scales"] == "by mse"


def test_integers_that_were_changed_are_refused(workspace: Path, tmp_path: Path) -> None:
    (first,) = (workspace / "deployments").glob("digits_conv-loihi2-001")
    graph = nir.read(first / "quantized.nir")
    node_of(graph, "conv1").weight[0, 0, 0, 0] += 0.3
    nir.write(tmp_path / "moved.nir", graph)
    result = run_cli("export", "moved.nir", "--target", "loihi2", folder=tmp_path)
    assert result.exit_code == 2
    assert "projection 'conv1': weights are not on the grid" in result.output
    assert "--scale" in result.output


def test_an_altered_quantized_file_is_noticed_and_old_deployments_load(
    workspace: Path, tmp_path: Path
) -> None:
    (first,) = (workspace / "deployments").glob("digits_conv-loihi2-001")
    copy = tmp_path / "copy"
    shutil.copytree(first, copy, ignore=shutil.ignore_patterns("results"))
    (copy / "quantized.nir").write_bytes(b"")
    result = run_cli("simulate", str(copy), "--engine", "reference", folder=tmp_path)
    assert result.exit_code == 2
    assert "quantized.nir: changed since the export" in result.output
    # As deployments were before they had this file.
    (copy / "quantized.nir").unlink()
    edit_manifest(copy, lambda manifest: manifest["files"].pop("quantized.nir"))
    make_old(copy)
    found = run_json("simulate", str(copy), "--engine", "reference", folder=tmp_path)
    assert found["samples"] == 360


def test_where_nir_has_no_node_the_deployment_says_so_and_is_written(tmp_path: Path) -> None:
    """A bias per neuron behind a convolution into a neuron that does not leak."""
    neuron = nir.IF(r=np.full((1, 2, 2), 1e4), v_threshold=np.ones((1, 2, 2)))
    scale = nir.Scale(np.arange(1.0, 5.0).reshape(1, 2, 2))
    nodes = {
        "input": nir.Input({"input": np.array([1, 2, 2])}),
        "conv": nir.Conv2d((2, 2), np.ones((1, 1, 1, 1)), 1, 0, 1, 1, np.array([0.3])),
        "scale": scale,
        "if": neuron,
        "output": nir.Output({"output": np.array([1, 2, 2])}),
    }
    edges = list(zip(nodes, list(nodes)[1:], strict=False))
    nir.write(tmp_path / "net.nir", nir.NIRGraph(nodes, edges, type_check=False))
    semantics = ("--dt", "1e-4", "--reset", "zero", "--compare", "gt", "--integrator", "euler")
    arguments = ("net.nir", "--target", "loihi2", *semantics, "--steps", "4", "--out", "d")
    exported = run_json("export", *arguments, folder=tmp_path)
    assert (
        "not written: population 'if': NIR has no node for its bias"
        in (exported["notes"]["quantized.nir"])
    )
    assert not (tmp_path / "d" / "quantized.nir").exists()
    assert "quantized.nir" in read_deployment(tmp_path / "d").network.notes


def test_integers_that_would_not_be_read_again_are_not_written(tmp_path: Path) -> None:
    """A factor per neuron behind a convolution: NIR has it as a matrix of nearly nothing but 0."""
    rng, shape = np.random.default_rng(0), (4, 38, 38)
    conv = nir.Conv2d(
        input_shape=(40, 40), weight=rng.uniform(-1, 2, (4, 2, 3, 3)), stride=1, padding=0,
        dilation=1, groups=1, bias=np.ones(4),
    )  # fmt: skip
    ones = np.ones(shape)
    cuba = nir.CubaLIF(
        tau_syn=2e-3 * ones, tau_mem=4e-3 * ones, r=ones, v_leak=0 * ones, v_threshold=ones,
        v_reset=0 * ones, w_in=rng.uniform(0.5, 1.5, shape),
    )  # fmt: skip
    nodes = {
        "input": nir.Input({"input": np.array([2, 40, 40])}),
        "conv": conv,
        "cuba": cuba,
        "output": nir.Output({"output": np.array(shape)}),
    }
    edges = [("input", "conv"), ("conv", "cuba"), ("cuba", "output")]
    write_nir(tmp_path / "a.nir", nir.NIRGraph(nodes, edges))
    stated = ("--dt", "1e-3", "--reset", "zero", "--compare", "gt", "--integrator", "euler")
    how = ("--steps", "2", "--encoder", "events", "--scale", "max", "--target", "loihi2")
    result = run_cli("export", "a.nir", *stated, *how, "--out", "d", folder=tmp_path)
    assert result.exit_code == 0, result.output
    assert "Note: quantized.nir: not written: " in result.output
    assert "bytes unpacked" in result.output
    assert not (tmp_path / "d" / "quantized.nir").exists()
    assert "not written" in (tmp_path / "d" / "report.html").read_text()
