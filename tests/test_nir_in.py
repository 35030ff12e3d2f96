"""NIR import: what each primitive becomes, what is refused, and the equations stepped directly."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import h5py
import nir
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from neurodeploy.errors import InputError, UnsupportedError
from neurodeploy.interchange.nir.file import read_nir
from neurodeploy.interchange.nir.network_in import contract_of, output_spikes, to_network
from neurodeploy.ir.contract import METADATA_KEY, Contract, InputCode, Semantics
from neurodeploy.ir.convolution import Convolution
from neurodeploy.ir.network import Network, Population
from neurodeploy.neurons.constant import CONSTANT
from neurodeploy.simulation.engines import FloatEngine
from neurodeploy.simulation.trace import PopulationTrace, SampleBatch
from support.narrow import node_of, there
from support.random_nir import DT, RandomGraph, chain, contract, joined, neuron


def run(network: Network, x: np.ndarray) -> dict[str, PopulationTrace]:
    """(N, T, *input) through the float engine."""
    ((_, trace),) = FloatEngine(network).run([SampleBatch(0, x, static=False)], state=True)
    return dict(trace.populations)


def population(graph: nir.NIRGraph, name: str, **semantics: Any) -> Population:
    return to_network(graph, contract(**semantics), "net").population(name)


def parameters(found: Population) -> dict[str, Any]:
    assert found.neuron is not None
    values = {k: v for k, v in vars(found.neuron).items() if isinstance(v, np.ndarray)}
    assert all(value.shape == found.shape for value in values.values())
    return {name: value.ravel().tolist() for name, value in values.items()}


W = np.array([[1.0, -0.5], [0.25, 2.0]])
LINEAR = ("fc", nir.Linear(W))


# --- neurons ---


def weights_into(graph: nir.NIRGraph, **semantics: Any) -> np.ndarray:
    (projection,) = to_network(graph, contract(**semantics), "net").projections
    return projection.operator.matrix().toarray()


def test_lif_keeps_its_leak_and_takes_dt_over_tau_of_r_times_its_input() -> None:
    lif = neuron("LIF", (2,), tau=[4 * DT, 2 * DT], r=[3, 1], v_leak=[1, 0], v_threshold=[1, 7])
    graph = chain((2,), LINEAR, ("lif", lif))
    assert parameters(population(graph, "lif")) == {
        "u_keep": [0, 0],
        "v_keep": [0.75, 0.5],
        "bias": [0.25, 0],
        "v_threshold": [1, 7],
    }
    np.testing.assert_allclose(weights_into(graph), W * [[0.75], [0.5]])


def test_cubalif_has_a_decay_of_its_current_and_w_in_in_its_gain() -> None:
    cuba = neuron("CubaLIF", (2,), tau_syn=2 * DT, tau_mem=4 * DT, r=3, w_in=[5, 2], v_leak=[0, 8])
    graph = chain((2,), LINEAR, ("cuba", cuba))
    found = population(graph, "cuba")
    assert parameters(found) == {
        "u_keep": [0.5, 0.5],
        "v_keep": [0.75, 0.75],
        "bias": [0, 2],
        "v_threshold": [1, 1],
    }
    np.testing.assert_allclose(weights_into(graph), W * 0.5 * 0.25 * 3 * [[5], [2]])


@pytest.mark.parametrize(
    ("kind", "keep", "gain", "bias"),
    [("IF", 1.0, 2 * DT, 0), ("I", 1.0, 2 * DT, 0), ("LI", 0.75, 0.5, 0.25)],
)
def test_the_other_neurons(kind: str, keep: float, gain: float, bias: float) -> None:
    changes = {"r": 2.0} | ({"v_leak": 1.0} if kind == "LI" else {})
    graph = chain((2,), LINEAR, ("n", neuron(kind, (2,), **changes)))
    found = parameters(population(graph, "n"))
    assert (found["u_keep"], found["v_keep"], found["bias"]) == ([0, 0], [keep] * 2, [bias] * 2)
    assert ("v_threshold" in found) == (kind == "IF")
    np.testing.assert_allclose(weights_into(graph), W * gain)
    assert there(population(graph, "n").neuron).kind == kind
    assert output_spikes(graph) == (kind == "IF")


def test_a_readout_with_a_current_of_its_own() -> None:
    graph = chain((2,), LINEAR, ("n", neuron("CubaLI", (2,), r=2, w_in=3)))
    found = parameters(population(graph, "n"))
    assert (found["u_keep"], found["v_keep"]) == ([0.5, 0.5], [0.75, 0.75])
    assert "v_threshold" not in found
    np.testing.assert_allclose(weights_into(graph), W * 0.5 * 0.25 * 6)


def test_the_exponential_integrator_keeps_and_feeds_exactly() -> None:
    graph = chain((2,), LINEAR, ("lif", neuron("LIF", (2,), tau=0.5 * DT)))
    keep = np.exp(-2.0)
    found = parameters(population(graph, "lif", integrator="exponential"))
    np.testing.assert_allclose(found["v_keep"], keep)
    np.testing.assert_allclose(weights_into(graph, integrator="exponential"), W * (1 - keep))


def test_a_time_constant_of_one_step_forgets_at_once() -> None:
    found = parameters(population(chain((2,), ("n", neuron("LIF", (2,), tau=DT))), "n"))
    assert found["v_keep"] == [0, 0]


@pytest.mark.parametrize("size", [(), (1,)], ids=["number", "one element"])
@pytest.mark.parametrize("feedback", [(), ("lif>rec", "rec>lif"), ("lif>lif",)])
def test_one_parameter_for_all_neurons_takes_the_shape_of_what_arrives(
    size: tuple[int, ...], feedback: tuple[str, ...]
) -> None:
    nodes = {"lif": neuron("LIF", size), "fc": nir.Linear(np.ones((3, 2)))}
    nodes["li"] = neuron("LI", size)
    if "lif>rec" in feedback:
        nodes["rec"] = nir.Linear(np.ones((3, 3)))
    edges = ["input>fc", "fc>lif", "lif>li", "li>output", *feedback]
    network = to_network(joined(nodes, *edges), contract(), "net")
    assert {p.name: p.shape for p in network.populations} == {
        "input": (2,),
        "lif": (3,),
        "li": (3,),
    }
    assert parameters(network.population("lif"))["v_keep"] == [0.75] * 3


def test_parameters_per_channel_reach_every_neuron_of_the_channel() -> None:
    lif = neuron("LIF", (2, 1, 1), tau=np.array([2 * DT, 4 * DT]).reshape(2, 1, 1))
    graph = chain((2, 2, 2), ("lif", lif))
    assert parameters(population(graph, "lif"))["v_keep"] == [0.5] * 4 + [0.75] * 4


def test_different_time_constants_behind_a_convolution() -> None:
    tau = np.linspace(2, 9, 8).reshape(2, 2, 2) * DT
    conv = nir.Conv2d((3, 3), np.ones((2, 1, 2, 2)), (1, 1), (0, 0), (1, 1), 1, np.zeros(2))
    graph = chain((1, 3, 3), ("conv", conv), ("lif", neuron("LIF", (2, 2, 2), tau=tau)))
    gains = (DT / tau).ravel()
    matrix = weights_into(graph)
    np.testing.assert_allclose(matrix.max(axis=1), gains)
    assert (np.count_nonzero(matrix, axis=1) == 4).all()


# --- linear nodes ---


LINEAR_CASES: dict[str, tuple[tuple[int, ...], Any, Callable[[torch.Tensor], torch.Tensor]]] = {
    "affine": (
        (2,),
        nir.Affine(W, np.array([3.0, -1.0])),
        lambda x: x @ torch.from_numpy(W).T + torch.tensor([3.0, -1.0]),
    ),
    "linear": ((2,), nir.Linear(W), lambda x: x @ torch.from_numpy(W).T),
    "scale": ((3,), nir.Scale(np.array([2.0, 0.0, -1.0])), lambda x: x * torch.tensor([2, 0, -1])),
    "sum_pool": (
        (2, 5, 4),
        nir.SumPool2d(np.array([2, 3]), np.array([2, 1]), np.array([0, 1])),
        lambda x: functional.avg_pool2d(x, (2, 3), (2, 1), (0, 1), divisor_override=1),
    ),
    "avg_pool": (
        (2, 5, 4),
        nir.AvgPool2d(np.array([2, 2]), np.array([2, 2]), np.array([1, 1])),
        lambda x: functional.avg_pool2d(x, (2, 2), (2, 2), (1, 1)),
    ),
}


def conv_case(
    shape: tuple[int, ...], kernel: tuple[int, ...], options: dict[str, Any], size: Any = None
) -> tuple[tuple[int, ...], Any, Callable[[torch.Tensor], torch.Tensor]]:
    """NIR's convolution beside torch's, with random weights and bias."""
    rng = np.random.default_rng(len(kernel))
    weight, bias = rng.normal(size=kernel), rng.normal(size=kernel[0])
    axes = len(kernel) - 2
    chosen = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1, **options}
    make = nir.Conv2d if axes == 2 else nir.Conv1d
    convolve = functional.conv2d if axes == 2 else functional.conv1d
    node = make(input_shape=size, weight=weight, bias=bias, **chosen)
    tensors = torch.from_numpy(weight), torch.from_numpy(bias)
    return shape, node, lambda x: convolve(x, *tensors, **chosen)


LINEAR_CASES |= {
    "conv1d": conv_case((2, 9), (3, 2, 3), {"stride": 2, "padding": 1, "dilation": 2}),
    "conv1d_same": conv_case((2, 9), (3, 2, 3), {"padding": "same", "dilation": 2}),
    "conv2d": conv_case((2, 6, 5), (3, 2, 3, 2), {"stride": (2, 1), "padding": (1, 0)}),
    "conv2d_one_number": conv_case((2, 6, 5), (3, 2, 3, 3), {"stride": 2, "padding": 1}),
    "conv2d_groups": conv_case((4, 5, 5), (6, 2, 3, 3), {"groups": 2, "dilation": (2, 1)}),
    "conv2d_same": conv_case((2, 6, 5), (3, 2, 5, 3), {"padding": "same"}),
    "conv2d_valid": conv_case((2, 6, 5), (3, 2, 2, 3), {"padding": "valid"}),
}


@pytest.mark.parametrize("name", LINEAR_CASES)
def test_a_linear_node_computes_what_torch_computes(name: str) -> None:
    shape, node, expected = LINEAR_CASES[name]
    x = np.random.default_rng(0).integers(0, 2, (3, 2, *shape))
    want = expected(torch.from_numpy(x.reshape(-1, *shape)).double()).numpy()
    graph = chain(shape, (name, node), ("sum", neuron("I", (), r=1 / DT)))
    network = to_network(graph, contract(steps=2), "net")
    assert [(p.name, p.source, p.target) for p in network.projections] == [(name, "input", "sum")]
    v = run(network, x)["sum"].v
    assert v is not None
    np.testing.assert_allclose(v, want.reshape(3, 2, *want.shape[1:]).cumsum(axis=1), atol=1e-12)


def test_paths_become_one_projection_and_keep_convolutions_where_that_is_exact() -> None:
    pool = nir.AvgPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0]))
    conv = LINEAR_CASES["conv2d"][1]
    graph = chain((2, 12, 10), ("pool", pool), ("conv", conv), ("lif", neuron("LIF", ())))
    (projection,) = to_network(graph, contract(), "net").projections
    assert projection.name == "pool+conv"
    assert isinstance(projection.operator, Convolution)
    assert projection.operator.kernel == (6, 4)


def test_the_output_may_read_flattened_neurons() -> None:
    flat = nir.Flatten({"input": np.array([2, 2])}, 0)
    for kind in ("LIF", "LI"):
        graph = chain((2, 2), ("n", neuron(kind, (2, 2))), ("f", flat))
        assert to_network(graph, contract(), "net").output == "n"


def test_flatten_keeps_the_c_order() -> None:
    flat = nir.Flatten({"input": np.array([2, 2, 3])}, start_dim=1, end_dim=2)
    fc = nir.Linear(np.arange(12.0).reshape(1, 12))
    again = nir.Flatten({"input": np.array([2, 6])}, start_dim=0)
    graph = chain((2, 2, 3), ("f", flat), ("g", again), ("fc", fc), ("i", neuron("I", (1,))))
    np.testing.assert_allclose(weights_into(graph), np.arange(12.0)[None] * DT)
    shaped = chain((2, 2, 3), ("f", flat), ("i", neuron("I", (2, 6))))
    assert population(shaped, "i").shape == (2, 6)


def test_same_padding_of_an_even_kernel_has_its_odd_zero_behind() -> None:
    conv = nir.Conv1d(4, np.ones((1, 1, 2)), 1, "same", 1, 1, np.zeros(1))
    matrix = weights_into(chain((1, 4), ("conv", conv), ("sum", neuron("I", (), r=1 / DT))))
    np.testing.assert_array_equal(matrix, np.eye(4) + np.eye(4, k=1))


# --- biases ---


def bias_at_the_neuron(*nodes: tuple[str, Any], shape: tuple[int, ...] = (2,)) -> list[float]:
    """Bias of an integrator of gain 1 at the end of a chain."""
    graph = chain(shape, *nodes, ("sum", neuron("I", (), r=1 / DT)))
    return parameters(population(graph, "sum"))["bias"]


def test_a_bias_is_scaled_and_multiplied_by_what_follows_it() -> None:
    affine = ("fc", nir.Affine(W, np.array([3.0, -1.0])))
    assert bias_at_the_neuron(affine) == [3, -1]
    assert bias_at_the_neuron(affine, ("s", nir.Scale(np.array([2.0, 10.0])))) == [6, -10]
    second = ("fc2", nir.Affine(np.array([[1.0, 1.0]]), np.array([0.5])))
    assert bias_at_the_neuron(affine, second) == [2.5]


def test_a_bias_passes_pooling_and_flattening() -> None:
    ones = np.ones((1, 1, 1, 1))
    conv = ("conv", nir.Conv2d((4, 4), ones, 1, 0, 1, 1, np.array([0.5])))
    pool = ("pool", nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])))
    padded = ("pad", nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([1, 1])))
    flat = ("flat", nir.Flatten({"input": np.array([1, 2, 2])}, 0))
    assert bias_at_the_neuron(conv, pool, flat, shape=(1, 4, 4)) == [2.0] * 4
    corner, edge, middle = 0.5, 1.0, 2.0
    assert bias_at_the_neuron(conv, padded, shape=(1, 4, 4)) == [
        *(corner, edge, corner),
        *(edge, middle, edge),
        *(corner, edge, corner),
    ]


def test_a_bias_has_the_gain_of_the_neuron_and_adds_to_its_leak() -> None:
    lif = neuron("LIF", (2,), r=3, v_leak=[1, 0])
    graph = chain((2,), ("fc", nir.Affine(W, np.array([4.0, 8.0]))), ("lif", lif))
    assert parameters(population(graph, "lif"))["bias"] == [0.25 + 3, 6]


def test_biases_of_several_paths_add_up() -> None:
    nodes = {"a": nir.Affine(W, np.ones(2)), "b": nir.Affine(W, np.array([1.0, 5.0]))}
    nodes["sum"] = neuron("I", (2,), r=1 / DT)
    graph = joined(nodes, "input>a", "input>b", "a>sum", "b>sum", "sum>output")
    assert parameters(population(graph, "sum"))["bias"] == [2, 6]


def test_a_bias_into_a_current_without_memory_is_taken() -> None:
    cuba = neuron("CubaLIF", (2,), tau_syn=DT)
    graph = chain((2,), ("fc", nir.Affine(W, np.array([4.0, 8.0]))), ("cuba", cuba))
    assert parameters(population(graph, "cuba"))["bias"] == [1, 2]


# --- graphs ---


def test_edges_into_one_node_are_summed() -> None:
    nodes = {"lif": neuron("LIF", (2,)), "a": nir.Linear(W), "b": nir.Linear(W.T)}
    nodes |= {"c": nir.Linear(np.ones((2, 2)))}
    graph = joined(nodes, "input>a", "input>b", "a>c", "b>c", "c>lif", "lif>output")
    network = to_network(graph, contract(), "net")
    assert sorted(p.name for p in network.projections) == ["a+b+c"]
    total = sum(p.operator.matrix().toarray() for p in network.projections)
    np.testing.assert_allclose(total, np.ones((2, 2)) @ (W + W.T) * 0.25)


def test_branches_that_join_again_and_again_stay_one_path() -> None:
    """60 diamonds in a row are 2^60 paths; each here is W' = W + 1."""
    nodes: dict[str, Any] = {"n0": nir.Linear(np.eye(2))}
    edges = ["input>n0"]
    for i in range(60):
        nodes |= {f"n{i + 1}": nir.Scale(np.full(2, 0.5)), f"side{i}": nir.Scale(np.array([1, -1]))}
        edges += [f"n{i}>n{i + 1}", f"n{i}>side{i}", f"side{i}>n{i + 1}"]
    nodes["lif"] = neuron("LIF", (2,), r=4.0)
    graph = joined(nodes, *edges, "n60>lif", "lif>output")
    (projection,) = to_network(graph, contract(), "net").projections
    np.testing.assert_array_equal(projection.operator.matrix().toarray(), [[1, 0], [0, 0]])


