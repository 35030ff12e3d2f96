"""Post-training quantisation: how far integers may be from the floats, and what is shared."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurodeploy.ir.contract import Contract, InputCode, Semantics
from neurodeploy.ir.convolution import Convolution
from neurodeploy.ir.network import Network, Neuron, Population, Projection
from neurodeploy.ir.operators import Dense
from neurodeploy.ir.quantized import QuantizedNetwork, QuantizedNeuron
from neurodeploy.quantization.post_training import quantize
from neurodeploy.quantization.weights import projection_errors
from neurodeploy.simulation.engines import FloatEngine, ReferenceEngine
from neurodeploy.simulation.trace import SampleBatch
from neurodeploy.target import Target, load_target
from support.narrow import there


@pytest.fixture(scope="module")
def target() -> Target:
    return load_target("loihi2")


def make_neuron(size: int, **changes: Any) -> Neuron:
    parameters: dict[str, Any] = {
        "kind": "LIF",
        "u_keep": np.zeros(size),
        "v_keep": np.full(size, 0.5),
        "bias": np.zeros(size),
        "v_threshold": np.ones(size),
        "reset": "zero",
        "comparison": ">",
    }
    return Neuron(**{**parameters, **changes})


def network(
    weights: np.ndarray, neuron: Neuron, *more: np.ndarray, steps: int = 8, levels: int = 1
) -> Network:
    """An input and one population, with as many dense projections between them as matrices."""
    outputs, inputs = weights.shape
    projections = [
        Projection(f"w{index}", "in", "out", Dense(matrix, (inputs,), (outputs,)))
        for index, matrix in enumerate([weights, *more])
    ]
    encoder = "direct" if levels > 1 else "events"
    contract = Contract(
        Semantics(1e-3, neuron.reset, neuron.comparison), InputCode(encoder, levels), steps, "sum_v"
    )
    populations = (Population("in", (inputs,), None), Population("out", (outputs,), neuron))
    return Network("net", populations, tuple(projections), "out", contract)


def integers_of(found: QuantizedNetwork) -> QuantizedNeuron:
    return found.population("out").leaky


def effective(found: QuantizedNetwork, index: int = 0) -> np.ndarray:
    """Weights with their exponent, as they reach the neuron."""
    projection = found.projections[index]
    return projection.operator.weights * 2.0**projection.exponent


magnitudes = st.floats(-4, 3).map(lambda exponent: 10**exponent)
powers = st.floats(-250, 250).map(lambda exponent: 10.0**exponent)


@st.composite
def random_networks(draw: st.DrawFn) -> Network:
    """Weights, thresholds, biases and leaks of any magnitude, alone or per neuron."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    size, inputs = draw(st.integers(1, 4)), draw(st.integers(1, 6))
    sign = draw(st.sampled_from([(-1, 1), (0, 1), (-1, 0)]))
    matrices = [
        rng.uniform(*sign, (size, inputs)) * draw(magnitudes)
        for _ in range(draw(st.integers(1, 3)))
    ]
    changes = {
        "u_keep": rng.uniform(0, 0.999, size) * draw(st.sampled_from([0, 1])),
        "v_keep": rng.uniform(0, 1, size) ** draw(st.sampled_from([0, 0.1, 1])),
        "bias": rng.uniform(-1, 1, size) * draw(magnitudes) * draw(st.sampled_from([0, 1])),
        "v_threshold": rng.uniform(0.1, 1, size) * draw(magnitudes)
        if draw(st.booleans())
        else None,
    }
    levels = draw(st.sampled_from([1, 16, 255]))
    return network(matrices[0], make_neuron(size, **changes), *matrices[1:], levels=levels)


