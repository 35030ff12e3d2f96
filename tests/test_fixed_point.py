"""Integer formats and steps against Lava's own code, plain Python and closed forms."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from neurodeploy.errors import UnsupportedError
from neurodeploy.ir.contract import Contract, InputCode, Semantics
from neurodeploy.ir.convolution import Convolution
from neurodeploy.ir.fixed_point import WeightFormat, split_bias
from neurodeploy.ir.network import Neuron
from neurodeploy.ir.operators import Dense, Operator
from neurodeploy.ir.quantized import (
    QuantizedNetwork,
    QuantizedNeuron,
    QuantizedPopulation,
    QuantizedProjection,
)
from neurodeploy.lava.compat import require_lava
from neurodeploy.neurons.dynamics import FixedStepper, FloatStepper
from neurodeploy.simulation.engines import ReferenceEngine
from neurodeploy.simulation.exact import exact_dtype
from neurodeploy.simulation.trace import SampleBatch
from support.narrow import there

FORMATS = [
    WeightFormat(bits, sign)
    for bits in range(1, 9)
    for sign in ("mixed", "excitatory", "inhibitory")
]

# --- weights ---


@pytest.mark.lava
@pytest.mark.parametrize("form", FORMATS, ids=lambda form: f"{form.bits}-{form.sign}")
def test_a_format_holds_exactly_the_weights_that_lava_leaves_alone(form: WeightFormat) -> None:
    require_lava()
    from lava.utils.weightutils import SignMode, clip_weights, truncate_weights

    sign = SignMode[form.sign.upper()]
    wanted = np.arange(-1000, 1001)
    left = truncate_weights(clip_weights(wanted, sign, num_bits=8), sign, form.bits)
    ours = np.arange(form.minimum, form.maximum + 1, form.step)
    np.testing.assert_array_equal(wanted[left == wanted], ours)


def test_literal_ranges() -> None:
    found = {
        (form.bits, form.sign): (form.minimum, form.maximum, form.step)
        for form in FORMATS
        if form.bits in (1, 8)
    }
    assert found == {
        (8, "mixed"): (-256, 254, 2),
        (8, "excitatory"): (0, 255, 1),
        (8, "inhibitory"): (-255, 0, 1),
        (1, "mixed"): (-256, 0, 256),
        (1, "excitatory"): (0, 128, 128),
        (1, "inhibitory"): (-128, 0, 128),
    }


@pytest.mark.parametrize(
    ("weights", "sign"),
    [([0, 1], "excitatory"), ([-1, 0], "inhibitory"), ([-1, 1], "mixed"), ([0, 0], "excitatory")],
)
def test_the_signs_of_the_weights_choose_the_format(weights: list[int], sign: str) -> None:
    assert WeightFormat.fitting(np.array(weights), 6) == WeightFormat(6, sign)


@pytest.mark.parametrize(("bits", "sign"), [(0, "mixed"), (9, "mixed"), (8, "both")])
def test_formats_that_do_not_exist_are_refused(bits: int, sign: str) -> None:
    with pytest.raises(ValueError, match=r"1\.\.8|unknown sign mode 'both'"):
        WeightFormat(bits, sign)


# --- bias ---


@given(st.integers(-(2**22), 2**22), st.integers(2, 13), st.integers(0, 7))
def test_a_bias_is_off_by_at_most_half_a_unit_of_its_exponent(
    bias: int, bits: int, most: int
) -> None:
    mantissa, exponent = split_bias(bias, bits, most)
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    assert low <= mantissa <= high
    assert 0 <= exponent <= most
    if low << most <= bias <= high << most:
        assert 2 * abs((mantissa << exponent) - bias) <= 2**exponent
    else:
        assert (mantissa, exponent) == ((high if bias > 0 else low), most) or (
            2 * abs((mantissa << exponent) - bias) <= 2**exponent
        )


@given(st.integers(-(2**20), 2**20))
def test_no_smaller_exponent_holds_the_bias(bias: int) -> None:
    mantissa, exponent = split_bias(bias, 13, 7)
    assume(exponent > 0)
    assert not -4096 <= round(bias / 2 ** (exponent - 1)) <= 4095
    assert -4096 <= mantissa <= 4095


@pytest.mark.parametrize(
    ("bias", "expected"),
    [
        (0, (0, 0)),
        (4095, (4095, 0)),
        (-4096, (-4096, 0)),
        (4096, (2048, 1)),
        (-4097, (-2048, 1)),
        (4095 << 7, (4095, 7)),
        (10**9, (4095, 7)),
        (-(10**9), (-4096, 7)),
    ],
)
def test_literal_biases(bias: int, expected: tuple[int, int]) -> None:
    assert split_bias(bias, 13, 7) == expected


# --- the integer neuron, in plain Python ---


@dataclass
class LiteralNeuron:
    """The equations of ``quantized`` for one neuron, in Python's unbounded integers."""

    u_decay: int
    v_decay: int
    bias: int
    threshold: int | None
    reset: str
    comparison: str
    refractory_period: int = 0
    u: int = 0
    v: int = 0
    wraps: int = 0
    saturations: int = 0
    resting: int = 0
    record: list[tuple[int, int, bool]] = field(default_factory=list)

    def step(self, activation: int) -> None:
        self.u = self.wrapped(self.decayed(self.u, self.u_decay) + (activation << 6))
        if self.resting:
            self.resting -= 1
            self.record.append((self.u, self.v, False))
            return
        v = self.decayed(self.v, self.v_decay) + self.u + self.bias
        if abs(v) > 2**23 - 1:
            self.saturations += 1
            v = 2**23 - 1 if v > 0 else -(2**23 - 1)
        fires = False
        if self.threshold is not None:
            threshold = self.threshold << 6
            fires = v >= threshold if self.comparison == ">=" else v > threshold
            if fires:
                v = 0 if self.reset == "zero" else v - threshold
                self.resting = self.refractory_period
        self.v = v
        self.record.append((self.u, self.v, fires))

    @staticmethod
    def decayed(state: int, decay: int) -> int:
        size = abs(state) * (4096 - decay) >> 12
        return size if state >= 0 else -size

    def wrapped(self, u: int) -> int:
        u = (u + 2**31) % 2**32 - 2**31  # Lava adds in 32 bits
        if u > 2**23:
            self.wraps += 1
            return u - 2**24
        if u <= -(2**23):
            self.wraps += 1
            return u + 2**24
        return u


