"""Frameworks that are not installed for the tests: their equations, written out from their source.

What each file holds is written as the exporter writes it, and stepped as the framework steps: the
files and lines are those of ``FRAMEWORKS[...].sources``.
"""

from __future__ import annotations

import contextlib
import inspect
import itertools
from pathlib import Path
from typing import Any, get_args

import nir
import numpy as np
import pytest

from neurodeploy.errors import InputError, UnsupportedError
from neurodeploy.interchange.frameworks import FRAMEWORKS
from neurodeploy.interchange.nir.file import write_nir
from neurodeploy.interchange.nir.importing import import_nir, open_nir
from neurodeploy.interchange.nir.translation import translated
from neurodeploy.ir.contract import Origin, Semantics
from neurodeploy.ir.stated import Stated
from support.framework_runs import STEPS, assert_same_spikes, here, imported, spike_trains
from support.narrow import there
from support.wording import refused

RNG = np.random.default_rng(7)
W1, W2 = RNG.normal(0.6, 0.8, size=(5, 4)), RNG.normal(1.2, 0.8, size=(3, 5))
B1 = RNG.normal(size=5) / 8


def chain(shape: tuple[int, ...], *nodes: tuple[str, Any]) -> nir.NIRGraph:
    named = {"input": nir.Input({"input": np.array(shape)}), **dict(nodes)}
    named["output"] = nir.Output({"output": np.array([1])})
    return nir.NIRGraph(named, list(itertools.pairwise(named)), {}, type_check=False)


def single(values: Any) -> np.ndarray:
    return np.asarray(values, np.float32)


# --- Rockpool ---


def rockpool_nodes(dt: float) -> tuple[Any, Any, Any]:
    """LIFTorch, LIFNeuronTorch and ExpSynTorch as ``_extract_rockpool_module`` writes them."""

    def r(tau: np.ndarray) -> np.ndarray:
        return single(tau * np.exp(-dt / tau) / dt)

    tau, syn = single(np.linspace(5, 20, 5) * dt), single(np.linspace(3, 9, 5) * dt)
    zeros, ones = np.zeros(5, np.float32), np.ones(5, np.float32)
    lif = nir.CubaLIF(tau_syn=syn, tau_mem=tau, r=r(tau), v_leak=zeros, v_threshold=2 * ones)
    tau2 = single(np.array([4, 6, 8]) * dt)
    neuron = nir.LIF(tau=tau2, r=r(tau2), v_leak=np.zeros(3), v_threshold=single([0.5, 0.75, 1.0]))
    readout = nir.LI(tau=tau2, r=r(tau2), v_leak=np.zeros(3))
    return lif, neuron, readout


def test_rockpool(tmp_path: Path) -> None:
    dt = 2e-3
    lif, neuron, _ = rockpool_nodes(dt)
    graph = chain((4,), ("fc1", nir.Linear(W1)), ("a", lif), ("fc2", nir.Linear(W2)), ("b", neuron))
    x = spike_trains(4)
    alpha, beta = np.exp(-dt / lif.tau_mem.astype(float)), np.exp(-dt / lif.tau_syn.astype(float))
    alpha2 = np.exp(-dt / neuron.tau.astype(float))
    spikes: dict[str, list[np.ndarray]] = {"a": [], "b": []}
    i, v, v2 = np.zeros((3, 5)), np.zeros((3, 5)), np.zeros((3, 3))
    for t in range(STEPS):
        i = beta * (i + x[:, t] @ W1.T)
        v = alpha * v + i
        spikes["a"].append(v >= 2)
        v = v - 2 * spikes["a"][-1]
        v2 = alpha2 * v2 + spikes["a"][-1] @ W2.T
        spikes["b"].append(v2 >= neuron.v_threshold)
        v2 = v2 - neuron.v_threshold * spikes["b"][-1]
    found = imported(graph, tmp_path, "rockpool")
    assert found.network.contract.semantics == Semantics(dt, "subtract", ">=", "exponential")
    assert any("dt = 0.002 s, from r" in note for note in found.notes)
    assert next(iter(open_nir(tmp_path / "theirs.nir").likely)) == "rockpool"
    assert_same_spikes(here(found, x), {k: np.stack(s, 1) for k, s in spikes.items()})


