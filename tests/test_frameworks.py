"""What other frameworks make of the files we write: the same spikes, or a difference that is known.

A known difference is stated as what we would have to write to get theirs. Their versions are
pinned, so that a test which fails after an upgrade says that docs/frameworks.md must change.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest

from neurodeploy.errors import UnsupportedError
from neurodeploy.interchange.nir.network_in import contract_of, to_network
from neurodeploy.interchange.nir.network_out import without_readout
from neurodeploy.ir.contract import EXPORT_DT, Comparison, InputCode, Reset
from neurodeploy.quantization.post_training import quantize
from neurodeploy.simulation.engines import FloatEngine, ReferenceEngine
from neurodeploy.simulation.trace import SampleBatch
from neurodeploy.target import load_target
from neurodeploy.training.assembly import graph_of
from neurodeploy.workflow.quantization import quantized_graph
from support.exported_networks import NETWORKS, SHAPE, make_dataset, make_model, make_recipe
from support.other_frameworks import RUNNERS, ending_at, last_spiking, rewritten, tau_in_steps

STEPS, SAMPLES = 16, 6
FAMILIES = {
    "mlp": NETWORKS["mlp"],
    "conv": NETWORKS["conv_bn_pool"],
    "recurrent": {"family": "recurrent", "hidden": [20]},
}
MODULES = {"snntorch": "snntorch", "spikingjelly": "spikingjelly", "sinabs": "sinabs"}


def exported(network: str, reset: Reset = "zero", comparison: Comparison = ">=") -> nir.NIRGraph:
    """What ``train`` writes for a network with batch norm folded, as random as it begins."""
    recipe = replace(make_recipe("mlp", 2.0, reset, comparison), network=FAMILIES[network])
    return graph_of(make_model(recipe), recipe, make_dataset())


def make_spikes() -> np.ndarray:
    """(T, N, *input) of 0 and 1."""
    rng = np.random.default_rng(5)
    return (rng.random((STEPS, SAMPLES, *SHAPE)) < 0.4).astype(np.float64)


def write(graph: nir.NIRGraph, folder: Path) -> Path:
    path = folder / "network.nir"
    nir.write(path, graph, compression=None)  # pyright: ignore[reportArgumentType]
    nir.read(path, type_check=True)
    return path


def run(tool: str, path: Path) -> np.ndarray:
    """(T, N, outputs) of a framework's own import."""
    pytest.importorskip(MODULES.get(tool, "norse.torch"), exc_type=ImportError)
    return RUNNERS[tool](path, make_spikes())


def ours(graph: nir.NIRGraph, **semantics: Any) -> np.ndarray:
    """(T, N, neurons) spikes of the output population in our float engine."""
    contract = contract_of(graph, "graph")
    assert contract is not None
    contract = replace(
        contract,
        semantics=replace(contract.semantics, **semantics),
        steps=STEPS,
        input_code=InputCode("events"),
    )
    batch = SampleBatch(0, np.swapaxes(make_spikes(), 0, 1).astype(np.uint8), static=False)
    ((_, trace),) = FloatEngine(to_network(graph, contract, "net")).run([batch])
    spikes = np.swapaxes(trace.populations[trace.output].s, 0, 1)
    assert 0.03 < spikes.mean() < 0.9
    return spikes.reshape(STEPS, SAMPLES, -1)


def spiking_part(network: str, reset: Reset = "zero") -> nir.NIRGraph:
    graph = exported(network, reset)
    return ending_at(graph, last_spiking(graph))


# --- the same spikes ---


HARD = [
    ("snntorch", "mlp"),
    ("snntorch", "conv"),
    ("spikingjelly", "mlp"),
    ("spikingjelly", "conv"),
    ("spikingjelly", "recurrent"),
]


@pytest.mark.parametrize(("tool", "network"), HARD)
def test_with_a_hard_reset_they_spike_as_we_do(tool: str, network: str, tmp_path: Path) -> None:
    graph = spiking_part(network, "zero")
    np.testing.assert_array_equal(run(tool, write(graph, tmp_path)), ours(graph))


