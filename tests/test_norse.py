"""The Norse engine against the float engine: two ways from one NIR file to the same spikes."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import nir
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from neurodeploy.errors import MissingDependencyError, UnsupportedError
from neurodeploy.interchange.nir.network_in import to_network
from neurodeploy.ir.contract import Comparison, Contract, Integrator, Reset, Semantics
from neurodeploy.norse.compat import norse_available, require_norse
from neurodeploy.norse.engine import NorseEngine
from neurodeploy.norse.neurons import norse_neuron
from neurodeploy.simulation.engines import FloatEngine
from neurodeploy.simulation.trace import SampleBatch, SpikeTrace
from neurodeploy.workflow.installation import examine
from support.command import run_cli, run_json
from support.nir_graphs import (
    DT,
    LINEAR,
    NEURONS,
    SPIKING,
    WIRINGS,
    Style,
    contract_for,
    random_batch,
    random_graph,
)
from support.wording import refused

needs_norse = pytest.mark.skipif(not norse_available(), reason="Norse is not installed")


def both(
    graph: nir.NIRGraph, contract: Contract, batch: SampleBatch
) -> tuple[SpikeTrace, SpikeTrace]:
    """The float engine's trace and Norse's."""
    network = to_network(graph, contract, "net")
    shapes = {population.name: population.shape for population in network.populations}
    norse = NorseEngine(graph, shapes, network.output, contract, "net")
    ((_, ours),), ((_, theirs),) = (
        list(engine.run([batch], state=True)) for engine in (FloatEngine(network), norse)
    )
    return ours, theirs


def check_equal(ours: SpikeTrace, theirs: SpikeTrace, *, exactly: bool) -> float:
    """The same spikes and, up to rounding, the same state; returns how many neurons fired."""
    fired = 0.0
    assert set(ours.populations) == set(theirs.populations)
    for name, record in ours.populations.items():
        other = theirs.populations[name]
        np.testing.assert_array_equal(other.s, record.s, err_msg=name)
        assert other.s.dtype == record.s.dtype
        for mine, found in ((record.v, other.v), (record.u, other.u)):
            if mine is None or found is None:
                continue
            if exactly:
                np.testing.assert_array_equal(found, mine, err_msg=name)
            else:
                np.testing.assert_allclose(found, mine, rtol=1e-9, atol=1e-12, err_msg=name)
        fired += record.s.sum()
    return fired


def check_random_graphs(dyadic: bool, examples: int) -> None:
    seen = {"fired": 0.0, "graphs": 0}

    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        # A failing network is small already, and shrinking it takes minutes.
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),  # pyright: ignore[reportArgumentType]
    )
    @given(
        seed=st.integers(0, 2**32 - 1),
        neurons=st.tuples(*[st.sampled_from(SPIKING)] * 2, st.sampled_from(NEURONS)),
        linear=st.tuples(*[st.sampled_from(LINEAR)] * 2),
        wiring=st.sampled_from(WIRINGS),
        payload=st.sampled_from([1, 16]),
        comparison=st.sampled_from([">", ">="]),
        reset=st.sampled_from(["zero", "subtract"]),
        integrator=st.sampled_from(["euler"] if dyadic else ["euler", "exponential"]),
    )
    def property_holds(
        seed: int,
        neurons: tuple[str, str, str],
        linear: tuple[str, str],
        wiring: str,
        payload: int,
        comparison: Comparison,
        reset: Reset,
        integrator: Integrator,
    ) -> None:
        if reset == "subtract":
            a, b, out = ("LIF" if kind == "IF" else kind for kind in neurons)
            neurons = a, b, out
        style = Style(dyadic, Semantics(DT, reset, comparison, integrator))
        graph = random_graph(seed, neurons, linear, wiring, style)
        ours, theirs = both(graph, contract_for(style, payload), random_batch(seed, payload))
        seen["fired"] += check_equal(ours, theirs, exactly=dyadic) > 0
        seen["graphs"] += 1

    property_holds()
    assert seen["graphs"] >= examples
    assert seen["fired"] > 0.9 * seen["graphs"]


@needs_norse
def test_random_networks_spike_alike() -> None:
    check_random_graphs(dyadic=False, examples=60)


@needs_norse
def test_where_no_sum_is_rounded_all_state_is_equal_and_ties_are_decided_alike() -> None:
    check_random_graphs(dyadic=True, examples=60)


# --- what one neuron does, by hand ---


def one_neuron(kind: str, semantics: Semantics, drive: list[float], **parameters: float) -> list:
    """v after each step of a neuron that is fed ``drive`` in Norse, and when it fired."""
    node = getattr(nir, kind)(**{name: np.array([value]) for name, value in parameters.items()})
    neuron = norse_neuron(node, (1,), semantics, "here")
    state, found = neuron.start(), []
    for x in drive:
        fires, state = neuron.step(torch.tensor([[x]], dtype=torch.float64), state)
        found.append((state.v.item(), int(fires.item())))
    return found


LIF = {"tau": 2 * DT, "r": 2.0, "v_leak": 0.0, "v_threshold": 1.0, "v_reset": 0.0}


@needs_norse
@pytest.mark.parametrize(
    ("reset", "comparison", "expected"),
    [
        # u = v/2 + x with x = 1, 0.5, 1, 1 and a threshold of 1
        ("zero", ">", [(1, 0), (1, 0), (0, 1), (1, 0)]),
        ("zero", ">=", [(0, 1), (0.5, 0), (0, 1), (0, 1)]),
        ("subtract", ">", [(1, 0), (1, 0), (0.5, 1), (0.25, 1)]),
        ("subtract", ">=", [(0, 1), (0.5, 0), (0.25, 1), (0.125, 1)]),
    ],
)
def test_a_spike_exactly_at_the_threshold(
    reset: Reset, comparison: Comparison, expected: list
) -> None:
    semantics = Semantics(DT, reset, comparison)
    assert one_neuron("LIF", semantics, [1, 0.5, 1, 1], **LIF) == expected


@needs_norse
def test_neurons_that_norse_writes_in_another_way() -> None:
    semantics = Semantics(DT, "zero", ">")
    if_parameters = {"r": 0.5 / DT, "v_threshold": 1.0, "v_reset": -0.5}
    assert one_neuron("IF", semantics, [3, 1, 1], **if_parameters) == [(1, 0), (-0.5, 1), (0, 0)]
    assert one_neuron("I", semantics, [2, -6, 1e9], r=1 / DT) == [(2, 0), (-4, 0), (1e9 - 4, 0)]
    assert one_neuron("Threshold", semantics, [1, 2, 1], threshold=1.0) == [(1, 0), (0, 1), (1, 0)]
    leaky = {"tau": 4 * DT, "r": 1.0, "v_leak": 1.0}
    assert one_neuron("LI", semantics, [3, 0], **leaky) == [(1, 0), (1, 0)]
    cuba = {"tau_syn": 2 * DT, "tau_mem": 4 * DT, "r": 4.0, "v_leak": 0.0, "w_in": 2.0}
    # i = 1, 0.5, 0.25; v = 0.75 v + i
    assert one_neuron("CubaLI", semantics, [1, 0, 0], **cuba) == [(1, 0), (1.25, 0), (1.1875, 0)]
    exponential = replace(semantics, integrator="exponential")
    ((v, _),) = one_neuron("LI", exponential, [1], **leaky)
    assert v == pytest.approx(2 * (1 - np.exp(-1 / 4)), rel=1e-12)


# --- what cannot be run ---


@needs_norse
def test_what_norse_cannot_express_is_refused_by_name() -> None:
    style = Style(False, Semantics(DT, "subtract", ">"))
    graph = random_graph(0, ("IF", "LIF", "LIF"), ("affine", "affine"), "chain", style)
    batch = random_batch(0, 1)
    with refused(
        UnsupportedError, r"net: node 'a' \(IF\): .*--engine float, or expor", by="simulate"
    ):
        both(graph, contract_for(style), batch)
    graph = random_graph(0, ("LIF", "LIF", "I"), ("affine", "affine"), "chain", style)
    nodes, edges = dict(graph.nodes), [*graph.edges, ("out", "back"), ("back", "b")]
    nodes["back"] = nir.Linear(np.ones((12, 5)))
    feeding = nir.NIRGraph(nodes, edges, {}, type_check=False)
    network = to_network(graph, contract_for(style), "net")
    shapes = {population.name: population.shape for population in network.populations}
    with pytest.raises(UnsupportedError, match=r"node 'out' \(I\): never spikes but feeds 'back'"):
        NorseEngine(feeding, shapes, "out", contract_for(style), "net")
    edges[-2:] = [("b", "back"), ("back", "b")]
    nodes["back"] = nir.NIRGraph({}, [], type_check=False)
    strange = nir.NIRGraph(nodes, edges, {}, type_check=False)
    with refused(UnsupportedError, r"node 'back' \(NIRGraph\): .*--engine float", by="simulate"):
        NorseEngine(strange, shapes, "out", contract_for(style), "net")


def test_without_norse_the_command_says_what_to_install(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("neurodeploy.norse.compat.norse_available", lambda: False)
    for command in (["simulate", "--engine", "norse"], ["validate", "--engines", "float,norse"]):
        result = run_cli(*command, folder=workspace)
        assert result.exit_code == 2
        assert "Norse is not installed; install it with `pip install --no-deps norse" in (
            result.output
        )
    (finding,) = (found for found in examine() if found.name == "norse")
    assert not finding.works
    assert not finding.needed
    assert "pip install --no-deps norse" in finding.advice


def test_a_norse_that_cannot_be_imported_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("neurodeploy.norse.compat.norse_available", lambda: True)
    monkeypatch.setitem(sys.modules, "norse.torch", None)
    with pytest.raises(MissingDependencyError, match=r"cannot be imported \(.*norse"):
        require_norse()


# --- from the command line ---


@needs_norse
def test_the_trained_network_runs_in_norse(workspace: Path, tmp_path: Path) -> None:
    assert any(found.name == "norse" and found.works for found in examine())
    report = run_json("validate", "--engines", "float,norse", folder=workspace)
    assert report["samples"] == 64
    assert not report["exact"]
    assert report["mismatches"] == 0
    assert {p["name"] for p in report["populations"]} == {"input", "lif1", "lif2", "readout"}
    for population in report["populations"]:
        assert population["max_v_difference"] < 1e-12
    trace = tmp_path / "trace.npz"
    found = {}
    for engine in ("float", "norse"):
        arguments = ("--engine", engine, "--samples", "40", "--trace", str(trace), "--trace-state")
        found[engine] = run_json("simulate", *arguments, folder=workspace)
        with np.load(trace) as arrays:
            found[engine]["arrays"] = {name: arrays[name].shape for name in arrays}
    assert found["norse"]["accuracy"] == found["float"]["accuracy"]
    assert found["norse"]["spikes_per_sample"] == found["float"]["spikes_per_sample"]
    # Norse's LIF has no synaptic current; all else is laid out alike.
    expected = {k: v for k, v in found["float"]["arrays"].items() if not k.endswith(".u")}
    assert found["norse"]["arrays"] == expected


@needs_norse
def test_norse_against_integers_reports_what_quantisation_changes(workspace: Path) -> None:
    arguments = ("--engines", "reference,norse", "--samples", "20")
    result = run_cli("validate", *arguments, folder=workspace)
    assert result.exit_code == 0
    assert "spikes agree" in result.output
    assert "Accuracy of norse" in result.output