def test_a_path_beside_plain_spikes_of_another_shape_is_added_to_them() -> None:
    """Flattened spikes, and the same ones through a convolution: w s + s, then a dense layer."""
    conv = nir.Conv2d((2, 2), np.full((1, 1, 1, 1), 3.0), 1, 0, 1, 1, np.zeros(1))
    flat = {"input_type": {"input": np.array([1, 2, 2])}, "start_dim": 0, "end_dim": -1}
    nodes = {"conv": conv, "plain": nir.Flatten(**flat), "convolved": nir.Flatten(**flat)}
    nodes |= {"fc": nir.Linear(np.arange(8.0).reshape(2, 4)), "lif": neuron("LIF", (2,), r=4.0)}
    edges = ["input>plain", "input>conv", "conv>convolved", "plain>fc", "convolved>fc", "fc>lif"]
    graph = joined(nodes, *edges, "lif>output", shape=(1, 2, 2))
    (projection,) = to_network(graph, contract(), "net").projections
    expected = 4 * np.arange(8.0).reshape(2, 4)
    np.testing.assert_array_equal(projection.operator.matrix().toarray(), expected)


def test_paths_through_the_same_nodes_are_told_apart() -> None:
    nodes = {"fc": nir.Linear(W), "late": nir.Delay(np.full(2, 2 * DT)), "lif": neuron("LIF", (2,))}
    graph = joined(nodes, "input>fc", "input>late", "late>fc", "fc>lif", "lif>output")
    projections = to_network(graph, contract(), "net").projections
    assert sorted(p.delay for p in projections) == [0, 2]
    assert len({p.name for p in projections}) == 2