@st.composite
def quantized_neurons(draw: st.DrawFn, size: int) -> QuantizedNeuron:
    def values(low: int, high: int) -> np.ndarray:
        one = st.one_of(st.integers(low, high), st.sampled_from([low, high]))
        if draw(st.booleans()):
            return np.array(draw(st.lists(one, min_size=size, max_size=size)), np.int64)
        return np.array([draw(one)], np.int64)

    return QuantizedNeuron(
        kind="LIF",
        u_decay=values(1, 4096),
        v_decay=values(0, 4095),
        bias_mantissa=values(-4096, 4095) if draw(st.booleans()) else np.zeros(1, np.int64),
        bias_exponent=values(0, 7),
        threshold=values(0, 131071) if draw(st.booleans()) else None,
        reset=draw(st.sampled_from(["zero", "subtract"])),
        comparison=draw(st.sampled_from([">", ">="])),
        refractory_period=draw(st.sampled_from([0, 0, 1, 2, 5])),
    )


def literal(neuron: QuantizedNeuron, size: int, activations: np.ndarray) -> list[LiteralNeuron]:
    """(N, T, size) activations through one plain Python neuron per sample and place."""
    bias = np.broadcast_to(neuron.bias_mantissa * 2**neuron.bias_exponent, (size,))
    found = []
    for sample in activations:
        for place in range(size):
            at: dict[str, Any] = {
                name: int(np.broadcast_to(getattr(neuron, name), (size,))[place])
                for name in ("u_decay", "v_decay")
            }
            threshold = neuron.threshold
            plain = LiteralNeuron(
                **at,
                bias=int(bias[place]),
                threshold=None
                if threshold is None
                else int(np.broadcast_to(threshold, (size,))[place]),
                reset=neuron.reset,
                comparison=neuron.comparison,
                refractory_period=neuron.refractory_period,
            )
            for activation in sample[:, place]:
                plain.step(int(activation))
            found.append(plain)
    return found


