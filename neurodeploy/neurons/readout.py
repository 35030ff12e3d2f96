"""Readout: leaky neurons that never spike and send their potential once, at the end of a sample.

With the equations and integers of ``quantized``, without threshold and reset:

    u    = trz(u, u_decay) + (a << 6), wrapped once into 24 bits
    v    = clip(trz(v, v_decay) + u + (bias_mantissa << bias_exponent), +-(2^23 - 1))
    s    = v at step T of a sample, counted from 1; else 0

A chip gives a result to the outside as messages: this is one per output and sample, of 24 bits
with its sign, where a read-out without it would have to be probed. It takes neurons that can be
programmed and graded spikes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from neurodeploy.errors import InputError, Setting, Text, UnsupportedError
from neurodeploy.ir.fixed_point import ACTIVATION_SHIFT, DECAY_BITS, DECAY_ONE, STATE_LIMIT
from neurodeploy.ir.models import IntegerModel, Message, Tally
from neurodeploy.ir.operators import Shape
from neurodeploy.ir.quantized import QuantizedNetwork, QuantizedNeuron
from neurodeploy.support.schema import build

READOUT = "Readout"
"""Name of the model."""

ARRAYS = ("u_decay", "v_decay", "bias_mantissa", "bias_exponent")
PASSED = "passed"
"""Of the state, beside what is recorded: steps of the sample so far."""


@dataclass(frozen=True)
class _Table:
    """What a deployment says of a read-out beside its arrays."""

    steps: int

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"a read-out sends at a step from 1 on, found {self.steps}")


@dataclass(frozen=True, eq=False)
class QuantizedReadout(IntegerModel):
    """A read-out in integers.

    Attributes:
        u_decay, v_decay, bias_mantissa, bias_exponent: as of ``QuantizedNeuron``.
        steps: T, the step at whose end v is sent.
    """

    u_decay: np.ndarray
    v_decay: np.ndarray
    bias_mantissa: np.ndarray
    bias_exponent: np.ndarray
    steps: int
    kind: str = READOUT
    states: ClassVar[tuple[str, ...]] = ("u", "v")
    state_shift: ClassVar[int] = ACTIVATION_SHIFT

    @property
    def message(self) -> Message:
        return Message(STATE_LIMIT.bit_length(), signed=True)

    def message_unit(self, scale: float) -> float:
        return scale * 2**ACTIVATION_SHIFT

    def begin(self, shape: Shape) -> dict[str, np.ndarray]:
        return {**super().begin(shape), PASSED: np.zeros(1, np.int64)}

    def step(
        self, state: dict[str, np.ndarray], activation: np.ndarray, tally: Tally
    ) -> np.ndarray:
        u = _in_32_bits(_kept(state["u"], self.u_decay) + (activation << ACTIVATION_SHIFT))
        above, below = u > STATE_LIMIT, u <= -STATE_LIMIT
        tally.wraps += int(np.count_nonzero(above)) + int(np.count_nonzero(below))
        u = u - (above.astype(np.int64) - below) * (2 * STATE_LIMIT)
        bias = self.bias_mantissa << self.bias_exponent
        v = _in_32_bits(_kept(state["v"], self.v_decay) + u + bias)
        clipped = np.clip(v, 1 - STATE_LIMIT, STATE_LIMIT - 1)
        tally.saturations += int(np.count_nonzero(clipped != v))
        passed = state[PASSED] + 1
        state |= {"u": u, "v": clipped, PASSED: passed}
        return clipped if passed[0] == self.steps else np.zeros_like(clipped)

    def arrays(self) -> dict[str, np.ndarray]:
        return {name: getattr(self, name) for name in ARRAYS}

    def table(self) -> dict[str, Any]:
        return {"steps": self.steps}

    @classmethod
    def restored(
        cls, table: Mapping[str, Any], arrays: Mapping[str, np.ndarray], where: str
    ) -> QuantizedReadout:
        known = build(_Table, table, where)
        missing = [name for name in ARRAYS if name not in arrays]
        if missing:
            raise InputError(f"{where}: there is no {missing[0]}")
        for name, low, high in (
            *(("u_decay", 1, DECAY_ONE), ("v_decay", 0, DECAY_ONE - 1)),
            ("bias_exponent", 0, 31),
        ):
            found = arrays[name]
            if found.size and not (low <= int(found.min()) and int(found.max()) <= high):
                raise InputError(
                    f"{where}: {name} goes from {found.min()} to {found.max()}, expected {low} to "
                    f"{high}"
                )
        return cls(*(arrays[name] for name in ARRAYS), steps=known.steps)


def sending_result(network: QuantizedNetwork) -> QuantizedNetwork:
    """The network with an output that sends its v at the end of each sample.

    Raises:
        UnsupportedError: the output spikes, is of another model, or is not read by its last v.
    """
    output = network.population(network.output)
    neuron, decode = output.neuron, network.contract.decode
    if not isinstance(neuron, QuantizedNeuron) or neuron.spiking or decode != "last_v":
        raise UnsupportedError(
            f"output {output.name!r}: only an output that never spikes and is read by its last v "
            f"can send it; this one is of kind {neuron.kind if neuron else 'input'}, read by "
            f"{decode}",
            fix=Text("leave ", Setting("send_result"), " out"),
        )
    parts = (neuron.u_decay, neuron.v_decay, neuron.bias_mantissa, neuron.bias_exponent)
    changed = replace(output, neuron=QuantizedReadout(*parts, steps=network.contract.steps))
    populations = tuple(changed if p is output else p for p in network.populations)
    note = f"sends its v, 24 bits, at the end of step {network.contract.steps} of each sample"
    before = network.notes.get(output.name)
    notes = {**network.notes, output.name: f"{before}, {note}" if before else note}
    return replace(network, populations=populations, notes=notes)


def _kept(state: np.ndarray, decay: np.ndarray) -> np.ndarray:
    """sign(x) (|x| (4096 - decay) >> 12)."""
    return np.sign(state) * (np.abs(state) * (DECAY_ONE - decay) >> DECAY_BITS)


def _in_32_bits(values: np.ndarray) -> np.ndarray:
    """What is left of a sum in the 32-bit integers of Lava's models."""
    return values.astype(np.int32).astype(np.int64)