def test_a_skip_connection_is_a_projection_of_its_own() -> None:
    nodes = {"a": neuron("LIF", (2,)), "fc": nir.Linear(W), "b": neuron("LIF", (2,))}
    graph = joined(nodes, "input>a", "a>fc", "fc>b", "input>b", "b>output")
    network = to_network(graph, contract(), "net")
    assert {(p.name, p.source, p.target, p.delay) for p in network.projections} == {
        ("input_to_a", "input", "a", 0),
        ("fc", "a", "b", 0),
        ("input_to_b", "input", "b", 0),
    }


def test_only_projections_inside_a_cycle_are_delayed() -> None:
    nodes = {"a": neuron("LIF", (2,)), "b": neuron("LIF", (2,)), "out": neuron("LIF", (2,))}
    nodes |= {"back": nir.Linear(W), "self": nir.Linear(W)}
    edges = ["input>a", "a>b", "b>back", "back>a", "b>out", "out>self", "self>out", "out>output"]
    network = to_network(joined(nodes, *edges), contract(), "net")
    assert {p.name: p.delay for p in network.projections} == {
        "input_to_a": 0,
        "a_to_b": 1,
        "back": 1,
        "b_to_out": 0,
        "self": 1,
    }
    assert [p.name for p in network.populations] == ["input", "a", "b", "out"]


