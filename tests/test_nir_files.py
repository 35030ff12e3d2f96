"""NIR files as they come: subgraphs, slips with one meaning, and what the user has to say."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
import pytest

from neurodeploy.artifacts.deployment import read_deployment
from neurodeploy.errors import InputError, UnsupportedError
from neurodeploy.interchange.nir.importing import import_nir
from neurodeploy.interchange.nir.layout import Layout
from neurodeploy.interchange.nir.network_in import contract_of, to_network
from neurodeploy.interchange.nir.plain_graph import repaired, unnested
from neurodeploy.interchange.nir_file import read_nir, write_nir
from neurodeploy.ir.contract import METADATA_KEY
from neurodeploy.ir.network import Network
from neurodeploy.neurons.constant import CONSTANT
from neurodeploy.simulation.engines import FloatEngine
from neurodeploy.simulation.trace import SampleBatch
from support.command import run_cli, run_json
from support.narrow import node_of
from support.random_nir import DT, RandomGraph, chain, contract, joined, neuron
from support.wording import refused, said_by

W = np.array([[1.0, -0.5], [0.25, 2.0]])


def lif(shape: tuple[int, ...] = (2,), **changes: Any) -> Any:
    return neuron("LIF", shape, **changes)


def stated(**changes: Any) -> dict[str, Any]:
    how = {"dt": DT, "reset": "zero", "comparison": ">", "integrator": "euler", "steps": 5}
    return how | changes


def file_of(graph: nir.NIRGraph, folder: Path, name: str = "a.nir") -> Path:
    write_nir(folder / name, graph)
    return folder / name


# --- the public door ---


def test_the_public_reader_and_writer_take_strings_and_paths(tmp_path: Path) -> None:
    """In a program of its own, with the import that scripts of others have."""
    program = (
        "from pathlib import Path\n"
        "import nir, numpy as np\n"
        "from neurodeploy.interchange.nir_file import read_nir, write_nir\n"
        "nodes = [nir.Linear(np.eye(2)), nir.I(r=np.ones(2))]\n"
        "graph = nir.NIRGraph.from_list(*nodes)\n"
        "write_nir('a.nir', graph)\n"
        "write_nir(Path('b.nir'), graph)\n"
        "print(len(read_nir('b.nir').nodes), len(read_nir(Path('a.nir')).nodes))\n"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["4", "4"]


@pytest.mark.parametrize("wrong", [None, 7, b"a.nir", "", "a\0.nir", ["a.nir"], nir.NIRGraph])
def test_what_is_no_path_is_named(wrong: Any) -> None:
    graph = nir.NIRGraph.from_list(nir.Linear(np.eye(2)))
    with pytest.raises(InputError, match=r"read_nir.* path"):
        read_nir(wrong)
    with pytest.raises(InputError, match=r"write_nir.* path"):
        write_nir(wrong, graph)


def test_what_is_no_graph_is_named_and_nothing_written(tmp_path: Path) -> None:
    for graph in (None, "a.nir", nir.Linear(np.eye(2))):
        wrong: Any = graph
        with pytest.raises(InputError, match=f"NIRGraph, found {type(graph).__name__}"):
            write_nir(tmp_path / "a.nir", wrong)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_no_place_for_a_file(tmp_path: Path) -> None:
    for place in (".", "/", str(tmp_path)):
        with pytest.raises(InputError, match="cannot be written"):
            write_nir(place, nir.NIRGraph.from_list(nir.Linear(np.eye(2))))


# --- subgraphs ---


def weights(network: Network) -> list[np.ndarray]:
    return [p.operator.matrix().toarray() for p in network.projections]


@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("seed", range(12))
def test_subgraphs_are_written_out(seed: int, depth: int, tmp_path: Path) -> None:
    made = RandomGraph(seed, axes=0)
    flat = to_network(made.graph({}), contract(), "net")
    path = file_of(made.nested(depth), tmp_path)
    deep = to_network(read_nir(path), contract(), "net")
    between = [f"deep{level}" for level in reversed(range(depth - 1))]
    names = ["input"]
    for number, fires in enumerate(made.order):
        names.append(".".join([f"layer{number}", *between, fires]))
    found = {p.name for p in deep.populations}
    assert sorted(found - {CONSTANT}) == sorted(names)

    def content(network: Network) -> list[tuple[int, str, bytes]]:
        of = [(p.delay, p.operator.kind, p.operator.weights) for p in network.projections]
        return sorted((delay, kind, weights.tobytes()) for delay, kind, weights in of)

    assert content(flat) == content(deep)


def box(**nodes: Any) -> nir.NIRGraph:
    """A subgraph that leads through its nodes one after the other."""
    return chain((2,), *nodes.items())


def test_an_empty_subgraph_hands_on_what_it_takes() -> None:
    graph = chain(
        (2,), ("a", box()), ("b", box(n=lif())), ("c", box(w=nir.Linear(W))), ("n", lif())
    )
    found = unnested(graph, "g")
    assert sorted(found.nodes) == ["b.n", "c.w", "input", "n", "output"]
    assert sorted(found.edges) == [("b.n", "c.w"), ("c.w", "n"), ("input", "b.n"), ("n", "output")]


def test_an_edge_may_name_a_node_in_a_subgraph() -> None:
    """As nirtorch does with ``layer.w_rec``."""
    inner = box(n=lif())
    graph = joined({"a": inner, "w": nir.Linear(W)}, "input>a", "a.n>w", "w>a", "a>output")
    network = to_network(graph, contract(), "net")
    assert {(p.source, p.target, p.delay) for p in network.projections} == {
        ("input", "a.n", 0),
        ("a.n", "a.n", 1),
    }


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (
            joined({"g": joined({"n": lif()}, "input>n")}, "input>g", "g>output"),
            "'g.output' reads None|node 'n' has no input|'output' reads",
        ),
        (
            chain((2,), ("g", nir.NIRGraph({"n": lif()}, [], {}, type_check=False)), ("n", lif())),
            "subgraph 'g' has 0 inputs and 0 outputs",
        ),
        (
            joined({"g": box(), "n": lif()}, "input>g", "g>g", "g>n", "n>output"),
            "subgraphs lead back to 'g.",
        ),
        (
            chain((2,), ("g", box(n=lif())), ("g.n", lif())),
            "share the name 'g.n'",
        ),
    ],
)
def test_subgraphs_without_one_meaning_are_refused(graph: nir.NIRGraph, message: str) -> None:
    with pytest.raises(UnsupportedError, match=message):
        to_network(graph, contract(), "net")


def test_subgraphs_too_deep_are_refused() -> None:
    inner = box(n=lif())
    for _ in range(40):
        inner = box(g=inner)
    with pytest.raises(UnsupportedError, match="more than 32 deep"):
        to_network(inner, contract(), "net")


# --- slips with one meaning ---


def test_an_edge_written_twice_counts_once() -> None:
    graph = joined({"w": nir.Linear(W), "n": lif()}, "input>w", "w>n", "w>n", "n>output")
    found, notes = repaired(graph)
    assert notes == ["the edge from 'w' to 'n' is written 2 times: taken once, as edges are a set"]
    np.testing.assert_array_equal(weights(to_network(found, contract(), "net"))[0], W / 4)


def test_missing_ends_are_added() -> None:
    nodes = {"w": nir.Linear(np.ones((3, 2))), "n": lif((3,))}
    found, notes = repaired(nir.NIRGraph(nodes, [("w", "n")], {}, type_check=False))
    assert notes == [
        "there is no Input: 'input' of shape (2,) added before 'w'",
        "there is no Output: 'output' added behind 'n'",
    ]
    network = to_network(found, contract(), "net")
    assert [p.shape for p in network.populations] == [(2,), (3,)]


def test_ends_that_could_be_several_nodes_are_not_added() -> None:
    nodes = {"a": nir.Linear(W), "b": nir.Linear(W), "n": lif(), "m": lif()}
    edges = [("a", "n"), ("b", "n"), ("a", "m")]
    found, notes = repaired(nir.NIRGraph(nodes, edges, {}, type_check=False))
    assert notes == []
    with pytest.raises(UnsupportedError, match="0 inputs and 0 outputs"):
        to_network(found, contract(), "net")


@pytest.mark.parametrize(
    ("declared", "first", "expected"),
    [
        ((8, 2), nir.Linear(W), (2,)),
        ((1, 2), nir.Affine(W, np.zeros(2)), (2,)),
        ((5, 1, 2), nir.Linear(W), (2,)),
        ((2,), nir.Linear(W), (2,)),
        ((7, 1, 4, 4), nir.Conv2d(None, np.ones((2, 1, 3, 3)), 1, 0, 1, 1, np.zeros(2)), (1, 4, 4)),
        ((7, 4, 9), nir.Conv1d(None, np.ones((4, 2, 3)), 1, 0, 1, 2, np.zeros(4)), (4, 9)),
        ((3, 4), nir.Linear(W), (3, 4)),
        ((2, 3, 4, 4), nir.Conv2d(None, np.ones((2, 1, 3, 3)), 1, 0, 1, 1, np.zeros(2)), None),
    ],
)
def test_batch_and_time_are_no_axes_of_the_input(
    declared: tuple[int, ...], first: Any, expected: tuple[int, ...] | None
) -> None:
    found, notes = repaired(chain(declared, ("first", first), ("n", lif(()))))
    shape = tuple(node_of(found, "input").input_type["input"].tolist())
    assert shape == (expected or declared)
    assert len(notes) == (shape != declared)


def flatten(declared: tuple[int, ...] | None, start: int = 0, end: int = -1) -> nir.Flatten:
    node: Any = nir.Flatten({"input": np.array(declared or (1,))}, start, end)
    if declared is None:
        node.input_type = {"input": None}
    return node


@pytest.mark.parametrize(
    ("declared", "flat"),
    [
        ((64, 6), flatten((64, 6), 1)),
        ((64, 6), flatten((64, 6), 0)),
        ((64, 6), flatten((64, 6), -1)),
        ((64, 6), flatten(None, 1)),
        ((6, 6), flatten((6, 6), 1)),
        ((64, 1, 2, 3), flatten((64, 1, 2, 3), 1)),
        ((64, 1, 2, 3), flatten((64, 1, 2, 3), 1, 3)),
        ((64, 1, 2, 3), flatten((64, 1, 2, 3), 0)),
        ((64, 1, 2, 3), flatten((64, 1, 2, 3), -3)),
        ((64, 1, 2, 3), flatten((64, 1, 2, 3), -4, -1)),
        ((64, 1, 2, 3), flatten(None, 1)),
        ((8, 4, 2, 3), flatten((8, 4, 2, 3), 2)),
    ],
)
def test_the_batch_is_no_axis_before_a_flatten(declared: tuple[int, ...], flat: Any) -> None:
    weight = np.random.default_rng(0).normal(size=(3, 6))
    graph = chain(declared, ("flat", flat), ("fc", nir.Linear(weight)), ("i", neuron("I", (3,))))
    found, notes = repaired(graph)
    network = to_network(found, contract(), "net")
    (source,) = (p for p in network.populations if p.neuron is None)
    assert np.prod(source.shape) == 6
    assert "dropped as batch or time" in notes[0]
    np.testing.assert_allclose(weights(network)[0], weight * DT)


def test_the_batch_that_a_later_flatten_counts_goes_with_that_of_the_input() -> None:
    """Channels as many as the batch change nothing: what reaches a Flatten decides."""
    for counted in ((3, 3, 2, 2), (3, 2, 2)):
        graph = chain(
            (3, 1, 4, 4),
            ("conv", nir.Conv2d(None, np.ones((3, 1, 3, 3)), 1, 0, 1, 1, np.zeros(3))),
            ("n", lif((3, 2, 2))),
            ("flat", flatten(counted, len(counted) - 3)),
            ("fc", nir.Linear(np.ones((2, 12)))),
            ("m", lif()),
        )
        found, notes = repaired(graph)
        assert len(notes) == 1 + (len(counted) == 4)
        assert to_network(found, contract(), "net").population("m").shape == (2,)


def test_a_flatten_that_starts_behind_the_last_axis_counts_the_batch() -> None:
    graph = chain(
        (6,), ("flat", flatten((6,), 1)), ("fc", nir.Linear(np.ones((2, 6)))), ("n", lif())
    )
    found, notes = repaired(graph)
    assert "'flat' counts the batch" in notes[0]
    assert to_network(found, contract(), "net").population("n").shape == (2,)


def test_a_batch_that_could_be_axes_of_a_sample_is_refused() -> None:
    graph = chain((64, 6), ("flat", flatten((64, 6), 1)), ("n", lif((6,))))
    with pytest.raises(
        UnsupportedError, match=r"'n' has parameters for 6 .*\(64,\) may be the batch"
    ):
        repaired(graph)


def test_a_sample_in_several_axes_stays_one_before_a_flatten() -> None:
    for size in (6, 12):
        graph = chain(
            (2, 6), ("flat", flatten((2, 6))), ("fc", nir.Linear(np.ones((2, size)))), ("n", lif())
        )
        _, notes = repaired(graph)
        assert (len(notes) == 0) == (size == 12)


# --- what cannot be deployed, all of it at once ---


def test_all_problems_are_named_at_once() -> None:
    nodes = {
        "fast": lif(tau=DT / 2),
        "w": nir.Linear(np.ones((2, 3))),
        "odd": lif((3,)),
        "late": nir.Delay(np.full(2, DT / 3)),
        "nan": nir.Scale(np.array([1.0, np.nan])),
        "behind": lif(),
        "end": lif(),
    }
    edges = ["input>fast", "fast>w", "w>end", "fast>odd", "odd>end", "fast>late", "late>end"]
    graph = joined(nodes, *edges, "fast>nan", "nan>behind", "behind>end", "end>output", "end>gone")
    with pytest.raises(UnsupportedError) as caught:
        to_network(graph, contract(), "my.nir")
    lines = str(caught.value).splitlines()
    for line in lines:
        assert line.startswith("my.nir: ")
    found = "\n".join(lines)
    for part in ("'fast'", "'w'", "'odd'", "'late'", "'nan'", "'gone'"):
        assert part in found
    assert "'behind'" not in found  # only because of 'nan' before it
    assert len(lines) == len(set(lines)) == 6


# --- files ---


@pytest.mark.parametrize("seed", range(6))
def test_what_we_write_is_what_nir_writes(seed: int, tmp_path: Path) -> None:
    graph = RandomGraph(seed, seed % 3).graph({"a": {"b": 1.5, "c": "d"}, "e": np.arange(3)})
    nir.write(tmp_path / "theirs.nir", graph)
    write_nir(tmp_path / "ours.nir", graph)

    def content(name: str) -> dict[str, Any]:
        found = {}
        with h5py.File(tmp_path / name) as file:
            file.visititems(
                lambda key, item: (
                    found.update({key: item[()].tolist()})
                    if isinstance(item, h5py.Dataset) and not isinstance(item[()], bytes)
                    else found.update({key: item[()] if isinstance(item, h5py.Dataset) else None})
                )
            )
        return found

    assert content("ours.nir") == content("theirs.nir")
    nir.read(tmp_path / "ours.nir", type_check=False)


def test_a_file_that_says_everything_is_deployed_as_it_is(tmp_path: Path) -> None:
    graph = chain(
        (2,), ("w", nir.Linear(W)), ("n", lif()), **{METADATA_KEY: contract().to_metadata()}
    )
    found = import_nir(file_of(graph, tmp_path))
    assert found.unchanged
    assert found.notes == []
    assert not import_nir(tmp_path / "a.nir", steps=9).unchanged


def test_a_file_that_does_not_is_deployed_with_what_was_said(tmp_path: Path) -> None:
    """The deployed NIR reads as the same network, without the options and repairs."""
    conv = nir.Conv2d(None, np.ones((2, 1, 2, 2)), 1, 0, 1, 1, np.ones(2))
    nodes = (("c", conv), ("f", nir.Flatten(None, 0)), ("n", lif((18,), tau=2e-4)))  # pyright: ignore[reportArgumentType]
    path = file_of(chain((5, 1, 4, 4), *nodes), tmp_path)
    first = import_nir(path, framework="snntorch", steps=3)
    assert not first.unchanged
    assert len(first.notes) == 3
    write_nir(tmp_path / "b.nir", first.graph)
    nir.read(tmp_path / "b.nir")
    second = import_nir(tmp_path / "b.nir")
    assert second.unchanged
    assert second.network.contract == first.network.contract
    assert [p.name for p in first.network.projections] == [
        p.name for p in second.network.projections
    ]
    for a, b in zip(weights(first.network), weights(second.network), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("how", [{"framework": "snntorch", "dt": 1e-4}, stated(gain="one")])
def test_the_layout_is_found_once(
    how: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every linear node is read into an operator as the layout is, which costs most."""
    nodes = (("w", nir.Linear(W)), ("n", lif(tau=2e-3)))
    path = file_of(chain((2,), *nodes), tmp_path)
    built: list[str] = []
    start = Layout.__init__

    def counted(self: Layout, graph: nir.NIRGraph, name: str) -> None:
        built.append(name)
        start(self, graph, name)

    monkeypatch.setattr(Layout, "__init__", counted)
    import_nir(path, **{**how, "steps": 5})
    assert built == ["a.nir"]