@pytest.mark.parametrize("tool", ["snntorch", "spikingjelly"])
def test_without_the_readout_their_outputs_add_up_to_its_potential(
    tool: str, tmp_path: Path
) -> None:
    graph = exported("conv")
    contract = contract_of(graph, "graph")
    assert contract is not None
    contract = replace(contract, steps=STEPS, input_code=InputCode("events"))
    batch = SampleBatch(0, np.swapaxes(make_spikes(), 0, 1).astype(np.uint8), static=False)
    ((_, trace),) = FloatEngine(to_network(graph, contract, "net")).run([batch])
    v = trace.populations["readout"].v
    assert v is not None
    outputs = run(tool, write(without_readout(graph), tmp_path))
    np.testing.assert_allclose(outputs.cumsum(axis=0), np.swapaxes(v, 0, 1), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("tool", ["snntorch", "spikingjelly"])
@pytest.mark.parametrize("network", ["mlp", "conv"])
def test_they_compute_with_the_deployed_integers(tool: str, network: str, tmp_path: Path) -> None:
    """Without bias, halving the integers for six steps leaves nothing to round."""
    steps = 6
    graph = spiking_part(network, "zero")
    nodes: list[Any] = list(graph.nodes.values())
    for node in nodes:
        if hasattr(node, "bias"):
            node.bias = np.zeros_like(node.bias)
    contract = contract_of(graph, "graph")
    assert contract is not None
    contract = replace(contract, steps=steps, input_code=InputCode("events"))
    integers = quantize(to_network(graph, contract, "net"), load_target("loihi2"))
    batch = SampleBatch(0, np.swapaxes(make_spikes()[:steps], 0, 1).astype(np.uint8), static=False)
    reference = ReferenceEngine(integers)
    ((_, trace),) = reference.run([batch])
    assert reference.overflow.total == 0
    expected = np.swapaxes(trace.populations[trace.output].s, 0, 1).reshape(steps, SAMPLES, -1)
    assert 0.03 < expected.mean() < 0.9
    path = write(quantized_graph(integers, "loihi2"), tmp_path)
    np.testing.assert_array_equal(run(tool, path)[:steps], expected)


# --- known differences ---


@pytest.mark.parametrize(("tool", "network"), HARD)
def test_a_soft_reset_becomes_a_hard_one(tool: str, network: str, tmp_path: Path) -> None:
    graph = spiking_part(network, "subtract")
    found = run(tool, write(graph, tmp_path))
    assert (found != ours(graph)).mean() > 0.02
    np.testing.assert_array_equal(found, ours(graph, reset="zero"))


@pytest.mark.parametrize("network", ["mlp", "recurrent"])
def test_norses_own_importer_drops_r_and_the_soft_reset(network: str, tmp_path: Path) -> None:
    graph = spiking_part(network, "subtract")
    found = run("norse", write(graph, tmp_path))
    assert (found != ours(graph)).mean() > 0.1
    dropped = rewritten(graph, lambda node: {"r": np.ones_like(node.r)})
    np.testing.assert_array_equal(found, ours(dropped, reset="zero"))


def test_sinabs_reads_seconds_as_steps_and_so_forgets_everything(tmp_path: Path) -> None:
    """exp(-1/0.0002) is 0; and a neuron fires as often in a step as v holds its threshold."""
    graph = ending_at(exported("mlp", "subtract"), "lif1")
    found = run("sinabs", write(graph, tmp_path))
    assert (found != ours(graph)).mean() > 0.1
    assert found.max() > 1
    forgetful = rewritten(
        graph, lambda node: {"tau": np.full_like(node.tau, EXPORT_DT), "r": np.ones_like(node.r)}
    )
    np.testing.assert_array_equal(found > 0, ours(forgetful) > 0)


@pytest.mark.parametrize(("times", "most"), [(1, 5), (4, 1)])
def test_sinabs_agrees_once_tau_is_in_steps_and_no_neuron_fires_twice(
    times: float, most: int, tmp_path: Path
) -> None:
    """Its decay per step is exp(-1/tau), ours 1 - dt/tau; its reset subtracts per spike."""
    graph = ending_at(exported("mlp", "subtract"), "lif1")
    graph = rewritten(graph, lambda node: {"v_threshold": times * node.v_threshold})
    found = run("sinabs", write(tau_in_steps(graph), tmp_path))
    assert found.max() == most
    assert (found == ours(graph)).all() == (most == 1)


# --- what they cannot read ---


@pytest.mark.parametrize(
    ("tool", "network", "error"),
    [
        ("snntorch", "recurrent", "'GraphModule' object has no attribute 'items'"),
        ("sinabs", "conv", "truth value of an array"),
        ("norse", "conv", "expected input.* to have 4 channels, but got 2"),
    ],
)
def test_their_importers_fail_on(tool: str, network: str, error: str, tmp_path: Path) -> None:
    path = write(spiking_part(network), tmp_path)
    with pytest.raises(Exception, match=error):
        run(tool, path)


@pytest.mark.parametrize("tool", ["snntorch", "spikingjelly"])
def test_they_know_no_integrator(tool: str, tmp_path: Path) -> None:
    path = write(exported("mlp"), tmp_path)
    with pytest.raises(ValueError, match=r"Unknown node type <class 'nir.ir.neuron.I'>"):
        run(tool, path)


def test_only_an_integrator_before_the_output_is_a_readout() -> None:
    graph = exported("mlp")
    cut = without_readout(graph)
    assert set(graph.nodes) - set(cut.nodes) == {"readout"}
    assert [edge for edge in cut.edges if "output" in edge] == [("fc", "output")]
    assert cut.metadata == graph.metadata
    with pytest.raises(UnsupportedError, match=r"the output reads 'fc' \(Affine\)"):
        without_readout(cut)
    looped = nir.NIRGraph(
        dict(graph.nodes), [*graph.edges, ("readout", "fc1")], {}, type_check=False
    )
    with pytest.raises(UnsupportedError, match="'readout' feeds more than the output"):
        without_readout(looped)