@pytest.mark.parametrize(("seconds", "steps"), [(0.0, 0), (DT, 1), (62 * DT, 62)])
def test_delay_nodes_count_in_steps(seconds: float, steps: int) -> None:
    graph = chain((2,), ("d", nir.Delay(np.full(2, seconds))), ("lif", neuron("LIF", (2,))))
    (projection,) = to_network(graph, contract(), "net").projections
    assert projection.delay == steps


def test_delays_of_one_path_add_up_and_a_delay_in_a_cycle_counts() -> None:
    late = nir.Delay(np.full(2, 2 * DT))
    nodes = {"lif": neuron("LIF", (2,)), "d": late, "e": late, "f": late}
    edges = ["input>d", "d>e", "e>lif", "lif>f", "f>lif", "lif>output"]
    network = to_network(joined(nodes, *edges), contract(), "net")
    assert {(p.source, p.delay) for p in network.projections} == {("input", 4), ("lif", 2)}


def test_the_order_of_nodes_in_the_file_does_not_matter() -> None:
    nodes = {"z": neuron("LIF", (2,)), "fc": nir.Linear(W), "a": neuron("LIF", (2,))}
    graph = joined(nodes, "a>output", "fc>a", "z>fc", "input>z")
    network = to_network(graph, contract(), "net")
    assert [p.name for p in network.populations] == ["input", "z", "a"]
    assert network.output == "a"


# --- refusals ---


def lif() -> Any:
    return neuron("LIF", (2,))


def flatten() -> nir.Flatten:
    """Of a shape that the file does not say."""
    return nir.Flatten(None, 0)  # pyright: ignore[reportArgumentType]