@settings(deadline=None, max_examples=150)
@given(net=random_networks(), bits=st.integers(2, 8))
def test_every_integer_is_the_nearest_one(target: Target, net: Network, bits: int) -> None:
    found = quantize(net, target, bits, scale="max")
    scale, payload = found.population("out").scale, net.contract.input_code.payload
    for float_one, integer_one in zip(net.projections, found.projections, strict=True):
        form, unit = integer_one.weight_format, 2.0**integer_one.exponent
        weights = integer_one.operator.weights
        assert form.bits == bits
        assert integer_one.payload == payload
        assert -7 <= integer_one.exponent <= target.synapse.weight_exponent_max.value
        assert not integer_one.clipped
        assert (weights % form.step == 0).all()
        assert form.minimum <= weights.min() <= weights.max() <= form.maximum
        exact = float_one.operator.weights / payload * scale
        assert np.abs(weights * unit - exact).max() <= form.step * unit * (0.5 + 1e-9)
    neuron, floats = integers_of(found), net.population("out").leaky
    kept = 1 - neuron.u_decay / 4096, 1 - neuron.v_decay / 4096
    assert np.abs(kept[0] - floats.u_keep).max() <= 0.5 / 4096
    assert np.abs(kept[1] - floats.v_keep).max() <= 1 / 4096
    assert (np.abs(kept[1] - floats.v_keep) <= 0.5 / 4096)[floats.v_keep >= 1 / 4096].all()
    unit = 2**neuron.bias_exponent
    assert (np.abs(neuron.bias_mantissa * unit - floats.bias * scale * 64) <= unit / 2 + 0.5).all()
    assert (neuron.threshold is None) == (floats.v_threshold is None)
    if neuron.threshold is not None:
        assert np.abs(neuron.threshold - there(floats.v_threshold) * scale).max() <= 0.5 + 1e-9
    assert all("rounded to decay" in note for note in found.notes.values())


@settings(deadline=None, max_examples=60)
@given(net=random_networks())
def test_numbers_fit_the_target(target: Target, net: Network) -> None:
    neuron = integers_of(quantize(net, target))
    assert ((neuron.u_decay >= 1) & (neuron.u_decay <= 4096)).all()
    assert ((neuron.v_decay >= 0) & (neuron.v_decay <= 4095)).all()
    assert ((neuron.bias_mantissa >= -4096) & (neuron.bias_mantissa <= 4095)).all()
    assert ((neuron.bias_exponent >= 0) & (neuron.bias_exponent <= 7)).all()
    if neuron.threshold is not None:
        assert ((neuron.threshold >= 0) & (neuron.threshold <= 131071)).all()


# --- scales ---


@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize("sign", [1, -1])
def test_the_largest_weight_fills_its_format_at_every_width(
    target: Target, bits: int, sign: int
) -> None:
    weights = np.linspace(0.01, 0.7, 12).reshape(3, 4) * sign
    (found,) = quantize(network(weights, make_neuron(3)), target, bits, scale="max").projections
    assert found.weight_format.sign == ("excitatory" if sign > 0 else "inhibitory")
    assert np.abs(found.operator.weights).max() == 256 - 2 ** (8 - bits)


@pytest.mark.parametrize("bits", range(2, 9))
def test_mixed_weights_fill_the_tighter_side(target: Target, bits: int) -> None:
    for largest, smallest, end in ((1.0, -0.25, "maximum"), (0.25, -1.0, "minimum")):
        net = network(np.array([[largest, smallest]]), make_neuron(1))
        (found,) = quantize(net, target, bits, scale="max").projections
        assert getattr(found.weight_format, end) in found.operator.weights


def test_more_bits_bring_the_weights_closer(target: Target) -> None:
    weights = np.random.default_rng(0).normal(size=(20, 20))
    net = network(weights, make_neuron(20))
    errors = []
    for bits in range(2, 9):
        found = quantize(net, target, bits)
        errors.append(np.abs(effective(found) / found.population("out").scale - weights).mean())
    assert all(later < 0.6 * earlier for earlier, later in pairwise(errors))


def test_one_bit_of_both_signs_becomes_two_projections(target: Target) -> None:
    """Alone it would hold -256 and 0: one bit per sign holds -128, 0 and 128 together."""
    weights = np.array([[1.0, -1.0, 0.9], [0.1, -0.2, 0.0]])
    net = network(weights, make_neuron(2))
    up, down = quantize(net, target, 1, scale="max").projections
    assert (up.name, down.name) == ("w0.excitatory", "w0.inhibitory")
    assert (up.weight_format.sign, down.weight_format.sign) == ("excitatory", "inhibitory")
    np.testing.assert_array_equal(up.operator.weights, [[128, 0, 128], [0, 0, 0]])
    np.testing.assert_array_equal(down.operator.weights, [[0, -128, 0], [0, 0, 0]])
    assert {(p.source, p.target, p.exponent) for p in (up, down)} == {("in", "out", up.exponent)}


def test_projections_into_one_population_share_its_scale(target: Target) -> None:
    big = np.array([[1.0, 0.5]])
    found = quantize(network(big, make_neuron(1), big / 16, big * 4), target)
    exponents = [projection.exponent for projection in found.projections]
    assert [e - exponents[0] for e in exponents] == [0, -4, 2]
    for index, factor in ((1, 1 / 16), (2, 4)):
        np.testing.assert_array_equal(effective(found, index), effective(found) * factor)