def test_the_framework_does_not_override_a_contract(tmp_path: Path) -> None:
    graph = chain((2,), ("n", lif()), **{METADATA_KEY: contract().to_metadata()})
    with refused(UnsupportedError, "leave --from out", by="export"):
        import_nir(file_of(graph, tmp_path), framework="norse")


def test_options_override_the_framework(tmp_path: Path) -> None:
    path = file_of(chain((2,), ("w", nir.Linear(W)), ("n", lif())), tmp_path)
    how: Any = {"dt": DT, "reset": "subtract", "comparison": ">=", "integrator": "exponential"}
    found = import_nir(path, framework="norse", steps=3, **how)
    semantics = found.network.contract.semantics
    assert (semantics.dt, semantics.reset) == (DT, "subtract")
    assert (semantics.comparison, semantics.integrator) == (">=", "exponential")
    one = import_nir(path, **stated(gain="one"))
    np.testing.assert_array_equal(weights(one.network)[0], W)


@pytest.mark.parametrize(
    ("options", "missing"),
    [
        ({}, ["dt", "reset", "compare", "integrator", "steps"]),
        ({"dt": 1e-3, "steps": 4}, ["reset", "compare", "integrator"]),
        ({"framework": "norse"}, ["steps"]),
    ],
)
def test_what_is_missing_is_listed(
    options: dict[str, Any], missing: list[str], tmp_path: Path
) -> None:
    path = file_of(chain((2,), ("n", lif(tau=2e-4, r=2.0))), tmp_path)
    with pytest.raises(UnsupportedError) as caught:
        import_nir(path, **options)
    said = said_by("export", caught.value.text)
    named = [line.split(":")[0].strip() for line in said.splitlines()[1:]]
    assert [name for name in named if name.startswith("--")] == [f"--{name}" for name in missing]
    advice = "--from snntorch" in said
    assert advice == (missing != ["steps"])