def check_stepper(stepper: FixedStepper, size: int, activations: np.ndarray) -> None:
    """Every u, v and spike, and both counters, over samples that follow each other."""
    expected = literal(stepper.neuron, size, activations)
    for _ in range(2):  # the second time shows that a reset forgets everything
        stepper.reset()
        stepper.wraps = stepper.saturations = 0
        for t in range(activations.shape[1]):
            fires = stepper.step(torch.from_numpy(activations[:, t].copy()))
            found = [x.broadcast_to(fires.shape).flatten() for x in (stepper.u, stepper.v, fires)]
            for index, plain in enumerate(expected):
                assert tuple(int(x[index]) for x in found) == plain.record[t], (t, index)
        assert stepper.wraps == sum(plain.wraps for plain in expected)
        assert stepper.saturations == sum(plain.saturations for plain in expected)


@settings(deadline=None, max_examples=120)
@given(
    st.data(),
    st.integers(1, 3),
    st.sampled_from([50, 3000, 2**17, 2**17 + 2, 2**19, 2**24, 2**26, 2**31, 2**40]),
)
def test_every_step_equals_plain_python(data: st.DataObject, size: int, largest: int) -> None:
    neuron = data.draw(quantized_neurons(size))
    count, steps = data.draw(st.integers(1, 2)), data.draw(st.integers(1, 6))
    one = st.one_of(st.integers(-largest, largest), st.sampled_from([-largest, largest, 0]))
    amount = count * steps * size
    drawn = data.draw(st.lists(one, min_size=amount, max_size=amount))
    activations = np.array(drawn, np.int64).reshape(count, steps, size)
    check_stepper(FixedStepper(neuron, (size,)), size, activations)
    bound = float(np.abs(activations).max())
    check_stepper(FixedStepper(neuron, (size,), bound, steps), size, activations)
    check_stepper(FixedStepper(neuron, (size,), float(largest), steps), size, activations)


def one_neuron(**changes) -> QuantizedNeuron:
    parameters = {
        "kind": "LIF",
        "u_decay": np.array([4096]),
        "v_decay": np.array([0]),
        "bias_mantissa": np.array([0]),
        "bias_exponent": np.array([0]),
        "threshold": None,
        "reset": "zero",
        "comparison": ">",
    }
    return QuantizedNeuron(**{**parameters, **changes})


def run_steps(stepper: FixedStepper, activations: list[int]) -> list[tuple[int, int, bool]]:
    found = []
    for activation in activations:
        fires = stepper.step(torch.tensor([[activation]]))
        found.append((int(stepper.u), int(stepper.v), bool(fires)))
    return found


@pytest.mark.parametrize(
    ("activation", "u", "wraps"),
    [
        (2**17, 2**23, 0),  # the largest u that stays
        (2**17 + 1, 2**23 + 64 - 2**24, 1),
        (-(2**17) + 1, -(2**23) + 64, 0),
        (-(2**17), 2**23, 1),
        (3 * 2**17, 3 * 2**23 - 2**24, 1),  # wrapped once, still outside 24 bits
        (2**25, -(2**31) + 2**24, 1),  # 2^31 is -2^31 in the 32 bits that Lava adds in
        (2**26, 0, 0),  # 2^32 is 0 there
    ],
)
def test_the_current_wraps_once_at_24_bits(activation: int, u: int, wraps: int) -> None:
    stepper = FixedStepper(one_neuron(), (1,))
    assert run_steps(stepper, [activation])[0][0] == u
    assert stepper.wraps == wraps


@pytest.mark.parametrize("sign", [1, -1])
def test_the_potential_saturates_and_counts_it(sign: int) -> None:
    stepper = FixedStepper(one_neuron(), (1,))
    quarter = sign * 2**15  # 2^21 in units of the state
    found = [v for _, v, _ in run_steps(stepper, [quarter] * 6)]
    assert found == [sign * n * 2**21 for n in (1, 2, 3)] + [sign * (2**23 - 1)] * 3
    assert (stepper.wraps, stepper.saturations) == (0, 3)


def test_decays_round_towards_zero_on_both_sides() -> None:
    # 63 of 64 units of state, of which 2048/4096 stay: 31.5 goes to 31 and -31.5 to -31.
    for sign in (1, -1):
        neuron = one_neuron(v_decay=np.array([2048]), bias_mantissa=np.array([sign * 63]))
        found = [v for _, v, _ in run_steps(FixedStepper(neuron, (1,)), [0, 0])]
        assert found == [sign * 63, sign * (31 + 63)]


