"""Writing NIR: reading it again gives the same network, and plain arrays come back as they were."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from neurodeploy.errors import UnsupportedError
from neurodeploy.interchange.nir.file import read_nir, write_nir
from neurodeploy.interchange.nir.importing import import_nir
from neurodeploy.interchange.nir.network_in import contract_of, to_network
from neurodeploy.interchange.nir.network_out import network_to_nir
from neurodeploy.ir.contract import NodeSemantics
from neurodeploy.ir.convolution import Convolution
from neurodeploy.ir.network import Network, Neuron, Population, Projection
from neurodeploy.ir.operators import Dense, SparseMatrix
from support.framework_runs import here
from support.narrow import there
from support.random_nir import DT, RandomGraph, chain, contract, joined, neuron

ARRAYS = ("u_keep", "v_keep", "bias", "v_threshold")


def again(network: Network) -> Network:
    graph = network_to_nir(network)
    found = there(contract_of(graph, "graph"))
    assert found == network.contract
    return to_network(graph, found, network.name)


def assert_same(first: Network, second: Network) -> None:
    """The same populations and projections; arrays to the last bit, but for a bias in v_leak."""
    assert [p.name for p in first.populations] == [p.name for p in second.populations]
    assert first.output == second.output
    for one, two in zip(first.populations, second.populations, strict=True):
        assert_same_population(one, two)
    assert len(first.projections) == len(second.projections)
    for p, q in zip(first.projections, second.projections, strict=True):
        assert (p.source, p.target, p.delay) == (q.source, q.target, q.delay)
        if p.operator.kind != "sparse":  # which may have taken another node more to write
            assert p.name == q.name
        assert p.operator.kind == q.operator.kind
        np.testing.assert_array_equal(p.operator.weights, q.operator.weights, p.name)
        assert (p.operator.matrix() - q.operator.matrix()).nnz == 0


def assert_same_population(one: Population, two: Population) -> None:
    assert one.shape == two.shape
    if one.neuron is None or two.neuron is None:
        assert one.neuron is two.neuron is None
        return
    names = ("kind", "reset", "comparison", "refractory_period")
    assert [getattr(one.neuron, n) for n in names] == [getattr(two.neuron, n) for n in names]
    for name in ARRAYS:
        a, b = getattr(one.neuron, name), getattr(two.neuron, name)
        if name == "bias":  # v_leak dt/tau may miss it in the last bit
            np.testing.assert_array_max_ulp(a, b, 2)
        else:
            np.testing.assert_array_equal(a, b, f"{one.name} {name}")


def arrays(graph: nir.NIRGraph) -> dict[str, Any]:
    """All that a graph's nodes hold, in plain values."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        return np.asarray(value).tolist()

    return {name: (type(node).__name__, plain(vars(node))) for name, node in graph.nodes.items()}


@settings(deadline=None, max_examples=60)
@example(seed=92693, axes=1, integrator="exponential", reset="zero", comparison=">")
@given(
    seed=st.integers(0, 2**32 - 1),
    axes=st.integers(0, 2),
    integrator=st.sampled_from(["euler", "exponential"]),
    reset=st.sampled_from(["zero", "subtract"]),
    comparison=st.sampled_from([">", ">="]),
)
def test_any_graph_comes_back_as_it_was_read(
    seed: int, axes: int, integrator: str, reset: str, comparison: str
) -> None:
    how = contract(integrator=integrator, reset=reset, comparison=comparison)
    network = to_network(RandomGraph(seed, axes, resets=reset == "zero").graph({}), how, "net")
    try:
        written = network_to_nir(network)
    except UnsupportedError as error:
        assert "NIR has no node for" in str(error)
        return
    second = to_network(written, how, "net")
    assert_same(network, second)
    # What was read from our own file is written the same, names and all.
    rewritten = network_to_nir(second)
    assert arrays(rewritten) == arrays(network_to_nir(to_network(rewritten, how, "net")))


def test_a_written_file_is_read_the_same(tmp_path: Path) -> None:
    how = contract()
    network = to_network(RandomGraph(3, 2).graph({}), how, "net")
    nir.write(tmp_path / "a.nir", network_to_nir(network))
    graph = read_nir(tmp_path / "a.nir")
    assert contract_of(graph, "a") == how
    assert_same(network, to_network(graph, how, "net"))


# --- what stays and what NIR cannot say ---


def test_gain_one_and_round_numbers_come_back_as_they_were() -> None:
    """tau = 1.1, 2 and 4 steps with r = tau: what ``train`` writes."""
    weight, bias = np.random.default_rng(0).normal(size=(3, 4)), np.array([0.1, 0.2, 0.3])
    tau = np.array([1.1, 2.0, 4.0])
    lif = neuron("LIF", (3,), tau=tau * DT, r=tau, v_threshold=0.7)
    graph = chain((4,), ("fc", nir.Affine(weight, bias)), ("lif", lif))
    written = network_to_nir(to_network(graph, contract(), "net"))
    assert list(written.nodes) == list(graph.nodes)
    assert written.edges == graph.edges
    for name in ("fc", "lif"):
        assert arrays(written)[name] == arrays(graph)[name]


