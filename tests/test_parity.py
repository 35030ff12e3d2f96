"""Parity finds what was changed, where it was changed, and names why."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest

from neurodeploy.errors import CheckFailedError
from neurodeploy.ir.contract import Contract, InputCode, Reset, Semantics
from neurodeploy.ir.fixed_point import WeightFormat
from neurodeploy.ir.network import Network, Neuron, Population, Projection
from neurodeploy.ir.operators import Dense
from neurodeploy.ir.quantized import (
    QuantizedNetwork,
    QuantizedNeuron,
    QuantizedPopulation,
    QuantizedProjection,
)
from neurodeploy.neurons.dynamics import FixedStepper
from neurodeploy.reporting.parity import ParityComparison
from neurodeploy.reporting.parity_report import Disagreement, Divergence, ParityReport
from neurodeploy.reporting.pictures import parity_map
from neurodeploy.reporting.text import parity_text
from neurodeploy.simulation.engines import FloatEngine, ReferenceEngine
from neurodeploy.simulation.trace import PopulationTrace, SampleBatch, Samples, SpikeTrace
from neurodeploy.workflow.validate import check_strict
from support.random_networks import random_input, random_network

STEPS = 8
NAMES = ("in", "a", "b")


def make_neuron(**changes: Any) -> QuantizedNeuron:
    parameters: dict[str, Any] = {
        "kind": "LIF",
        "u_decay": np.array([4096]),
        "v_decay": np.array([1024]),
        "bias_mantissa": np.array([0]),
        "bias_exponent": np.array([0]),
        "threshold": np.array([100]),
        "reset": "subtract",
        "comparison": ">",
    }
    return QuantizedNeuron(**{**parameters, **changes})


def make_network(
    first: QuantizedNeuron | None = None, weights: np.ndarray | None = None, decode: Any = "sum_v"
) -> QuantizedNetwork:
    """in (3) -> a (4) -> b (2), dense, excitatory; b never spikes."""
    rng = np.random.default_rng(0)
    weights = rng.integers(10, 60, (4, 3)) if weights is None else weights
    populations = (
        QuantizedPopulation("in", (3,), None, 1.0),
        QuantizedPopulation("a", (4,), first or make_neuron(), 64.0),
        QuantizedPopulation("b", (2,), make_neuron(threshold=None), 64.0),
    )
    form = WeightFormat(8, "excitatory")
    projections = (
        QuantizedProjection("in_a", "in", "a", Dense(weights, (3,), (4,)), form, 0, 1),
        QuantizedProjection(
            "a_b", "a", "b", Dense(rng.integers(1, 9, (2, 4)), (4,), (2,)), form, 0, 1
        ),
    )
    contract = Contract(Semantics(1e-3, "zero", ">"), InputCode("events"), STEPS, decode)
    return QuantizedNetwork("net", populations, projections, "b", contract)


def spikes(count: int = 5, seed: int = 1) -> np.ndarray:
    return (np.random.default_rng(seed).random((count, STEPS, 3)) < 0.5).astype(np.uint8)


def run(network: QuantizedNetwork, x: np.ndarray, first: int = 0) -> SpikeTrace:
    ((_, trace),) = ReferenceEngine(network).run([SampleBatch(first, x, static=False)], state=True)
    return trace


def compare(
    network: QuantizedNetwork,
    left: SpikeTrace,
    right: SpikeTrace,
    labels: np.ndarray | None = None,
) -> ParityReport:
    comparison = ParityComparison(network, ("left", "right"), exact=True)
    comparison.add(left, right, labels)
    return comparison.report


def earliest(left: SpikeTrace, right: SpikeTrace, name: str) -> tuple[int, int, tuple[int, ...]]:
    """First sample, step and neuron of a population that differs, found place by place."""
    records = left.populations[name], right.populations[name]
    shape = records[0].s.shape
    for place in np.ndindex(*shape):
        for variable in ("u", "v", "s"):
            a, b = (getattr(record, variable) for record in records)
            if a is not None and a[place] != b[place]:
                return place[0] + left.first, place[1], place[2:]
    raise AssertionError("nothing differs")


def check_found(
    network: QuantizedNetwork, left: SpikeTrace, right: SpikeTrace, name: str, cause: str
) -> Divergence:
    """The report's first divergence is where the traces differ first, in ``name``, with a cause."""
    report = compare(network, left, right)
    found = report.first_divergence
    assert found is not None
    assert found.population == name
    assert (found.sample, found.step, found.neuron) == earliest(left, right, name)
    assert found.cause == cause
    assert f"sample {found.sample}, step {found.step}" in str(found)
    assert f"likely cause: {cause}" in str(found)
    return found


