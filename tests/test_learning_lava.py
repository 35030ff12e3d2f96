"""Learning in Lava: weights after every update equal the reference's, gradients equal PyTorch's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from neurodeploy.errors import InputError, UnsupportedError
from neurodeploy.ir.convolution import Convolution
from neurodeploy.ir.operators import Dense, SparseMatrix
from neurodeploy.lava.onchip.events import Runs
from neurodeploy.lava.onchip.shared import DeltaTimetable, LearningTimetable
from neurodeploy.onchip.delta_reference import DeltaReference
from neurodeploy.onchip.learner import LearningOptions
from neurodeploy.onchip.local_signal import LocalSignal
from neurodeploy.onchip.loihi_rule import make_delta_plan
from neurodeploy.onchip.plan import make_plan
from neurodeploy.onchip.reference import ReferenceLearner
from neurodeploy.training.continued import FloatLearner
from support.learners import assert_same, halves
from support.learning_networks import (
    CLASSES,
    ending,
    float_chain,
    random_tags,
    small_chain,
    small_chunk,
)
from support.local_loss import local_gradients


@pytest.mark.lava
@pytest.mark.parametrize("form", ["stock", "fused"])
@pytest.mark.parametrize(
    ("kind", "bits", "options", "chain_options"),
    [
        ("dense", 8, LearningOptions(rate=2**-2), {"comparison": ">"}),
        (
            "conv",
            4,
            LearningOptions(rate=2**-3, update="step", seed=3, halvings=(4, 20)),
            {"payload": 16},
        ),
        ("conv", 8, LearningOptions(rate=2**-4, feedback="random"), {"reset": "zero"}),
        ("dense", 4, LearningOptions(rule="local", rate=2**-3, update="step"), {"reset": "zero"}),
        ("conv", 8, LearningOptions(rule="local", rate=2**-4, halvings=(3,)), {"payload": 16}),
    ],
    ids=["dense", "conv-step", "conv-random", "dense-local", "conv-local"],
)
def test_weights_in_lava_equal_the_references_after_every_update(
    form: str, kind: str, bits: int, options: LearningOptions, chain_options: dict[str, Any]
) -> None:
    from neurodeploy.lava.onchip.learner import FusedLavaLearner, StockLearner

    network = small_chain(kind, bits=bits, **chain_options)
    plan, chunk = make_plan(network, options, random_tags(network)), small_chunk(network, 9)
    chunk = ending(chunk, plan.steps) if kind == "conv" else chunk
    lava = {"stock": StockLearner, "fused": FusedLavaLearner}[form](plan, capacity=6, timeout=120)
    reference = ReferenceLearner(plan)
    assert_same(lava, reference, halves(chunk))
    changed = [counts.updates for counts in reference.counts.layers.values()]
    assert len(changed) == 3 and min(changed) > 0, "a layer learnt nothing: the test is empty"


@pytest.mark.lava
@pytest.mark.parametrize("kind", ["dense", "conv"])
def test_the_gradient_accumulated_in_lava_is_pytorchs(kind: str) -> None:
    from neurodeploy.lava.onchip.learner import FloatStockLearner

    network = float_chain(kind, steps=4, payload=16 if kind == "conv" else 1, seed=3)
    chunk = small_chunk(network, 5, seed=2)
    learner = FloatStockLearner(network, capacity=5, timeout=120)
    try:
        found = learner.learn(chunk).states
    finally:
        learner.close()
    pytorch = FloatLearner(network, 1.0, "steps")
    wanted = [
        pytorch.gradients(values, int(label))
        for values, label in zip(chunk.values, chunk.labels, strict=True)
    ]
    for name, accumulated in found.items():
        gradients = np.stack([gradient[name].ravel() for gradient in wanted])
        largest = np.abs(gradients).max()
        assert largest > 0.01, f"{name} has no gradient: the test is empty"
        assert np.abs(accumulated[:, 0] - gradients).max() < 1e-6 * largest, name


@pytest.mark.lava
@pytest.mark.parametrize("kind", ["dense", "conv"])
def test_the_gradient_of_each_layers_own_loss_is_pytorchs(kind: str) -> None:
    from neurodeploy.lava.onchip.learner import FloatStockLearner

    network = float_chain(kind, steps=4, payload=16 if kind == "conv" else 1, seed=3)
    chunk = small_chunk(network, 5, seed=2)
    hidden = [p.shape for p in network.populations[1:-1]]
    signals = [LocalSignal.of(shape, CLASSES, i, 7, 10) for i, shape in enumerate(hidden)]
    names = [p.name for p in network.populations[1:-1]]
    by_name = dict(zip(names, signals, strict=True))
    learner = FloatStockLearner(network, signals=signals, capacity=5, timeout=120)
    try:
        found = learner.learn(chunk).states
    finally:
        learner.close()
    wanted = [
        local_gradients(network, by_name, values, int(label))
        for values, label in zip(chunk.values, chunk.labels, strict=True)
    ]
    for name, accumulated in found.items():
        gradients = np.stack([gradient[name] for gradient in wanted])
        largest = np.abs(gradients).max()
        assert largest > 0.01, f"{name} has no gradient: the test is empty"
        assert np.abs(accumulated[:, 0] - gradients).max() < 1e-6 * largest, name


@pytest.mark.lava
@pytest.mark.parametrize(
    ("rate", "update", "bits"), [(2**-1, "step", 8), (2**4, "step", 4), (2**1, "sample", 8)]
)
def test_lavas_own_rule_is_reproduced(rate: float, update: Any, bits: int) -> None:
    """Its accumulator, its one random number per epoch, its trace, tags and clipping."""
    from neurodeploy.lava.onchip.learner import DeltaLavaLearner

    network = small_chain("conv", bits=bits, payload=16, steps=4)
    options = LearningOptions(rule="delta", rate=rate, update=update, seed=11)
    plan, chunk = make_delta_plan(network, options), small_chunk(network, 24)
    chunk = ending(chunk, plan.steps) if bits == 8 else chunk
    reference = DeltaReference(plan)
    assert_same(DeltaLavaLearner(plan, capacity=16, timeout=120), reference, halves(chunk))
    counts = reference.counts.of("w3")
    assert counts.updates > 0
    if rate > 8:
        assert counts.saturated > 0 and counts.clipped_errors > 0
    learnt = reference.learned().projections[-1]
    assert learnt.weight_format.bits == 8
    assert (learnt.operator.weights % learnt.weight_format.step == 0).all()
    frozen = zip(reference.learned().projections[:-1], network.projections[:-1], strict=True)
    assert all(ours is theirs for ours, theirs in frozen)


@pytest.mark.lava
def test_tags_that_overflow_do_so_as_in_lava() -> None:
    """Errors of one sign over many steps leave the tag's 8 bits."""
    from neurodeploy.lava.onchip.learner import DeltaLavaLearner

    network = small_chain("dense", steps=9)
    options = LearningOptions(rule="delta", rate=2**-1, update="sample")
    plan, chunk = make_delta_plan(network, options), small_chunk(network, 12)
    reference = DeltaReference(plan)
    assert_same(DeltaLavaLearner(plan, capacity=12, timeout=120), reference, [chunk])
    assert reference.counts.of("w3").clipped_updates > 0


