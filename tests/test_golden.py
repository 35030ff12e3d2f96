"""The reference against Lava's recorded answers, which needs no Lava; and that none is missing."""

from __future__ import annotations

import numpy as np
import pytest

from neurodeploy.onchip.delta_reference import DeltaReference
from neurodeploy.onchip.event_reference import EventReference
from neurodeploy.onchip.graph_reference import GraphReference
from neurodeploy.onchip.learner import Learner
from neurodeploy.onchip.loihi_rule import make_delta_plan
from neurodeploy.onchip.plan import LearningPlan
from neurodeploy.onchip.plans import make_learning_plan
from neurodeploy.onchip.prototypes import PrototypeReference
from neurodeploy.onchip.reference import ReferenceLearner
from neurodeploy.simulation.engines import ReferenceEngine
from support.golden import Learnt, Simulated, hash_of, manifest, read, whole

ENTRIES = manifest()


@pytest.mark.parametrize("name", ENTRIES)
def test_the_reference_answers_as_lava_did(name: str) -> None:
    assert hash_of(name) == ENTRIES[name]["sha256"], "another file than Lava's answer"
    found = read(name)
    assert check_simulation(found) if isinstance(found, Simulated) else check_learning(found)


def check_simulation(found: Simulated) -> int:
    """Every variable of every neuron at every step; returns how many values there are."""
    engine = ReferenceEngine(found.network)
    runs = engine.run(found.samples.batches(found.batch), state=True)
    ours = whole(found.network, [trace for _, trace in runs])
    assert ours.keys() == found.answer.keys()
    compared = 0
    for population, record in found.answer.items():
        assert record.arrays.keys() == ours[population].arrays.keys()
        for what, values in record.arrays.items():
            np.testing.assert_array_equal(
                ours[population].arrays[what], values, f"{population}.{what}"
            )
            compared += values.size
    return compared


def learners_of(found: Learnt) -> list[Learner]:
    """The references of its rule."""
    if found.options.rule == "prototypes":
        return [PrototypeReference(found.prototypes)]
    if found.options.rule == "delta":
        return [DeltaReference(make_delta_plan(found.network, found.options))]
    plan = make_learning_plan(found.network, found.options, found.tags)
    if not isinstance(plan, LearningPlan):
        return [GraphReference(plan)]
    return [ReferenceLearner(plan), EventReference(plan)]


def check_learning(found: Learnt) -> int:
    """Every synapse after every update, and what is deployed in the end."""
    return sum(check_learner(learner, found) for learner in learners_of(found))


def check_learner(learner: Learner, found: Learnt) -> int:
    compared = 0
    for chunk, answer in zip(found.chunks, found.answers, strict=True):
        ours = learner.learn(chunk)
        assert ours.states.keys() == answer.states.keys()
        for name, states in answer.states.items():
            np.testing.assert_array_equal(ours.states[name], states, name)
            compared += states.size
        np.testing.assert_array_equal(ours.scores, answer.scores)
    weights = {p.name: p.operator.weights for p in learner.learned().projections}
    assert weights.keys() == found.weights.keys()
    for name, values in found.weights.items():
        np.testing.assert_array_equal(weights[name], values, name)
    return compared


def test_one_wrong_integer_is_found() -> None:
    found = read("leaky_chain_1")
    assert isinstance(found, Simulated)
    v = found.answer[found.network.output].v
    assert v is not None
    v.flat[-1] += 1
    with pytest.raises(AssertionError, match=rf"{found.network.output}\.v"):
        check_simulation(found)


def test_one_wrong_weight_is_found() -> None:
    found = read("learning_sltt_dense")
    assert isinstance(found, Learnt)
    next(iter(found.answers[-1].states.values())).flat[-1] += 1
    with pytest.raises(AssertionError, match="w1"):
        check_learning(found)
