"""An LI that leads to neurons is their synaptic current; weights at the end get an integrator."""

from __future__ import annotations

import itertools
import warnings
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
import torch
from torch import nn

from neurodeploy.errors import UnsupportedError
from neurodeploy.interchange.nir.file import write_nir
from neurodeploy.interchange.nir.importing import Imported, import_nir
from support.framework_runs import STEPS, here, imported, on_grid, over_time, spike_trains
from support.narrow import there
from support.wording import refused

RNG = np.random.default_rng(3)
W1, W2 = RNG.normal(0.4, 0.6, (5, 4)), RNG.normal(0.05, 0.3, (3, 5))
B1, B2 = RNG.normal(0, 0.1, 5), RNG.normal(0, 0.2, 3)
A, B = 0.75, 0.5
"""Shares that the integrator and the neuron behind it keep per step."""


def chain(*nodes: tuple[str, Any], size: int = 4) -> nir.NIRGraph:
    named = {"input": nir.Input({"input": np.array([size])}), **dict(nodes)}
    named["output"] = nir.Output({"output": np.array([1])})
    return nir.NIRGraph(named, list(itertools.pairwise(named)), {}, type_check=False)


def li(size: int, r: float = 2.0, keep: Any = A) -> nir.LI:
    full = np.ones(size)
    return nir.LI(tau=full / (1 - np.asarray(keep)), r=r * full, v_leak=0 * full)


def lif(size: int, **changes: Any) -> nir.LIF:
    full = np.ones(size)
    values = {"tau": full / (1 - B), "r": 3 * full, "v_leak": 0.1 * full, "v_threshold": full}
    return nir.LIF(**{**values, **changes})


def opened(graph: nir.NIRGraph, folder: Path, **stated: Any) -> Imported:
    write_nir(folder / "a.nir", graph)
    how: dict[str, Any] = {"dt": 1.0, "reset": "zero", "comparison": ">", "integrator": "euler"}
    return import_nir(folder / "a.nir", steps=STEPS, **{**how, **stated})


def two_stages(x: np.ndarray, weights: list[np.ndarray], biases: list[np.ndarray]) -> np.ndarray:
    """Spikes of LIF behind weights behind LI behind weights, each stepped by its own equation."""
    p = np.zeros((len(x), len(weights[0])))
    v = np.zeros((len(x), len(weights[1])))
    spikes = []
    for t in range(x.shape[1]):
        p = A * p + (1 - A) * 2.0 * (x[:, t] @ weights[0].T + biases[0])
        v = B * v + (1 - B) * (0.1 + 3 * (p @ weights[1].T + biases[1]))
        spikes.append(v > 1)
        v = np.where(v > 1, 0, v)
    return np.stack(spikes, 1)


@pytest.mark.parametrize(
    ("between", "weights", "bias"),
    [
        ([], np.eye(5), np.zeros(5)),
        ([("scale", nir.Scale(np.linspace(0.5, 1.5, 5)))], np.diag(np.linspace(0.5, 1.5, 5)), 0.0),
        ([("fc2", nir.Linear(W2))], W2, np.zeros(3)),
        ([("fc2", nir.Affine(W2, B2))], W2, B2),
    ],
)
def test_an_integrator_is_a_current(
    between: list[tuple[str, Any]], weights: np.ndarray, bias: Any, tmp_path: Path
) -> None:
    size = len(weights)
    graph = chain(("fc1", nir.Linear(W1)), ("li", li(5)), *between, ("lif", lif(size)))
    found = opened(graph, tmp_path)
    x = spike_trains(4)
    expected = two_stages(x, [W1, weights], [np.zeros(5), np.broadcast_to(bias, size)])
    np.testing.assert_array_equal(here(found, x)["lif"].s, expected)
    assert 0.05 < expected.mean() < 0.95
    assert [p.name for p in found.network.populations] == ["input", "lif"]
    assert there(found.network.population("lif").neuron).kind == "CubaLIF"
    assert any("is its synaptic current" in note for note in found.notes)
    again = import_nir(_written(found, tmp_path))
    np.testing.assert_array_equal(here(again, x)["lif"].s, expected)


def _written(found: Imported, folder: Path) -> Path:
    write_nir(folder / "again.nir", found.graph)
    return folder / "again.nir"


def test_a_bias_before_the_integrator_goes_through_it(tmp_path: Path) -> None:
    graph = chain(
        ("fc1", nir.Affine(W1, B1)), ("li", li(5)), ("fc2", nir.Affine(W2, B2)), ("n", lif(3))
    )
    x = spike_trains(4)
    expected = two_stages(x, [W1, W2], [B1, B2])
    np.testing.assert_array_equal(here(opened(graph, tmp_path), x)["n"].s, expected)