def changed(trace: SpikeTrace, name: str, **arrays: np.ndarray | None) -> SpikeTrace:
    record = replace(trace.populations[name], **arrays)
    return replace(trace, populations={**trace.populations, name: record})


# --- nothing differs ---


def test_equal_traces_have_no_mismatch() -> None:
    network, x = make_network(), spikes()
    report = compare(network, run(network, x), run(network, x))
    assert report.mismatches == 0
    assert report.first_divergence is None
    assert report.samples == report.agreeing_predictions == 5
    assert {p.name: p.compared for p in report.populations} == {
        "in": 5 * STEPS * 3,
        "a": 5 * STEPS * 4 * 3,
        "b": 5 * STEPS * 2 * 3,
    }
    assert report.compared == 5 * STEPS * (3 + 12 + 6)
    assert all(p.spike_agreement == 1 for p in report.populations)
    assert all(p.mismatches_by_step == [0] * STEPS for p in report.populations)
    assert report.accuracies is None


@pytest.mark.parametrize("graph", ["chain", "mutual", "skip", "delayed"])
def test_batches_add_up_to_the_whole(graph: str) -> None:
    network = random_network(3, ("CubaLIF", "LIF", "I"), ("conv2d", "dense"), graph, 16)
    samples = random_input(network, 5, 7, over_time=True)
    reports = []
    for size in (7, 2):
        comparison = ParityComparison(network, ("left", "right"), exact=True)
        pair = [ReferenceEngine(network).run(samples.batches(size), state=True) for _ in range(2)]
        for (batch, left), (_, right) in zip(*pair, strict=True):
            v = right.populations["b"].v
            assert v is not None
            wrong = v.copy()
            if batch.first <= 4 < batch.first + len(batch):
                wrong[4 - batch.first, 2] += 3
            labels = np.zeros(len(batch), int)
            comparison.add(left, changed(right, "b", v=wrong), labels)
        reports.append(comparison.report)
    assert reports[0].as_dict() == reports[1].as_dict()
    (found,) = [p for p in reports[0].populations if p.mismatches]
    assert found.first_divergence is not None
    assert (found.first_divergence.sample, found.first_divergence.step) == (4, 2)


def test_accuracy_and_predictions_of_both_engines() -> None:
    network, x = make_network(), spikes(2)
    left = run(network, x)
    v = np.zeros((2, STEPS, 2), np.int32)
    v[:, :, 0] = 1
    swapped = v.copy()
    swapped[1] = swapped[1, :, ::-1]
    report = compare(
        network, changed(left, "b", v=v), changed(left, "b", v=swapped), np.array([0, 0])
    )
    assert report.accuracies == {"left": 1.0, "right": 0.5}
    assert report.agreeing_predictions == 1


# --- what was changed is found ---


@pytest.mark.parametrize("variable", ["u", "v", "s"])
@pytest.mark.parametrize("place", [(0, 0, 0), (3, 5, 2), (4, 7, 3)])
def test_one_changed_value_is_found(variable: str, place: tuple[int, int, int]) -> None:
    network, x = make_network(), spikes()
    left = run(network, x, first=100)
    values = getattr(left.populations["a"], variable).copy()
    values[place] = values[place] + 5 if variable != "s" else 1 - values[place]
    right = changed(left, "a", **{variable: values})
    report = compare(network, left, right)
    assert report.mismatches == 1
    parity = next(p for p in report.populations if p.mismatches)
    assert parity.name == "a"
    assert parity.mismatches_by_step == [int(t == place[1]) for t in range(STEPS)]
    assert parity.spike_mismatches == (variable == "s")
    assert parity.max_v_difference == (5 if variable == "v" else 0)
    found = report.first_divergence
    assert found is not None
    assert (found.sample, found.step, found.neuron) == (100 + place[0], place[1], place[2:])
    assert found.variables == (variable,)
    assert found.second[variable] - found.first[variable] == (
        5 if variable != "s" else 1 - 2 * found.first["s"]
    )


