"""Prototypes: Lava's weights equal the reference's, and both a second writing of the equations."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from neurodeploy.errors import InputError, UnsupportedError
from neurodeploy.ir.quantized import QuantizedNetwork
from neurodeploy.lava.compat import lava_available
from neurodeploy.onchip.chain import chain
from neurodeploy.onchip.circuits import with_learning
from neurodeploy.onchip.learner import LearningOptions, StreamChunk
from neurodeploy.onchip.prototype_plan import PrototypePlan, make_prototype_plan
from neurodeploy.onchip.prototypes import (
    UNLABELLED,
    PrototypeReference,
    SpikeCounts,
    answers_of,
)
from neurodeploy.simulation.engines import ReferenceEngine
from neurodeploy.simulation.trace import SampleBatch
from support.learning_networks import CLASSES, ending, small_chain, small_chunk

needs_lava = pytest.mark.skipif(not lava_available(), reason="Lava is not installed")
OPTIONS = LearningOptions(rule="prototypes", rate=2**-5)


def counts_of(network: QuantizedNetwork, chunk: StreamChunk) -> np.ndarray:
    return SpikeCounts(network, chain(network)[-1].projection).of(chunk)


def plan_of(
    network: QuantizedNetwork,
    options: LearningOptions = OPTIONS,
    base: tuple[int, ...] = (0, 1),
    empty: tuple[int, ...] = (),
) -> PrototypePlan:
    chunk = small_chunk(network, 60, seed=4)
    known = np.isin(chunk.labels, base)
    counts = counts_of(network, chunk)
    return make_prototype_plan(network, options, counts[known], chunk.labels[known], empty)


def mixed_chunk(network: QuantizedNetwork, samples: int = 40) -> StreamChunk:
    """Of all classes, every fifth sample without a label."""
    chunk = small_chunk(network, samples)
    return replace(chunk, labels=np.where(np.arange(samples) % 5 == 2, UNLABELLED, chunk.labels))


def learn_slowly(plan: PrototypePlan, chunk: StreamChunk) -> tuple[list[Any], list[int]]:
    """Rows after every sample, and the answers, in plain integers, synapse by synapse."""
    features = plan.features
    rows = [[int(w) for w in row] for row in plan.rows]
    labels, seen = list(plan.base), [plan.base_seen for _ in plan.base]
    rounding, trace = np.random.default_rng(2), np.random.default_rng(plan.options.seed + 2)
    rounding.random()
    trace.random()
    found, answers = [], []
    for counts, label in zip(counts_of(plan.network, chunk), chunk.labels, strict=True):
        d = [16 * int(c) - int(g) for c, g in zip(counts, features.centre, strict=True)]
        scores = [sum(w * x for w, x in zip(row, d, strict=True)) for row in rows[: len(labels)]]
        answers.append(labels[scores.index(max(scores))] if labels else -1)
        draws, number = [trace.random() for _ in range(6)], rounding.random()
        if label != UNLABELLED:
            along = [sum(int(a) * x for a, x in zip(row, d, strict=True)) for row in features.down]
            z = [
                (features.direct * x - sum(int(a) * y for a, y in zip(row, along, strict=True)))
                >> features.shift
                for x, row in zip(d, features.up, strict=True)
            ]
            norm = max(math.isqrt(sum(value * value for value in z)), 1)
            x = [min(max((2 * v * features.length + norm) // (2 * norm), -63), 63) + 64 for v in z]
            if label not in labels:
                labels.append(int(label))
                seen.append(0)
            at = labels.index(label)
            seen[at] += 1
            y1: int = max(127 // seen[at], 4)
            for _ in range(3):
                kept = math.exp(-1 / 65535) * y1
                y1 = math.floor(kept) + (draws[-1] < kept % 1)
            for synapse, before in enumerate(rows[at]):
                total = before * 128
                for term in (((x[synapse] * y1) >> 3) << 4, ((-before * y1) >> 5) << 5):
                    total = min(max(total + min(max(term, -32769), 32767), -32769), 32767)
                total = max(total, 0)
                after = total // 128 + (number < (total % 128) / 128)
                rows[at][synapse] = min(max(after, 0), 255)
        found.append([list(row) for row in rows])
    return found, answers


@pytest.mark.parametrize("seed", [0, 3])
@pytest.mark.parametrize(("kind", "payload"), [("dense", 1), ("conv", 16)])
def test_the_reference_follows_the_specification(kind: str, payload: int, seed: int) -> None:
    network = small_chain(kind, payload=payload)
    plan = plan_of(network, replace(OPTIONS, seed=seed))
    chunk = mixed_chunk(network)
    found = PrototypeReference(plan).learn(chunk).states
    rows, answers = learn_slowly(plan, chunk)
    name = plan.link.projection.name
    assert np.array_equal(found[name], np.array(rows).reshape(len(chunk), 1, -1))
    assert found[answers_of(name)].ravel().tolist() == answers
    assert len(set(answers)) > 2, "all classes were answered alike: the test is empty"
    assert (found[name][-1] != plan.rows.ravel()).any()


@needs_lava
@pytest.mark.parametrize("base", [(0, 1), ()])
def test_lava_learns_what_the_reference_learns(base: tuple[int, ...]) -> None:
    """Over two chunks, with samples that nobody named and classes that arrive on the way."""
    from neurodeploy.lava.onchip.prototypes import PrototypeLavaLearner

    network = small_chain("dense")
    plan = plan_of(network) if base else plan_of(network, empty=(0, 1))
    assert plan.base == base
    chunk = mixed_chunk(network, 24)
    ends = ending(chunk, plan.steps).lengths
    assert ends is not None
    parts = [
        StreamChunk(chunk.values[s], chunk.labels[s], ends[s])
        for s in (slice(0, 14), slice(14, 24))
    ]
    reference, lava = PrototypeReference(plan), PrototypeLavaLearner(plan, timeout=300)
    try:
        for part in parts:
            wanted, found = reference.learn(part).states, lava.learn(part).states
            for name, states in wanted.items():
                assert np.array_equal(found[name], states), name
    finally:
        lava.close()
    ours, theirs = reference.learned().projections[-1], lava.learned().projections[-1]
    assert np.array_equal(ours.operator.weights, theirs.operator.weights)


def test_the_deployed_network_answers_what_its_rows_answer() -> None:
    network = small_chain("dense")
    plan = plan_of(network)
    learner = PrototypeReference(plan)
    learner.learn(mixed_chunk(network))
    chunk = small_chunk(network, 200, seed=9)
    centred = plan.features.centred(counts_of(network, chunk))
    scores = centred @ learner.rows.weights[: len(learner.rows.labels)].T
    learnt = learner.learned()
    ((_, trace),) = ReferenceEngine(learnt).run([SampleBatch(0, chunk.values, False)])
    answered = np.array(learner.rows.labels)[scores.argmax(axis=1)]
    best = np.sort(scores, axis=1)
    # A bias is rounded, so that of scores that are nearly equal either may win.
    clear = best[:, -1] - best[:, -2] > 2
    assert clear.mean() > 0.8
    assert np.array_equal(trace.predictions("last_v")[clear], answered[clear])
    for projection in learnt.projections:
        form, weights = projection.weight_format, projection.operator.weights
        assert weights.min() >= form.minimum and weights.max() <= form.maximum
        assert (weights % form.step == 0).all()


def test_a_class_that_never_came_is_never_answered() -> None:
    network = small_chain("dense")
    learnt = PrototypeReference(plan_of(network)).learned()
    chunk = small_chunk(network, 100, seed=5)
    ((_, trace),) = ReferenceEngine(learnt).run([SampleBatch(0, chunk.values, False)])
    assert set(trace.predictions("last_v").tolist()) <= {0, 1}


def test_learning_one_class_leaves_the_rows_of_others_as_they_were() -> None:
    network = small_chain("dense")
    plan = plan_of(network)
    chunk = small_chunk(network, 30)
    learner = PrototypeReference(plan)
    learner.learn(replace(chunk, labels=np.full(30, CLASSES - 1)))
    assert np.array_equal(learner.rows.weights[:2], plan.rows[:2])
    assert (learner.rows.weights[2] != plan.rows[2]).any()


def test_features_are_as_long_as_each_other_and_lack_what_varies() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 400)
    means = rng.uniform(2, 6, (3, 24))
    loud = rng.normal(0, 1, 24)
    counts = means[labels] + rng.normal(0, 1.5, (400, 1)) * loud + rng.normal(0, 0.3, (400, 24))
    counts = np.clip(np.rint(counts), 0, 8).astype(np.int64)
    network = small_chain("dense")
    features = make_features(network, counts, labels)
    x = features.learnt(counts) - 64
    lengths = np.linalg.norm(x, axis=1)
    assert lengths.std() / lengths.mean() < 0.05
    within = x - np.stack([x[labels == c].mean(axis=0) for c in range(3)])[labels]
    raw = counts - np.stack([counts[labels == c].mean(axis=0) for c in range(3)])[labels]
    unit = loud / np.linalg.norm(loud)

    def share(values: np.ndarray) -> float:
        return float(((values @ unit) ** 2).sum() / (values**2).sum())

    assert share(raw) > 0.6 and share(within) < 0.2
    assert x.min() >= -63 and x.max() <= 63


def make_features(network: QuantizedNetwork, counts: np.ndarray, labels: np.ndarray) -> Any:
    return make_prototype_plan(network, OPTIONS, counts, labels).features


def test_what_prototypes_need_on_a_chip_is_named() -> None:
    added = with_learning(plan_of(small_chain("dense")))
    means = {circuit.what: circuit.means for circuit in added.circuits}
    assert means["synapses w3"] == "stock Loihi rule"
    assert means["winner of readout"] == "microcode"


def test_what_cannot_be_prototypes_is_refused_by_name() -> None:
    conv = small_chain("conv", payload=16)
    first = replace(conv.projections[-1], payload=3)
    graded = replace(conv, projections=(*conv.projections[:-1], first))
    with pytest.raises(UnsupportedError, match="of integers up to 3: prototypes are rows"):
        plan_of(graded)
    with pytest.raises(InputError, match=r"learn at 2\^-7 to 2\^-1"):
        plan_of(small_chain("dense"), replace(OPTIONS, rate=1.0))
    for options, reason in (
        ({"feedback": "random"}, "rule prototypes carries no error back"),
        ({"update": "step"}, "learns from whole samples"),
    ):
        with pytest.raises(ValueError, match=reason):
            replace(OPTIONS, **options)