def test_the_weight_exponent_stops_where_the_target_does(target: Target) -> None:
    tiny = np.array([[2.0**-20, 2.0**-21]])
    net = network(np.array([[1.0, 0.5]]), make_neuron(1), tiny)
    found = quantize(net, target, scale="max")
    most = target.synapse.weight_exponent_max.value
    assert max(projection.exponent for projection in found.projections) <= most
    assert not any(projection.clipped for projection in found.projections)
    assert found.projections[0].operator.weights.max() == 255


def test_graded_input_has_its_levels_in_the_weights(target: Target) -> None:
    weights = np.array([[0.5, 0.25], [0.125, 1.0]])
    found = quantize(network(weights, make_neuron(2), levels=16), target)
    (projection,) = found.projections
    assert (projection.payload, found.population("in").scale) == (16, 16.0)
    scale = found.population("out").scale
    np.testing.assert_allclose(effective(found) * 16, weights * scale, rtol=0.01)


def test_a_power_of_two_makes_thresholds_finer_while_nothing_can_overflow(target: Target) -> None:
    """With any input at all, as long as the exponent was raised."""
    weights = np.random.default_rng(1).uniform(0, 1, (3, 5))
    neuron = make_neuron(3, kind="I", v_threshold=None, v_keep=np.ones(3), bias=np.full(3, 0.25))
    found = quantize(network(weights, neuron, steps=20), target)
    assert found.projections[0].exponent > 0
    engine = ReferenceEngine(found)
    list(engine.run([SampleBatch(0, np.ones((1, 20, 5), np.uint8), static=False)]))
    assert engine.overflow.total == 0


@pytest.mark.parametrize("bits", [8, 4, 2])
@pytest.mark.parametrize("factor", [1 / 4, 1 / 9, 3.7])
def test_a_factor_on_all_input_costs_no_bits(target: Target, bits: int, factor: float) -> None:
    """That of average pooling, for example, ends in the threshold."""
    weights = np.random.default_rng(2).normal(size=(4, 30))
    plain, scaled = (
        quantize(network(weights * c, make_neuron(4)), target, bits) for c in (1.0, factor)
    )
    np.testing.assert_array_equal(
        plain.projections[0].operator.weights, scaled.projections[0].operator.weights
    )
    ratio = scaled.population("out").scale / plain.population("out").scale
    power = np.log2(ratio * factor)
    assert abs(power - round(power)) < 1e-9


def test_convolutions_stay_shared(target: Target) -> None:
    conv = Convolution(np.array([[[1.0, -0.5]]]), (1, 6), (1,), ((0, 1),), (1,))
    net = network(np.ones((6, 6)), make_neuron(6))
    populations = (Population("in", (1, 6), None), Population("out", (1, 6), make_neuron(6)))
    net = replace(
        net, populations=populations, projections=(Projection("c", "in", "out", conv, delay=2),)
    )
    (found,) = quantize(net, target, scale="max").projections
    assert isinstance(found.operator, Convolution)
    assert found.operator.padding == conv.padding
    assert (found.name, found.delay) == ("c", 2)
    np.testing.assert_array_equal(found.operator.weights.ravel(), [254, -128])


def test_projections_of_one_name_keep_their_own_delays(target: Target) -> None:
    net = network(np.array([[1.0]]), make_neuron(1), np.array([[0.5]]))
    same = tuple(
        replace(projection, name="w", delay=delay)
        for projection, delay in zip(net.projections, (0, 3), strict=True)
    )
    found = quantize(replace(net, projections=same), target).projections
    assert [projection.delay for projection in found] == [0, 3]


# --- corners ---


@pytest.mark.parametrize("threshold", [None, 0.0, 1.0, 1e6])
@pytest.mark.parametrize("bias", [0.0, 0.3])
def test_weights_that_are_all_zero(target: Target, threshold: float | None, bias: float) -> None:
    limit = None if threshold is None else np.full(2, threshold)
    neuron = make_neuron(2, v_threshold=limit, bias=np.full(2, bias))
    found = quantize(network(np.zeros((2, 3)), neuron), target)
    assert not found.projections[0].operator.weights.any()
    scale = found.population("out").scale
    assert scale > 0
    if threshold:
        np.testing.assert_allclose(there(integers_of(found).threshold), threshold * scale, atol=0.5)