REFUSED: dict[str, tuple[nir.NIRGraph, str]] = {
    "fast": (chain((2,), ("n1", neuron("LIF", (2,), tau=0.9 * DT))), "'n1'.*below dt.*exponential"),
    "fast current": (
        chain((2,), ("n1", neuron("CubaLIF", (2,), tau_syn=0.5 * DT))),
        "'n1'.*tau_syn.*below dt",
    ),
    "negative tau": (chain((2,), ("n1", neuron("LI", (2,), tau=-1))), "'n1'.*positive"),
    "infinite threshold": (
        chain((2,), ("n1", neuron("LIF", (2,), v_threshold=np.inf))),
        "'n1'.*infinite",
    ),
    "not a number": (chain((2,), ("w1", nir.Linear(W * np.nan)), ("n1", lif())), "'w1'.*number"),
    "potential sent on": (
        joined(
            {"li": neuron("LI", (2,)), "fc": nir.Linear(W), "n1": lif()},
            *("input>li", "li>fc", "li>n1", "fc>n1", "n1>output"),
        ),
        r"'li' \(LI\): sends its potential to 'fc', 'n1'.*put a Threshold behind it",
    ),
    "potential read and sent on": (
        joined(
            {
                "li": neuron("LI", (2,)),
                "f1": flatten(),
                "w1": nir.Linear(W),
                "n1": lif(),
            },
            *("input>li", "li>f1", "f1>output", "f1>w1", "w1>n1"),
        ),
        r"'li' \(LI\): sends its potential to 'f1'",
    ),
    "a circle of flattening": (
        joined(
            {"n1": lif(), "f1": flatten(), "f2": flatten()},
            *("input>n1", "f1>f2", "f2>f1", "f2>output"),
        ),
        "'f[12]' feeds back on itself",
    ),
    "potential fed back": (
        joined({"n1": neuron("I", (2,))}, "input>n1", "n1>n1", "n1>output"),
        "'n1'.*sends its potential to 'n1'",
    ),
    "more than a potential": (
        joined(
            {"li": neuron("LI", (2,)), "t1": nir.Threshold(np.ones(2))},
            *("input>li", "li>t1", "input>t1", "t1>output"),
        ),
        "'t1'.*adds other input to the potential of 'li'",
    ),
    "negative threshold": (
        chain((2,), ("n1", neuron("LIF", (2,), v_threshold=[1, 0.1], v_reset=[0, 0.5]))),
        "'n1'.*a threshold lies 0.4 below where v starts",
    ),
    "a layer that could not be translated": (
        joined({"n1": lif(), "n2": None}, "input>n1", "n1>n2", "n2>output"),
        "'n2' is nothing, which is none of NIR's primitives",
    ),
    "leads nowhere": (
        joined({"n1": lif(), "w1": nir.Linear(W)}, "input>n1", "n1>w1", "n1>output"),
        "'w1'.*leads nowhere",
    ),
    "too many neurons": (
        chain((3, 2048, 1024), ("n1", neuron("LIF", ()))),
        r"'input'.*6,291,456 elements; at most 4,194,304",
    ),
    "no neurons": (chain((3, 0), ("n1", neuron("LIF", ()))), "'input'.*needs an element"),
    "kernel": (
        chain((1, 4, 4), ("p1", nir.SumPool2d(np.array([9, 9]), np.ones(2), np.zeros(2)))),
        "'p1'.*kernel is larger",
    ),
    "huge kernel": (
        chain((1, 4, 4), ("p1", nir.SumPool2d(np.array([99999, 99999]), np.ones(2), np.zeros(2)))),
        "'p1'.*has a kernel of",
    ),
    "flatten": (
        chain((2, 2), ("f1", nir.Flatten(None, 0, 3)), ("n1", lif())),  # pyright: ignore[reportArgumentType]
        "'f1'.*flattens axes 0 to 3",
    ),
    "flatten of another shape": (
        chain((2, 2), ("f1", nir.Flatten({"input": np.array([4, 1])}, 0)), ("n1", lif())),
        r"'f1'.*says that it takes \(4, 1\), \(2, 2\) reaches it",
    ),
    "convolution of another shape": (
        chain((1, 4), ("c1", nir.Conv1d(5, np.ones((1, 1, 2)), 1, 0, 1, 1, np.zeros(1)))),
        r"'c1'.*says that it takes \(5,\), \(4,\) reaches it",
    ),
    "too many delays": (
        chain((99,), ("d1", nir.Delay(np.arange(99) * DT)), ("n1", neuron("LIF", ()))),
        "'d1'.*99 different delays, at most 64",
    ),
    "written out": (
        chain(
            (64, 64, 64),
            ("c1", nir.Conv2d(None, np.ones((64, 64, 3, 3)), 1, 1, 1, 1, np.zeros(64))),
            ("n1", neuron("LIF", ())),
            ("c2", nir.Conv2d(None, np.ones((9, 64, 3, 3)), 1, 1, 1, 1, np.zeros(9))),
            ("s2", nir.Scale(np.linspace(1, 2, 9 * 64 * 64).reshape(9, 64, 64))),
            ("n2", neuron("LIF", ())),
        ),
        r"'s2'.*written out as 21,233,664 single\s+connections",
    ),
    "residual stream": (
        joined(
            {
                "c1": nir.Conv2d(None, np.ones((64, 64, 3, 3)), 1, 1, 1, 1, np.zeros(64)),
                "c2": nir.Conv2d(None, np.ones((64, 64, 3, 3)), 1, 1, 1, 1, np.zeros(64)),
                "n1": neuron("LIF", ()),
                "n2": neuron("LIF", ()),
            },
            *("input>c1", "c1>c2", "c2>n1", "c2>n2", "n1>n2", "n2>output"),
            shape=(64, 32, 32),
        ),
        r"'c2'.*at most 8,388,608 are\. It gives numbers, not spikes, and 2 layers of neurons read "
        r"them \('n1', 'n2'\): a residual stream.*let shortcuts carry spikes",
    ),
    "no neuron": (chain((2,), ("n1", lif()), LINEAR), "'output' reads 'fc'.*one neuron"),
    "input read": (joined({"n1": lif()}, "input>n1", "input>output"), "'output' reads 'input'"),
    "two read": (
        joined({"n1": lif(), "n2": lif()}, "input>n1", "input>n2", "n1>output", "n2>output"),
        "'output' reads 'n1', 'n2'",
    ),
    "nothing read": (joined({"n1": lif()}, "input>n1"), "'output' reads None"),
    "part of a step": (
        chain((2,), ("d1", nir.Delay(np.full(2, 1.5 * DT))), ("n1", lif())),
        "'d1'.*not a whole number of steps",
    ),
    "negative delay": (
        chain((2,), ("d1", nir.Delay(np.full(2, -DT))), ("n1", lif())),
        "'d1'.*not a whole number",
    ),
    "delay beyond floats": (
        chain((2,), ("d1", nir.Delay(np.full(2, 1e308))), ("n1", lif())),
        r"'d1'.*a delay of 1e\+308 s is not a whole number",
    ),
    "delay nan": (
        chain((2,), ("d1", nir.Delay(np.full(2, np.nan))), ("n1", lif())),
        "'d1'.*not a number",
    ),
    "same with stride": (
        chain((2, 9), ("c1", conv_case((2, 9), (3, 2, 3), {"padding": "same"})[1]), ("n", lif())),
        "'c1'.*'same' with stride",
    ),
    "two inputs": (
        joined({"in2": nir.Input({"input": np.array([2])}), "n1": lif()}, "in2>n1", "n1>output"),
        "2 inputs and 1 outputs",
    ),
    "too few inputs": (
        chain((3,), ("w1", nir.Linear(W)), ("n1", lif())),
        "'w1'.*2 inputs, 3 reach",
    ),
    "different sums": (
        joined(
            {"w1": nir.Linear(np.ones((3, 2))), "n1": neuron("LIF", ())},
            *("input>w1", "w1>n1", "input>n1", "n1>output"),
        ),
        r"'n1' adds arrays of different shapes: \(2,\), \(3,\)",
    ),
    "parameters": (
        chain((2,), ("n1", neuron("LIF", (3,)))),
        r"'n1'.*\(3,\) do not fit neurons of shape \(2,\)",
    ),
    "bias shape": (
        chain((2,), ("w1", nir.Affine(W, np.ones(3))), ("n1", lif())),
        "'w1'.*broadcast",
    ),
    "scale shape": (chain((2,), ("s1", nir.Scale(np.ones(3))), ("n1", lif())), "'s1'.*broadcast"),
    "pool of a vector": (
        chain((8,), ("p1", LINEAR_CASES["sum_pool"][1]), ("n1", lif())),
        "'p1'.*pools",
    ),
    "conv of a vector": (chain((8,), ("c1", LINEAR_CASES["conv2d"][1]), ("n1", lif())), "'c1'"),
    "linear loop": (
        joined({"w1": nir.Linear(W), "n1": lif()}, "input>w1", "w1>w1", "w1>n1", "n1>output"),
        "'w1' feeds back on itself",
    ),
    "no input": (
        joined({"n1": lif(), "n2": lif()}, "input>n1", "n1>output"),
        "node 'n2' has no input",
    ),
    "into the input": (
        joined({"n1": lif()}, "input>n1", "n1>input", "n1>output"),
        "'n1' to 'input' leads into the input",
    ),
    "out of the output": (
        joined({"n1": lif()}, "input>n1", "n1>output", "output>n1"),
        "'output' to 'n1' leads .*out of the output",
    ),
    "unknown node": (joined({"n1": lif()}, "input>n1", "n9>n1"), "'n9', which is no node"),
}
node_of(REFUSED["same with stride"][0], "c1").stride = 2


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_expressed_is_refused_by_name(name: str) -> None:
    graph, message = REFUSED[name]
    with pytest.raises(UnsupportedError, match=message) as caught:
        to_network(graph, contract(), "my.nir")
    assert str(caught.value).startswith("my.nir: ")