def test_a_node_may_lack_a_name_that_can_be_printed(tmp_path: Path) -> None:
    path = file_of(chain((2,), ("n", lif())), tmp_path)
    with h5py.File(path, "a") as file:
        file.move("node/nodes/n", "node/nodes/a\x07")
    with pytest.raises(InputError, match="unprintable"):
        read_nir(path)


@pytest.mark.parametrize(
    ("at", "value", "message"),
    [
        ("n/tau", "long", r"node 'n' \(LIF\): tau: expected numbers, found 'long'"),
        ("n/colour", 3.0, r"'n' \(LIF\): unknown field 'colour'"),
        ("n/type", 3, "'n': type: expected text"),
        ("input/shape", [2.5], r"'input' \(Input\): shape: expected whole numbers, found \[2.5\]"),
        ("input/shape", [1e300], "expected whole numbers"),
        ("input/shape", [np.nan], "expected whole numbers"),
        ("input/shape", [[2, 2]], "expected whole numbers"),
        ("w/weight", [1.0, 2.0], r"'w' \(Linear\): Weight must be at least 2D"),
        ("n/r", [1.0, 2.0, 3.0], r"'n' \(LIF\): All parameters must have the same shape"),
    ],
)
def test_a_field_with_the_wrong_content_is_named(
    at: str, value: Any, message: str, tmp_path: Path
) -> None:
    path = file_of(chain((2,), ("w", nir.Linear(W)), ("n", lif())), tmp_path)
    with h5py.File(path, "a") as file:
        key = f"node/nodes/{at}"
        if key in file:
            del file[key]
        file[key] = value
    with pytest.raises(InputError, match=message) as caught:
        read_nir(path)
    assert "\n" not in str(caught.value)