@settings(deadline=None, max_examples=60)
@given(weights=st.lists(st.floats(-300, 300), min_size=2, max_size=3), threshold=powers)
def test_extreme_weights_beside_one_another(
    target: Target, weights: list[float], threshold: float
) -> None:
    matrices = [np.array([[10.0**exponent, -(10.0**exponent)]]) for exponent in weights]
    net = network(matrices[0], make_neuron(1, v_threshold=np.array([threshold])), *matrices[1:])
    found = quantize(net, target)
    for projection in found.projections:
        integers, form = projection.operator.weights, projection.weight_format
        assert ((integers >= form.minimum) & (integers <= form.maximum)).all()
    for error in projection_errors(net, found):
        assert np.isfinite(error.rms_error)


@settings(deadline=None, max_examples=100)
@given(
    weight=st.just(0.0) | powers | powers.map(lambda x: -x),
    threshold=st.just(0.0) | powers,
    bias=st.just(0.0) | powers | powers.map(lambda x: -x),
)
def test_extreme_numbers_end_in_integers_of_the_formats(
    target: Target, weight: float, threshold: float, bias: float
) -> None:
    neuron = make_neuron(1, v_threshold=np.array([threshold]), bias=np.array([bias]))
    found = quantize(network(np.array([[weight]]), neuron), target)
    (projection,) = found.projections
    form = projection.weight_format
    assert form.minimum <= projection.operator.weights.item() <= form.maximum
    integers = integers_of(found)
    assert integers.threshold is not None
    assert 0 <= integers.threshold.item() <= 131071
    assert abs(int(integers.bias_mantissa.item())) <= 4096


def test_a_large_bias_lowers_the_scale_instead_of_being_clipped(target: Target) -> None:
    neuron = make_neuron(1, bias=np.array([1.0]), v_keep=np.full(1, 0.5))
    found = quantize(network(np.array([[0.01]]), neuron), target)
    integers, scale = integers_of(found), found.population("out").scale
    bias = (integers.bias_mantissa << integers.bias_exponent).item()
    assert abs(bias - 64 * scale) <= 2**7
    assert not found.notes


def test_a_threshold_below_zero_is_clipped_and_noted(target: Target) -> None:
    net = network(np.ones((3, 1)), make_neuron(3, v_threshold=np.array([1.0, -1.0, -2.0])))
    found = quantize(net, target)
    assert found.notes == {"out": "2 thresholds clipped"}
    threshold = integers_of(found).threshold
    assert threshold is not None
    assert list(threshold[1:]) == [0, 0]


def test_a_leak_of_everything_keeps_the_smallest_share(target: Target) -> None:
    """12 bits of v_decay have no 4096, so the least that can stay is 1/4096."""
    neuron = make_neuron(1, v_keep=np.zeros(1), u_keep=np.zeros(1))
    found = quantize(network(np.ones((1, 1)), neuron), target)
    integers = integers_of(found)
    assert (integers.u_decay.item(), integers.v_decay.item()) == (4096, 4095)
    assert found.notes == {
        "out": "1 leak of v (keeping 0 a step or more) rounded to decay 4096: 1/4096 kept"
    }


@pytest.mark.parametrize(
    ("variable", "keep", "decay", "note"),
    [
        ("v_keep", 0.999878, 0, "2 leaks of v (keeping up to 0.999878 a step) rounded to decay 0"),
        ("v_keep", 1e-4, 4095, "2 leaks of v (keeping 0.0001 a step or more) rounded to decay"),
        ("u_keep", 0.9999, 1, "2 leaks of u (keeping up to 0.9999 a step) rounded to decay 0"),
        ("u_keep", 1e-4, 4096, "2 leaks of u (keeping 0.0001 a step or more) rounded to decay"),
        ("v_keep", 0.999877, 1, ""),
        ("v_keep", 1.0, 0, ""),
        ("u_keep", 0.0, 4096, ""),
    ],
)
def test_leaks_at_the_end_of_twelve_bits_are_named(
    target: Target, variable: str, keep: float, decay: int, note: str
) -> None:
    neuron = make_neuron(3, **{variable: np.array([0.5, keep, keep])})
    found = quantize(network(np.ones((3, 1)), neuron), target)
    decays = getattr(integers_of(found), variable.replace("keep", "decay"))
    np.testing.assert_array_equal(decays, [2048, decay, decay])
    assert found.notes.get("out", "").startswith(note) and bool(found.notes) == bool(note)


