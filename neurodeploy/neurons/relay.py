"""Relay: a sum of spikes and graded values, passed on without a membrane.

    v[t] = sum over projections of W s[t - delay] + bias
    s[t] = v[t]

In integers, with a shift that trades the reach of a message for its fineness:

    v    = a + bias                                   (a 32-bit sum)
    s    = clip(v >> shift, +-most)                   (arithmetic: rounds down)

Nothing is kept from step to step. A residual stream of real numbers is such a population: what is
added to it reaches everybody behind it as one message, where sums of paths would need synapses for
every path. Such sums are microcode of a programmable neuron that sends graded spikes (Loihi 2,
Intel's technology brief of 2021); in Lava they are a process of this project.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from neurodeploy.errors import InputError
from neurodeploy.ir.models import Arriving, FloatModel, IntegerModel, Message, Tally
from neurodeploy.support.schema import build
from neurodeploy.target import Target

RELAY = "Relay"
"""Name of the model."""

RELAYS_KEY = "neurodeploy_relays"
"""In the metadata of a NIR graph: the nodes that are relays, by name; each is a Scale of ones."""

SUMMED = 2.0**30
"""Sums stay below this, and with what rounding adds within the 32 bits of Lava's sums."""

WIDEST = 20
"""Bits of a message, its sign among them, that quantisation gives at most: Lava's tools take 24,
but what reads a message has weights of 8 bits, a threshold of 17 and shifts of 7."""


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

    def laid_out(
        self, incoming: Sequence[Arriving], ratios: Sequence[float], target: Target, steps: int
    ) -> tuple[float, tuple[int, ...]]:
        """The finest scale that the weights of spikes ask for.

        Where relays feed relays it is a power of two times the one at which their weights, all
        alike in a stream, are exact: nothing is rounded along a stream then. Weights that would be
        multiplied by more than they can take have exponents instead.
        """
        finite = [ratio for ratio in ratios if math.isfinite(ratio)] or [1.0]
        exact = [item.lossless_ratio() if item.graded else None for item in incoming]
        wanted = [r for r, e in zip(ratios, exact, strict=True) if e is None and math.isfinite(r)]
        base = next((ratio for ratio in exact if ratio is not None), max(finite))
        low, high = (
            target.synapse.weight_exponent_min.value,
            target.synapse.weight_exponent_max.value,
        )
        worst = sum(item.bound for item in incoming) + float(np.abs(self.bias).max(initial=0))
        most = min(min(finite) * 2.0**high, SUMMED / worst if worst > 0 else math.inf)
        octaves = math.floor(math.log2(min(max(wanted, default=base), most) / base) + 1e-9)
        # Messages that are finer still need weights of at least 1, whatever the shift.
        finest = max((ratio for ratio in exact if ratio is not None), default=base)
        octaves = max(octaves, math.ceil(math.log2(finest / base) + low - 1e-9))
        scale = math.ldexp(base, octaves)
        exponents = []
        for item, ratio, known in zip(incoming, ratios, exact, strict=True):
            least = item.exponent_at(scale, ratio, target)
            if known is not None:
                # The smallest integers that are exact: larger ones would only need more shifts.
                least = max(least, min(round(math.log2(scale / known)), high))
            exponents.append(max(least, low))
        return scale, tuple(exponents)

    def integers(
        self, scale: float, reach: int, target: Target
    ) -> tuple[QuantizedRelay, list[str]]:
        """Messages as wide as the largest sum needs, and the rest of it shifted away."""
        bias = np.rint(self.bias * scale).astype(np.int64)
        most = max(reach + int(np.abs(bias).max(initial=0)), 1)
        bits = min(target.spike.payload_bits.value, WIDEST)
        shift = max(most.bit_length() + 1 - bits, 0)
        # Shifted down, the lowest sum is one further from 0 than the highest.
        relay = QuantizedRelay(bias, min((most >> shift) + 1, 2 ** (bits - 1) - 1), shift)
        note = f"relays of {relay.message.bits}-bit messages"
        return relay, [note + (f", {shift} bits shifted away" if shift else "")]

    def step(
        self, state: dict[str, np.ndarray], activation: np.ndarray, tally: Tally
    ) -> np.ndarray:
        state["v"] = activation + self.bias
        return state["v"]


@dataclass(frozen=True)
class _Table:
    """What a deployment says of relays beside their arrays."""

    most: int
    shift: int

    def __post_init__(self) -> None:
        if not 1 <= self.most < 2**31 or not 0 <= self.shift <= 31:
            raise ValueError(
                f"a relay sends up to 1 to 2^31 - 1 after a shift of 0 to 31, found {self.most} "
                f"and {self.shift}"
            )


@dataclass(frozen=True, eq=False)
class QuantizedRelay(IntegerModel):
    """Relays in integers.

    Attributes:
        bias: int64, within 32 bits, in units of the summed input.
        most: largest magnitude of a message, 1..2^31 - 1.
        shift: to the right, from the sum to the message, 0..31.
    """

    bias: np.ndarray
    most: int = 2**23 - 1
    shift: int = 0
    kind: str = RELAY
    states: ClassVar[tuple[str, ...]] = ("v",)
    state_shift: ClassVar[int] = 0

    @property
    def message(self) -> Message:
        return Message(self.most.bit_length() + 1, signed=True)

    @property
    def largest_message(self) -> int:
        return self.most

    def message_unit(self, scale: float) -> float:
        return scale / 2**self.shift

    def step(
        self, state: dict[str, np.ndarray], activation: np.ndarray, tally: Tally
    ) -> np.ndarray:
        exact = activation + self.bias
        v = exact.astype(np.int32).astype(np.int64)
        tally.wraps += int(np.count_nonzero(v != exact))
        state["v"], shifted = v, v >> self.shift
        sent = np.clip(shifted, -self.most, self.most)
        tally.saturations += int(np.count_nonzero(sent != shifted))
        return sent

    def arrays(self) -> dict[str, np.ndarray]:
        return {"bias": self.bias}

    def table(self) -> dict[str, Any]:
        return {"most": self.most, "shift": self.shift}

    @classmethod
    def restored(
        cls, table: Mapping[str, Any], arrays: Mapping[str, np.ndarray], where: str
    ) -> QuantizedRelay:
        known = build(_Table, table, where)
        if "bias" not in arrays:
            raise InputError(f"{where}: there is no bias")
        return cls(arrays["bias"], known.most, known.shift)
