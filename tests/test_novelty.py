"""Samples that nobody has named: which of them are new, and the rows that they get."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from neurodeploy.errors import InputError
from neurodeploy.ir.quantized import QuantizedNetwork
from neurodeploy.lava.compat import lava_available
from neurodeploy.onchip.learner import LearningOptions, StreamChunk
from neurodeploy.onchip.novelty import Novelty
from neurodeploy.onchip.prototype_plan import (
    PrototypePlan,
    check_prototypes,
    make_prototype_plan,
)
from neurodeploy.onchip.prototypes import (
    UNLABELLED,
    PrototypeReference,
    SpikeCounts,
    answers_of,
    labels_of,
)
from support.learners import assert_same, halves
from support.learning_networks import small_chain, small_chunk
from support.novel_rows import with_spare_rows

needs_lava = pytest.mark.skipif(not lava_available(), reason="Lava is not installed")
SPARE = 3


def counts_of(network: QuantizedNetwork, chunk: StreamChunk) -> np.ndarray:
    return SpikeCounts(network, check_prototypes(network).projection).of(chunk)


def plan_of(network: QuantizedNetwork) -> PrototypePlan:
    """Two classes are known, and there is room for two more and for what has no name."""
    chunk = small_chunk(network, 60, seed=4)
    known = chunk.labels < 2
    options = LearningOptions(rule="prototypes", rate=2**-5)
    counts = counts_of(network, chunk)
    plan = make_prototype_plan(network, options, counts[known], chunk.labels[known])
    return with_spare_rows(plan, counts, SPARE)


def stream_of(network: QuantizedNetwork) -> StreamChunk:
    """Without labels at first; later every third sample has one."""
    chunk = small_chunk(network, 40)
    numbers = np.arange(40)
    named = (numbers > 14) & (numbers % 3 == 0)
    return replace(chunk, labels=np.where(named, chunk.labels, UNLABELLED))


def test_rows_are_given_named_and_answer_as_specified() -> None:
    """From the weights before each sample, in whole numbers: who wins, and who learns."""
    network = small_chain("conv", payload=16)
    plan, chunk = plan_of(network), stream_of(network)
    assert plan.novelty is not None
    name = plan.link.projection.name
    found = PrototypeReference(plan).learn(chunk).states
    weights = [plan.rows, *found[name].reshape(len(chunk), *plan.rows.shape)]
    labels, spare, events = list(plan.base), SPARE, set()
    features = plan.features
    for sample, counts in enumerate(counts_of(network, chunk)):
        d = [16 * int(c) - int(g) for c, g in zip(counts, features.centre, strict=True)]
        z = features.direct * np.array(d) - features.up @ (features.down @ np.array(d))
        length = max(math.isqrt(sum(int(v >> features.shift) ** 2 for v in z)), 1)
        limit = 128 * sum(d) + (plan.novelty.factor * length >> 8)
        agreement = [int(row @ np.array(d)) for row in weights[sample][: len(labels)]]
        best = agreement.index(max(agreement))
        familiar = agreement[best] > limit
        said = (labels[best] if labels[best] >= 0 else -2 - best) if familiar else -1
        assert found[answers_of(name)][sample, 0, 0] == said
        label, row = int(chunk.labels[sample]), None
        nameless = familiar and labels[best] == UNLABELLED
        if label == UNLABELLED and not familiar and spare:
            row, spare = len(labels), spare - 1
            labels.append(UNLABELLED)
            events.add("allocated")
        elif label == UNLABELLED:
            row = best if nameless else None
            events |= {"moved"} if nameless else set()
        elif label not in labels and nameless:
            row, labels[best] = best, label
            events.add("named")
        elif label not in labels:
            row = len(labels)
            labels.append(label)
        else:
            row = labels.index(label)
        changed = np.flatnonzero((weights[sample] != weights[sample + 1]).any(axis=1)).tolist()
        assert changed in ([row], []) if row is not None else changed == []
        assert found[labels_of(name)][sample, 0, : len(labels)].tolist() == labels
    assert events == {"allocated", "moved", "named"}, "the test is empty"


def test_the_limit_lies_between_own_rows_and_those_of_others() -> None:
    """Two classes, along two axes, and samples that lean towards the other one by some."""
    means = 128 + np.array([[100, 0], [0, 100]])
    d = np.array([[10, 0], [8, 3], [0, 10], [4, 9]])
    own = np.array([0, 0, 1, 1])
    norms = np.full((4, 1), 10)
    novelty = Novelty.of(2, means, d, norms, own)
    # Own rows have 100, 80, 100 and 90, others 0, 30, 0 and 40.
    assert novelty == Novelty(2, 60 * 256)
    assert novelty.limits(d, norms).tolist() == [128 * s + 600 for s in (10, 11, 10, 13)]
    with pytest.raises(InputError, match="there is 1; give samples of two classes"):
        Novelty.of(2, means[:1], d[:2], norms[:2], own[:2])


def test_a_plan_has_rows_and_a_limit_of_its_own_samples() -> None:
    """Three in four directions are two classes', and the rest says nothing of either."""
    network, rng = small_chain("dense"), np.random.default_rng(1)
    labels = np.arange(40) % 2
    counts = rng.integers(0, 2, (40, 5)) + 3 * np.stack(
        [labels, labels, 1 - labels, *[labels * 0] * 2], 1
    )
    options = LearningOptions(rule="prototypes", rate=2**-5)
    plan = make_prototype_plan(network, options, counts, labels, novel=2)
    assert plan.novelty is not None and plan.rows.shape == (network.classes + 2, 5)
    d, n = plan.features.centred(counts), plan.features.norms(counts)
    familiar = d @ plan.rows[:2].T > plan.novelty.limits(d, n)[:, None]
    assert np.array_equal(familiar, labels[:, None] == [0, 1])
    assert make_prototype_plan(network, options, counts, labels).novelty is None


def test_what_is_learnt_is_deployed_without_what_has_no_name() -> None:
    network = small_chain("conv", payload=16)
    learner = PrototypeReference(plan_of(network))
    learner.learn(replace(stream_of(network), labels=np.full(40, UNLABELLED)))
    assert learner.rows.labels == [0, 1, *[UNLABELLED] * SPARE]
    weights = learner.learned().projections[-1].operator.weights
    assert weights.shape == network.projections[-1].operator.weights.shape
    assert weights[:2].any(axis=1).all() and not weights[2:].any()


@needs_lava
@pytest.mark.lava
def test_lavas_detector_finds_new_what_the_reference_does() -> None:
    from neurodeploy.lava.onchip.prototypes import PrototypeLavaLearner

    network = small_chain("conv", payload=16)
    plan, chunk = plan_of(network), stream_of(network)
    reference = PrototypeReference(plan)
    assert_same(PrototypeLavaLearner(plan, capacity=30, timeout=120), reference, halves(chunk))
    assert reference.rows.spare == 0
