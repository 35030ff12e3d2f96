"""Sigma, Delta and SigmaDelta: their equations, Lava's own processes, and what ReLUs compute."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from neurodeploy.ir.models import IntegerModel
from neurodeploy.lava.compat import require_lava
from neurodeploy.neurons.sigma_delta import (
    Delta,
    QuantizedDelta,
    QuantizedSigma,
    QuantizedSigmaDelta,
    SigmaDelta,
)
from neurodeploy.simulation.trace import Counters
from support.random_models import MAKERS

STEPS, NEURONS = 25, 40
KINDS = ("Sigma", "Delta", "SigmaDelta")
VARS = {
    "Sigma": {"v": "sigma"},
    "Delta": {"v": "act", "residue": "residue", "error": "error"},
    "SigmaDelta": {"sigma": "sigma", "v": "act", "residue": "residue", "error": "error"},
}


class Port:
    """One end of a channel, as a model sees it."""

    def __init__(self) -> None:
        self.value: Any = None

    def recv(self) -> np.ndarray:
        return self.value

    def send(self, value: np.ndarray) -> None:
        self.value = value.copy()


def lavas_own(kind: str, neuron: Any) -> Any:
    """Lava's stock fixed-point model with these integers, its Vars as a runtime sets them."""
    require_lava()
    from lava.proc.sdn import models
    from lava.proc.sdn.process import ActivationMode

    mode = ActivationMode.RELU if getattr(neuron, "rectified", True) else ActivationMode.UNIT
    model = getattr(models, f"Py{kind}ModelFixed")({"act_mode": mode})
    model.a_in, model.s_out = Port(), Port()
    for name in ("sigma", "act", "residue", "error"):
        setattr(model, name, np.zeros(NEURONS, np.int32))
    if kind != "Sigma":
        model.vth = np.array([neuron.threshold], np.int32)
        model.bias = np.broadcast_to(neuron.bias, NEURONS).astype(np.int32)
        model.cum_error = np.array([neuron.cumulative])
        model.state_exp = np.array([neuron.exponent], np.int32)
        finer = getattr(neuron, "input_exponent", neuron.exponent)
        model.spike_exp = np.array([finer - neuron.exponent], np.int32)
    return model


def drawn(kind: str, rng: np.random.Generator) -> Any:
    neuron: Any = MAKERS[kind](rng, (NEURONS,))
    if kind == "Delta":
        # Lava's Delta shifts its input by both exponents, and adds no bias.
        finer = neuron.exponent + int(rng.integers(0, 8))
        return QuantizedDelta(
            neuron.threshold,
            np.zeros(NEURONS, np.int64),
            neuron.exponent,
            neuron.cumulative,
            input_exponent=finer,
        )
    return neuron


@pytest.mark.lava
@pytest.mark.parametrize("kind", KINDS)
def test_every_step_is_that_of_lavas_own_model(kind: str) -> None:
    """Over the whole range of 32 bits, so that sums wrap and values leave what Lava declares."""
    rng = np.random.default_rng(7)
    sent = beyond = 0
    for _ in range(60):
        neuron: IntegerModel = drawn(kind, rng)
        model, tally = lavas_own(kind, neuron), Counters()
        reach = 1 << int(rng.integers(1, 32))
        state = neuron.begin((1, NEURONS))
        for _ in range(STEPS):
            x = rng.integers(-reach, reach, NEURONS).astype(np.int32)
            x *= rng.random(NEURONS) < 0.5
            model.a_in.value = x.copy()
            model.run_spk()
            message = neuron.step(state, x[None], tally)
            np.testing.assert_array_equal(message[0], model.s_out.value)
            for ours, theirs in VARS[kind].items():
                np.testing.assert_array_equal(state[ours][0], getattr(model, theirs), ours)
            sent += int(np.count_nonzero(message))
        beyond += tally.wraps
    assert sent > 0 and beyond > 0