# --- files ---


def write(path: Path, graph: nir.NIRGraph) -> Path:
    nir.write(path, graph)
    return path


def complete(**metadata: Any) -> nir.NIRGraph:
    graph = chain((2,), LINEAR, ("lif", lif()), **metadata)
    graph.nodes["output"] = nir.Output({"output": np.array([2])})
    return graph


def test_a_file_reads_back_as_the_graph_that_was_written(tmp_path: Path) -> None:
    path = write(tmp_path / "a.nir", complete(neurodeploy=contract().to_metadata()))
    graph = read_nir(path)
    assert contract_of(graph, "a.nir") == contract()
    np.testing.assert_array_equal(weights_into(graph), weights_into(complete()))
    assert contract_of(read_nir(write(tmp_path / "b.nir", complete())), "b.nir") is None


def test_convolutions_that_nirs_own_check_misjudges_are_read(tmp_path: Path) -> None:
    weight = np.random.default_rng(0).normal(size=(4, 1, 3, 2))
    conv = nir.Conv2d((5, 5), weight, (1, 1), (0, 0), (1, 1), 2, np.zeros(4))
    graph = chain((2, 5, 5), ("conv", conv), ("lif", neuron("LIF", (4, 3, 4))))
    graph.nodes["output"] = nir.Output({"output": np.array([4, 3, 4])})
    network = to_network(read_nir(write(tmp_path / "g.nir", graph)), contract(), "g")
    np.testing.assert_allclose(network.projections[0].operator.weights, weight / 4)


