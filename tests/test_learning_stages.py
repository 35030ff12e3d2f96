"""Classes one after the other, other drifts, and streams of the caller's."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import neurodeploy as nd
from neurodeploy.data import load_dataset
from neurodeploy.errors import InputError
from neurodeploy.onchip.exploration import Exploration
from neurodeploy.onchip.tasks import make_task
from neurodeploy.workflow.learning.stages import Stage, retention
from support.graph_networks import small_graph
from support.learning_networks import small_chain, small_chunk

DIGITS = load_dataset("digits")


def test_forgetting_is_what_is_missing_from_the_best_that_ever_was() -> None:
    """Chaudhry et al. 2018, by hand: 0 and 1 from before, then 2, then 3."""
    stages = [
        Stage((), {0: 1.0, 1: 0.8, 2: 0.0, 3: 0.0}),
        Stage((2,), {0: 0.8, 1: 0.8, 2: 0.6, 3: 0.0}),
        Stage((2, 3), {0: 0.6, 1: 0.6, 2: 0.7, 3: 0.9}),
    ]
    first, second, last = retention(stages)
    assert first.accuracy == pytest.approx(0.9) and first.forgetting is None
    assert second.accuracy == pytest.approx(2.2 / 3) and second.newest == 0.6
    assert second.forgetting == pytest.approx(0.9 - 0.8)
    assert last.accuracy == pytest.approx(0.7)
    # Those from before lost 0.3; class 2 has become better by 0.1.
    assert last.forgetting == pytest.approx((0.3 - 0.1) / 2)


def test_forgetting_where_nothing_was_known_before() -> None:
    stages = [
        Stage((), {0: 0.5, 1: 0.0}),
        Stage((1,), {0: 0.0, 1: 1.0}),
        Stage((1, 0), {0: 0.9, 1: 0.7}),
    ]
    first, second, last = retention(stages)
    assert first.accuracy is None and second.accuracy == 1.0
    assert second.forgetting is None and last.forgetting == pytest.approx(0.3)


def test_classes_come_one_by_one_with_those_before_replayed() -> None:
    task = make_task("new-class", DIGITS, 60, 0, (7, 8, 9), replay=1, order=(9, 7, 8))
    assert task.stage == 20 and task.order == (9, 7, 8) and task.judged
    for number, label in enumerate(task.order):
        y = task.y[20 * number :][:20]
        assert (y[::2] == label).all()
        assert set(y[1::2].tolist()) <= {*range(7), *task.order[:number]}
    assert task.known is not None
    assert set(task.known.y.tolist()) == set(range(7)) and task.empty == ()
    alone = make_task("new-class", DIGITS, 30, 0, (9,), replay=0, order=(2, 9))
    assert alone.y.tolist() == [2] * 15 + [9] * 15 and not alone.judged
    assert alone.empty == (2,), "2 shapes the features and has its row to learn"


def test_without_replay_only_the_new_class_comes() -> None:
    task = make_task("new-class", DIGITS, 20, 0, (9,), replay=0)
    assert set(task.y.tolist()) == {9} and not task.judged
    usual = make_task("new-class", DIGITS, 20, 0, (9,))
    assert (usual.y == 9).sum() == 2 and usual.judged


@pytest.mark.parametrize("kind", ["noise", "dead", "gain"])
def test_drifts_change_stream_and_test_alike(kind: str) -> None:
    task = make_task("drift", DIGITS, 50, 0, drift=kind)
    before, after = task.held_out["as it was"].x[:], task.held_out[task.measure].x[:]
    assert after.shape == before.shape and after.dtype == before.dtype
    assert after.min() >= 0 and after.max() <= DIGITS.levels
    assert 0.1 < (after != before).mean() < 1
    if kind == "dead":
        silent = (after == 0).all(axis=0)
        assert 0.15 < silent.mean() < 0.5 and np.array_equal(after[:, ~silent], before[:, ~silent])
        assert (task.x[:, silent] == 0).all(), "the same inputs are dead in the stream"
    if kind == "gain":
        assert np.array_equal(after, np.rint(before * 0.4))
    again = make_task("drift", DIGITS, 50, 0, drift=kind)
    assert np.array_equal(again.x[:], task.x[:])


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"name": "continue", "replay": 0}, "replay=0 is for task=new-class, not for continue"),
        ({"name": "drift", "order": (1,)}, "order is for task=new-class, not for drift"),
        ({"name": "new-class", "replay": -1}, "replay=-1: expected 0 to 1000"),
        ({"name": "new-class", "order": (1, 11)}, "no training samples of class 11"),
        ({"name": "new-class", "order": (1, 1)}, "a class can be listed only once"),
        ({"name": "new-class", "order": (1, 2), "samples": 19}, "too few for one of a class"),
        ({"name": "new-class", "order": tuple(range(10)), "samples": 200, "replay": 1},
         "nothing is known that could be replayed beside class 0"),
        ({"name": "drift", "drift": "fog"}, "drift 'fog' is not known"),
        ({"name": "drift", "drift": "dead", "degrees": 10.0}, "drift=dead turns nothing"),
        ({"name": "continue", "drift": "dead"}, "drift=dead is for task drift"),
    ],
)  # fmt: skip
def test_tasks_that_make_no_sense_are_refused(given: dict[str, Any], reason: str) -> None:
    options = {"samples": None, **given}
    name = options.pop("name")
    with pytest.raises(InputError, match=reason):
        make_task(name, DIGITS, seed=0, **options)


@pytest.fixture(name="deployed", scope="module")
def fixture_deployed(tmp_path_factory: pytest.TempPathFactory) -> nd.Deployment:
    path = tmp_path_factory.mktemp("stream") / "deployment"
    return nd.deploy(small_chain("dense"), "loihi2", path)


def samples(count: int) -> Iterator[tuple[np.ndarray, int]]:
    chunk = small_chunk(small_chain("dense"), count)
    yield from zip(chunk.values, chunk.labels.tolist(), strict=True)


def learnt(deployed: nd.Deployment, stream: Any, **options: Any) -> Any:
    return nd.learn(deployed, stream, rate=2**-3, **options)


def same(a: Any, b: Any) -> bool:
    pairs = zip(a.network.projections, b.network.projections, strict=True)
    return all(np.array_equal(p.operator.weights, q.operator.weights) for p, q in pairs)


def test_a_late_label_teaches_what_one_in_time_does(deployed: nd.Deployment) -> None:
    """All labels one sample late, the last ones never."""
    pairs = list(samples(8))
    in_time = learnt(deployed, pairs[:7])
    items: list[Any] = [(pairs[0][0], None)]
    for before, (x, _) in itertools.pairwise(pairs):
        items += [(x, None), nd.Late(1, before[1])]
    late = learnt(deployed, items)
    assert late.late == late.learnt == 7 and late.right is None and len(late.answers) == 8
    assert same(late, in_time)


def test_a_reward_teaches_the_answer_and_none_teaches_nothing(deployed: nd.Deployment) -> None:
    seen = []

    def rewarding(reward: int) -> Any:
        return lambda answer: (seen.append(answer), reward)[1]

    xs = [x for x, _ in samples(6)]
    none = learnt(deployed, [(x, rewarding(0)) for x in xs])
    assert none.learnt == 0 and same(none, learnt(deployed, [])) and none.answers == seen
    seen.clear()
    some = learnt(deployed, [(x, rewarding(1)) for x in xs], rule="delta")
    assert some.rewarded == some.learnt == 6 and some.answers == seen
    assert same(some, learnt(deployed, zip(xs, seen, strict=True), rule="delta"))


def rewarded_for(wanted: int, count: int, seen: list[int] | None = None) -> Iterator[Any]:
    """Samples of which one answer is right, whatever they are."""

    def reward(answer: int) -> int:
        (seen if seen is not None else []).append(answer)
        return int(answer == wanted)

    yield from ((x, reward) for x, _ in samples(count))


def test_a_class_that_is_never_answered_is_learnt_by_exploring(deployed: nd.Deployment) -> None:
    seen: list[int] = []
    learnt(deployed, rewarded_for(0, 60, seen))
    never = min(set(range(4)) - set(seen))
    best = nd.learn(deployed, rewarded_for(never, 60), rate=0.5)
    assert best.learnt == best.explored == 0 and never not in best.answers
    found = nd.learn(deployed, rewarded_for(never, 60), rate=0.5, explore=0.5)
    assert 20 < found.explored < 40 and found.rewarded == found.learnt > 0
    again = nd.deploy(found.network, "loihi2", deployed.path.parent / "explored")
    answers = nd.simulate(again.network, np.stack([x for x, _ in samples(60)]), engine="reference")
    assert np.mean(answers.classes == never) > 0.9


def test_labels_and_samples_without_one_are_answered_by_the_best(deployed: nd.Deployment) -> None:
    items = [(x, None if number % 2 else label) for number, (x, label) in enumerate(samples(12))]
    assert learnt(deployed, items, explore=1.0).answers == learnt(deployed, items).answers


@pytest.mark.lava
def test_answers_are_drawn_alike_in_lava(deployed: nd.Deployment) -> None:
    found = learnt(deployed, rewarded_for(2, 8), explore=1.0, seed=3, engine="lava-fused")
    wanted = learnt(deployed, rewarded_for(2, 8), explore=1.0, seed=3)
    assert found.answers == wanted.answers and found.mismatches == 0 and found.explored == 8
    assert found.learnt > 0 and same(found, wanted)


@pytest.mark.parametrize("decode", ["last_v", "spike_count"])
def test_answers_are_drawn_from_the_softmax_of_the_mean_output(decode: Any) -> None:
    network = small_graph("counted" if decode == "spike_count" else "recurrent")
    unit = 1.0 if decode == "spike_count" else network.population("readout").state_unit
    scores = np.rint(np.array([0.5, 9.0, -4.0, 5.0]) * unit).astype(np.int64)
    terms = np.exp(scores / unit / network.contract.steps)
    explored = Exploration.of(network, 0.25, 7)
    drawn = [explored.answer(scores, number) for number in range(8000)]
    given = np.array([answer for answer in drawn if answer is not None])
    assert len(given) == pytest.approx(2000, abs=120)
    shares = np.bincount(given, minlength=4) / len(given)
    assert shares == pytest.approx(terms / terms.sum(), abs=0.03)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"explore": 1.5}, "explore=1.5: a share of the answers, from 0 to 1"),
        ({"explore": float("nan")}, "a share of the answers"),
        ({"explore": 0.1, "rule": "prototypes"}, "has no softmax"),
    ],
)
def test_exploring_that_makes_no_sense_is_refused(
    deployed: nd.Deployment, options: Any, reason: str
) -> None:
    with pytest.raises(InputError, match=reason):
        nd.learn(deployed, samples(1), **options)


def test_prototypes_learn_from_a_stream(deployed: nd.Deployment) -> None:
    known = small_chunk(small_chain("dense"), 60, seed=4)
    old = known.labels < 2
    found = nd.learn(
        deployed, samples(12), rule="prototypes", known=(known.values[old], known.labels[old])
    )
    assert found.learnt == 12 and found.right is not None
    again = nd.deploy(found.network, "loihi2", deployed.path.parent / "learnt")
    trace = nd.simulate(again.network, np.stack([x for x, _ in samples(12)]), engine="reference")
    assert len(set(trace.classes.tolist())) > 1


def test_what_is_new_gets_a_prototype_that_a_late_label_names(deployed: nd.Deployment) -> None:
    known = small_chunk(small_chain("dense"), 60, seed=4)
    old = known.labels < 2
    xs, options = [x for x, _ in samples(30)], {"rule": "prototypes", "novel": 4}
    pairs = {"known": (known.values[old], known.labels[old]), **options}
    found = nd.learn(deployed, [(x, None) for x in xs], **pairs)
    assert found.learnt == 0 and -1 in found.answers
    first = found.answers.index(-1)
    items: list[Any] = [(x, None) for x in xs[: first + 1]]
    # The third row is the first that is free; its sample is known when it comes again.
    again = nd.learn(deployed, [*items, (xs[first], None)], **pairs)
    assert again.answers[-2:] == [-1, -4]
    named = nd.learn(deployed, [*items, nd.Late(0, 3), (xs[first], 3)], **pairs)
    assert named.answers[-2:] == [-1, 3] and named.right == 1 and named.learnt == 2
    with pytest.raises(InputError, match="give its label or None, and no reward"):
        nd.learn(deployed, rewarded_for(0, 1), **pairs)
    with pytest.raises(InputError, match="novel=4: a number of rows, which rule prototypes alone"):
        nd.learn(deployed, [], novel=4)


@pytest.mark.parametrize(
    ("items", "reason"),
    [
        ([3], "item 0 of the stream: expected a sample and its label"),
        ([(np.zeros(7, int), 0)], r"integers of shape \(3, 7\), found int64 \(7,\)"),
        ([(np.zeros((3, 7), int), 4)], "a label is a class from 0 to 3, found 4"),
        ([(np.full((3, 7), 2), None)], "this network's input takes 0 to 1"),
        ([(np.zeros((3, 7), int), lambda answer: 0.5)], "a reward is 0 or 1, found 0.5"),
        ([nd.Late(0, 1)], "a label for 0 samples ago, and the last 0 are remembered"),
    ],
)
def test_what_is_no_stream_is_refused(deployed: nd.Deployment, items: Any, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        learnt(deployed, items)


def test_rule_prototypes_asks_for_what_is_known(deployed: nd.Deployment) -> None:
    with pytest.raises(InputError, match="starts from samples of known classes"):
        nd.learn(deployed, samples(1), rule="prototypes")
    assert Path(deployed.path).is_dir()