def test_rockpools_synapse_decays_what_it_takes_in(tmp_path: Path) -> None:
    _, _, readout = rockpool_nodes(1e-3)
    weights = W2[:, :4]
    graph = chain((4,), ("fc", nir.Linear(weights)), ("syn", readout))
    x = spike_trains(4)
    beta, i, expected = np.exp(-1e-3 / readout.tau.astype(float)), np.zeros((3, 3)), []
    for t in range(STEPS):
        i = beta * (i + x[:, t] @ weights.T)
        expected.append(i)
    found = here(imported(graph, tmp_path, "rockpool"), x)
    np.testing.assert_allclose(there(found["syn"].v), np.stack(expected, 1), atol=1e-12)


# --- Spyx ---

BETA, ALPHA = single([0.5, 0.75, 0.875, 0.5, 0.625]), single([0.25, 0.5, 0.5, 0.75, 0.5])
DYADIC1, DYADIC2 = np.rint(W1 * 8) / 8, np.rint(W2 * 8) / 8


def spyx_lif(beta: np.ndarray, threshold: float) -> Any:
    """``to_nir`` writes r = beta, which nothing reads."""
    full = np.full(beta.shape, threshold, np.float32)
    return nir.LIF(tau=1 / (1 - beta), v_threshold=full, v_leak=np.zeros(beta.shape), r=beta)


def test_spyx(tmp_path: Path) -> None:
    """Spikes of the step before, subtracted late; in the current-based neuron before it decays."""
    current = nir.CubaLIF(
        tau_mem=1 / (1 - BETA[:3]),
        tau_syn=1 / (1 - ALPHA[:3]),
        v_threshold=np.full(3, 1.5, np.float32),
        v_leak=np.zeros(3),
        r=BETA[:3],
    )
    graph = chain(
        (4,),
        ("layer_0", nir.Linear(single(DYADIC1.copy()))),
        ("layer_1", spyx_lif(BETA, 1.0)),
        ("layer_2", nir.Linear(single(DYADIC2.copy()))),
        ("layer_3", current),
    )
    x = spike_trains(4)
    v, v2, i = np.zeros((3, 5)), np.zeros((3, 3)), np.zeros((3, 3))
    first, second = [], []
    for t in range(STEPS):
        spikes = v > 1
        v = BETA * v + x[:, t] @ DYADIC1.T - spikes
        first.append(spikes)
        spikes2 = v2 > 1.5
        v2 = v2 - 1.5 * spikes2
        i = ALPHA[:3] * i + spikes @ DYADIC2.T
        v2 = BETA[:3] * v2 + i
        second.append(spikes2)
    found = imported(graph, tmp_path, "spyx")
    assert next(iter(open_nir(tmp_path / "theirs.nir").likely)) == "spyx"
    traces = here(found, x)
    for name, theirs in (("layer_1", first), ("layer_3", second)):
        np.testing.assert_array_equal(traces[name].s[:, :-1], np.stack(theirs, 1)[:, 1:])
        assert 0.05 < traces[name].s.mean() < 0.95


def test_spyx_recurrence(tmp_path: Path) -> None:
    """Its exporter leads the input of the layer through the recurrent weights."""
    recurrent = np.rint(np.random.default_rng(1).normal(size=(5, 5)) * 4) / 8
    ends = {"input": np.array([5])}
    inner = {
        "layer_1.lif": spyx_lif(BETA, 1.0),
        "layer_1.w_rec": nir.Linear(single(recurrent)),
        "layer_1.input": nir.Input(ends),
        "layer_1.output": nir.Output({"output": np.array([5])}),
    }
    edges = [
        ("layer_1.input", "layer_1.w_rec"),
        ("layer_1.w_rec", "layer_1.lif"),
        ("layer_1.lif", "layer_1.w_rec"),
        ("layer_1.lif", "layer_1.output"),
    ]
    layer = nir.NIRGraph(inner, edges, {}, type_check=False)
    graph = chain((4,), ("layer_0", nir.Linear(single(DYADIC1.copy()))), ("layer_1", layer))
    x = spike_trains(4)
    v, expected = np.zeros((3, 5)), []
    for t in range(STEPS):
        spikes = v > 1
        v = BETA * v + x[:, t] @ DYADIC1.T + spikes @ recurrent.T - spikes
        expected.append(spikes)
    found = imported(graph, tmp_path, "spyx")
    assert any("through 'layer_1.w_rec'" in note for note in found.notes)
    ours = here(found, x)["layer_1.lif"].s
    np.testing.assert_array_equal(ours[:, :-1], np.stack(expected, 1)[:, 1:])
    assert 0.05 < ours.mean() < 0.95


