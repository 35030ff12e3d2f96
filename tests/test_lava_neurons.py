"""Integers of neuron models against the processes that Lava itself has for them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from neurodeploy.ir.models import IntegerModel
from neurodeploy.lava.compat import require_lava
from neurodeploy.neurons.adaptive import QuantizedAdaptive
from neurodeploy.neurons.dynamics import ModelStepper
from neurodeploy.neurons.resonators import QuantizedResonator
from support.random_models import random_adaptive, random_resonators

pytestmark = pytest.mark.lava

NEURONS, STEPS = 12, 30


class Port:
    """What a port of Lava's does, without a channel."""

    def __init__(self) -> None:
        self.value: Any = None

    def recv(self) -> np.ndarray:
        return self.value

    def send(self, values: np.ndarray) -> None:
        self.value = np.array(values)


def stepped(neuron: IntegerModel, inputs: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Messages (T, n) and every state (T, n) of ours."""
    stepper = ModelStepper(neuron, inputs.shape[1:])
    sent, states = [], {name: [] for name in neuron.states}
    for step in inputs:
        sent.append(stepper.step(torch.from_numpy(step)[None])[0].numpy().copy())
        for name, values in stepper.state.items():
            states[name].append(values[0].numpy().copy())
    return np.array(sent), {name: np.array(values) for name, values in states.items()}


def random_inputs(rng: np.random.Generator) -> np.ndarray:
    """Sums as synapses bring them, some of which wrap a current."""
    reach = int(rng.choice([50, 3000, 2**18]))
    return rng.integers(-reach // 3, reach, (STEPS, NEURONS))


def lava_atrlif(neuron: QuantizedAdaptive) -> Any:
    """``PyATRLIFModelFixed`` as Lava's builder makes it, with deltas of d/4096."""
    require_lava()
    from lava.proc.atrlif.models import PyATRLIFModelFixed

    kind: Any = PyATRLIFModelFixed
    made = kind({"shape": (NEURONS,)})
    made.a_in, made.s_out = Port(), Port()
    for name in ("i", "v", "theta", "r"):
        setattr(made, name, np.zeros(NEURONS, np.int32))
    made.s = np.zeros(NEURONS, bool)
    for ours, name in (("u", "i"), ("v", "v"), ("theta", "theta"), ("r", "r")):
        setattr(made, f"delta_{name}", getattr(neuron, f"{ours}_decay") / 4096)
    made.theta_0, made.theta_step = neuron.theta_0, neuron.theta_step
    made.bias_mant = np.broadcast_to(neuron.bias_mantissa, (NEURONS,)).astype(np.int16)
    made.bias_exp = np.broadcast_to(neuron.bias_exponent, (NEURONS,)).astype(np.int16)
    return made


@pytest.mark.parametrize("seed", range(40))
def test_adaptive_neurons_are_those_of_lava(seed: int) -> None:
    rng = np.random.default_rng(seed)
    neuron, inputs = random_adaptive(rng, (NEURONS,)), random_inputs(rng)
    sent, states = stepped(neuron, inputs)
    lava = lava_atrlif(neuron)
    for t, step in enumerate(inputs):
        lava.a_in.value = step.astype(np.int32)
        lava.run_spk()
        np.testing.assert_array_equal(sent[t], lava.s_out.value)
        for ours, name in (("u", "i"), ("v", "v"), ("theta", "theta"), ("r", "r")):
            np.testing.assert_array_equal(states[ours][t], getattr(lava, name), f"{ours} at {t}")


def test_adaptive_neurons_in_a_runtime_of_lava_take_such_deltas() -> None:
    """Its builder passes real numbers on to the model, although that declares integers."""
    require_lava()
    from lava.magma.core.run_conditions import RunSteps
    from lava.magma.core.run_configs import Loihi2SimCfg
    from lava.proc.atrlif.process import ATRLIF

    bias = np.array([0, 700, 1500, 4000])
    neuron = QuantizedAdaptive(900, 333, 100, 700, 40, 9, bias, np.full(4, 2))
    _, states = stepped(neuron, np.zeros((20, 4), np.int64))
    decays = {"delta_i": 900, "delta_v": 333, "delta_theta": 100, "delta_r": 700}
    deltas: dict[str, Any] = {name: value / 4096 for name, value in decays.items()}
    process = ATRLIF(
        shape=(4,),
        theta_0=40,
        theta_step=9,
        bias_mant=bias,
        bias_exp=np.full(4, 2),
        **deltas,
    )
    try:
        process.run(condition=RunSteps(20), run_cfg=Loihi2SimCfg(select_tag="fixed_pt"))
        found = {name: getattr(process, name).get() for name in ("v", "theta", "r")}
    finally:
        process.stop()
    for name, values in found.items():
        np.testing.assert_array_equal(states[name][-1], values, name)
    assert (found["r"][1:] > 0).all()


def test_lava_multiplies_its_deltas_as_its_file_says() -> None:
    """A delta of 12 bits, as it declares it, makes a current of 1 << 6 one of -2^24 and more."""
    neuron = random_adaptive(np.random.default_rng(0), (NEURONS,))
    lava = lava_atrlif(neuron)
    lava.delta_i = 1024
    for value in (1, 0):
        lava.a_in.value = np.full(NEURONS, value, np.int32)
        lava.run_spk()
    assert (np.abs(lava.i) > 2**15).all()


def test_adaptive_thresholds_rise_and_fall_as_worked_out_by_hand() -> None:
    """No leak of v, half of theta's rise and of r lost a step; v = 640 = 10 << 6 at every step."""
    neuron = QuantizedAdaptive(
        4095, 4095, 2048, 2048, 4, 2, np.zeros(1, np.int64), np.zeros(1, np.int64)
    )
    sent, states = stepped(neuron, np.full((3, 1), 10))
    # v loses 4095/4096: 640 each time. Fires at 640 >= 256; then r = 512, theta = 256 + 128.
    assert sent[:, 0].tolist() == [1, 1, 0]
    assert states["v"][:, 0].tolist() == [640, 640, 640]
    # t = 1: theta = 256 + 64 = 320, r = 256: 640 - 256 >= 320 fires; r = 256 + 640, theta = 448.
    # t = 2: theta = 256 + 96 = 352, r = 448: 640 - 448 = 192 < 352.
    assert states["theta"][:, 0].tolist() == [384, 448, 352]
    assert states["r"][:, 0].tolist() == [512, 896, 448]


def lava_resonators(neuron: QuantizedResonator) -> Any:
    """``PyRFModelFixed`` or ``PyRF_IZModelFixed`` as Lava's builder makes it."""
    require_lava()
    from lava.proc.rf.models import PyRFModelFixed
    from lava.proc.rf_iz.models import PyRF_IZModelFixed

    kind: Any = PyRFModelFixed if neuron.firing == "phase" else PyRF_IZModelFixed
    made = kind({"shape": (NEURONS // 2,)})
    made.a_real_in, made.a_imag_in, made.s_out = Port(), Port(), Port()
    made.real, made.imag = (np.zeros(NEURONS // 2, np.int32) for _ in "ri")
    made.sin_decay, made.cos_decay = (
        np.broadcast_to(decay, (NEURONS,))[: NEURONS // 2]
        for decay in (neuron.sin_decay, neuron.cos_decay)
    )
    made.state_exp, made.decay_bits = np.int32(6), np.int32(12)
    made.vth = np.int32(neuron.threshold << 6)
    return made


@pytest.mark.parametrize("seed", range(40))
def test_resonators_are_those_of_lava(seed: int) -> None:
    rng = np.random.default_rng(seed)
    neuron, inputs = random_resonators(rng, (NEURONS,)), random_inputs(rng)
    sent, states = stepped(neuron, inputs)
    lava, half = lava_resonators(neuron), NEURONS // 2
    for t, step in enumerate(inputs.astype(np.int32)):
        lava.a_real_in.value, lava.a_imag_in.value = step[:half], step[half:]
        lava.run_spk()
        np.testing.assert_array_equal(sent[t, :half], lava.s_out.value)
        np.testing.assert_array_equal(states["v"][t, :half], lava.real)
        np.testing.assert_array_equal(states["v"][t, half:], lava.imag)
    assert not sent[:, half:].any()


@pytest.mark.parametrize("firing", ["phase", "izhikevich"])
def test_resonators_in_a_runtime_of_lava(firing: Any) -> None:
    """From a period and an alpha, and driven through a synapse, as its users drive them."""
    require_lava()
    from lava.magma.core.run_conditions import RunSteps
    from lava.magma.core.run_configs import Loihi2SimCfg
    from lava.proc.dense.process import Dense
    from lava.proc.io.source import RingBuffer
    from lava.proc.rf.process import RF
    from lava.proc.rf_iz.process import RF_IZ

    steps, period, alpha = 25, 7.3, 0.05
    inputs = np.zeros((steps, 4), np.int64)
    inputs[2:5, 0], inputs[2:5, 1] = 90, -120
    sine, cosine = (4096 * ((1 - alpha) * f(2 * np.pi / period)) for f in (np.sin, np.cos))
    neuron = QuantizedResonator(np.array([int(sine)]), np.array([int(cosine)]), 40, firing)
    _, states = stepped(neuron, inputs)
    kind: Any = RF if firing == "phase" else RF_IZ
    process = kind(shape=(2,), period=period, alpha=alpha, state_exp=6, decay_bits=12, vth=40)
    # A synaptic process brings what it gets one step later.
    early = np.roll(inputs[:, :2].any(axis=1), -1).astype(np.int32)[None]
    source, synapses = RingBuffer(data=early), Dense(weights=np.array([[90], [-120]]))
    source.s_out.connect(synapses.s_in)
    synapses.a_out.connect(process.a_real_in)
    try:
        process.run(condition=RunSteps(steps), run_cfg=Loihi2SimCfg(select_tag="fixed_pt"))
        real, imag = process.real.get(), process.imag.get()
    finally:
        process.stop()
    np.testing.assert_array_equal(states["v"][-1], np.concatenate([real, imag]))
    assert real.any() and imag.any()


def test_a_resonator_turns_by_a_quarter_as_worked_out_by_hand() -> None:
    """A period of 4 without decay: the state goes from real to imaginary, and fires in a turn."""
    neuron = QuantizedResonator(np.array([4096]), np.array([0]), 10)
    inputs = np.zeros((5, 2), np.int64)
    inputs[0] = 10, 0
    sent, states = stepped(neuron, inputs)
    assert (states["v"] // 64).tolist() == [[10, 0], [0, 10], [-10, 0], [0, -10], [10, 0]]
    assert sent.tolist() == [[0, 0]] * 4 + [[1, 0]]
