"""The search for scales, calibration on data, planned integers, and what is reported of them."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurodeploy.errors import InputError, UnsupportedError
from neurodeploy.farm import Place
from neurodeploy.interchange.nir.file import read_nir
from neurodeploy.interchange.nir.network_in import to_network
from neurodeploy.ir.contract import METADATA_KEY as CONTRACT_KEY
from neurodeploy.ir.contract import Contract, DataSource, InputCode, Semantics
from neurodeploy.ir.convolution import Convolution
from neurodeploy.ir.network import Network, Neuron, Population, Projection
from neurodeploy.ir.operators import Dense
from neurodeploy.ir.quantized import (
    PLAN_KEY,
    PopulationPlan,
    ProjectionPlan,
    QuantizationPlan,
    QuantizedNetwork,
)
from neurodeploy.ir.stated import Stated
from neurodeploy.quantization.planned import quantize_as_planned
from neurodeploy.quantization.post_training import quantize
from neurodeploy.quantization.weights import projection_errors
from neurodeploy.simulation.engines import FloatEngine, ReferenceEngine
from neurodeploy.simulation.trace import Samples
from neurodeploy.target import load_target
from neurodeploy.workflow.calibration import SpikeJudge, spike_judge
from neurodeploy.workflow.exported import read_planned
from neurodeploy.workflow.quantization import (
    QuantizationOptions,
    calibration_count,
    quantized,
)
from support.command import run_cli, run_json
from support.wording import refused, said_by

LOIHI2 = load_target("loihi2")
STEPS = 6


def neuron(shape: tuple[int, ...], **changes: Any) -> Neuron:
    parameters: dict[str, Any] = {
        "kind": "LIF",
        "u_keep": np.zeros(shape),
        "v_keep": np.full(shape, 0.5),
        "bias": np.zeros(shape),
        "v_threshold": np.ones(shape),
        "reset": "subtract",
        "comparison": ">=",
    }
    return Neuron(**{**parameters, **changes})


def one_layer(*matrices: np.ndarray, levels: int = 1) -> Network:
    """An input and one population, with a dense projection per matrix."""
    outputs, inputs = matrices[0].shape
    projections = tuple(
        Projection(f"w{i}", "in", "out", Dense(matrix, (inputs,), (outputs,)))
        for i, matrix in enumerate(matrices)
    )
    code = InputCode("direct" if levels > 1 else "events", levels)
    contract = Contract(Semantics(1e-4, "subtract", ">="), code, STEPS, "spike_count")
    populations = (Population("in", (inputs,), None), Population("out", (outputs,), neuron((1,))))
    return Network("net", populations, projections, "out", contract)


def deep(seed: int = 0, levels: int = 16) -> Network:
    """Graded image -> convolution -> convolution, with a delayed shortcut -> read-out."""
    rng = np.random.default_rng(seed)
    first = Convolution(rng.normal(0, 0.5, (4, 1, 3, 3)), (1, 6, 6), (1, 1), ((1, 1),) * 2, (1, 1))
    second = Convolution(rng.normal(0, 0.4, (5, 4, 3, 3)), (4, 6, 6), (2, 2), ((1, 1),) * 2, (1, 1))
    skip = Convolution(rng.normal(0, 0.8, (5, 4, 1, 1)), (4, 6, 6), (2, 2), ((0, 0),) * 2, (1, 1))
    last = Dense(rng.normal(0, 0.3, (3, 45)), (5, 3, 3), (3,))
    shapes: dict[str, tuple[int, ...]] = {"a": (4, 6, 6), "b": (5, 3, 3), "out": (3,)}
    readout = neuron((3,), kind="I", v_keep=np.ones(3), v_threshold=None)
    bias = rng.normal(0, 0.1, (4, 1, 1))
    populations = (
        Population("in", (1, 6, 6), None),
        Population("a", shapes["a"], neuron(shapes["a"], bias=np.broadcast_to(bias, (4, 6, 6)))),
        Population("b", shapes["b"], neuron(shapes["b"], u_keep=np.full((5, 3, 3), 0.25))),
        Population("out", shapes["out"], readout),
    )
    projections = (
        Projection("c1", "in", "a", first),
        Projection("c2", "a", "b", second),
        Projection("skip", "a", "b", skip, delay=2),
        Projection("fc", "b", "out", last),
    )
    contract = Contract(
        Semantics(1e-4, "subtract", ">="), InputCode("direct", levels), STEPS, "last_v"
    )
    return Network("deep", populations, projections, "out", contract)


def images(network: Network, count: int = 24, seed: int = 1) -> Samples:
    (source,) = (p for p in network.populations if p.neuron is None)
    values = np.random.default_rng(seed).integers(0, 17, (count, *source.shape)).astype(np.int32)
    return Samples(count, lambda a, b: values[a:b], None, network.contract, "random images")


def effective(found: QuantizedNetwork, index: int = 0) -> np.ndarray:
    """Weights as the float network would have them."""
    p = found.projections[index]
    scale = found.population(p.target).scale
    return p.operator.weights * 2.0**p.exponent * p.payload / scale


# --- searches ---


@pytest.mark.parametrize("bits", [8, 5, 4, 3, 2])
def test_mse_is_as_good_as_trying_every_ratio(bits: int) -> None:
    """Against a search over a fine grid written out here."""
    weights = np.random.default_rng(bits).standard_t(4, (20, 50))
    found = quantize(one_layer(weights), LOIHI2, bits)
    error = np.square(effective(found) - weights).sum()
    step = 2 ** (9 - bits)
    full = 256 / np.abs(weights).max()

    def at(ratio: float) -> float:
        integers = np.clip(np.rint(weights * ratio / step), -256 // step, 256 // step - 1) * step
        return float(np.square(integers / ratio - weights).sum())

    best = min(at(full * r) for r in np.geomspace(0.5, 32, 600))
    assert error <= 1.02 * best
    largest = np.square(
        effective(quantize(one_layer(weights), LOIHI2, bits, scale="max")) - weights
    )
    assert error < largest.sum() * (0.7 if bits <= 4 else 1.001)


def test_percentile_clips_the_weights_above_it() -> None:
    weights = np.random.default_rng(0).uniform(-1, 1, (50, 100))
    weights[0, :4] = [9, -9, 8, -8]
    found = quantize(one_layer(weights), LOIHI2, scale="percentile")
    (projection,) = found.projections
    assert projection.clipped == 4
    assert found.notes == {"w0": "4 weights clipped"}
    assert np.abs(effective(found) - np.clip(weights, -1, 1))[weights**2 < 1].max() < 1 / 128


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    bits=st.integers(2, 8),
    unit=st.floats(-4, 6).map(lambda e: 10**e),
    single=st.booleans(),
)
def test_weights_on_a_grid_lose_nothing(seed: int, bits: int, unit: float, single: bool) -> None:
    """Any grid of the width, also in float32 and when its ends are not used."""
    rng = np.random.default_rng(seed)
    half = 2 ** (bits - 1)
    steps = rng.integers(-half, half, (6, 20))
    steps[0, :3] = [-1, 1, 0]  # both signs, and the step itself
    weights = steps * unit
    found = quantize(one_layer(weights.astype(np.float32) if single else weights), LOIHI2, bits)
    np.testing.assert_allclose(effective(found), weights, rtol=1e-6, atol=0)


def test_projections_of_one_population_are_searched_together() -> None:
    """Their ratios are powers of two apart; each takes the power that suits it."""
    rng = np.random.default_rng(3)
    big, small = rng.normal(0, 1, (10, 40)), rng.normal(0, 0.02, (10, 40))
    found = quantize(one_layer(big, small), LOIHI2, 4)
    for index, weights in enumerate((big, small)):
        error = np.abs(effective(found, index) - weights)
        assert np.sqrt(np.square(error).mean()) < 0.15 * weights.std()
    assert found.projections[0].exponent - found.projections[1].exponent in (5, 6)


# --- calibration ---


def test_the_judge_simulates_what_the_reference_does() -> None:
    """Settled spikes equal those of the whole deployed network, computed by another path."""
    network = deep()
    samples = images(network)
    judge = SpikeJudge(network, samples)
    found = quantize(network, LOIHI2, 4, scale="calibrate", judge=judge)
    ((_, trace),) = ReferenceEngine(found).run(samples.batches(samples.count), state=True)
    for name in ("a", "b"):
        expected = trace.populations[name].s.swapaxes(0, 1)
        assert 0.02 < expected.mean() < 0.9
        np.testing.assert_array_equal(judge.spikes[name], expected)


def agreement(network: Network, found: QuantizedNetwork, samples: Samples) -> dict[str, float]:
    ((_, left),) = FloatEngine(network).run(samples.batches(samples.count))
    ((_, right),) = ReferenceEngine(found).run(samples.batches(samples.count))
    pairs = {n: (left.populations[n], right.populations[n]) for n in ("a", "b", "out")}
    scores = [record.v[:, -1] for record in pairs.pop("out") if record.v is not None]
    found_agreement = {name: float((a.s == b.s).mean()) for name, (a, b) in pairs.items()}
    centred = [(s - s.mean(1, keepdims=True)).ravel() for s in scores]
    return found_agreement | {"out": float(np.corrcoef(*centred)[0, 1])}


@pytest.mark.parametrize("bits", [4, 3, 2])
def test_calibration_agrees_more_with_the_floats(bits: int) -> None:
    """Also on samples that it has not seen."""
    network = deep()
    samples, unseen = images(network, 64), images(network, 64, seed=2)
    calibrated = quantize(
        network, LOIHI2, bits, scale="calibrate", judge=SpikeJudge(network, samples)
    )
    plain = quantize(network, LOIHI2, bits)
    seen = [agreement(network, found, samples) for found in (calibrated, plain)]
    new = [agreement(network, found, unseen) for found in (calibrated, plain)]
    assert seen[0]["a"] >= seen[1]["a"]
    assert seen[0]["out"] > seen[1]["out"] and new[0]["out"] > new[1]["out"]


def test_calibration_is_deterministic_with_workers_or_without() -> None:
    network = deep()
    found = []
    for place in (None, None, Place(3)):
        with spike_judge(network, images(network), place) as judge:
            found.append(quantize(network, LOIHI2, 3, scale="calibrate", judge=judge))
    first, *others = found
    for second in others:
        for one, other in zip(first.projections, second.projections, strict=True):
            np.testing.assert_array_equal(one.operator.weights, other.operator.weights)
        for one, other in zip(first.populations, second.populations, strict=True):
            assert one.scale == other.scale
            if one.neuron is not None:
                np.testing.assert_array_equal(one.leaky.bias_mantissa, other.leaky.bias_mantissa)
        assert first.notes == second.notes


def test_corrected_biases_are_shared_within_a_channel_and_noted() -> None:
    network = deep()
    found = quantize(
        network, LOIHI2, 2, scale="calibrate", judge=SpikeJudge(network, images(network))
    )
    corrected = [name for name, note in found.notes.items() if "biases corrected" in note]
    assert corrected
    for name in {"a", "b"} & {*corrected}:
        population = found.population(name)
        assert population.neuron is not None
        bias = population.leaky.bias_mantissa << population.leaky.bias_exponent
        assert (bias == bias[:, :1, :1]).all()
        assert len(np.unique(bias)) > 1


def test_calibration_needs_its_judge_and_only_it() -> None:
    network = deep()
    with pytest.raises(ValueError, match="calibrate needs one"):
        quantize(network, LOIHI2, scale="calibrate")
    with pytest.raises(ValueError, match="calibrate needs one"):
        quantize(network, LOIHI2, judge=SpikeJudge(network, images(network)))


def test_large_networks_are_calibrated_on_fewer_samples() -> None:
    assert calibration_count(deep()) == 128
    wide = Dense(np.zeros((3000, 20000)), (20000,), (3000,))
    network = replace(one_layer(np.ones((1, 1))), projections=(Projection("w", "in", "out", wide),))
    # 60 M multiplications a step, 6 steps, 13 passes: 4.68e9 a sample of 4e11.
    assert calibration_count(network) == 85


# --- what is reported ---


def test_errors_of_a_projection_by_hand() -> None:
    """254 stays, so that 75.2 becomes 76; the rest lies on the grid of even numbers."""
    network = one_layer(np.array([[254, 75.2], [-128, 0.0]]) / 254)
    found = quantize(network, LOIHI2, scale="max")
    (error,) = projection_errors(network, found)
    lost = 0.8 / 254
    assert (error.projection, error.source, error.target) == ("w0", "in", "out")
    assert (error.bits, error.weights, error.clipped) == (8, 4, 0)
    assert error.exponent == found.projections[0].exponent
    assert error.scale == 254 * 2.0**error.exponent
    assert error.rms_error == pytest.approx(lost / 2, rel=1e-9)
    signal = (254**2 + 75.2**2 + 128**2) / 254**2
    assert error.sqnr_db == pytest.approx(10 * math.log10(signal / lost**2), rel=1e-9)


def test_errors_count_halves_as_one_and_graded_input_in_its_levels() -> None:
    """Two values of one magnitude: at one bit nothing is lost."""
    network = one_layer(np.array([[0.7, -0.7, 0.0]]), levels=255)
    found = quantize(network, LOIHI2, 1)
    assert len(found.projections) == 2
    (error,) = projection_errors(network, found)
    assert error.rms_error == 0 and error.sqnr_db is None
    assert error.bits == 1


def test_more_bits_have_a_higher_ratio_of_signal_to_noise() -> None:
    network = deep()
    by_bits = [projection_errors(network, quantize(network, LOIHI2, bits)) for bits in (2, 4, 6, 8)]
    for rows in zip(*by_bits, strict=True):
        ratios = [row.sqnr_db or math.inf for row in rows]
        assert ratios == sorted(ratios) and ratios[0] > 3 and ratios[-1] > 35


# --- planned integers ---


def plan_of(found: QuantizedNetwork) -> QuantizationPlan:
    """What a network that was trained for these integers would carry."""
    populations = {
        p.name: PopulationPlan(p.scale, {}) for p in found.populations if p.neuron is not None
    }
    for p in found.projections:
        sign = "mixed" if p.weight_format.sign == "mixed" else "split"
        bits = p.weight_format.bits
        populations[p.target].incoming[p.name.split(".")[0]] = ProjectionPlan(
            bits, sign, p.exponent
        )
    return QuantizationPlan("loihi2", populations)


def on_grid(network: Network, found: QuantizedNetwork) -> Network:
    """The float network that the integers stand for."""
    projections = []
    for p in network.projections:
        parts = [i for i, q in enumerate(found.projections) if q.name.split(".")[0] == p.name]
        weights = sum(effective(found, i) for i in parts)
        projections.append(replace(p, operator=p.operator.with_weights(np.asarray(weights))))
    populations = []
    for p in network.populations:
        q = found.population(p.name)
        if p.neuron is not None and q.neuron is not None:
            bias = (q.leaky.bias_mantissa << q.leaky.bias_exponent) / (64 * q.scale)
            p = replace(p, neuron=replace(p.leaky, bias=bias))
        populations.append(p)
    return replace(network, populations=tuple(populations), projections=tuple(projections))


def plannable(bits: int) -> tuple[Network, QuantizedNetwork]:
    """A network, and integers for it."""
    network = deep()
    return network, quantize(network, LOIHI2, bits)


def test_a_planned_network_gets_exactly_its_integers() -> None:
    network, found = plannable(4)
    again = quantize_as_planned(on_grid(network, found), LOIHI2, plan_of(found))
    assert not again.notes
    for one, other in zip(found.projections, again.projections, strict=True):
        np.testing.assert_array_equal(one.operator.weights, other.operator.weights)
        assert (one.name, one.exponent, one.weight_format, one.payload, one.delay) == (
            *(other.name, other.exponent, other.weight_format, other.payload, other.delay),
        )
    for one, other in zip(found.populations, again.populations, strict=True):
        assert (one.name, one.scale) == (other.name, other.scale)
        for field in ("v_decay", "u_decay", "threshold") if one.neuron else ():
            np.testing.assert_array_equal(getattr(one.neuron, field), getattr(other.neuron, field))
        if one.neuron and other.neuron:
            bias, again_bias = (
                n.bias_mantissa << n.bias_exponent for n in (one.leaky, other.leaky)
            )
            np.testing.assert_array_equal(bias, again_bias)


@pytest.mark.parametrize("what", ["weight", "bias", "population", "projection"])
def test_a_network_that_is_not_the_planned_one_is_refused(what: str) -> None:
    network, found = plannable(4)
    planned, plan = on_grid(network, found), plan_of(found)
    if what == "weight":
        first = planned.projections[0]
        moved = first.operator.weights.copy()
        moved.flat[0] += 0.01
        first = replace(first, operator=first.operator.with_weights(moved))
        planned = replace(planned, projections=(first, *planned.projections[1:]))
    elif what == "bias":
        source, a, *rest = planned.populations
        assert a.neuron is not None
        a = replace(a, neuron=replace(a.leaky, bias=a.leaky.bias + 1e-6))
        planned = replace(planned, populations=(source, a, *rest))
    elif what == "population":
        del plan.populations["b"]
    else:
        del plan.populations["b"].incoming["skip"]
    with refused(UnsupportedError, f"{what}.*export it with --scale METHOD", by="export"):
        quantize_as_planned(planned, LOIHI2, plan)


def test_integers_beyond_the_target_are_refused() -> None:
    network, found = plannable(4)
    plan = plan_of(found)
    plan.populations["b"] = replace(plan.populations["b"], scale=2.0**18)
    with pytest.raises(
        UnsupportedError, match=r"population 'b': .*thresholds clipped: loihi2 cannot"
    ):
        quantize_as_planned(on_grid(network, found), LOIHI2, plan)


def test_a_plan_survives_the_file(tmp_path: Path) -> None:
    _, found = plannable(1)
    plan = plan_of(found)
    graph = nir.NIRGraph(
        {
            "input": nir.Input({"input": np.array([1])}),
            "output": nir.Output({"output": np.array([1])}),
        },
        [("input", "output")],
        metadata={PLAN_KEY: plan.to_metadata()},
    )
    nir.write(tmp_path / "n.nir", graph)
    metadata = read_nir(tmp_path / "n.nir").metadata[PLAN_KEY]
    assert QuantizationPlan.from_metadata(metadata, "n.nir") == plan
    assert {p.sign for q in plan.populations.values() for p in q.incoming.values()} == {"split"}
    for wrong, message in (
        ({"format": 2}, "format 2; this version reads format 1"),
        ({**plan.to_metadata(), "more": 1}, "unknown key 'more'"),
        (
            {"format": 1, "target": "x", "populations": {"a": {"scale": -1.0, "incoming": {}}}},
            "posi",
        ),
    ):
        with pytest.raises(InputError, match=message):
            QuantizationPlan.from_metadata(wrong, "n.nir")


# --- the command ---


def test_average_pooling_costs_no_bits(workspace: Path) -> None:
    """Against the same file with its factor written into the layer before."""
    graph = read_nir(workspace / "runs/digits_conv-001/network.nir")
    contract = Contract.from_metadata(graph.metadata[CONTRACT_KEY], "file")
    network = to_network(graph, contract, "averaged")
    pool = graph.nodes["pool2"]
    assert isinstance(pool, nir.AvgPool2d)
    area = int(np.prod(pool.kernel_size))
    graph.nodes["pool2"] = nir.SumPool2d(pool.kernel_size, pool.stride, pool.padding)
    summed = to_network(graph, contract, "summed")
    left, right = (quantize(n, LOIHI2, 3) for n in (network, summed))
    for one, other in zip(left.projections, right.projections, strict=True):
        np.testing.assert_array_equal(one.operator.weights, other.operator.weights)
    scales = [n.population("readout").scale for n in (left, right)]
    assert np.log2(scales[0] / scales[1] / area) % 1 == pytest.approx(0, abs=1e-9)


def test_export_says_how_scales_were_chosen(workspace: Path, tmp_path: Path) -> None:
    run = workspace / "runs/digits_conv-001"
    network, plan = read_planned(run / "network.nir", Stated())
    assert plan is None

    def note(**options: Any) -> str:
        return quantized(network, LOIHI2, QuantizationOptions(**options), plan).notes["scales"]

    assert note() == "by calibrate on 128 samples, digits training set"
    assert note(scale="max") == "by max"
    x = np.random.default_rng(0).integers(0, 17, (5, 1, 8, 8))
    np.savez(tmp_path / "x.npz", x=x)
    file = str(tmp_path / "x.npz")
    assert note(calibrate=file) == f"by calibrate on 5 samples, {file}"
    arguments = ("export", str(run), "--target", "loihi2")
    found = run_json(*arguments, "--calibrate", "7", "--weight-bits", "3", folder=tmp_path)
    assert found["notes"]["scales"].startswith("by calibrate on 7 samples")
    for options, message in (
        (("--calibrate", "0"), "--calibrate 0: needs at least 1 sample"),
        (("--calibrate", "9", "--scale", "mse"), "--calibrate gives data for --scale calibrate"),
        (("--calibrate", "absent.npz"), "absent.npz: not a readable .npz file"),
    ):
        result = run_cli(*arguments, *options, folder=tmp_path)
        assert result.exit_code == 2 and message in result.output
    assert len([*(tmp_path / "deployments").iterdir()]) == 1


def test_without_training_data_the_weights_alone_decide() -> None:
    network = deep()
    found = quantized(network, LOIHI2, QuantizationOptions(), None)
    assert found.notes["scales"] == "by mse"
    gone = replace(network.contract, dataset="digits")
    found = quantized(replace(network, contract=gone), LOIHI2, QuantizationOptions(), None)
    assert found.notes["scales"].startswith("by mse (no calibration: data set 'digits': ")
    assert "goes up to 9, but there are 3 outputs" in found.notes["scales"]


@pytest.mark.parametrize("path", ["", "/nowhere/images.npz"])
def test_data_is_never_fetched_to_calibrate(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fetched(*_: object) -> None:
        raise AssertionError("asked for the data set")

    monkeypatch.setattr("neurodeploy.workflow.samples.load_dataset", fetched)
    network = deep()
    contract = replace(network.contract, dataset="cifar10", source=DataSource(path))
    options = QuantizationOptions()
    found = quantized(replace(network, contract=contract), LOIHI2, options, None)
    assert said_by("export", found.notes["scales"]) == (
        "by mse (no calibration: data set 'cifar10' is not where it was; samples can be given with "
        "--calibrate FILE.npz)"
    )