def test_the_earliest_of_several_is_reported() -> None:
    """By sample, then step; in one step the population that is computed first."""
    network, x = make_network(), spikes()
    left = right = run(network, x)
    for name, place in (("b", (1, 3, 0)), ("a", (1, 3, 2)), ("b", (2, 0, 1)), ("a", (3, 0, 0))):
        v = right.populations[name].v
        assert v is not None
        v = v.copy()
        v[place] += 1
        right = changed(right, name, v=v)
    found = compare(network, left, right).first_divergence
    assert found is not None
    assert (found.population, found.sample, found.step, found.neuron) == ("a", 1, 3, (2,))


def test_neurons_are_named_by_their_place_in_the_array() -> None:
    network = random_network(1, ("LIF", "LIF", "LI"), ("sum_pool", "scale"), "chain", 1)
    samples = random_input(network, 0, 2, over_time=True)
    ((_, left),) = ReferenceEngine(network).run(samples.batches(2), state=True)
    v = left.populations["a"].v
    assert v is not None
    place = (1, 2, *(size - 1 for size in network.population("a").shape))
    wrong = v.copy()
    wrong[place] += 1
    found = compare(network, left, changed(left, "a", v=wrong)).first_divergence
    assert found is not None
    assert found.neuron == place[2:]
    assert f"neuron {list(place[2:])}" in str(found)


# --- causes ---


def test_another_reset() -> None:
    network, x = make_network(), spikes()
    other = make_network(make_neuron(reset="zero"))
    found = check_found(
        network, run(network, x), run(other, x), "a", "reset mode (zero against subtract)"
    )
    assert found.first["s"] == found.second["s"] == 1
    assert found.second["v"] == 0 < found.first["v"]


@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize("constant", [False, True], ids=["sparse input", "constant input"])
def test_another_comparison(swap: bool, constant: bool) -> None:
    weights = np.full((4, 3), 50)
    no_leak = {"v_decay": np.array([0])}
    pair = [make_network(make_neuron(comparison=c, **no_leak), weights) for c in (">", ">=")]
    x = spikes()
    x[:, :, 1:] = 0
    if constant:
        x[:, :, 0] = 1
    traces = [run(network, x) for network in pair]
    if swap:
        traces.reverse()
    found = check_found(pair[0], traces[0], traces[1], "a", "threshold tie (> against >=)")
    assert {found.first["v"], found.second["v"]} == {0, 100 << 6}


def test_saturation(monkeypatch: pytest.MonkeyPatch) -> None:
    big = make_neuron(threshold=None, v_decay=np.array([0]), bias_mantissa=np.array([4095]))
    big = replace(big, bias_exponent=np.array([7]))
    network = make_network(big, np.full((4, 3), 255))
    network = replace(
        network,
        projections=(replace(network.projections[0], exponent=7), network.projections[1]),
        contract=replace(network.contract, steps=20),
    )
    x = np.ones((2, 20, 3), np.uint8)
    left = run(network, x)
    monkeypatch.setattr(FixedStepper, "_saturated", lambda self, v: v)
    right = run(network, x)
    found = check_found(network, left, right, "a", "saturation of v at 24 bits")
    assert found.first["v"] == 2**23 - 1 < found.second["v"]


def test_wrap(monkeypatch: pytest.MonkeyPatch) -> None:
    network = make_network(make_neuron(), np.full((4, 3), 255))
    shifted = (replace(network.projections[0], exponent=8), network.projections[1])
    network = replace(network, projections=shifted)
    x = spikes()
    left = run(network, x)
    monkeypatch.setattr(FixedStepper, "_wrapped", lambda self, u: u)
    right = run(network, x)
    found = check_found(network, left, right, "a", "wrap of u at 24 bits")
    assert found.second["u"] - found.first["u"] == 2**24
    assert found.second["u"] == 3 * 255 << 14


def test_clipped_weights() -> None:
    network, x = make_network(weights=np.array([[255, 20, 30]] * 4)), spikes()
    wider = replace(network.projections[0], clipped=4)
    network = replace(network, projections=(wider, network.projections[1]))
    unclipped = make_network(weights=np.array([[300, 20, 30]] * 4))
    check_found(network, run(network, x), run(unclipped, x), "a", "weights clipped in in_a")