# --- behaviour ---


def small_network(seed: int) -> Network:
    """Two hidden layers and a readout that spike at a moderate rate."""
    rng = np.random.default_rng(seed)
    sizes, names = (20, 30, 30, 5), ("in", "a", "b", "out")
    populations, projections = [Population("in", (20,), None)], []
    for index in range(1, 4):
        size, before = sizes[index], sizes[index - 1]
        neuron = make_neuron(
            size,
            v_keep=rng.uniform(0.5, 0.9, size),
            u_keep=np.full(size, 0.3 if index == 2 else 0.0),
            bias=rng.uniform(-0.1, 0.1, size),
            reset="subtract",
        )
        populations.append(Population(names[index], (size,), neuron))
        weights = rng.normal(0, 1.5 / np.sqrt(before), (size, before))
        operator = Dense(weights, (before,), (size,))
        projections.append(Projection(f"w{index}", names[index - 1], names[index], operator))
    contract = Contract(Semantics(1e-3, "subtract", ">"), InputCode("events"), 20, "spike_count")
    return Network("net", tuple(populations), tuple(projections), "out", contract)


def agreement(net: Network, found: QuantizedNetwork) -> float:
    x = np.random.default_rng(9).integers(0, 2, (30, 20, 20))
    batch = SampleBatch(0, x, static=False)
    ((_, left),), ((_, right),) = FloatEngine(net).run([batch]), ReferenceEngine(found).run([batch])
    pairs = [(left.populations[n].s, right.populations[n].s) for n in ("a", "b", "out")]
    rates = [float(a.mean()) for a, _ in pairs]
    assert min(rates) > 0.05
    equal = np.concatenate([(a == b).ravel() for a, b in pairs])
    return float(equal.mean())


@pytest.mark.parametrize(("bits", "least"), [(8, 0.98), (6, 0.95), (4, 0.85)])
def test_integers_spike_as_the_floats_do(target: Target, bits: int, least: float) -> None:
    net = small_network(0)
    assert agreement(net, quantize(net, target, bits)) >= least


def test_spikes_stay_the_same_where_everything_is_representable(target: Target) -> None:
    """Weights, thresholds and leaks that are integers over a power of two lose nothing."""
    rng = np.random.default_rng(4)
    weights = rng.integers(-128, 128, (6, 10)) / 128.0
    weights[0, :2] = 127 / 128, -1.0
    neuron = make_neuron(6, v_keep=np.full(6, 0.5), v_threshold=np.full(6, 0.75))
    net = network(weights, neuron, steps=12)
    found = quantize(net, target)
    np.testing.assert_array_equal(effective(found), weights * found.population("out").scale)
    x = rng.integers(0, 2, (20, 12, 10))
    batch = SampleBatch(0, x, static=False)
    ((_, left),), ((_, right),) = FloatEngine(net).run([batch]), ReferenceEngine(found).run([batch])
    agreeing = (left.populations["out"].s == right.populations["out"].s).mean()
    assert agreeing >= 0.99  # only the rounding of v towards zero is left


@pytest.mark.parametrize("steps", [40, 40_000])
@pytest.mark.parametrize("target", ["loihi1", "loihi2"])
def test_a_readout_stays_within_24_bits(target: str, steps: int) -> None:
    """Right shifts see to it at no cost of weight bits, as far as they reach.

    Beyond, weights give way only on Loihi 1, which has no neuron that never spikes.
    """
    rng = np.random.default_rng(0)
    contract = Contract(Semantics(1e-4, "zero", ">"), InputCode("events"), steps, "last_v")
    readout = Neuron(
        "I", np.zeros(1), np.ones(1), np.zeros(1), v_threshold=None, reset="zero", comparison=">"
    )
    weights = Dense(rng.normal(size=(10, 256)), (256,), (10,))
    net = Network(
        "net",
        (Population("input", (256,), None), Population("out", (10,), readout)),
        (Projection("w", "input", "out", weights),),
        "out",
        contract,
    )
    (projection,) = quantize(net, load_target(target)).projections
    integers = projection.operator.weights
    worst = steps * 64 * 2.0**projection.exponent * np.abs(integers).sum(axis=1).max()
    reached = steps == 40
    assert (worst <= 131071 << 6) == (reached or target == "loihi1")
    assert (np.abs(integers).max() > 200) == (reached or target == "loihi2")
    assert (projection.exponent > -7) == reached
