"""Biases that no membrane can hold: into synaptic currents, behind delays, and around loops."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest

import neurodeploy as nd
from neurodeploy.artifacts.names import QUANTIZED_NIR
from neurodeploy.errors import UnsupportedError
from neurodeploy.interchange.nir.network_in import to_network
from neurodeploy.interchange.nir.network_out import network_to_nir
from neurodeploy.interchange.nir_file import read_nir, write_nir
from neurodeploy.ir.contract import Contract, InputCode, Semantics
from neurodeploy.ir.network import Network
from neurodeploy.neurons.constant import CONSTANT
from neurodeploy.norse.compat import norse_available
from neurodeploy.reporting.parity import ParityComparison
from neurodeploy.simulation.engines import ReferenceEngine
from neurodeploy.simulation.trace import SampleBatch, WholeTrace
from support.command import run_cli
from support.random_nir import DT, chain, contract, joined, neuron

needs_norse = pytest.mark.skipif(not norse_available(), reason="Norse is not installed")


def events(*shape: int, rate: float = 0.3, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).random(shape) < rate).astype(np.uint8)


def potentials(trace: WholeTrace, name: str) -> np.ndarray:
    found = trace[name].v
    assert found is not None
    return found


def braille(steps: int = 256, hidden: int = 38) -> nir.NIRGraph:
    """The recurrent network of the NIR paper (Pedersen et al. 2024, task 3) with random weights.

    12 taxels, ``hidden`` CubaLIF neurons that feed back on themselves through an Affine, and 7
    letters; written by snnTorch with dt = 1e-4 and a bias in every Affine, the loop in a subgraph.
    """
    dt, rng = 1e-4, np.random.default_rng(3)

    def cuba(count: int) -> nir.CubaLIF:
        one = np.ones(count)
        tau_syn, tau_mem = dt / (1 - 0.35), dt / (1 - 0.8)
        return nir.CubaLIF(
            tau_syn=tau_syn * one, tau_mem=tau_mem * one, r=tau_mem / dt * one, v_leak=0 * one,
            v_threshold=one, v_reset=0 * one, w_in=tau_syn / dt * one,
        )  # fmt: skip

    def affine(out: int, inputs: int, scale: float) -> nir.Affine:
        return nir.Affine(rng.normal(0, scale, (out, inputs)), rng.normal(0.02, 0.06, out))

    lif1, w_rec = cuba(hidden), affine(hidden, hidden, 0.1)
    nodes: dict[str, Any] = {
        "input": nir.Input({"input": np.array([12])}),
        "fc1": affine(hidden, 12, 0.4),
        "lif1.lif": lif1,
        "lif1.w_rec": w_rec,
        "fc2": affine(7, hidden, 0.4),
        "lif2": cuba(7),
        "output": nir.Output({"output": np.array([7])}),
    }
    edges = [
        ("input", "fc1"), ("fc1", "lif1.lif"), ("lif1.lif", "lif1.w_rec"),
        ("lif1.w_rec", "lif1.lif"), ("lif1.lif", "fc2"), ("fc2", "lif2"), ("lif2", "output"),
    ]  # fmt: skip
    return nir.NIRGraph(nodes, edges, {}, type_check=False)


BRAILLE = Contract(Semantics(1e-4, "zero", ">"), InputCode("events"), 64, "spike_count")


def stepped_braille(graph: nir.NIRGraph, x: np.ndarray) -> dict[str, np.ndarray]:
    """snnTorch's RSynaptic and Synaptic by hand: syn = alpha syn + input, mem = beta mem + syn.

    The bias of ``w_rec`` is in every step, the first one too.
    """
    nodes: Any = graph.nodes
    alpha, beta = 0.35, 0.8
    states = {name: np.zeros((2, len(x), n)) for name, n in (("lif1.lif", 38), ("lif2", 7))}
    spikes: dict[str, list[np.ndarray]] = {name: [] for name in states}
    back = np.zeros((len(x), 38))
    for t in range(x.shape[1]):
        fc1, rec, fc2 = nodes["fc1"], nodes["lif1.w_rec"], nodes["fc2"]
        drive = x[:, t] @ fc1.weight.T + fc1.bias + back @ rec.weight.T + rec.bias
        for name in states:
            syn, mem = states[name]
            syn = alpha * syn + drive
            mem = beta * mem + syn
            fired = mem > 1
            states[name] = np.stack([syn, np.where(fired, 0, mem)])
            spikes[name].append(fired)
            drive = fired @ fc2.weight.T + fc2.bias if name != "lif2" else drive
        back = spikes["lif1.lif"][-1].astype(float)
    return {name: np.stack(found, 1) for name, found in spikes.items()}


# --- what it computes ---


def test_a_bias_into_a_current_adds_up_in_it() -> None:
    """u[t] = k u[t-1] + b, v[t] = m v[t-1] + f u[t] by their closed forms, without any input."""
    bias = np.array([0.5, -1.0])
    fc = nir.Affine(np.zeros((2, 2)), bias)
    network = to_network(
        chain((2,), ("fc", fc), ("li", neuron("CubaLI", (2,)))), contract(9), "net"
    )
    source = network.population(CONSTANT)
    assert source.neuron is not None and source.neuron.kind == CONSTANT
    trace = nd.simulate(network, events(1, 9, 2), engine="float")
    np.testing.assert_array_equal(trace[CONSTANT].spikes, np.ones((1, 9, 1)))
    k, m = 1 / 2, 3 / 4  # tau_syn of 2 steps, tau_mem of 4
    t = np.arange(9)[:, None]
    # sum over j <= t of m^(t - j) u[j], with u[j] = b/2 (1 - k^(j + 1)) / (1 - k), times 1/4
    expected = sum(m ** (t - j) * (1 - k ** (j + 1.0)) * (j <= t) for j in range(9)) * bias / 4
    np.testing.assert_allclose(potentials(trace, "li")[0], expected, rtol=1e-12)


def test_nobody_is_told_that_a_constant_source_always_fires() -> None:
    """Nor what the leak of a neuron that is reset at every step rounds to."""
    fc = nir.Affine(np.zeros((2, 2)), np.array([0.5, -1.0]))
    threshold = np.full(2, 100.0)
    cuba = nir.CubaLIF(
        tau_syn=np.full(2, 2 * DT), tau_mem=np.full(2, 4 * DT), r=np.ones(2), v_leak=np.zeros(2),
        v_threshold=threshold, v_reset=np.zeros(2), w_in=np.ones(2),
    )  # fmt: skip
    network = to_network(chain((2,), ("fc", fc), ("cuba", cuba)), contract(9), "net")
    quantized = nd.quantize(network, "loihi2")
    assert CONSTANT not in quantized.notes
    engine = ReferenceEngine(quantized)
    comparison = ParityComparison(quantized, ("reference", "reference"), exact=True)
    for _, trace in engine.run([SampleBatch(0, events(4, 9, 2), static=False)], state=True):
        comparison.add(trace, trace, None)
    assert comparison.report.silent
    assert any("cuba never spiked" in warning for warning in comparison.report.warnings)
    assert not any(CONSTANT in warning for warning in comparison.report.warnings)


def test_a_bias_into_a_membrane_stays_there() -> None:
    for kind in ("LIF", "IF", "LI", "I"):
        graph = chain((2,), ("fc", nir.Affine(np.eye(2), np.ones(2))), ("n", neuron(kind, (2,))))
        network = to_network(graph, contract(), "net")
        assert [p.name for p in network.populations] == ["input", "n"]


def test_a_bias_behind_a_delay_starts_late() -> None:
    """Also into a membrane, and each element after its own delay."""
    steps = np.array([0, 1, 3])
    graph = chain(
        (3,),
        ("fc", nir.Affine(np.zeros((3, 3)), np.full(3, 2.0))),
        ("late", nir.Delay(steps * DT)),
        ("i", neuron("I", (3,), r=1 / DT)),
    )
    network = to_network(graph, contract(6), "net")
    trace = nd.simulate(network, events(1, 6, 3), engine="float")
    expected = 2.0 * np.clip(np.arange(6)[:, None] - steps + 1, 0, None)
    np.testing.assert_array_equal(potentials(trace, "i")[0], expected)


def test_the_name_of_the_source_is_one_that_no_population_has() -> None:
    graph = chain(
        (2,), ("fc", nir.Affine(np.eye(2), np.ones(2))), ("constant", neuron("CubaLI", (2,)))
    )
    network = to_network(graph, contract(), "net")
    assert [p.name for p in network.populations] == ["input", "constant_", "constant"]
    assert [p.name for p in network.projections] == ["fc", "constant_bias"]


def test_the_network_of_the_nir_paper_computes_what_snntorch_does() -> None:
    graph, x = braille(), events(3, 64, 12)
    network = to_network(graph, BRAILLE, "braille")
    trace = nd.simulate(network, x, engine="float")
    for name, spikes in stepped_braille(graph, x).items():
        assert 0.02 < spikes.mean() < 0.6, name
        np.testing.assert_array_equal(trace[name].spikes, spikes, name)


# --- engines ---


def with_convolutions() -> Network:
    """Biases of convolutions, also before a pooling, into currents; and one around a loop."""
    rng = np.random.default_rng(5)

    def conv(out: int, inputs: int) -> nir.Conv2d:
        weight = rng.normal(0, 0.5, (out, inputs, 3, 3))
        return nir.Conv2d(None, weight, 1, 1, 1, 1, rng.normal(0.2, 0.3, out))

    nodes: dict[str, Any] = {
        "c1": conv(3, 2),
        "n1": neuron("CubaLIF", (3, 6, 6), v_threshold=0.1),
        "c2": conv(4, 3),
        "pool": nir.AvgPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])),
        "n2": neuron("CubaLIF", (4, 3, 3), v_threshold=0.05),
        "flat": nir.Flatten({"input": np.array([4, 3, 3])}, 0),
        "fc": nir.Affine(rng.normal(0, 0.5, (5, 36)), rng.normal(0.1, 0.3, 5)),
        "back": nir.Affine(rng.normal(0, 0.3, (5, 5)), rng.normal(0.1, 0.3, 5)),
        "late": nir.Delay(np.full(5, 2 * DT)),
        "n3": neuron("CubaLIF", (5,), v_threshold=0.1),
    }  # fmt: skip
    edges = ["input>c1", "c1>n1", "n1>c2", "c2>pool", "pool>n2", "n2>flat", "flat>fc", "fc>n3"]
    graph = joined(nodes, *edges, "n3>back", "back>late", "late>n3", "n3>output", shape=(2, 6, 6))
    return to_network(graph, contract(10), "convolutions")


NETWORKS = {
    "braille": (lambda: to_network(braille(), BRAILLE, "braille"), (64, 12)),
    "convolutions": (with_convolutions, (10, 2, 6, 6)),
}


@pytest.mark.parametrize(
    ("engine", "name"),
    [
        ("lava", "convolutions"),
        ("lava-fused", "braille"),
        pytest.param("lava", "braille", marks=pytest.mark.slow),
        pytest.param("lava-fused", "convolutions", marks=pytest.mark.slow),
    ],
)
@pytest.mark.lava
def test_lava_computes_the_reference(name: str, engine: str) -> None:
    make, shape = NETWORKS[name]
    network, x = nd.quantize(make(), "loihi2"), events(3, *shape)
    spikes = nd.simulate(network, x, engine="reference")[CONSTANT].spikes
    assert spikes.all(), "it fires from the first step on, in every sample"
    report = nd.validate(network, x, engines=("reference", engine))
    assert report.mismatches == 0


@pytest.mark.parametrize("name", NETWORKS)
@needs_norse
def test_norse_computes_the_floats(name: str) -> None:
    make, shape = NETWORKS[name]
    report = nd.validate(make(), events(3, *shape), engines=("float", "norse"))
    assert report.mismatches == 0


@pytest.mark.parametrize("target", ["loihi1", "loihi2"])
@pytest.mark.parametrize("name", NETWORKS)
def test_integers_come_close_and_fit_a_chip(name: str, target: str) -> None:
    """A bias is rounded as the weights of its own projection are."""
    make, shape = NETWORKS[name]
    floats, x = make(), events(8, *shape)
    network = nd.quantize(floats, target)
    biases = [p for p in network.projections if p.source == CONSTANT]
    assert [p.name for p in biases] == [p.name for p in floats.projections if p.source == CONSTANT]
    assert len(biases) >= 2
    expected = nd.simulate(floats, x, engine="float")[floats.output].spikes
    found = nd.simulate(network, x)[network.output].spikes
    assert (found == expected).mean() > 0.9
    mapping = nd.map(network, target)
    assert mapping.violations == ()
    assert sum(placed.population == CONSTANT for placed in mapping.placements) == 1


# --- there and back ---


@pytest.mark.parametrize("name", NETWORKS)
def test_it_is_written_as_the_biases_that_it_stands_for(name: str, tmp_path: Path) -> None:
    make, shape = NETWORKS[name]
    network, x = make(), events(2, *shape)
    graph = network_to_nir(network)
    assert CONSTANT not in graph.nodes
    write_nir(tmp_path / "a.nir", graph)
    again = to_network(read_nir(tmp_path / "a.nir"), network.contract, "again")
    assert [p.name for p in again.populations] == [p.name for p in network.populations]
    first, second = (nd.simulate(n, x, engine="float") for n in (network, again))
    for population in network.populations:
        np.testing.assert_array_equal(first[population.name].spikes, second[population.name].spikes)


@pytest.mark.parametrize("name", NETWORKS)
def test_to_torch_has_the_biases_in_its_layers(name: str) -> None:
    import torch

    make, shape = NETWORKS[name]
    network, x = make(), events(2, *shape)
    module = nd.to_torch(network)
    expected = nd.simulate(network, x, engine="float")[network.output].spikes
    module.reset_state()
    with torch.no_grad():
        steps = [module(torch.from_numpy(x[:, t].astype(np.float64))) for t in range(x.shape[1])]
    np.testing.assert_array_equal(torch.stack(steps, 1).numpy(), expected)


def test_a_module_with_biases_comes_back_from_torch() -> None:
    network = to_network(braille(), BRAILLE, "braille")
    module = nd.to_torch(network).eval()
    again = nd.from_torch(module, sample_shape=(12,), steps=64, encoder="events")
    x = events(2, 64, 12)
    first, second = (nd.simulate(n, x, engine="float")[n.output].spikes for n in (network, again))
    np.testing.assert_array_equal(first, second)


def test_an_exported_file_has_it_everywhere(tmp_path: Path) -> None:
    write_nir(tmp_path / "braille.nir", braille())
    how = ("--from", "snntorch", "--reset", "zero", "--steps", "64", "--encoder", "events")
    run_cli("export", "braille.nir", *how, "--target", "loihi2", "--out", "d", folder=tmp_path)
    deployed = nd.load(tmp_path / "d")
    assert CONSTANT in [p.name for p in deployed.network.populations]
    assert "lif1.lif_bias" in (tmp_path / "d" / "report.html").read_text()
    shown = run_cli("inspect", "d", folder=tmp_path).output
    assert f"{CONSTANT:<16} {CONSTANT}" in shown
    # Other tools see the integers, and we find them again.
    graph = read_nir(tmp_path / "d" / QUANTIZED_NIR)
    how = ("--target", "loihi2", "--out", "e")
    assert run_cli("export", f"d/{QUANTIZED_NIR}", *how, folder=tmp_path).exit_code == 0
    again = nd.load(tmp_path / "e").network
    assert CONSTANT not in graph.nodes
    for one, two in zip(deployed.network.projections, again.projections, strict=True):
        assert (one.name, one.delay) == (two.name, two.delay)
        scale = 2.0**one.exponent, 2.0**two.exponent
        np.testing.assert_array_equal(
            one.operator.weights * scale[0], two.operator.weights * scale[1]
        )
    x = events(4, 64, 12)
    first, second = (nd.simulate(n, x) for n in (deployed.network, again))
    for population in again.populations:
        np.testing.assert_array_equal(first[population.name].spikes, second[population.name].spikes)


@pytest.mark.lava
def test_a_net_has_no_place_for_it() -> None:
    network = nd.quantize(to_network(braille(), BRAILLE, "braille"), "loihi2")
    with pytest.raises(UnsupportedError, match="'constant'"):
        nd.validate(network, events(1, 64, 12), engines=("reference", "netx"))