def with_clipped(count: int = 4) -> QuantizedNetwork:
    """Weights from 'in' of which the first column is at its limit, and counted as clipped."""
    network = make_network(weights=np.array([[255, 20, 30]] * 4))
    first, second = network.projections
    return replace(network, projections=(replace(first, clipped=count), second))


@pytest.mark.parametrize("variable", ["u", "v"])
@pytest.mark.parametrize("place", [(0, 3, 1), (2, 4, 0), (4, 7, 3)])
@pytest.mark.parametrize("bit", [6, 9, 14])
@pytest.mark.parametrize("reset", ["zero", "subtract"])
def test_a_fault_in_one_value_has_no_known_cause(
    variable: str, place: tuple[int, int, int], bit: int, reset: Reset
) -> None:
    base = with_clipped()
    a = replace(base.populations[1], neuron=make_neuron(reset=reset))
    network = replace(base, populations=(base.populations[0], a, base.populations[2]))
    x = spikes()
    x[:, 0] = 1  # every weight is at work in every sample
    left = run(network, x)
    values = getattr(left.populations["a"], variable).copy()
    values[place] ^= 1 << bit
    found = compare(network, left, changed(left, "a", **{variable: values})).first_divergence
    assert found is not None
    assert (found.population, found.cause) == ("a", "")


def test_weights_of_a_clipped_projection_that_differ_elsewhere_have_no_known_cause() -> None:
    network, x = with_clipped(), spikes()
    other = make_network(weights=np.array([[255, 21, 30]] * 4))
    found = compare(network, run(network, x), run(other, x)).first_divergence
    assert found is not None
    assert (found.population, found.cause) == ("a", "")


def test_a_potential_that_is_wrong_beside_a_saturated_one_has_no_known_cause() -> None:
    big = make_neuron(threshold=None, v_decay=np.array([0]), bias_mantissa=np.array([4095]))
    base = make_network(replace(big, bias_exponent=np.array([11])))
    left = run(base, spikes())
    v = left.populations["a"].v
    assert v is not None and v[3, 6, 2] == 2**23 - 1
    wrong = v.copy()
    wrong[3, 6, 2] ^= 1 << 9
    found = compare(base, left, changed(left, "a", v=wrong)).first_divergence
    assert found is not None
    assert (found.neuron, found.cause) == ((2,), "")


def test_weights_that_differ_without_clipping_have_no_known_cause() -> None:
    network, x = make_network(), spikes()
    weights = network.projections[0].operator.weights.copy()
    weights[2] += 1
    report = compare(network, run(network, x), run(make_network(weights=weights), x))
    found = report.first_divergence
    assert found is not None
    assert (found.population, found.neuron, found.cause) == ("a", (2,), "")
    assert "likely cause" not in str(found)


def late(trace: SpikeTrace, name: str) -> SpikeTrace:
    """A population one step later, as when the delay of a synapse is forgotten."""
    record = trace.populations[name]
    arrays = {}
    for variable in ("u", "v", "s"):
        values = getattr(record, variable)
        arrays[variable] = np.zeros_like(values)
        arrays[variable][:, 1:] = values[:, :-1]
    return changed(trace, name, **arrays)


@pytest.mark.parametrize("swap", [False, True])
def test_a_shift_by_one_step(swap: bool) -> None:
    network, x = make_network(), spikes()
    left = run(network, x)
    traces = [left, late(left, "a")]
    if swap:
        traces.reverse()
    check_found(network, traces[0], traces[1], "a", "one-step shift")


def test_a_shift_is_seen_in_spikes_alone() -> None:
    network, x = make_network(), spikes()
    traces = [
        replace(
            trace,
            populations={
                name: PopulationTrace(record.s) if name == "a" else record
                for name, record in trace.populations.items()
            },
        )
        for trace in (run(network, x), late(run(network, x), "a"))
    ]
    check_found(network, traces[0], traces[1], "a", "one-step shift")


def test_different_input() -> None:
    network, x = make_network(), spikes()
    other = x.copy()
    other[2, 3, 1] ^= 1
    left, right = run(network, x), run(network, other)
    found = check_found(network, left, right, "in", "the engines were given different input")
    assert (found.sample, found.step, found.neuron) == (2, 3, (1,))


