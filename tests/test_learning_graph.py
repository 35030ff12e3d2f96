"""Learning on networks that are no chains: gradients against PyTorch's, integers against these."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from neurodeploy.errors import UnsupportedError
from neurodeploy.ir.quantized import QuantizedNetwork, QuantizedNeuron
from neurodeploy.nn.from_network import to_torch
from neurodeploy.nn.loss import InstantaneousLoss
from neurodeploy.onchip.graph_circuits import graph_with_learning
from neurodeploy.onchip.graph_plan import GraphPlan, make_graph_plan
from neurodeploy.onchip.graph_real import RealGraph
from neurodeploy.onchip.graph_reference import GraphReference
from neurodeploy.onchip.learner import LearningOptions
from neurodeploy.onchip.plan import make_plan
from neurodeploy.onchip.plans import make_learning_plan
from neurodeploy.onchip.reference import ReferenceLearner
from neurodeploy.quantization.planned import real_network
from neurodeploy.rules import SLTT, Batch, EProp
from neurodeploy.workflow.learning.learners import make_learners
from support.graph_networks import INPUTS, graph_chunk, small_graph
from support.learners import assert_same, halves
from support.learning_networks import ending, random_tags, small_chain, small_chunk
from support.local_loss import local_gradients

RULES: dict[Any, Any] = {"eprop": EProp(), "sltt": SLTT()}
CASES = [
    *(("eprop", kind, reset) for kind in ("recurrent", "deep") for reset in ("subtract", "zero")),
    *(("eprop", kind, "subtract") for kind in ("leaky", "counted", "shortcut", "late")),
    *(("sltt", kind, "subtract") for kind in ("recurrent", "deep", "shortcut", "late")),
    ("sltt", "residual", "subtract"),
    *(("local", kind, "subtract") for kind in ("recurrent", "deep", "counted", "residual")),
    ("local", "late", "zero"),
    *(("eprop", "thresholds", reset) for reset in ("subtract", "zero")),
    *((rule, kind, "subtract") for rule in ("sltt", "local") for kind in ("thresholds", "resting")),
]


def pytorch_gradients(
    rule: Any, learner: RealGraph, values: np.ndarray, label: int
) -> dict[str, np.ndarray]:
    """Of the project's rule for training, or of each population's own loss; by projection."""
    network = learner.network
    if rule == "local":
        nodes = learner.plan.nodes.items()
        signals = {name: node.signal for name, node in nodes if node.signal is not None}
        found = local_gradients(network, signals, values, label)
        return {name: found[name] for name in learner.arcs}
    module = to_torch(network, sample_shape=network.inputs[0].shape)
    steps = network.contract.steps
    frames = torch.from_numpy(values / network.contract.input_code.payload)
    shown = [frames[t % len(frames)].reshape(1, *network.inputs[0].shape) for t in range(steps)]
    batch = Batch(shown, steps, torch.tensor([label]))
    RULES[rule].train_batch(module, batch, InstantaneousLoss(), lambda: None, torch.Generator())
    found = {}
    for name, parameter in module.named_parameters():
        projection = name.split(".")[1]
        if name.endswith("weight") and parameter.grad is not None:
            found[projection] = parameter.grad.numpy().ravel()
    return found


@pytest.mark.parametrize(("rule", "kind", "reset"), CASES)
def test_the_gradient_without_rounding_is_pytorchs(rule: Any, kind: str, reset: Any) -> None:
    options = {} if kind == "residual" else {"reset": reset}
    integers = small_graph(kind, seed=2, **options)
    network = real_network(integers)
    learner = RealGraph(make_graph_plan(integers, LearningOptions(rule, rate=2**-4)), network)
    chunk = graph_chunk(network, 3)
    most = dict.fromkeys(learner.arcs, 0.0)
    for values, label in zip(chunk.values, chunk.labels.tolist(), strict=True):
        found = learner.gradients(values, label)
        wanted = pytorch_gradients(rule, learner, values, label)
        assert found.keys() == wanted.keys()
        for name, gradient in wanted.items():
            largest = np.abs(gradient).max()
            assert np.abs(found[name] - gradient).max() <= 1e-6 * largest + 1e-12, name
            most[name] = max(most[name], largest)
    assert min(most.values()) > 1e-3, "the test is empty"


@pytest.mark.parametrize(("rule", "kind", "reset"), CASES)
def test_an_update_in_integers_goes_where_the_gradient_points(
    rule: Any, kind: str, reset: Any
) -> None:
    """Of every projection, and as far: the change over eta is minus the gradient."""
    options = {} if kind == "residual" else {"reset": reset}
    network = small_graph(kind, seed=2, **options)
    rate, chunk = 2.0**-5, graph_chunk(network, 24, seed=2)
    real = RealGraph(
        make_graph_plan(network, LearningOptions(rule, rate=rate)), real_network(network)
    )
    total: dict[str, Any] = {}
    changes: dict[str, Any] = {}
    for number in range(len(chunk)):
        one = replace(chunk, values=chunk.values[[number]], labels=chunk.labels[[number]])
        plan = make_graph_plan(network, LearningOptions(rule, rate=rate))
        reference = GraphReference(plan)
        # Each rounds by random numbers of its own.
        reference.updates = number
        states = reference.learn(one).states
        gradients = real.gradients(chunk.values[number], int(chunk.labels[number]))
        for synapses in plan.synapses:
            name = synapses.projection.name
            total[name] = total.get(name, 0.0) + gradients[name]
            change = states[name][0, 0] - synapses.initial()
            changes[name] = changes.get(name, 0.0) + change
    for synapses in real.plan.synapses:
        projection, name = synapses.projection, synapses.projection.name
        change, gradient = np.asarray(changes[name]), np.asarray(total[name])
        cosine = -float(change @ gradient) / np.linalg.norm(change) / np.linalg.norm(gradient)
        scale = network.population(projection.target).scale / 2.0**projection.exponent
        unit = 256 * scale / projection.payload / projection.weight_format.step
        true_rate = np.linalg.norm(change) / unit / np.linalg.norm(gradient)
        assert cosine > 0.98, name
        assert 2**-0.6 < true_rate / rate < 2**0.6, name
        assert true_rate == pytest.approx(2.0**-synapses.rate_shift / synapses.per_rate, rel=0.06)


@pytest.mark.parametrize("rule", ["sltt", "local"])
def test_a_chain_learns_the_same_as_by_its_own_reference(rule: Any) -> None:
    network = small_chain("dense", steps=5)
    options = LearningOptions(rule, rate=2**-2)
    tags, chunk = random_tags(network), ending(small_chunk(network, 8), 5)
    graph, own = make_graph_plan(network, options, tags), make_plan(network, options, tags)
    found, wanted = GraphReference(graph), ReferenceLearner(own)
    assert found.learn(chunk).differences(wanted.learn(chunk)) == 0
    moves = zip(chunk.values, chunk.labels.tolist(), chunk.lasts(5), strict=True)
    for values, label, steps in moves:
        ours, theirs = found.moves(values, label, steps), wanted.moves(values, label, steps)
        assert ours == pytest.approx(theirs)


def test_what_cannot_learn_is_refused_by_name() -> None:
    late = small_graph("late")
    only_late = tuple(replace(p, delay=1) if p.name == "w2" else p for p in late.projections)
    conv = small_graph("residual")
    hidden = late.population("hidden1").leaky
    apart = replace(hidden, threshold=np.array([50, 60, 70, 80, 90, 801]))
    rests = replace(hidden, refractory_period=2)

    def made_of(neuron: QuantizedNeuron) -> QuantizedNetwork:
        populations = (
            replace(p, neuron=neuron) if p.name == "hidden1" else p for p in late.populations
        )
        return replace(late, populations=tuple(populations))

    for network, reason in (
        (made_of(apart), "'hidden1' has thresholds from 50 to 801, more than 16 times"),
        (made_of(rests), "'hidden1' rests for 2 steps after a spike: rule eprop has no trace"),
        (
            replace(late, projections=only_late),
            "'hidden1' does not reach the read-out without a delay",
        ),
        (conv, "'w0' is a conv: rule eprop keeps a trace for each synapse"),
        (replace(late, contract=replace(late.contract, decode="spike_count")), "never spikes"),
    ):
        with pytest.raises(UnsupportedError, match=reason):
            make_graph_plan(network, LearningOptions("eprop"))


def test_a_chain_whose_neurons_differ_or_rest_learns_as_a_graph() -> None:
    network, options = small_chain("dense"), LearningOptions(rate=2**-3)
    hidden = network.population("hidden1")
    assert hidden.leaky.threshold is not None
    uneven = replace(hidden.leaky, threshold=hidden.leaky.threshold + np.arange(6))
    for neuron, reason in (
        (uneven, "'hidden1' has thresholds from"),
        (replace(hidden.leaky, refractory_period=1), "'hidden1' rests for 1 steps"),
    ):
        populations = (replace(p, neuron=neuron) if p is hidden else p for p in network.populations)
        changed = replace(network, populations=tuple(populations))
        assert isinstance(make_learning_plan(changed, options), GraphPlan)
        with pytest.raises(UnsupportedError, match=f"for a chain of layers: .*{reason}"):
            make_learners(changed, options, "lava", 4, None)


def test_a_population_without_an_error_of_the_step_learns_by_its_own() -> None:
    """Nothing goes back by rule ``local``, so that a delay on the way is no loss."""
    late = small_graph("late")
    only_late = tuple(replace(p, delay=1) if p.name == "w2" else p for p in late.projections)
    network = replace(late, projections=only_late)
    reference = GraphReference(make_graph_plan(network, LearningOptions("local", rate=2**-3)))
    reference.learn(graph_chunk(network, 6))
    assert min(counts.updates for counts in reference.counts.layers.values()) > 0


def test_signals_are_made_once_for_each_population() -> None:
    plan = make_graph_plan(small_graph("late"), LearningOptions("local", rate=2**-6))
    added = graph_with_learning(plan)
    named = [circuit.what for circuit in added.circuits]
    assert named.count("signal of hidden1") == named.count("signal of hidden2") == 1
    assert not any(name.startswith("errors to") for name in named)
    # An error for each neuron, and the votes of both hidden populations.
    assert added.error_neurons == 6 + 5 + 4 + 2 * 4


def test_the_stock_form_says_that_it_is_one_of_chains() -> None:
    network = small_graph("shortcut")
    with pytest.raises(UnsupportedError, match="for a chain of layers: population 'input' feeds"):
        make_learners(network, LearningOptions(), "lava", 4, None)


def test_traces_take_memory_in_synapses() -> None:
    """Currents of each neuron's own: a and e; else a lies at the inputs."""
    for kind, bits, inputs in (("recurrent", 32, 0), ("deep", 16 + 4 * 16, INPUTS)):
        plan = make_graph_plan(small_graph(kind), LearningOptions("eprop", rate=2**-6))
        added = graph_with_learning(plan)
        (first,) = (p for p in added.network.projections if p.name == "w0")
        # A tag of 8 bits, and errors times traces of 15 bits, summed over 9 steps.
        assert first.learning_bits == 8 + (16 + 15 + 4) + bits
        named = {circuit.what: circuit.detail for circuit in added.circuits}
        assert (f"{bits} bits" in named["traces of w0"]) and (
            ("in each input" in named["traces of w0"]) == (inputs > 0)
        )
    assert added.error_neurons == 6 + 5 + 4