def test_runs_are_the_operators_synapses() -> None:
    """Written out again, with the number of its weight for each synapse."""
    rng = np.random.default_rng(4)
    for _ in range(30):
        groups = int(rng.integers(1, 4))
        inputs, outputs = (groups * int(rng.integers(1, 4)) for _ in range(2))
        conv = Convolution(
            np.ones((outputs, inputs // groups, *rng.integers(1, 4, 2))),
            (inputs, 6, 5),
            (int(rng.integers(1, 3)), int(rng.integers(1, 3))),
            ((int(rng.integers(0, 3)), 1), (0, int(rng.integers(0, 3)))),
            (1, int(rng.integers(1, 3))),
            groups,
        )
        dense = Dense(np.ones((5, 3 * 4)), (3, 4), (5,))
        for operator in (conv, dense, SparseMatrix.of(conv)):
            numbers = np.arange(1, operator.weights.size + 1).reshape(operator.weights.shape)
            wanted = operator.with_weights(numbers).matrix().toarray()
            runs = Runs.of(operator)
            for source in range(wanted.shape[1]):
                sums = np.zeros((len(runs.by_place(wanted.T)[0]), runs.shape[2]), np.int64)
                for run in range(runs.starts[source], runs.starts[source + 1]):
                    sums[runs.places[run]] += 1 + runs.names[runs.rows[run]]
                assert np.array_equal(runs.by_target(sums), wanted[:, source])
                assert np.array_equal(runs.by_place(wanted[:, source])[0], sums)


def test_the_pipeline_lines_up_spikes_slopes_and_errors() -> None:
    table = LearningTimetable(steps=4, layers=3, update="sample")
    assert [table.spike_delay(layer) for layer in (1, 2, 3)] == [5, 3, 1]
    assert [table.slope_delay(layer) for layer in (1, 2)] == [4, 2]
    assert table.interval == 4 + 5
    assert [table.model_step(step, 0) for step in (1, 4, 5, 9, 10)] == [
        *((0, 0), (0, 3), None, None),
        (1, 0),
    ]
    assert table.model_step(3, 3) is None and table.model_step(4, 3) == (0, 0)
    assert [step for step in range(1, 19) if table.update_after(step)] == [9, 18]
    online = LearningTimetable(steps=2, layers=3, update="step")
    assert online.interval == 12
    assert [online.model_step(step, 0) for step in (1, 2, 7)] == [(0, 0), None, (0, 1)]
    assert {step: online.update_after(step) for step in (5, 6, 12, 18)} == {
        5: None,
        6: (0, 0),
        12: (0, 1),
        18: (1, 0),
    }


def test_what_sends_no_errors_back_waits_for_none() -> None:
    table = LearningTimetable(steps=4, layers=3, update="sample", local=True)
    assert {table.spike_delay(layer) for layer in (1, 2, 3)} == {1} and table.slope_delay(1) == 0
    # The last step's spikes reach the read-out three steps after the input.
    assert table.interval == 4 + 3
    assert [step for step in range(1, 15) if table.update_after(step)] == [7, 14]
    assert LearningTimetable(2, 3, "step", local=True).interval == 8


def test_spikes_and_their_error_share_an_epoch() -> None:
    table = DeltaTimetable(steps=2, epochs=2, by_sample=False)
    assert [table.spikes_at(step) for step in range(1, 6)] == [(0, 0), None, (0, 1), None, (1, 0)]
    assert [table.error_at(step) for step in range(1, 5)] == [None, (0, 0), None, (0, 1)]
    assert [table.update_after(step) for step in range(1, 5)] == [None, (0, 0), None, (0, 1)]
    slow = DeltaTimetable(steps=2, epochs=4, by_sample=True)
    assert [slow.spikes_at(step) for step in (1, 3, 5, 7, 9)] == [
        (0, 0),
        (0, 1),
        None,
        None,
        (1, 0),
    ]
    assert [step for step in range(1, 17) if slow.update_after(step)] == [8, 16]


def test_delta_says_what_it_cannot_do() -> None:
    options = LearningOptions(rule="delta", rate=2.0**-20)
    with pytest.raises(InputError, match=r"factors are 2\^-7 to 2\^8; use 2\^"):
        make_delta_plan(small_chain("dense"), options)
    network = small_chain("dense")
    graded = (*network.projections[:-1], replace(network.projections[-1], payload=16))
    with pytest.raises(UnsupportedError, match="learns from binary spikes"):
        make_delta_plan(replace(network, projections=graded), replace(options, rate=1.0))
