"""Relays: where sums of real numbers become populations, and that they mean what the sums meant."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import nir
import numpy as np
import pytest
import torch
from torch import Tensor, nn

import neurodeploy as nd
from neurodeploy.artifacts.deployment import float_network, read_deployment
from neurodeploy.errors import ImportNote, UnsupportedError
from neurodeploy.interchange.nir.file import write_nir
from neurodeploy.interchange.nir.layout import Layout
from neurodeploy.interchange.nir.network_in import (
    network_from_layout,
    stepped_as_written,
    to_network,
)
from neurodeploy.interchange.nir.network_out import network_to_nir
from neurodeploy.ir import operators
from neurodeploy.ir.contract import METADATA_KEY
from neurodeploy.ir.convolution import Convolution
from neurodeploy.ir.network import Network
from neurodeploy.ir.quantized import QuantizationPlan
from neurodeploy.mapping import map_network
from neurodeploy.mapping.estimate import estimate
from neurodeploy.neurons.relay import RELAYS_KEY, QuantizedRelay, Relay
from neurodeploy.quantization.planned import quantize_as_planned
from neurodeploy.quantization.post_training import quantize
from neurodeploy.reporting.cost_text import estimate_text
from neurodeploy.simulation.engines import FloatEngine, ReferenceEngine
from neurodeploy.simulation.trace import Samples
from neurodeploy.target import load_target
from neurodeploy.workflow.export import export
from neurodeploy.workflow.quantization import quantized_graph
from support.engine_runs import assert_equal, check_engines
from support.quick import quick
from support.random_networks import random_input
from support.residual_graphs import contract, residual_graph

LOIHI2 = load_target("loihi2")


def relays_of(network: Network) -> list[str]:
    return [p.name for p in network.populations if isinstance(p.neuron, Relay)]


def relayed(seed: int, blocks: int, **options: int) -> tuple[Network, list[str]]:
    notes: list[str] = []
    layout = Layout(residual_graph(seed, blocks, **options), "net")
    return network_from_layout(layout, contract(), relays=16_000, notes=notes), notes


@pytest.mark.parametrize("blocks", [1, 2, 5])
def test_a_stream_grows_by_two_projections_a_block(blocks: int) -> None:
    """Composed, every reader takes a projection from all that lies before it."""
    composed = to_network(residual_graph(0, blocks), contract(), "net")
    network, notes = relayed(0, blocks)
    assert relays_of(network) == ["stem_relay", *(f"conv{n}b_sum" for n in range(1, blocks))]
    assert len(notes) == blocks
    # Into each block's neurons one, inside it one, and into the stream two; then the read-out's.
    assert len(network.projections) == 1 + 4 * (blocks - 1) + 2 + 2
    assert len(composed.projections) == blocks + (blocks + 1) * (blocks + 2) // 2
    assert re.fullmatch(
        r"relays 'stem_relay': 2 readers take [\d,]+ synapses and relays, [\d,]+ without", notes[0]
    )


@pytest.mark.parametrize("delay", [0, 2])
def test_a_stream_means_what_its_sums_mean(delay: int) -> None:
    """In real numbers the two networks compute the same spikes."""
    network, _ = relayed(1, 4, delay=delay)
    composed = to_network(residual_graph(1, 4, delay=delay), contract(), "net")
    samples = random_input_of(composed)
    ((_, one),) = FloatEngine(network).run(samples.batches(3))
    ((_, other),) = FloatEngine(composed).run(samples.batches(3))
    for population in composed.populations:
        np.testing.assert_array_equal(
            one.populations[population.name].s, other.populations[population.name].s
        )
    assert 0.05 < other.populations["lif4b"].s.mean() < 0.9
    found, expected = (trace.populations["out"].v for trace in (one, other))
    assert found is not None and expected is not None
    np.testing.assert_allclose(found, expected, atol=1e-9)
    # The last relay holds the whole stream but for the last residual.
    assert one.populations["conv3b_sum"].s.dtype == np.float64


def random_input_of(network: Network) -> Samples:
    return random_input(quantize(network, LOIHI2), 0, 3, over_time=True)


def test_nothing_is_rounded_along_a_stream() -> None:
    """From relay to relay weights are powers of two that the shift takes back."""
    network, _ = relayed(2, 5)
    integers = quantize(network, LOIHI2)
    names = relays_of(network)
    along = [p for p in integers.projections if p.source in names and p.target in names]
    assert len(along) == len(names) - 1
    for p in along:
        weights = np.unique(p.operator.weights)
        units = [integers.population(name).message_unit for name in (p.source, p.target)]
        neuron = integers.population(p.target).neuron
        assert isinstance(neuron, QuantizedRelay)
        assert weights.size == 1
        carried = int(weights[0]) * 2.0 ** (p.exponent - neuron.shift)
        assert carried == units[1] / units[0] > 0
        assert np.log2(carried) == round(np.log2(carried))


def test_messages_of_relays_are_as_wide_as_their_sums() -> None:
    network, _ = relayed(3, 6)
    integers = quantize(network, LOIHI2)
    samples = random_input(integers, 3, 4, over_time=False)
    engine = ReferenceEngine(integers)
    ((_, trace),) = engine.run(samples.batches(4), state=True)
    assert engine.overflow.total == 0
    for name in relays_of(network):
        neuron = integers.population(name).neuron
        assert isinstance(neuron, QuantizedRelay)
        bits = neuron.message.bits
        assert 2 <= bits <= 20
        assert integers.notes[name].startswith(f"relays of {bits}-bit messages")
        sent = trace.populations[name].s
        assert neuron.message.largest / 64 < np.abs(sent).max() <= neuron.message.largest


def test_integers_stay_near_the_real_numbers_of_a_stream() -> None:
    """Before any spike that differs: the first relay reads the sample alone."""
    network, _ = relayed(4, 2)
    integers = quantize(network, LOIHI2)
    samples = random_input(integers, 4, 4, over_time=False)
    ((_, floats),) = FloatEngine(network).run(samples.batches(4), state=True)
    ((_, found),) = ReferenceEngine(integers).run(samples.batches(4), state=True)
    exact, rounded = floats.populations["stem_relay"].v, found.populations["stem_relay"].v
    assert exact is not None and rounded is not None
    off = rounded / integers.population("stem_relay").state_unit - exact
    assert np.abs(off).max() < 0.02 * np.abs(exact).max()


@pytest.mark.lava
@pytest.mark.parametrize("delay", quick([0, 3], 3))
def test_streams_agree_in_every_engine(delay: int) -> None:
    network, _ = relayed(5, 3, delay=delay)
    integers = quantize(network, LOIHI2)
    check_engines(integers, random_input(integers, 5, 2, over_time=True))


def test_a_map_that_is_too_large_to_be_written_out_goes_through_relays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    graph = residual_graph(6, 1)
    # A factor for every neuron makes a kernel that nobody shares.
    graph.nodes["beta1"] = nir.Scale(np.random.default_rng(0).uniform(0.5, 1, (4, 6, 6)))
    notes: list[str] = []
    monkeypatch.setattr(operators, "MOST_SYNAPSES", 500)
    network = network_from_layout(Layout(graph, "net"), contract(), relays=16_000, notes=notes)
    assert "stem_relay" in relays_of(network)
    (into,) = [p for p in network.projections if p.target == "lif1a"]
    assert into.source == "stem_relay" and into.operator.weights.size == 144


def test_nothing_inside_a_loop_is_relayed() -> None:
    """A relay would be another projection of the loop, and take another step."""
    graph = residual_graph(7, 3)
    graph.edges.append(("conv3b", "lif1a"))
    network = network_from_layout(Layout(graph, "net"), contract(), relays=16_000)
    composed = to_network(graph, contract(), "net")
    inside = [p for p in network.projections if p.source == "lif3b" and p.target == "lif1a"]
    assert [p.delay for p in inside] == [1]
    samples = random_input_of(composed)
    ((_, one),) = FloatEngine(network).run(samples.batches(3))
    ((_, other),) = FloatEngine(composed).run(samples.batches(3))
    for name in ("lif1a", "lif3b", "out"):
        np.testing.assert_array_equal(one.populations[name].s, other.populations[name].s)


def test_export_relays_where_the_target_has_graded_spikes(tmp_path: Path) -> None:
    graph = residual_graph(8, 3)
    graph.metadata[METADATA_KEY] = contract().to_metadata()
    file = tmp_path / "residual.nir"
    write_nir(file, graph)
    new = export(file, "loihi2", tmp_path / "new", send_result=True)
    readout = new.network.population("out").neuron
    assert readout is not None and readout.kind == "Readout"
    kinds = [p.neuron.kind for p in new.network.populations if p.neuron]
    assert kinds.count("Relay") == 3
    assert any("relays 'stem_relay'" in note for note in new.network.notes.values())
    # Nothing of the kind is asked of a target that has none: it says what of this it lacks.
    network = to_network(graph, contract(), "net")
    fixed = map_network(quantize(network, load_target("loihi1")), load_target("loihi1"))
    assert {v.rule for v in fixed.violations} >= {"spike_payload"}
    # The float network of the deployment has the same populations.
    again = float_network(read_deployment(tmp_path / "new"))
    assert [p.name for p in again.populations] == [p.name for p in new.network.populations]
    kernels = [p for p in new.network.projections if p.source == "stem_relay"]
    assert all(isinstance(p.operator, Convolution) for p in kernels)


class Stream(nn.Module):
    """A residual stream of real numbers that three blocks read and add to."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.out = nn.Conv2d(1, 4, 3, padding=1), nn.Linear(4 * 36, 3)
        self.neurons = nn.ModuleList(nd.nn.LIF(tau=2.0, v_threshold=0.1) for _ in range(3))
        self.convs = nn.ModuleList(nn.Conv2d(4, 4, 3, padding=1) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        stream = self.stem(x)
        for neurons, conv in zip(self.neurons, self.convs, strict=True):
            stream = stream + conv(neurons(stream))
        return self.out(stream.flatten(1))


def test_the_library_relays_for_a_target_too(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = Stream().eval()
    x = np.random.default_rng(0).integers(0, 17, (4, 1, 6, 6))
    made = {
        target: nd.from_torch(module, (1, 6, 6), steps=3, levels=16, target=target)
        for target in (None, "loihi1", "loihi2")
    }
    assert [bool(relays_of(network)) for network in made.values()] == [False, False, True]
    spikes = [
        nd.simulate(network, x, engine="float")["neurons_2"].spikes for network in made.values()
    ]
    assert spikes[0].any()
    for found in spikes[1:]:
        np.testing.assert_array_equal(found, spikes[0])
    integers = nd.quantize(made["loihi2"], "loihi2", bits=8)
    assert nd.map(integers, "loihi2").violations == ()
    file = tmp_path / "net.nir"
    graph = residual_graph(0, 3)
    graph.metadata[METADATA_KEY] = contract().to_metadata()
    write_nir(file, graph)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImportNote)
        assert not relays_of(nd.import_nir(file))
        assert relays_of(nd.import_nir(file, target="loihi2"))


def test_a_neuron_with_more_synapses_than_a_core_holds_words_reads_relays() -> None:
    """The read-out through all of the last maps: 4 x 6 x 6 inputs where it alone has 4."""
    graph = residual_graph(9, 1)
    graph.nodes["average"] = nir.AvgPool2d(np.array([6, 6]), np.array([6, 6]), np.array([0, 0]))
    graph.nodes["flat"] = nir.Flatten({"input": np.array([4, 1, 1])}, 0, -1)
    graph.nodes["classes"] = nir.Affine(np.ones((5, 4)), np.zeros(5))
    edges = [(s, "average" if t == "flat" else t) for s, t in graph.edges]
    graph.edges = [*edges, ("average", "flat")]
    for most, names in ((1000, ["stem_relay"]), (100, ["stem_relay", "average_sum", "flat_relay"])):
        notes: list[str] = []
        layout = Layout(graph, "net")
        network = network_from_layout(layout, contract(), relays=most, notes=notes)
        assert relays_of(network) == names
        assert any("more than 100 synapses" in note for note in notes) == (most == 100)


def test_relays_come_back_from_nir() -> None:
    """They are a Scale of ones there, and metadata say what it is."""
    network, _ = relayed(10, 4)
    graph = network_to_nir(network)
    assert sorted(graph.metadata[RELAYS_KEY]) == sorted(relays_of(network))
    again = to_network(graph, contract(), "net")
    assert [p.name for p in again.populations] == [p.name for p in network.populations]
    assert {p.name for p in again.projections} == {p.name for p in network.projections}
    samples = random_input_of(network)
    ((_, one),) = FloatEngine(network).run(samples.batches(3), state=True)
    ((_, other),) = FloatEngine(again).run(samples.batches(3), state=True)
    assert assert_equal(one, other) > 0


def test_integers_of_relays_come_back_from_nir() -> None:
    network, _ = relayed(11, 5)
    integers = quantize(network, LOIHI2)
    graph = quantized_graph(integers, "loihi2")
    floats = to_network(graph, stepped_as_written(graph, integers.contract, "net"), "net")
    plan = QuantizationPlan.within(graph.metadata, "here")
    assert plan is not None
    again = quantize_as_planned(floats, LOIHI2, plan)
    samples = random_input(integers, 11, 3, over_time=True)
    ((_, one),) = ReferenceEngine(integers).run(samples.batches(3), state=True)
    ((_, other),) = ReferenceEngine(again).run(samples.batches(3), state=True)
    assert assert_equal(one, other) > 0


def test_a_node_that_is_said_to_be_relays_and_is_none_is_named() -> None:
    graph = residual_graph(12, 2)
    graph.metadata[RELAYS_KEY] = {"beta2": "Relay"}
    with pytest.raises(UnsupportedError, match=r"node 'beta2' is relays, .* Scale of ones"):
        to_network(graph, contract(), "net")


def test_messages_that_carry_integers_are_told_apart_in_the_estimate() -> None:
    network, _ = relayed(13, 2)
    integers = quantize(network, LOIHI2)
    mapping = map_network(integers, LOIHI2)
    activity = {p.name: np.full(p.shape, 2.0) for p in integers.populations}
    found = estimate(integers, LOIHI2, mapping, activity)
    sizes = {p.name: np.prod(p.shape) for p in integers.populations if p.neuron}
    assert found.graded == 2 * sum(sizes[name] for name in relays_of(network))
    assert found.spikes == 2 * sum(sizes.values())
    assert f"{found.graded:,.0f} carry integers" in estimate_text(found)