def damaged(tmp_path: Path) -> dict[str, tuple[Path, str]]:
    good = write(tmp_path / "good.nir", complete())
    text = tmp_path / "text.nir"
    text.write_text("not HDF5")
    short = tmp_path / "short.nir"
    short.write_bytes(good.read_bytes()[: good.stat().st_size // 2])
    empty = tmp_path / "empty.nir"
    empty.write_bytes(b"")
    other = tmp_path / "other.nir"
    with h5py.File(other, "w") as file:
        file["numbers"] = np.arange(3)
    single = tmp_path / "single.nir"
    nir.write(single, lif())
    lost = write(tmp_path / "lost.nir", complete())
    with h5py.File(lost, "a") as file:
        del file["node/nodes/lif/tau"]
    strange = write(tmp_path / "strange.nir", complete())
    with h5py.File(strange, "a") as file:
        del file["node/nodes/lif/type"]
        file["node/nodes/lif/type"] = "Izhikevich"
    unreadable = "not a readable NIR file"
    return {
        "absent": (tmp_path / "absent.nir", "no such file"),
        "folder": (tmp_path, "no such file"),
        "text": (text, unreadable),
        "half": (short, unreadable),
        "empty": (empty, unreadable),
        "other HDF5": (other, "not a NIR graph"),
        "one node": (single, "holds a single LIF node"),
        "lost parameter": (lost, "node 'lif' \\(LIF\\): field 'tau' is missing"),
        "unknown node": (strange, "node 'lif': 'Izhikevich' is no primitive of NIR"),
    }


@pytest.mark.parametrize(
    "name",
    [
        *("absent", "folder", "text", "half", "empty", "other HDF5"),
        *("one node", "lost parameter", "unknown node"),
    ],
)
def test_files_that_cannot_be_read_are_named(name: str, tmp_path: Path) -> None:
    path, message = damaged(tmp_path)[name]
    with pytest.raises(InputError, match=message) as caught:
        read_nir(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: "steps", "not a table"),
        (lambda table: table | {"format": 2}, "format 2; this version reads format 1"),
        (lambda table: {k: v for k, v in table.items() if k != "format"}, "format None"),
        (lambda table: table | {"stepz": 4}, "unknown key 'stepz'; did you mean 'steps'"),
        (lambda table: table | {"steps": "four"}, "steps: expected int, found 'four'"),
        (lambda table: table | {"steps": np.array([4, 4])}, r"expected int, found \[4, 4\]"),
        (lambda table: table | {"steps": 0}, "steps must be at least 1"),
        (lambda table: table | {"decode": "loudest"}, "'loudest' is not one of"),
        (lambda table: table | {"semantics": 3}, "semantics: expected a table"),
        (
            lambda table: table | {"semantics": {**table["semantics"], "dt": -1.0}},
            "dt is in seconds",
        ),
        (
            lambda table: table | {"semantics": {"dt": 1e-3, "reset": "zero"}},
            "'comparison' is missing",
        ),
    ],
)
def test_malformed_metadata_is_refused(change: Any, message: str, tmp_path: Path) -> None:
    graph = complete(**{METADATA_KEY: change(contract().to_metadata())})
    graph = read_nir(write(tmp_path / "m.nir", graph))
    with pytest.raises(InputError, match=message) as caught:
        contract_of(graph, "m.nir")
    assert str(caught.value).startswith("m.nir")


# --- the equations, stepped directly ---


POTENTIALS = (nir.LI, nir.CubaLI, nir.I)