def network_of(
    *populations: Population, projections: tuple[Projection, ...], **how: Any
) -> Network:
    return Network("net", populations, projections, populations[-1].name, contract(**how))


def lif(shape: tuple[int, ...], **changes: Any) -> Neuron:
    values: dict[str, Any] = {
        "kind": "LIF",
        "u_keep": np.zeros(1),
        "v_keep": np.full(1, 0.75),
        "bias": np.zeros(1),
        "v_threshold": np.ones(shape),
        "reset": "zero",
        "comparison": ">",
    }
    return Neuron(**values | changes)


def source(shape: tuple[int, ...]) -> Population:
    return Population("input", shape, None)


def test_a_plain_matrix_into_an_image_is_written_in_one_axis() -> None:
    """And so is all that follows, until a dense layer."""
    rng = np.random.default_rng(1)
    matrix = SparseMatrix.from_matrix(
        rng.normal(size=(8, 4)) * (rng.random((8, 4)) < 0.5), (4,), (2, 2, 2)
    )
    conv = Convolution(rng.normal(size=(1, 2, 2, 2)), (2, 2, 2), (1, 1), ((1, 0), (0, 1)), (1, 1))
    network = network_of(
        source((4,)),
        Population("a", (2, 2, 2), lif((2, 2, 2), v_threshold=rng.random((2, 2, 2)))),
        Population("b", (1, 2, 2), lif((1, 2, 2))),
        Population("c", (3,), lif((3,))),
        projections=(
            Projection("m", "input", "a", matrix),
            Projection("k", "a", "b", conv),
            Projection("d", "b", "c", Dense(rng.normal(size=(3, 4)), (1, 2, 2), (3,))),
        ),
    )
    found = again(network)
    assert [p.shape for p in found.populations] == [(4,), (8,), (4,), (3,)]
    for p, q in zip(network.projections, found.projections, strict=True):
        np.testing.assert_array_equal(p.operator.matrix().toarray(), q.operator.matrix().toarray())
    before, after = (n.population("a").leaky for n in (network, found))
    np.testing.assert_array_equal(there(before.v_threshold).ravel(), there(after.v_threshold))


@pytest.mark.parametrize("padding", [((0, 1), (2, 0)), ((1, 0), (0, 0)), ((1, 3), (2, 2))])
@pytest.mark.parametrize(
    ("stride", "dilation"), [((2, 1), (1, 1)), ((2, 3), (2, 1)), ((1, 1), (1, 3))]
)
def test_one_sided_padding_becomes_zeros_of_the_kernel(
    padding: Any, stride: tuple[int, int], dilation: tuple[int, int]
) -> None:
    weights = np.random.default_rng(2).normal(size=(2, 1, 2, 3))
    conv = Convolution(weights, (2, 7, 9), stride, padding, dilation, groups=2)
    shape = conv.output_shape
    network = network_of(
        source((2, 7, 9)),
        Population("a", shape, lif(shape)),
        projections=(Projection("k", "input", "a", conv),),
    )
    found = again(network)
    assert found.population("a").shape == shape
    assert isinstance(found.projections[0].operator, Convolution)
    a, b = (n.projections[0].operator.matrix().toarray() for n in (network, found))
    np.testing.assert_array_equal(a, b)


def test_other_kinds_of_neurons_are_named_by_their_equations() -> None:
    """A network from another file format may name its neurons as it likes."""
    dense = Dense(np.ones((2, 2)), (2,), (2,))
    for changes, kind in (
        ({}, "LIF"),
        ({"v_keep": np.ones(1)}, "IF"),
        ({"v_threshold": None}, "LI"),
        ({"v_threshold": None, "v_keep": np.ones(1)}, "I"),
        ({"u_keep": np.full(1, 0.5)}, "CubaLIF"),
        ({"u_keep": np.full(1, 0.5), "v_keep": np.ones(1), "v_threshold": None}, "CubaLI"),
    ):
        network = network_of(
            source((2,)),
            Population("a", (2,), lif((2,), kind="CUBA", **changes)),
            projections=(Projection("d", "input", "a", dense),),
        )
        assert type(network_to_nir(network).nodes["a"]).__name__ == kind
        found = again(network).population("a").leaky
        for name in ARRAYS:
            want = changes.get(name, getattr(lif((2,)), name))
            if want is None:
                assert found.v_threshold is None
            else:
                np.testing.assert_array_equal(np.broadcast_to(want, (2,)), getattr(found, name))


def test_names_that_hdf5_cannot_take_are_changed(tmp_path: Path) -> None:
    network = network_of(
        source((2,)),
        Population("layer/0", (2,), lif((2,))),
        projections=(Projection("w/0", "input", "layer/0", Dense(np.eye(2), (2,), (2,))),),
    )
    nir.write(tmp_path / "a.nir", network_to_nir(network))
    assert list(read_nir(tmp_path / "a.nir").nodes) == ["input", "layer.0", "output", "w.0"]


DENSE = Dense(np.eye(2), (2,), (2,))