def test_spyx_neurons_without_reset_and_neurons_that_count(tmp_path: Path) -> None:
    ones = np.ones(5, np.float32)
    graph = chain(
        (4,),
        ("layer_0", nir.Linear(single(DYADIC1.copy()))),
        ("layer_1", nir.LI(tau=1 / (1 - BETA), r=ones, v_leak=0 * ones)),
        ("layer_1_threshold", nir.Threshold(ones)),
        ("layer_2", nir.Linear(single(DYADIC2.copy()))),
        ("layer_3", nir.IF(r=np.ones(3), v_threshold=np.full(3, 2.0))),
    )
    x = spike_trains(4, seed=1)
    v, v2, first, second = np.zeros((3, 5)), np.zeros((3, 3)), [], []
    for t in range(STEPS):
        v = BETA * v + x[:, t] @ DYADIC1.T
        first.append(v > 1)
        spikes = v2 > 2
        v2 = v2 + first[-1] @ DYADIC2.T - 2 * spikes
        second.append(spikes)
    traces = here(imported(graph, tmp_path, "spyx"), x)
    np.testing.assert_array_equal(traces["layer_1_threshold"].s, np.stack(first, 1))
    np.testing.assert_array_equal(traces["layer_3"].s[:, :-1], np.stack(second, 1)[:, 1:])


# --- Nengo and Lava, which read NIR ---


def test_nengo(tmp_path: Path) -> None:
    dt = 1e-3
    ones5, ones3 = np.ones(5), np.ones(3)
    cuba = nir.CubaLIF(
        tau_syn=5 * dt * ones5,
        tau_mem=10 * dt * ones5,
        r=2 * ones5,
        v_leak=0 * ones5,
        v_threshold=0.25 * ones5,
        w_in=3 * ones5,
    )
    lif = nir.LIF(tau=6 * dt * ones3, r=ones3, v_leak=0 * ones3, v_threshold=0.1 * ones3)
    weights = np.abs(W1), np.abs(W2)  # Nengo has no potential below 0
    graph = chain(
        (4,),
        ("fc1", nir.Linear(weights[0])),
        ("a", cuba),
        ("fc2", nir.Linear(weights[1])),
        ("b", lif),
    )
    x = spike_trains(4, rate=0.2)
    # A low-pass of time constant -dt/log(1 - dt/tau_syn) keeps 1 - dt/tau_syn per step.
    keep, mem, mem2 = np.exp(dt / (dt / np.log(1 - 1 / 5))), np.exp(-1 / 10), np.exp(-1 / 6)
    i, v, v2 = np.zeros((3, 5)), np.zeros((3, 5)), np.zeros((3, 3))
    spikes: dict[str, list[np.ndarray]] = {"a": [], "b": []}
    for t in range(STEPS):
        before = x[:, t - 1] if t else 0 * x[:, 0]  # Nengo's low-pass takes a step
        i = keep * i + (1 - keep) * before @ weights[0].T
        current = 3 * 2 / 0.25 * i
        v = v + (current - v) * (1 - mem)
        spikes["a"].append(v > 1)
        v = np.where(v > 1, 0, v)
        current = spikes["a"][-1] @ weights[1].T / 0.1
        v2 = v2 + (current - v2) * (1 - mem2)
        spikes["b"].append(v2 > 1)
        v2 = np.where(v2 > 1, 0, v2)
    found = imported(graph, tmp_path, "nengo")
    assert_same_spikes(here(found, x), {k: np.stack(s, 1) for k, s in spikes.items()})