def test_a_difference_that_was_passed_on_points_back() -> None:
    network, x = make_network(), spikes()
    clipped = replace(network.projections[1], clipped=1)
    network = replace(network, projections=(network.projections[0], clipped))
    report = compare(network, run(network, x), run(make_network(make_neuron(reset="zero")), x))
    causes = {p.name: p.first_divergence and p.first_divergence.cause for p in report.populations}
    assert causes == {
        "in": None,
        "a": "reset mode (zero against subtract)",
        "b": "the spikes of 'a' differ",
    }


# --- floats against integers ---


def float_twin(threshold: float) -> Network:
    """The float network whose integers (at a scale of 64) are those of ``make_network``."""
    network = make_network()
    neurons = {
        name: Neuron(
            kind="LIF",
            u_keep=np.zeros(1),
            v_keep=np.full(1, 0.75),
            bias=np.zeros(1),
            v_threshold=np.array([threshold]) if name == "a" else None,
            reset="subtract",
            comparison=">",
        )
        for name in ("a", "b")
    }
    populations = tuple(
        Population(p.name, p.shape, neurons.get(p.name)) for p in network.populations
    )
    projections = tuple(
        Projection(p.name, p.source, p.target, p.operator.with_weights(p.operator.weights / 64))
        for p in network.projections
    )
    return Network("net", populations, projections, "b", network.contract)


@pytest.mark.parametrize("swap", [False, True])
def test_floats_against_integers_compare_spikes_only(swap: bool) -> None:
    network, x = make_network(), spikes(20)
    batch = SampleBatch(0, x, static=False)
    integers = run(network, x)
    for threshold, differ in ((100 / 64, False), (60 / 64, True)):
        ((_, floats),) = FloatEngine(float_twin(threshold)).run([batch], state=True)
        pair = (floats, integers) if swap else (integers, floats)
        comparison = ParityComparison(network, ("one", "two"), exact=False)
        comparison.add(*pair, None)
        report = comparison.report
        assert not report.exact
        assert report.compared == 20 * STEPS * (3 + 4 + 2)
        a = next(p for p in report.populations if p.name == "a")
        expected = int((floats.populations["a"].s != integers.populations["a"].s).sum())
        assert a.mismatches == a.spike_mismatches == expected
        assert (expected > 0) == differ
        assert a.spike_agreement == 1 - expected / (20 * STEPS * 4)
        if differ:
            assert a.first_divergence is not None
            assert a.first_divergence.variables == ("s",)
            assert a.first_divergence.cause == ""
        else:
            # In units of the float network, where one unit of the integers' state is 1/4096.
            assert 0 < a.max_v_difference < 20 / 4096


# --- as JSON ---


def test_the_report_is_plain_json() -> None:
    network, x = make_network(), spikes()
    other = make_network(make_neuron(reset="zero"))
    report = compare(network, run(network, x), run(other, x), np.zeros(5, int))
    table = json.loads(json.dumps(report.as_dict()))
    assert table["engines"] == ["left", "right"]
    assert table["mismatches"] == report.mismatches > 0
    assert table["first_divergence"]["population"] == "a"
    assert [p["name"] for p in table["populations"]] == list(NAMES)
    assert (
        sum(table["populations"][1]["mismatches_by_step"]) == table["populations"][1]["mismatches"]
    )


def test_what_was_not_recorded_is_not_compared() -> None:
    network, x = make_network(), spikes()
    batch = SampleBatch(0, x, static=False)
    ((_, bare),) = ReferenceEngine(network).run([batch], state=False)
    report = compare(network, run(network, x), bare)
    assert {p.name: p.compared for p in report.populations} == {
        "in": 5 * STEPS * 3,
        "a": 5 * STEPS * 4,
        "b": 5 * STEPS * 2 * 2,  # the readout's v is always recorded
    }
    assert report.mismatches == 0


def test_a_sample_does_not_depend_on_its_batch() -> None:
    network, x = make_network(), spikes()
    samples = Samples(5, lambda a, b: x[a:b], None, network.contract, "test", over_time=True)
    whole = run(network, x)
    assert whole.populations["a"].s.any()
    for _, trace in ReferenceEngine(network).run(samples.batches(2), state=True):
        part = slice(trace.first, trace.first + 2)
        for name, record in trace.populations.items():
            np.testing.assert_array_equal(record.s, whole.populations[name].s[part])