@pytest.mark.lava
@pytest.mark.parametrize(
    ("kind", "bits", "options", "made"),
    [
        ("recurrent", 8, LearningOptions("eprop", rate=2**-4), {}),
        ("deep", 4, LearningOptions("eprop", rate=2**-3, update="step", halvings=(4, 20)), {}),
        ("deep", 8, LearningOptions("eprop", rate=2**-5, feedback="random"), {"reset": "zero"}),
        ("leaky", 8, LearningOptions("eprop", rate=2**-4, seed=3), {"payload": 12}),
        ("counted", 8, LearningOptions("eprop", rate=2**-2), {}),
        ("late", 8, LearningOptions("eprop", rate=2**-4), {}),
        ("late", 8, LearningOptions("sltt", rate=2**-4, update="step"), {}),
        ("shortcut", 8, LearningOptions("sltt", rate=2**-3, feedback="random"), {}),
        ("residual", 4, LearningOptions("sltt", rate=2**-3), {}),
        ("residual", 8, LearningOptions("local", rate=2**-3), {}),
        ("late", 4, LearningOptions("local", rate=2**-2, update="step"), {"reset": "zero"}),
        ("thresholds", 8, LearningOptions("eprop", rate=2**-4), {"reset": "zero"}),
        ("resting", 8, LearningOptions("sltt", rate=2**-2), {}),
        ("resting", 5, LearningOptions("local", rate=2**-2), {"reset": "zero"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_weights_in_lava_equal_the_references_after_every_update(
    kind: str, bits: int, options: LearningOptions, made: dict[str, Any]
) -> None:
    from neurodeploy.lava.onchip.learner import GraphLavaLearner

    network = small_graph(kind, bits=bits, **made)
    plan, chunk = make_graph_plan(network, options, random_tags(network)), graph_chunk(network, 7)
    chunk = ending(chunk, plan.steps) if kind in ("deep", "residual") else chunk
    reference = GraphReference(plan)
    lava = GraphLavaLearner(plan, capacity=5, timeout=120)
    assert_same(lava, reference, halves(chunk))
    changed = [counts.updates for counts in reference.counts.layers.values()]
    assert len(changed) == len(plan.arcs) and min(changed) > 0, "something learnt nothing"