@pytest.mark.lava
def test_lavas_processes_in_its_own_runtime_agree() -> None:
    """Delta, SigmaDelta and Sigma one behind the other, as a user of Lava connects them."""
    require_lava()
    from lava.magma.core.run_conditions import RunSteps
    from lava.magma.core.run_configs import Loihi2SimCfg
    from lava.proc.io.sink import RingBuffer as Sink
    from lava.proc.io.source import RingBuffer as Source
    from lava.proc.sdn.process import Delta as LavaDelta
    from lava.proc.sdn.process import Sigma as LavaSigma
    from lava.proc.sdn.process import SigmaDelta as LavaSigmaDelta

    rng = np.random.default_rng(0)
    x = rng.integers(-60, 60, (6, 12)) * (rng.random((6, 12)) < 0.5)
    bias: Any = rng.integers(-20, 20, 6)
    source = Source(data=x)
    delta = LavaDelta(shape=(6,), vth=3, spike_exp=2, state_exp=3, cum_error=True)
    hidden = LavaSigmaDelta(shape=(6,), vth=5, bias=bias, spike_exp=2, state_exp=3)
    out, sink = LavaSigma(shape=(6,)), Sink(shape=(6,), buffer=12)
    source.s_out.connect(delta.a_in)
    delta.s_out.connect(hidden.a_in)
    hidden.s_out.connect(out.a_in)
    out.s_out.connect(sink.a_in)
    out.run(condition=RunSteps(12), run_cfg=Loihi2SimCfg(select_tag="fixed_pt"))
    found = sink.data.get()
    out.stop()

    ours = (
        QuantizedDelta(3 << 5, np.zeros(6, np.int64), 3, True, input_exponent=5),
        QuantizedSigmaDelta(5 << 5, bias << 5, 3),
        QuantizedSigma(),
    )
    states = [neuron.begin((1, 6)) for neuron in ours]
    for t in range(12):
        message = x[None, :, t].astype(np.int32)
        for neuron, state in zip(ours, states, strict=True):
            message = neuron.step(state, message, Counters())
        np.testing.assert_array_equal(message[0], found[:, t])
    assert np.count_nonzero(found) > 30


def test_the_shift_loses_what_nobody_keeps() -> None:
    """Worked out by hand: 2 bits finer than messages, so 7 is sent as 1, and -7 as -2."""
    neuron = QuantizedSigmaDelta(4, np.zeros(1, np.int64), 2, rectified=False)
    state, tally = neuron.begin((1, 1)), Counters()

    def sent(change: int) -> int:
        return int(neuron.step(state, np.array([[change]], np.int32), tally)[0, 0])

    assert [sent(7), sent(-7)] == [1, -2]
    assert state["residue"][0, 0] == 0  # what readers have added up is -1, although v is 0
    assert [sent(3), sent(3), sent(0)] == [0, 1, 0]  # kept back below the threshold, then 6 >> 2
    assert state["v"][0, 0] == 6


def test_errors_add_up_until_they_cross() -> None:
    """With ``cumulative`` it is the last change that is sent, and what it left before stays."""
    neuron = QuantizedDelta(5, np.zeros(1, np.int64), cumulative=True)
    state = neuron.begin((1, 1))

    def sent(value: int) -> tuple[int, int, int]:
        message = neuron.step(state, np.array([[value]], np.int32), Counters())
        return int(message[0, 0]), int(state["residue"][0, 0]), int(state["error"][0, 0])

    assert sent(2) == (0, 2, 2)
    assert sent(4) == (4, 0, 0)  # error 2 + 4; residue has the 2 in it
    assert sent(3) == (0, -1, -1)


def test_without_thresholds_messages_add_up_to_what_relus_compute() -> None:
    rng = np.random.default_rng(1)
    weights = rng.normal(size=(5, 8))
    bias = rng.normal(size=5)
    delta, hidden = Delta(0.0, np.zeros(8)), SigmaDelta(0.0, bias)
    states = delta.begin((3, 8)), hidden.begin((3, 5))
    total = np.zeros((3, 5))
    for _ in range(10):
        x = rng.random((3, 8))
        changes = delta.step(states[0], x, Counters())
        total += hidden.step(states[1], changes @ weights.T, Counters())
        np.testing.assert_allclose(total, np.maximum(x @ weights.T + bias, 0), atol=1e-12)


def test_what_leaves_its_width_is_counted() -> None:
    neuron, tally = QuantizedSigma(bits=8), Counters()
    state = neuron.begin((1, 4))
    activation = np.array([[127, -128, 2**23 - 1, -(2**23)]], np.int32)
    neuron.step(state, activation, tally)
    assert (tally.wraps, tally.saturations) == (1, 3)