# --- neurons that never spike, where floats take part ---


def with_v(trace: SpikeTrace, v: np.ndarray) -> SpikeTrace:
    return changed(trace, "b", v=v)


def in_floats(left: SpikeTrace, right: SpikeTrace) -> ParityReport:
    comparison = ParityComparison(make_network(), ("left", "right"), exact=False)
    comparison.add(left, right, None)
    return comparison.report


def test_potentials_are_compared_and_the_classes_read_from_them() -> None:
    """In units of the float network: the integers' scale is 64, and v is 64 times finer."""
    network, x = make_network(), spikes()
    integers = run(network, x, first=10)
    integers_v = np.zeros((5, STEPS, 2), np.int32)
    integers_v[:, :, 1] = 4096  # class 1: v is 1 at every step, and the sum of them decides
    floats_v = integers_v / 4096
    floats_v[3, 5, 0] = 9.5  # class 0 in one sample
    floats_v[4, 2, 1] = 0.75  # a quarter too little in another
    report = in_floats(with_v(integers, integers_v), with_v(integers, floats_v))
    b = report.populations[2]
    assert (b.name, b.quantity, b.compared) == ("b", "potentials", 5 * STEPS * 2)
    assert b.mismatches == 1
    assert b.spikes_compared == 0
    assert b.mismatches_by_step == []
    assert (b.max_v_difference, b.max_v_place) == (9.5, (13, 5, 0))
    assert b.v_range == (0, 9.5)
    assert report.agreeing_predictions == 4
    assert report.first_disagreement == Disagreement("b", 13, 1, 0)
    text = parity_text(report)
    assert "80 v compared, 1 samples classified differently, max |dv| 9.5 at sample 13" in text
    first = "first difference: sample 13, neuron 1 against 0"
    assert f"Same prediction on 4 of 5 samples; {first}" in text
    table = json.loads(json.dumps(report.as_dict()))
    assert table["first_disagreement"] == asdict(Disagreement("b", 13, 1, 0))
    assert table["populations"][2]["quantity"] == "potentials"
    assert "80 v compared" not in parity_text(compare(network, integers, integers))


def test_rounding_alone_is_no_mismatch_and_is_measured() -> None:
    integers = run(make_network(), spikes())
    v = integers.populations["b"].v
    assert v is not None
    report = in_floats(integers, with_v(integers, v / 4096 + 0.001))
    b = report.populations[2]
    assert b.mismatches == report.mismatches == 0
    assert b.max_v_difference == pytest.approx(0.001)
    assert report.first_disagreement is None


def test_a_potential_that_is_no_number_is_as_far_away_as_can_be() -> None:
    integers = run(make_network(), spikes())
    v = integers.populations["b"].v
    assert v is not None
    broken = v / 4096
    broken[2, 3, 1] = np.nan
    b = in_floats(integers, with_v(integers, broken)).populations[2]
    assert (b.max_v_difference, b.max_v_place) == (np.inf, (2, 3, 1))


@pytest.mark.parametrize("exact", [True, False])
def test_nothing_compared_is_said(exact: bool) -> None:
    """A population without spikes whose state one engine does not record."""
    network = replace(make_network(), output="a")
    network = replace(network, contract=replace(network.contract, decode="spike_count"))
    trace = replace(run(network, spikes()), output="a")
    bare = changed(trace, "b", u=None, v=None)
    comparison = ParityComparison(network, ("left", "right"), exact=exact)
    comparison.add(trace, bare, None)
    report = comparison.report
    b = report.populations[2]
    assert (b.quantity, b.compared, b.spikes_compared) == ("nothing", 0, 0)
    assert report.warnings == (
        "nothing of b was compared: it never spikes, and its v is not recorded",
    )
    assert "b                     nothing compared" in parity_text(report)
    with pytest.raises(CheckFailedError, match="b never spikes, and its v is not recorded"):
        check_strict(report)


def test_the_map_leaves_out_what_need_not_be_equal() -> None:
    integers = run(make_network(), spikes())
    v = integers.populations["b"].v
    assert v is not None
    figure = parity_map(in_floats(integers, with_v(integers, v / 4096)))
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["in", "a"]