# --- the commands ---


def test_inspect_says_what_was_repaired_and_what_is_missing(tmp_path: Path) -> None:
    file_of(chain((8, 2), ("w", nir.Linear(W)), ("n", lif(tau=4e-4, r=4.0))), tmp_path)
    output = run_cli("inspect", "a.nir", folder=tmp_path).output
    assert "Repaired: Input 'input' has shape (8, 2)" in output
    assert "this file is consistent with --from snntorch" in output
    assert "--from spikingjelly" in output
    assert "  snnTorch: r = tau / 1e-4\n" in output
    assert output.count("--from") == 3  # and Lava, which only reads NIR
    assert output.count("--") - output.count("--from") == 6


@pytest.mark.lava
def test_a_file_of_a_framework_is_deployed_with_one_word(tmp_path: Path) -> None:
    """Conv1d, a pool by stride and a recurrent layer, to Lava's integers and back."""
    rng = np.random.default_rng(0)
    conv = nir.Conv1d(12, rng.normal(0.3, 0.5, (3, 2, 3)), 2, 1, 1, 1, rng.normal(0, 0.1, 3))
    nodes = {
        "conv": conv,
        "a": neuron("LIF", (3, 6), tau=4e-4, r=4.0),
        "flat": nir.Flatten({"input": np.array([3, 6])}, 0),
        "fc": nir.Affine(rng.normal(0.2, 0.3, (4, 18)), np.zeros(4)),
        "b": neuron("LIF", (4,), tau=2e-4, r=2.0, v_threshold=0.75),
        "back": nir.Linear(rng.normal(-0.2, 0.3, (4, 4))),
    }
    path = ["input", "conv", "a", "flat", "fc", "b", "output"]
    edges = [f"{a}>{b}" for a, b in itertools.pairwise(path)] + ["b>back", "back>b"]
    file_of(joined(nodes, *edges, shape=(2, 12)), tmp_path)
    how = ["--target", "loihi2", "--from", "snntorch", "--steps", "12"]
    exported = run_json("export", "a.nir", *how, folder=tmp_path)
    assert any("reset_mechanism" in note for note in exported["notes"].values())
    deployed = read_deployment(tmp_path / exported["deployment"])
    assert deployed.network.notes == exported["notes"]
    graph = read_nir(deployed.nir_file)
    found = contract_of(graph, "deployed")
    assert found == deployed.network.contract
    assert found is not None
    x = (rng.random((2, 12, 2, 12)) < 0.5).astype(np.uint8)
    ((_, trace),) = FloatEngine(to_network(graph, found, "a.nir")).run(
        [SampleBatch(0, x, static=False)]
    )
    assert 0.02 < trace.populations["b"].s.mean() < 0.98
    compared = run_json(
        "validate", "--engines", "reference,lava", "--random", "4", "--rate", "0.5", folder=tmp_path
    )
    assert compared["mismatches"] == 0
    # What was deployed is a file of ours now: no option is needed, and nothing changes.
    again = run_json("export", str(deployed.nir_file), "--target", "loihi2", folder=tmp_path)
    second = read_deployment(tmp_path / again["deployment"]).network
    for p, q in zip(deployed.network.projections, second.projections, strict=True):
        np.testing.assert_array_equal(p.operator.weights, q.operator.weights)