class DirectSimulation:
    """Steps a NIR graph by its own equations, one sample, recursively from the output backwards.

    Args:
        cycle: neurons that feed back on each other; among them spikes take one step.
    """

    def __init__(self, graph: nir.NIRGraph, how: Contract, x: np.ndarray, cycle: set[str]) -> None:
        self.graph, self.how, self.x, self.cycle = graph, how, x, cycle
        self.spikes: dict[str, list[np.ndarray]] = {}
        self.v: dict[str, list[np.ndarray]] = {}
        self.current: dict[str, np.ndarray] = {}

    def run(self, order: list[str]) -> None:
        for t in range(self.how.steps):
            for name in order:
                self._step(name, t)

    def _arriving(self, name: str, t: int, target: str) -> Any:
        sources = [source for source, to in self.graph.edges if to == name]
        return sum(self._leaving(source, t, target) for source in sources)

    def _leaving(self, name: str, t: int, target: str) -> Any:
        node: Any = self.graph.nodes[name]
        if isinstance(node, nir.Input):
            return self.x[t] if t >= 0 else np.zeros_like(self.x[0])
        if isinstance(node, POTENTIALS):
            return self.v[name][t]
        if hasattr(node, "r") or isinstance(node, nir.Threshold):
            at = t - (name in self.cycle and target in self.cycle)
            each = node.threshold if isinstance(node, nir.Threshold) else node.r
            silent = np.zeros(each.shape)
            return self.spikes[name][at] if at >= 0 else silent
        if isinstance(node, nir.Delay):
            steps = np.rint(node.delay / DT).astype(int)
            late = {d: self._arriving(name, t - int(d), target) for d in np.unique(steps)}
            return sum(np.where(steps == d, value, 0) for d, value in late.items())
        sent = self._linear(node, self._arriving(name, t, target))
        return sent if t >= 0 else np.zeros_like(sent)  # before the first step nothing is sent

    @staticmethod
    def _linear(node: Any, x: np.ndarray) -> np.ndarray:
        batch = torch.from_numpy(np.asarray(x, np.float64))[None]
        if isinstance(node, nir.Linear | nir.Affine):
            return node.weight @ x + getattr(node, "bias", 0)
        if isinstance(node, nir.Scale):
            return node.scale * x
        if isinstance(node, nir.Flatten):
            return np.reshape(x, -1)
        if isinstance(node, nir.Conv1d | nir.Conv2d):
            weight, bias = torch.from_numpy(node.weight), torch.from_numpy(node.bias)
            one = isinstance(node, nir.Conv1d)
            options = [node.stride, node.padding, node.dilation, int(node.groups)]
            options = [
                o if isinstance(o, tuple | int) else tuple(o.ravel().tolist()) for o in options
            ]
            convolve: Any = functional.conv1d if one else functional.conv2d
            return convolve(batch, weight, bias, *options)[0].numpy()
        kernel, stride, padding = (
            tuple(int(n) for n in v) for v in (node.kernel_size, node.stride, node.padding)
        )
        divisor = 1 if isinstance(node, nir.SumPool2d) else None
        pooled = functional.avg_pool2d(batch, kernel, stride, padding, divisor_override=divisor)
        return pooled[0].numpy()

    def _step(self, name: str, t: int) -> None:
        node: Any = self.graph.nodes[name]
        how = self.how.semantics
        arriving = np.asarray(self._arriving(name, t, name), np.float64)
        start = getattr(node, "v_reset", np.zeros_like(arriving))
        v = self.v[name][-1] if name in self.v else start
        if hasattr(node, "tau_syn"):
            before = self.current.get(name, np.zeros_like(arriving))
            self.current[name] = self._relaxed(before, node.w_in * arriving, node.tau_syn)
            arriving = self.current[name]
        if hasattr(node, "v_leak"):
            tau = node.tau if hasattr(node, "tau") else node.tau_mem
            v = self._relaxed(v, node.v_leak + node.r * arriving, tau)
        elif isinstance(node, nir.Threshold):
            v = arriving
        else:
            v = v + how.dt * node.r * arriving
        fires = np.zeros(v.shape)
        if not isinstance(node, POTENTIALS):
            threshold = node.threshold if isinstance(node, nir.Threshold) else node.v_threshold
            fires = v > threshold if how.comparison == ">" else v >= threshold
            v = np.where(fires, start if how.reset == "zero" else v - threshold, v)
        self.spikes.setdefault(name, []).append(np.asarray(fires, np.float64))
        self.v.setdefault(name, []).append(v)

    def _relaxed(self, x: np.ndarray, goal: np.ndarray, tau: np.ndarray) -> np.ndarray:
        """One step of tau dx/dt = goal - x."""
        dt = self.how.semantics.dt
        if self.how.semantics.integrator == "euler":
            return x + dt / tau * (goal - x)
        return goal + (x - goal) * np.exp(-dt / tau)


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    axes=st.integers(0, 2),
    integrator=st.sampled_from(["euler", "exponential"]),
    reset=st.sampled_from(["zero", "subtract"]),
    comparison=st.sampled_from([">", ">="]),
    by_file=st.booleans(),
)
def test_any_graph_runs_as_its_equations_say(
    seed: int, axes: int, integrator: str, reset: str, comparison: str, by_file: bool
) -> None:
    how = contract(integrator=integrator, reset=reset, comparison=comparison)
    made = RandomGraph(seed, axes, resets=reset == "zero")
    graph = made.graph({METADATA_KEY: how.to_metadata()})
    x = np.random.default_rng(seed + 1).integers(0, 2, (how.steps, *made.input_shape))
    direct = DirectSimulation(graph, how, x, made.cycle)
    direct.run([name for entry, fires, _ in made.layers for name in dict.fromkeys((entry, fires))])
    if by_file:
        with TemporaryDirectory() as folder:
            graph = read_nir(write(Path(folder) / "r.nir", graph))
        assert contract_of(graph, "r.nir") == how
    found = run(to_network(graph, how, "net"), x[None])
    assert sorted({*found} - {CONSTANT}) == sorted(["input", *made.order])
    for name in made.order:
        record, node = found[name], made.nodes[name]
        assert record.v is not None
        np.testing.assert_array_equal(record.s[0], np.stack(direct.spikes[name]), name)
        if isinstance(node, nir.Threshold):
            continue  # an integrator before it has its potential in other coordinates
        v = np.stack(direct.v[name]) - getattr(node, "v_reset", 0)  # v counts from v_reset here
        np.testing.assert_allclose(record.v[0], v, atol=1e-9, err_msg=name)


def test_graded_input_is_divided_by_its_levels() -> None:
    how = Contract(Semantics(DT, "zero", ">"), InputCode("direct", 16), 3, "last_v")
    network = to_network(chain((2,), LINEAR, ("i", neuron("I", (), r=1 / DT))), how, "net")
    x = np.array([[16, 4]])
    ((_, trace),) = FloatEngine(network).run([SampleBatch(0, x, static=True)])
    v = trace.populations["i"].v
    assert v is not None
    np.testing.assert_allclose(v[0, -1], 3 * W @ [1, 0.25])
    np.testing.assert_array_equal(trace.populations["input"].s, [[[16, 4]] * 3])
