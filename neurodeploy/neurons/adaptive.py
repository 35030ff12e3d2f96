"""Leaky neurons with a threshold that rises with their own spikes, and a slow refractory state.

    u[t]     = u_keep u[t-1] + a[t]
    v[t]     = v_keep v[t-1] + u[t] + bias
    theta[t] = theta_keep (theta[t-1] - theta_0) + theta_0
    r[t]     = r_keep r[t-1]
    s[t]     = v[t] - r[t] >= theta[t]
    where s[t]: r[t] += 2 theta[t], theta[t] += theta_step

v is never reset: r holds it back. (Bellec et al. 2018, "Long short-term memory and
learning-to-learn in networks of spiking neurons", for the threshold; the equations are those of
``ATRLIF`` of lava-nc 0.10.0 and of lava-dl's ``alif``.)

In integers it is Lava's fixed-point model, where trz(x, d) = sign(x) (|x| (4096 - d) >> 12):

    u     = trz(u, u_decay + 1) + (a << 6), which wraps into 24 bits
    v     = trz(v, v_decay) + u + (bias << bias_exponent), held within 24 bits
    theta = trz(theta - (theta_0 << 6), theta_decay) + (theta_0 << 6)
    r     = trz(r, r_decay)

Lava multiplies the deltas that its process is given by 4,096, though it declares them as integers
of 12 bits: a decay of d/4096 leaves every range as delta = d, and is exact as the real number
delta = d/4096, which Lava hands on unrounded. Its theta and r are not held within 24 bits; a spike
needs r + theta <= v, so that neither leaves 32.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from neurodeploy.errors import InputError
from neurodeploy.ir.fixed_point import (
    ACTIVATION_SHIFT,
    DECAY_BITS,
    DECAY_ONE,
    STATE_LIMIT,
    split_biases,
)
from neurodeploy.ir.models import Arriving, FloatModel, IntegerModel, Tally
from neurodeploy.neurons.scale import decay_of, gain_of, roomy, scale_within
from neurodeploy.support.schema import build
from neurodeploy.target import Target

ADAPTIVE = "ATRLIF"
"""Name of the model, as Lava has it."""

STATES = ("u", "v", "theta", "r")

MOST_THETA = 2**16 - 1
"""Of theta_0 and theta_step in integers, in units of the summed input."""


@dataclass(frozen=True, eq=False)
class Adaptive(FloatModel):
    """Adaptive neurons in real numbers; bias broadcasts to the population, the rest is one for all.

    Attributes:
        u_keep, v_keep, theta_keep, r_keep: share kept per step, 0 to 1, of u below 1.
        theta_0: threshold at rest, at least 0.
        theta_step: by which a spike raises it, at least 0.
    """

    u_keep: float
    v_keep: float
    theta_keep: float
    r_keep: float
    theta_0: float
    theta_step: float
    bias: np.ndarray
    kind: str = ADAPTIVE
    states: ClassVar[tuple[str, ...]] = STATES

    def laid_out(
        self, incoming: Sequence[Arriving], ratios: Sequence[float], target: Target, steps: int
    ) -> tuple[float, tuple[int, ...]]:
        """Within what thresholds, biases and the state hold."""
        highest = float(np.abs(self.bias).max(initial=0))
        gain = gain_of(self.v_keep, steps)
        most = roomy(incoming, gain * gain_of(self.u_keep, steps), gain * highest)
        mantissa = 2 ** (target.neuron.bias_mantissa_bits.value - 1) - 1
        largest = mantissa << target.neuron.bias_exponent_max.value
        if highest > 0:
            most = min(most, largest / (highest * 2**ACTIVATION_SHIFT))
        theta = max(self.theta_0, self.theta_step)
        return scale_within(incoming, ratios, target, min(most, MOST_THETA / max(theta, 1e-300)))

    def integers(
        self, scale: float, reach: int, target: Target
    ) -> tuple[QuantizedAdaptive, list[str]]:
        """To the nearest decays, thresholds and biases."""
        keeps = (self.u_keep, self.v_keep, self.theta_keep, self.r_keep)
        found = [
            decay_of(keep, name, lowest=int(name == "u"))
            for keep, name in zip(keeps, STATES, strict=True)
        ]
        (u, v, theta, r), notes = (
            (decay for decay, _ in found),
            [n for _, said in found for n in said],
        )
        bits, highest = (
            target.neuron.bias_mantissa_bits.value,
            target.neuron.bias_exponent_max.value,
        )
        bias = np.rint(self.bias * scale * 2**ACTIVATION_SHIFT).astype(np.int64)
        neurons = QuantizedAdaptive(
            u - 1,
            v,
            theta,
            r,
            round(self.theta_0 * scale),
            round(self.theta_step * scale),
            *split_biases(bias, bits, highest),
        )
        return neurons, notes

    def begin(self, shape: tuple[int, ...]) -> dict[str, np.ndarray]:
        state = super().begin(shape)
        state["theta"] += self.theta_0
        return state

    def step(
        self, state: dict[str, np.ndarray], activation: np.ndarray, tally: Tally
    ) -> np.ndarray:
        state["u"] = self.u_keep * state["u"] + activation
        state["v"] = self.v_keep * state["v"] + state["u"] + self.bias
        theta = self.theta_keep * (state["theta"] - self.theta_0) + self.theta_0
        r = self.r_keep * state["r"]
        return _fired(state, theta, r, self.theta_step)


@dataclass(frozen=True)
class _Table:
    """What a deployment says of adaptive neurons beside their arrays."""

    u_decay: int
    v_decay: int
    theta_decay: int
    r_decay: int
    theta_0: int
    theta_step: int

    def __post_init__(self) -> None:
        for name in ("u_decay", "v_decay", "theta_decay", "r_decay", "theta_0", "theta_step"):
            most = DECAY_ONE - 1 if "decay" in name else MOST_THETA
            if not 0 <= getattr(self, name) <= most:
                raise ValueError(f"{name} is from 0 to {most:,}, found {getattr(self, name):,}")


@dataclass(frozen=True, eq=False)
class QuantizedAdaptive(IntegerModel):
    """Adaptive neurons in integers.

    Attributes:
        u_decay: one below the decay of u in 1/4096, 0 to 4095, as of Lava's leaky neurons.
        v_decay, theta_decay, r_decay: in 1/4096, 0 to 4095.
        theta_0, theta_step: in units of the summed input, 0 to 2^16 - 1.
        bias_mantissa, bias_exponent: int64, mantissa << exponent in units of v; both broadcast to
            the population.
    """

    u_decay: int
    v_decay: int
    theta_decay: int
    r_decay: int
    theta_0: int
    theta_step: int
    bias_mantissa: np.ndarray
    bias_exponent: np.ndarray
    kind: str = ADAPTIVE
    states: ClassVar[tuple[str, ...]] = STATES
    slots: ClassVar[int] = 2

    def begin(self, shape: tuple[int, ...]) -> dict[str, np.ndarray]:
        state = super().begin(shape)
        state["theta"] += self.theta_0 << ACTIVATION_SHIFT
        return state

    def step(
        self, state: dict[str, np.ndarray], activation: np.ndarray, tally: Tally
    ) -> np.ndarray:
        driven = _kept(state["u"], self.u_decay + 1) + (activation << ACTIVATION_SHIFT)
        u = driven.astype(np.int32).astype(np.int64)
        above, below = u > STATE_LIMIT, u <= -STATE_LIMIT
        tally.wraps += int(np.count_nonzero(above | below | (u != driven)))
        u = u - 2 * STATE_LIMIT * above + 2 * STATE_LIMIT * below
        bias = self.bias_mantissa << self.bias_exponent
        v = (_kept(state["v"], self.v_decay) + u + bias).astype(np.int32).astype(np.int64)
        held = np.clip(v, 1 - STATE_LIMIT, STATE_LIMIT - 1)
        tally.saturations += int(np.count_nonzero(held != v))
        state["u"], state["v"] = u, held
        rest = self.theta_0 << ACTIVATION_SHIFT
        theta = _kept(state["theta"] - rest, self.theta_decay) + rest
        r = _kept(state["r"], self.r_decay)
        return _fired(state, theta, r, self.theta_step << ACTIVATION_SHIFT)

    def arrays(self) -> dict[str, np.ndarray]:
        return {"bias_mantissa": self.bias_mantissa, "bias_exponent": self.bias_exponent}

    def table(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in _Table.__dataclass_fields__}

    @classmethod
    def restored(
        cls, table: Mapping[str, Any], arrays: Mapping[str, np.ndarray], where: str
    ) -> QuantizedAdaptive:
        known = build(_Table, table, where)
        missing = {"bias_mantissa", "bias_exponent"} - arrays.keys()
        if missing:
            raise InputError(f"{where}: there is no {min(missing)}")
        exponent = arrays["bias_exponent"]
        if not ((exponent >= 0) & (exponent <= 7)).all():
            raise InputError(f"{where}: bias_exponent is from 0 to 7")
        return cls(**vars(known), bias_mantissa=arrays["bias_mantissa"], bias_exponent=exponent)


def _fired(
    state: dict[str, np.ndarray], theta: np.ndarray, r: np.ndarray, theta_step: float
) -> np.ndarray:
    """Who fires, uint8; theta and r of the state become what that leaves."""
    fires = state["v"] - r >= theta
    state["r"], state["theta"] = r + 2 * theta * fires, theta + theta_step * fires
    return fires.astype(np.uint8)


def _kept(state: np.ndarray, decay: int) -> np.ndarray:
    """What a decay leaves, rounded to 0."""
    return np.sign(state) * (np.abs(state) * (DECAY_ONE - decay) >> DECAY_BITS)