@pytest.mark.parametrize("kind", ["IF", "I", "LI", "Threshold"])
def test_any_neuron_without_a_current_takes_one(kind: str, tmp_path: Path) -> None:
    ones = np.ones(3)
    target, keep, feed = {
        "IF": (nir.IF(r=2 * ones, v_threshold=3 * ones), 1.0, 2.0),
        "I": (nir.I(r=2 * ones), 1.0, 2.0),
        "LI": (li(3, keep=B), B, 2.0 * (1 - B)),
        "Threshold": (nir.Threshold(0.5 * ones), 0.0, 1.0),
    }[kind]
    graph = chain(("fc1", nir.Linear(W1)), ("li", li(5)), ("fc2", nir.Linear(W2)), ("n", target))
    x = spike_trains(4)
    p, v, spikes, potentials = np.zeros((3, 5)), np.zeros((3, 3)), [], []
    threshold = {"IF": 3.0, "Threshold": 0.5}.get(kind, np.inf)
    for t in range(STEPS):
        p = A * p + (1 - A) * 2.0 * x[:, t] @ W1.T
        v = keep * v + feed * p @ W2.T
        spikes.append(v > threshold)
        v = np.where(v > threshold, 0, v)
        potentials.append(v)
    found = here(opened(graph, tmp_path), x)["n"]
    np.testing.assert_array_equal(found.s, np.stack(spikes, 1))
    np.testing.assert_allclose(there(found.v), np.stack(potentials, 1), atol=1e-9)


def test_different_time_constants_before_the_same_neurons(tmp_path: Path) -> None:
    keeps = np.linspace(0.25, 0.875, 5)
    graph = chain(("fc1", nir.Linear(W1)), ("li", li(5, keep=keeps)), ("lif", lif(5)))
    x = spike_trains(4)
    p, v, spikes = np.zeros((3, 5)), np.zeros((3, 5)), []
    for t in range(STEPS):
        p = keeps * p + (1 - keeps) * 2.0 * (x[:, t] @ W1.T)
        v = B * v + (1 - B) * (0.1 + 3 * p)
        spikes.append(v > 1)
        v = np.where(v > 1, 0, v)
    np.testing.assert_array_equal(here(opened(graph, tmp_path), x)["lif"].s, np.stack(spikes, 1))


@pytest.mark.parametrize(
    ("nodes", "match"),
    [
        (
            [("li", li(4, keep=[0.5, 0.5, 0.5, 0.75])), ("fc", nir.Linear(W1)), ("n", lif(5))],
            "time constants of 'li' before it differ",
        ),
        ([("li", li(4)), ("li2", li(4)), ("n", lif(4))], "it is or has a current already"),
        (
            [("a", nir.I(r=np.ones(4))), ("n", lif(4))],
            "sends its potential to 'n', but neurons of the chip send spikes",
        ),
    ],
)
def test_what_is_no_current_is_refused(nodes: Any, match: str, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match=match):
        opened(chain(*nodes), tmp_path)


def test_spikes_beside_an_integrator_are_refused(tmp_path: Path) -> None:
    graph = chain(("li", li(4)), ("lif", lif(4)))
    graph.edges.append(("input", "lif"))
    with pytest.raises(UnsupportedError, match="potential of an integrator and the spikes of"):
        opened(graph, tmp_path)


def test_sinabs(tmp_path: Path) -> None:
    """ExpLeak before LIF, with norm_input for the second as by default."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        layers = pytest.importorskip("sinabs.layers", reason="sinabs is not installed")
        to_nir = pytest.importorskip("sinabs.nir").to_nir
        single = pytest.importorskip("sinabs.activation").SingleSpike
        how = {"spike_threshold": torch.tensor(0.8), "spike_fn": single, "num_timesteps": 1}
        network = nn.Sequential(
            on_grid(nn.Linear(6, 8, bias=False), 2),
            layers.ExpLeakSqueeze(tau_mem=4.0, num_timesteps=1),
            on_grid(nn.Linear(8, 5, bias=False), 3, step=1 / 32),
            layers.LIFSqueeze(tau_mem=6.0, **how),
        )
        graph = to_nir(network, torch.zeros(1, 6))
    modules: list[Any] = list(network.modules())
    for module in modules:
        if hasattr(module, "reset_states"):
            module.reset_states()
            module.init_state_with_shape((3, *module.v_mem.shape[1:]))
    x = spike_trains(6, seed=6)
    theirs = over_time(network, x, {"3": network.get_submodule("3")})["3"]
    found = here(imported(graph, tmp_path, "sinabs"), x)["3"]
    np.testing.assert_array_equal(found.s, theirs)
    assert 0.05 < theirs.mean() < 0.95


# --- weights at the end ---


@pytest.mark.parametrize("decode", ["last_v", "sum_v"])
def test_an_integrator_stands_behind_weights_whose_potential_is_decoded(
    decode: Any, tmp_path: Path
) -> None:
    graph = chain(("fc1", nir.Linear(W1)), ("lif", lif(5)), ("fc2", nir.Affine(W2, B2)))
    found = opened(graph, tmp_path, decode=decode)
    x = spike_trains(4)
    traces = here(found, x)
    sent = traces["lif"].s @ W2.T + B2
    np.testing.assert_allclose(there(traces["readout"].v), sent.cumsum(axis=1), atol=1e-9)
    assert found.network.output == "readout"
    assert found.network.contract.decode == decode
    assert any("integrator 'readout' behind it adds up" in note for note in found.notes)


def test_weights_at_the_end_need_a_decoding(tmp_path: Path) -> None:
    graph = chain(("fc1", nir.Linear(W1)), ("lif", lif(5)), ("fc2", nir.Linear(W2)))
    with refused(UnsupportedError, "or state --decode last_v for an integrator", by="export"):
        opened(graph, tmp_path)
    with pytest.raises(UnsupportedError, match="it has to read one neuron node"):
        opened(graph, tmp_path, decode="spike_count")