def through_a_subgraph(nodes: int, times: int) -> nir.NIRGraph:
    """Nodes into a subgraph that only passes on, and as many behind it; every edge repeated."""
    size = {"input": np.array([3])}
    inner: dict[str, nir.NIRNode] = {
        "in": nir.Input(size),
        "out": nir.Output({"output": np.array([3])}),
    }
    found: dict[str, nir.NIRNode] = {
        "door": nir.NIRGraph(inner, [("in", "out")] * times, {}, type_check=False)
    }
    edges = []
    for number in range(nodes):
        found |= {f"a{number}": nir.Scale(np.ones(3)), f"b{number}": nir.Scale(np.ones(3))}
        edges += [(f"a{number}", "door"), ("door", f"b{number}")] * times
    return nir.NIRGraph(found, edges, {}, type_check=False)


def test_repeated_edges_into_a_subgraph_make_no_more_pairs() -> None:
    """As lists they made 500 x 500 for each pair."""
    found, notes = repaired(unnested(through_a_subgraph(3, 500), "g"))
    assert sorted(found.edges) == [(f"a{i}", f"b{j}") for i in range(3) for j in range(3)]
    assert len(notes) == 9 and all("taken once" in note for note in notes)
    found, notes = repaired(unnested(through_a_subgraph(3, 1), "g"))
    assert len(found.edges) == 9 and notes == []


def test_a_subgraph_that_makes_too_many_edges_is_refused() -> None:
    with pytest.raises(UnsupportedError, match=r"400 edges lead into 'door\.out' and .*100,000"):
        unnested(through_a_subgraph(400, 1), "g")