def test_populations_with_semantics_of_their_own(tmp_path: Path) -> None:
    """Through a file, whose metadata say so of each; of one that is like all they say nothing."""
    kinds = {
        "a/b": {"reset": "subtract", "comparison": ">="},
        "c": {"refractory_period": 3},
        "d": {},
        "e": {"comparison": ">="},
    }
    names = ["input", *kinds]
    network = network_of(
        source((2,)),
        *(Population(name, (2,), lif((2,), **changes)) for name, changes in kinds.items()),
        projections=tuple(
            Projection(f"{a}_{b}", a, b, DENSE) for a, b in itertools.pairwise(names)
        ),
    )
    write_nir(tmp_path / "a.nir", network_to_nir(network))
    found = import_nir(tmp_path / "a.nir")
    assert found.unchanged
    assert found.network.contract.semantics.nodes == {
        "a.b": NodeSemantics("subtract", ">="),
        "c": NodeSemantics(refractory_period=3),
        "e": NodeSemantics(comparison=">="),
    }
    for population, (name, changes) in zip(
        found.network.populations[1:], kinds.items(), strict=True
    ):
        neuron = population.neuron
        assert neuron is not None and population.name == name.replace("/", ".")
        expected = {"reset": "zero", "comparison": ">", "refractory_period": 0} | changes
        assert {field: getattr(neuron, field) for field in expected} == expected


@pytest.mark.parametrize(("kind", "r"), [("LIF", 4.0), ("CubaLIF", 4.0), ("IF", 0.1 / DT)])
def test_neurons_that_are_not_reset(kind: str, r: float, tmp_path: Path) -> None:
    """Written as what they are; they fire as v does, from which nothing is taken."""
    thresholds = np.array([0.5, 1.0])
    nodes = {"n": neuron(kind, (2,), r=r, v_threshold=thresholds), "m": neuron("LIF", (2,))}
    graph = joined(nodes, "input>n", "n>m", "m>output")
    how = contract()
    how = replace(how, semantics=how.semantics.stating({"n": "none"}, None))
    network = to_network(graph, how, "net")
    assert there(network.population("n").neuron).kind == f"{kind}-reset"
    write_nir(tmp_path / "a.nir", network_to_nir(network))
    found = import_nir(tmp_path / "a.nir")
    assert [type(node).__name__ for node in found.graph.nodes.values()].count("Threshold") == 0
    assert found.network.contract.semantics.nodes == {"n": NodeSemantics("none")}
    assert_same(network, found.network)
    plain = to_network(graph, contract(), "net").population("n").leaky
    assert plain.v_threshold is not None
    x = np.random.default_rng(0).integers(0, 2, (2, 20, 2)).astype(np.uint8)
    u = v = np.zeros((2, 2))
    gain = network.projections[0].operator.matrix().diagonal()
    trace = here(found, x)["n"]
    assert 0.1 < trace.s.mean() < 0.9
    for t in range(20):
        u = plain.u_keep * u + gain * x[:, t]
        v = plain.v_keep * v + u + plain.bias
        np.testing.assert_array_equal(trace.s[:, t], v > plain.v_threshold)


def test_a_cycle_without_delay_is_refused() -> None:
    network = network_of(
        source((2,)),
        Population("a", (2,), lif((2,))),
        Population("b", (2,), lif((2,))),
        projections=(
            Projection("w", "input", "a", DENSE),
            Projection("ab", "a", "b", DENSE),
            Projection("ba", "b", "a", DENSE, 1),
        ),
    )
    with pytest.raises(UnsupportedError, match="'ab': has no delay inside a cycle"):
        network_to_nir(network)


def test_a_bias_that_nir_has_no_node_for_is_refused() -> None:
    integrator = neuron("I", (1, 2, 2), r=np.arange(1.0, 5.0).reshape(1, 2, 2) / DT)
    conv = nir.Conv2d((2, 2), np.ones((1, 1, 1, 1)), 1, 0, 1, 1, np.array([0.5]))
    network = to_network(chain((1, 2, 2), ("c", conv), ("n", integrator)), contract(), "net")
    with pytest.raises(UnsupportedError, match="'n': NIR has no node for its bias"):
        network_to_nir(network)


def test_spikes_as_they_are_and_twice_the_same_path() -> None:
    nodes = {"a": neuron("LIF", (2,), r=4.0), "late": nir.Delay(np.full(2, 3 * DT))}
    nodes["b"] = neuron("LIF", (2,), r=4.0)
    edges = ["input>a", "a>b", "a>late", "late>b", "b>b", "b>output"]
    network = to_network(joined(nodes, *edges), contract(), "net")
    graph = network_to_nir(network)
    assert {type(node).__name__ for node in graph.nodes.values()} == {
        "Input",
        "LIF",
        "Delay",
        "Output",
    }
    assert_same(network, again(network))
    doubled = network_of(
        source((2,)),
        Population("a", (2,), lif((2,))),
        projections=tuple(
            Projection(name, "input", "a", DENSE.with_weights(np.eye(2))) for name in "xy"
        ),
    )
    assert len(again(doubled).projections) == 2