@pytest.mark.parametrize(
    ("comparison", "reset", "expected"),
    [
        (">", "zero", [(25, 0), (50, 0), (75, 1), (25, 0)]),
        (">=", "zero", [(25, 0), (50, 1), (25, 0), (50, 1)]),
        (">", "subtract", [(25, 0), (50, 0), (75, 1), (50, 0)]),
        (">=", "subtract", [(25, 0), (50, 1), (25, 0), (50, 1)]),
    ],
)
def test_a_potential_at_exactly_the_threshold(
    comparison: str, reset: str, expected: list[tuple[int, int]]
) -> None:
    neuron = one_neuron(threshold=np.array([50]), comparison=comparison, reset=reset)
    left = {"zero": lambda v: 0, "subtract": lambda v: v - 50}[reset]
    after = [(left(v) if fires else v, bool(fires)) for v, fires in expected]
    found = run_steps(FixedStepper(neuron, (1,)), [25] * 4)
    assert [(v / 64, fires) for _, v, fires in found] == after


@pytest.mark.parametrize(
    ("reset", "period", "expected"),
    [
        ("zero", 1, [(40, 0), (0, 1), (0, 0), (0, 1), (0, 0)]),
        ("zero", 2, [(40, 0), (0, 1), (0, 0), (0, 0), (0, 1)]),
        ("subtract", 1, [(40, 0), (50, 1), (50, 0), (75, 1), (75, 0)]),
    ],
)
def test_a_neuron_rests_after_a_spike(
    reset: str, period: int, expected: list[tuple[int, int]]
) -> None:
    """v stays as the reset left it and nothing fires, not even above the threshold; u goes on."""
    changes = {"threshold": np.array([50]), "reset": reset, "refractory_period": period}
    stepper = FixedStepper(one_neuron(u_decay=np.array([2048]), **changes), (1,))
    found = run_steps(stepper, [40] * 5)
    assert [u / 64 for u, _, _ in found] == [40, 60, 70, 75, 77.5]
    assert [(v / 64, fires) for _, v, fires in found] == expected

    neuron = float_neuron(
        u_keep=np.array([0.5]),
        v_threshold=np.array([50.0]),
        reset=reset,
        refractory_period=period,
    )
    floats = FloatStepper(neuron, (1,))
    floats.reset()
    for v, fires in expected:
        assert bool(floats.step(torch.tensor([[40.0]], dtype=torch.float64))) == fires
        assert float(floats.v) == v


@pytest.mark.parametrize("size", [1, 2, 5])
def test_an_engine_counts_overflow_once_whatever_the_batches(size: int) -> None:
    rng = np.random.default_rng(0)
    weights, x = rng.integers(0, 256, (3, 4)), rng.integers(0, 2, (5, 6, 4))
    neuron = one_neuron(u_decay=np.array([40]), threshold=np.array([131071]), reset="subtract")
    net = integrator(Dense(weights, (4,), (3,)), WeightFormat(8, "excitatory"), 1)
    (projection,), (source, out) = net.projections, net.populations
    net = replace(
        net,
        projections=(replace(projection, exponent=7),),
        populations=(source, replace(out, neuron=neuron)),
        contract=replace(net.contract, steps=6),
    )
    expected = literal(neuron, 3, (x @ weights.T) << 7)
    engine = ReferenceEngine(net)
    batches = [
        SampleBatch(first, x[first : first + size], static=False) for first in range(0, 5, size)
    ]
    assert len(list(engine.run(batches))) == len(batches)
    counters = engine.overflow.populations["out"]
    assert counters.wraps == sum(plain.wraps for plain in expected) > 0
    assert counters.saturations == sum(plain.saturations for plain in expected) > 0
    assert engine.overflow.total == counters.wraps + counters.saturations


# --- the float neuron, in closed form ---


def float_neuron(**changes) -> Neuron:
    parameters = {
        "kind": "LIF",
        "u_keep": np.zeros(1),
        "v_keep": np.ones(1),
        "bias": np.zeros(1),
        "v_threshold": None,
        "reset": "zero",
        "comparison": ">",
    }
    return Neuron(**{**parameters, **changes})