@pytest.mark.parametrize("extreme", [0.0, 1e308, 5e-324])
@pytest.mark.parametrize("field", ["tau_syn", "tau_mem", "r", "w_in", "v_threshold"])
@pytest.mark.parametrize("framework", [*FRAMEWORKS])
def test_extreme_parameters_are_refused_or_taken_without_a_warning(
    framework: Origin, field: str, extreme: float, tmp_path: Path
) -> None:
    """Whoever wrote them: numpy's warnings would be errors here."""
    values = {"tau_syn": 5e-3, "tau_mem": 1e-2, "r": 1.0, "w_in": 1.0, "v_threshold": 0.3}
    arrays: dict[str, Any] = {
        name: np.full(3, value) for name, value in (values | {field: extreme}).items()
    }
    graph = chain((3,), ("a", nir.CubaLIF(v_leak=np.zeros(3), **arrays)))
    with contextlib.suppress(InputError, UnsupportedError):
        imported(graph, tmp_path, framework)


def test_lava(tmp_path: Path) -> None:
    """dv = dt/tau, du = 1 and the input times dt/tau, whatever r says."""
    dt = 1e-4
    lif = nir.LIF(
        tau=np.full(5, 4 * dt), r=np.full(5, 9.0), v_leak=np.zeros(5), v_threshold=np.full(5, 0.3)
    )
    counting = nir.IF(r=np.full(3, 2.0), v_threshold=np.ones(3))
    graph = chain(
        (4,), ("fc1", nir.Affine(W1, B1)), ("a", lif), ("fc2", nir.Linear(W2)), ("b", counting)
    )
    x = spike_trains(4)
    v, v2 = np.zeros((3, 5)), np.zeros((3, 3))
    spikes: dict[str, list[np.ndarray]] = {"a": [], "b": []}
    for t in range(STEPS):
        v = 0.75 * v + 0.25 * (x[:, t] @ W1.T + B1)
        spikes["a"].append(v > 0.3)
        v = np.where(v > 0.3, 0, v)
        v2 = v2 + spikes["a"][-1] @ W2.T
        spikes["b"].append(v2 > 2)
        v2 = np.where(v2 > 2, 0, v2)
    found = imported(graph, tmp_path, "lava")
    assert_same_spikes(here(found, x), {k: np.stack(s, 1) for k, s in spikes.items()})


# --- all of them ---


def test_the_table_is_what_the_command_line_offers() -> None:
    assert set(get_args(Origin)) == set(FRAMEWORKS)
    for framework in FRAMEWORKS.values():
        assert framework.version
        assert framework.sources
        assert set(framework.late_reset) <= set(framework.neurons)


def test_an_unknown_framework_is_refused(tmp_path: Path) -> None:
    write_nir(tmp_path / "a.nir", chain((5,), ("n", spyx_lif(BETA, 1.0))))
    misspelt: Any = "snntorhc"
    with refused(InputError, r"--from snntorhc.*did you mean 'snntorch'", by="export"):
        import_nir(tmp_path / "a.nir", framework=misspelt, steps=4)


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_neurons_that_a_framework_does_not_know_are_all_named(name: str, tmp_path: Path) -> None:
    kinds = {"CubaLI", "I", "LI", "IF"} - set(FRAMEWORKS[name].neurons)
    graph = nir.NIRGraph({}, [], {}, type_check=False)
    values = {
        "r": 1.0,
        "tau": 1.0,
        "tau_mem": 1.0,
        "tau_syn": 1.0,
        "v_leak": 0.0,
        "v_threshold": 1.0,
    }
    for kind in sorted(kinds):
        make = getattr(nir, kind)
        known = set(inspect.signature(make).parameters) & set(values)
        graph.nodes[f"node_{kind}"] = make(**{key: np.full(1, values[key]) for key in known})
    framework = FRAMEWORKS[name]
    with pytest.raises(UnsupportedError) as caught:
        translated(graph, framework, framework.semantics, Stated(), "my.nir")
    lines = str(caught.value).splitlines()
    assert len(lines) == len(kinds)
    for kind in kinds:
        start = (
            f"my.nir: node 'node_{kind}' ({kind}): {framework.title} {framework.version} neither"
        )
        assert any(line.startswith(start) for line in lines)
