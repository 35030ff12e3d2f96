"""Relay: a sum of spikes and graded values, passed on without a membrane.

    v[t] = sum over projections of W s[t - delay] + bias
    s[t] = v[t]

In integers, with a shift that trades the reach of a message for its fineness:

    v    = a + bias                                   (a 32-bit sum)
    s    = clip(v >> shift, +-largest message)        (arithmetic: rounds down)

Nothing is kept from step to step. A residual stream of real numbers is such a population: what is
added to it reaches everybody behind it as one message, where sums of paths would need synapses for
every path. Such sums are microcode of a programmable neuron that sends graded spikes (Loihi 2,
Intel's technology brief of 2021); in Lava they are a process of this project.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from neurodeploy.errors import InputError
from neurodeploy.ir.models import FloatModel, IntegerModel, Message, Tally
from neurodeploy.support.schema import build

RELAY = "Relay"
"""Name of the model."""


@dataclass(frozen=True, eq=False)
class Relay(FloatModel):
    """Relays in real numbers.

    Attributes:
        bias: added to the sum at every step; broadcasts to the population.
    """

    bias: np.ndarray
    kind: str = RELAY
    states: ClassVar[tuple[str, ...]] = ("v",)
    state_shift: ClassVar[int] = 0

    @property
    def message(self) -> Message:
        return Message(32, signed=True)

    def step(
        self, state: dict[str, np.ndarray], activation: np.ndarray, tally: Tally
    ) -> np.ndarray:
        state["v"] = activation + self.bias
        return state["v"]


@dataclass(frozen=True)
class _Table:
    """What a deployment says of relays beside their arrays."""

    bits: int
    shift: int

    def __post_init__(self) -> None:
        if not 2 <= self.bits <= 32 or not 0 <= self.shift <= 31:
            raise ValueError(
                f"a relay has messages of 2 to 32 bits and a shift of 0 to 31, found {self.bits} "
                f"and {self.shift}"
            )


@dataclass(frozen=True, eq=False)
class QuantizedRelay(IntegerModel):
    """Relays in integers.

    Attributes:
        bias: int64, within 32 bits, in units of the summed input.
        bits: width of a message with its sign, 2..32.
        shift: to the right, from the sum to the message, 0..31.
    """

    bias: np.ndarray
    bits: int = 24
    shift: int = 0
    kind: str = RELAY
    states: ClassVar[tuple[str, ...]] = ("v",)
    state_shift: ClassVar[int] = 0

    @property
    def message(self) -> Message:
        return Message(self.bits, signed=True)

    def message_unit(self, scale: float) -> float:
        return scale / 2**self.shift

    def step(
        self, state: dict[str, np.ndarray], activation: np.ndarray, tally: Tally
    ) -> np.ndarray:
        exact = activation + self.bias
        v = exact.astype(np.int32).astype(np.int64)
        tally.wraps += int(np.count_nonzero(v != exact))
        state["v"], shifted, most = v, v >> self.shift, self.message.largest
        sent = np.clip(shifted, -most, most)
        tally.saturations += int(np.count_nonzero(sent != shifted))
        return sent

    def arrays(self) -> dict[str, np.ndarray]:
        return {"bias": self.bias}

    def table(self) -> dict[str, Any]:
        return {"bits": self.bits, "shift": self.shift}

    @classmethod
    def restored(
        cls, table: Mapping[str, Any], arrays: Mapping[str, np.ndarray], where: str
    ) -> QuantizedRelay:
        known = build(_Table, table, where)
        if "bias" not in arrays:
            raise InputError(f"{where}: there is no bias")
        return cls(arrays["bias"], known.bits, known.shift)