def float_run(neuron: Neuron, activations: list[float]) -> tuple[list[float], list[int]]:
    stepper = FloatStepper(neuron, (1,))
    stepper.reset()
    v, fired = [], []
    for t, activation in enumerate(activations):
        if stepper.step(torch.tensor([[activation]], dtype=torch.float64)):
            fired.append(t)
        v.append(float(stepper.v))
    return v, fired


def test_a_leaky_potential_follows_its_geometric_sum() -> None:
    keep, x, steps = 0.9, 0.3, 30
    v, _ = float_run(float_neuron(v_keep=np.array([keep])), [x] * steps)
    expected = [x * (1 - keep ** (t + 1)) / (1 - keep) for t in range(steps)]
    np.testing.assert_allclose(v, expected, rtol=1e-13)


def test_an_impulse_through_current_and_potential_is_a_difference_of_powers() -> None:
    a, b = 0.8, 0.5
    neuron = float_neuron(u_keep=np.array([a]), v_keep=np.array([b]))
    v, _ = float_run(neuron, [1.0] + [0.0] * 19)
    expected = [(a ** (t + 1) - b ** (t + 1)) / (a - b) for t in range(20)]
    np.testing.assert_allclose(v, expected, rtol=1e-13)


def test_a_bias_alone_charges_the_potential() -> None:
    v, _ = float_run(float_neuron(bias=np.array([0.25])), [0.0] * 8)
    assert v == [0.25 * (t + 1) for t in range(8)]


@pytest.mark.parametrize(
    ("reset", "comparison", "fired"),
    [
        ("zero", ">", [2, 5]),  # 0.5 1.0 1.5|0 0.5 1.0 1.5|0
        ("zero", ">=", [1, 3, 5]),
        ("subtract", ">", [2, 4]),  # 0.5 1.0 1.5|0.5 1.0 1.5|0.5 1.0
        ("subtract", ">=", [1, 3, 5]),
    ],
)
def test_float_spikes_of_a_constant_input(reset: str, comparison: str, fired: list[int]) -> None:
    neuron = float_neuron(v_threshold=np.ones(1), reset=reset, comparison=comparison)
    assert float_run(neuron, [0.5] * 6)[1] == fired


# --- sums that floats hold exactly ---


def test_the_float_type_changes_at_its_exact_limit() -> None:
    assert exact_dtype(0, "") is torch.float32
    assert exact_dtype(2**24 - 1, "") is torch.float32
    assert exact_dtype(2**24, "") is torch.float64
    assert exact_dtype(2**53 - 1, "") is torch.float64
    with pytest.raises(UnsupportedError, match=r"'fc'.*beyond exact 53-bit"):
        exact_dtype(2**53, "projection 'fc'")


