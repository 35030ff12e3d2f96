"""Rules that change the output layer alone, on networks that are no chains: all else is frozen."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from neurodeploy.errors import UnsupportedError
from neurodeploy.ir.quantized import QuantizedNetwork
from neurodeploy.onchip.delta_reference import DeltaReference
from neurodeploy.onchip.frozen import output_layer
from neurodeploy.onchip.graph_plan import graph_plan_of_any_rate, make_graph_plan
from neurodeploy.onchip.graph_real import RealGraph
from neurodeploy.onchip.learner import LearningOptions, RuleName, StreamChunk
from neurodeploy.onchip.loihi_rule import make_delta_plan
from neurodeploy.onchip.plans import make_learning_plan
from neurodeploy.onchip.prototype_plan import (
    PrototypePlan,
    check_prototypes,
    make_prototype_plan,
)
from neurodeploy.onchip.prototypes import PrototypeReference, SpikeCounts
from neurodeploy.onchip.rates import suitable_rate
from neurodeploy.quantization.planned import real_network
from neurodeploy.simulation.engines import ReferenceEngine
from neurodeploy.simulation.trace import SampleBatch
from support.graph_networks import graph_chunk, small_graph
from support.learners import assert_same, halves
from support.learning_networks import ending
from support.random_models import random_model_network


def batch_of(network: QuantizedNetwork, chunk: StreamChunk) -> SampleBatch:
    count, given, _ = chunk.values.shape
    static = given == 1
    shape = (count, *(() if static else (given,)), *network.inputs[0].shape)
    return SampleBatch(0, chunk.values.reshape(shape), static, chunk.labels)


def prototypes_of(network: QuantizedNetwork) -> PrototypePlan:
    """Of two classes that are known."""
    known = graph_chunk(network, 60, seed=4)
    counts = SpikeCounts(network, check_prototypes(network).projection).of(known)
    use = known.labels < 2
    options = LearningOptions("prototypes", rate=2**-5)
    return make_prototype_plan(network, options, counts[use], known.labels[use])


@pytest.mark.parametrize("kind", ["recurrent", "deep", "leaky", "thresholds"])
def test_delta_goes_where_the_gradient_of_the_output_layer_points(kind: str) -> None:
    """Read by the last v or by its sum, from an integrator, a leak, a current and a leak."""
    network, rate = small_graph(kind, seed=2), 2.0**-1
    name = output_layer(network).projection.name
    plan = graph_plan_of_any_rate(network, LearningOptions(rate=rate))
    real = RealGraph(plan, real_network(network))
    chunk, total, changes = graph_chunk(network, 24, seed=2), 0.0, 0.0
    options = LearningOptions("delta", rate=rate, update="step")
    for number in range(len(chunk)):
        one = replace(chunk, values=chunk.values[[number]], labels=chunk.labels[[number]])
        learner = DeltaReference(make_delta_plan(network, replace(options, seed=number)))
        first = learner.rule.weights.ravel()
        changes = changes + (learner.learn(one).last[name] - first)
        total = total + real.gradients(one.values[0], int(one.labels[0]))[name]
    change, gradient = np.asarray(changes), np.asarray(total)
    cosine = -float(change @ gradient) / np.linalg.norm(change) / np.linalg.norm(gradient)
    assert cosine > 0.9


@pytest.mark.parametrize("rule", ["delta", "prototypes"])
def test_what_sltt_cannot_reach_stays_and_is_met(rule: RuleName) -> None:
    """A population whose errors would come late, which is nothing to these rules."""
    late = small_graph("late")
    network = replace(
        late,
        projections=tuple(replace(p, delay=1) if p.name == "w2" else p for p in late.projections),
    )
    with pytest.raises(UnsupportedError, match="does not reach the read-out without a delay"):
        make_graph_plan(network, LearningOptions())
    chunk = graph_chunk(network, 12)
    rate = suitable_rate(network, LearningOptions(rule, update="sample"), batch_of(network, chunk))
    learner: Any = PrototypeReference(prototypes_of(network))
    if rule == "delta":
        learner = DeltaReference(make_delta_plan(network, LearningOptions("delta", rate=rate)))
    scores = learner.learn(replace(chunk, labels=chunk.labels % 2)).scores
    changed = [
        ours.name
        for ours, theirs in zip(learner.learned().projections, network.projections, strict=True)
        if not np.array_equal(ours.operator.weights, theirs.operator.weights)
    ]
    assert changed == ["w4"]
    if rule == "delta":
        ((_, trace),) = ReferenceEngine(network).run([batch_of(network, chunk)])
        assert np.array_equal(scores[0], trace.scores("last_v")[0])


def test_neurons_of_other_models_are_frozen_with_the_rest() -> None:
    """Relays before the neurons whose spikes are met; rules that change them take none."""
    network = random_model_network(1, ("Relay", "IF", "CubaLIF"), "chain")
    output, keeps = network.population(network.output), np.zeros(1, np.int64)
    neuron = replace(output.leaky, threshold=None, u_decay=keeps + 4096, v_decay=keeps)
    changed = replace(output, neuron=neuron)
    network = replace(
        network,
        populations=tuple(changed if p is output else p for p in network.populations),
        contract=replace(network.contract, decode="last_v"),
    )
    with pytest.raises(UnsupportedError, match="neurons of kind Relay"):
        make_learning_plan(network, LearningOptions())
    chunk = graph_chunk(network, 9)
    chunk = replace(chunk, labels=chunk.labels % network.classes)
    options = LearningOptions("delta", update="step")
    rate = suitable_rate(network, options, batch_of(network, chunk))
    learner = DeltaReference(make_delta_plan(network, replace(options, rate=rate)))
    learner.learn(chunk)
    assert learner.counts.of(output_layer(network).projection.name).updates > 0


def test_what_has_no_output_layer_of_its_own_is_refused_by_name() -> None:
    late, spiking = small_graph("late"), small_graph("counted")
    delayed = tuple(replace(p, delay=2) if p.name == "w4" else p for p in late.projections)
    for network, reason in (
        (small_graph("shortcut"), "reached by w2, w3 together: rules delta and prototypes change"),
        (replace(late, projections=delayed), "reached by w4 with a delay"),
        (spiking, "decoded by spike_count: Lava's rule takes the error of an output as it is"),
    ):
        for refused in (lambda n: make_delta_plan(n, LearningOptions("delta")), check_prototypes):
            with pytest.raises(UnsupportedError, match=reason):
                refused(network)
    for kind in ("deep", "leaky"):
        with pytest.raises(UnsupportedError, match="prototypes are means of counted spikes"):
            check_prototypes(small_graph(kind))


@pytest.mark.lava
@pytest.mark.parametrize(("kind", "update"), [("deep", "sample"), ("leaky", "step")])
def test_lavas_own_rule_is_reproduced_behind_a_graph(kind: str, update: Any) -> None:
    from neurodeploy.lava.onchip.learner import DeltaLavaLearner

    network = small_graph(kind)
    plan = make_delta_plan(network, LearningOptions("delta", rate=2**-1, update=update, seed=5))
    chunk = ending(graph_chunk(network, 8), plan.steps)
    reference = DeltaReference(plan)
    assert_same(DeltaLavaLearner(plan, capacity=6, timeout=120), reference, halves(chunk))
    assert reference.counts.of(plan.link.projection.name).updates > 0


@pytest.mark.lava
def test_prototypes_are_lavas_own_behind_a_graph() -> None:
    from neurodeploy.lava.onchip.prototypes import PrototypeLavaLearner

    plan = prototypes_of(small_graph("recurrent"))
    chunk = ending(graph_chunk(plan.network, 15), plan.steps)
    reference = PrototypeReference(plan)
    assert_same(PrototypeLavaLearner(plan, capacity=10, timeout=120), reference, halves(chunk))