def extreme_integers(operator: Operator, limit: int) -> tuple[Operator, np.ndarray]:
    """Weights and inputs whose largest partial sums come as close to ``limit`` as they can."""
    rng = np.random.default_rng(0)
    weights = rng.integers(-256, 257, operator.weights.shape)
    weights[0], weights[-1] = 255, -256
    filled = operator.with_weights(weights)
    largest = int((limit - 1) // filled.absolute_row_bound())
    batch = rng.integers(0, largest + 1, (40, *operator.input_shape))
    batch[0] = largest
    return filled, batch


CONVOLUTIONS = [
    ((8, 8, 8), (16, 8, 3, 3), 1, 1),
    ((8, 12, 12), (8, 1, 3, 3), 8, 1),
    ((4, 9, 9), (8, 4, 5, 5), 1, 2),
    ((16, 6, 6), (32, 16, 1, 1), 1, 1),
]


@pytest.mark.parametrize(("shape", "kernel", "groups", "stride"), CONVOLUTIONS)
def test_float32_convolutions_just_below_the_limit_are_exact(
    shape: tuple[int, ...], kernel: tuple[int, ...], groups: int, stride: int
) -> None:
    half = kernel[-1] // 2
    conv = Convolution(
        np.zeros(kernel), shape, (stride, stride), ((half, half), (half, half)), (1, 1), groups
    )
    operator, batch = extreme_integers(conv, 2**24)
    expected = (operator.matrix() @ batch.reshape(len(batch), -1).T).T
    found = operator.compile(torch.float32)(torch.from_numpy(batch).float())
    np.testing.assert_array_equal(found.flatten(1).long().numpy(), expected)
    assert 2**24 - np.abs(expected).max() < 2**17


@pytest.mark.parametrize("inputs", [3, 64, 1000, 30000])
def test_float32_products_just_below_the_limit_are_exact(inputs: int) -> None:
    operator, batch = extreme_integers(Dense(np.zeros((17, inputs)), (inputs,), (17,)), 2**24)
    if inputs == 30000:
        batch = np.random.default_rng(1).integers(0, 3, batch.shape) * (
            np.random.default_rng(2).random(batch.shape) < 0.5
        )
        assert np.abs(operator.weights @ batch.T).max() < 2**24
    found = operator.compile(torch.float32)(torch.from_numpy(batch).float())
    np.testing.assert_array_equal(found.long().numpy(), batch @ operator.weights.T)


# --- the reference engine's sums, on this machine and on lesser ones ---


def integrator(operator: Operator, form: WeightFormat, payload: int) -> QuantizedNetwork:
    """An input whose weighted sum of one step is what u of the output shows."""
    populations = (
        QuantizedPopulation("in", operator.input_shape, None, float(payload)),
        QuantizedPopulation("out", operator.output_shape, one_neuron(kind="I"), 1.0),
    )
    projection = QuantizedProjection("w", "in", "out", operator, form, 0, payload)
    contract = Contract(Semantics(1e-4, "zero", ">"), InputCode("direct", payload), 1, "last_v")
    return QuantizedNetwork("sum", populations, (projection,), "out", contract)


def check_engine_sums(operator: Operator, form: WeightFormat, payload: int) -> None:
    """u of the reference engine against the same sums in 64-bit integers."""
    rng = np.random.default_rng(5)
    steps = rng.integers(
        form.minimum // form.step, form.maximum // form.step + 1, operator.weights.shape
    )
    steps[0], steps[-1] = form.minimum // form.step, form.maximum // form.step
    filled = operator.with_weights(steps * form.step)
    batch = rng.integers(0, payload + 1, (32, *operator.input_shape))
    batch[0], batch[1] = payload, 0
    expected = (filled.matrix() @ batch.reshape(32, -1).T).T.reshape(32, 1, *operator.output_shape)
    assert np.abs(expected).max() < 2**17
    engine = ReferenceEngine(integrator(filled, form, payload))
    ((_, trace),) = engine.run([SampleBatch(0, batch, static=True)], state=True)
    np.testing.assert_array_equal(there(trace.populations["out"].u), expected << 6)


SUMS = {
    "dense": Dense(np.zeros((24, 64)), (64,), (24,)),
    "one input": Dense(np.zeros((3, 1)), (1,), (3,)),
    "one output": Dense(np.zeros((1, 70)), (70,), (1,)),
    "conv": Convolution(np.zeros((8, 2, 3, 3)), (2, 8, 8), (1, 1), ((1, 1), (1, 1)), (1, 1)),
}


@pytest.mark.parametrize("payload", [1, 7])
@pytest.mark.parametrize("form", FORMATS[-6:], ids=lambda form: f"{form.bits}-{form.sign}")
@pytest.mark.parametrize("name", SUMS)
def test_the_reference_engine_sums_exactly(name: str, form: WeightFormat, payload: int) -> None:
    check_engine_sums(SUMS[name], form, payload)


@pytest.mark.filterwarnings("ignore:TF32 acceleration:UserWarning")
def test_the_reference_engine_sums_exactly_without_onednn() -> None:
    """Where PyTorch lacks oneDNN, NNPACK would convolve with transforms that round."""
    with torch.backends.mkldnn.flags(enabled=False):
        for operator in SUMS.values():
            for form in FORMATS[-3:]:
                check_engine_sums(operator, form, 7)


def test_the_reference_engine_sums_exactly_without_8_bit_instructions() -> None:
    """Processors without VNNI saturate 16-bit pairs in PyTorch's 8-bit products."""
    program = (
        "import test_fixed_point as test\n"
        "for operator in test.SUMS.values():\n"
        "    for form in test.FORMATS[-3:]:\n"
        "        test.check_engine_sums(operator, form, 7)\n"
    )
    environment = {
        **os.environ,
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
