"""Sigma, delta and sigma-delta neurons: messages say what has changed, and who reads adds it up.

In real numbers, with the summed input a[t] and a threshold of at least 0,

    v[t]       = v[t-1] + a[t]                 Sigma, which sends v at every step: a read-out
    v[t]       = a[t] + bias                   Delta
    sigma[t]   = sigma[t-1] + a[t]             SigmaDelta
    v[t]       = max(sigma[t] + bias, 0)       or without ``rectified`` sigma[t] + bias

and of what a Delta or SigmaDelta stands for, v, it sends the changes:

    d[t]       = v[t] - v[t-1] + residue[t-1]
    s[t]       = d[t] where |d[t]| >= threshold, else 0
    residue[t] = d[t] - s[t]

With ``cumulative`` it is error[t] = error[t-1] + d[t] that is compared with the threshold; it goes
to 0 where s is not 0. With a threshold of 0 the messages of a neuron add up to its v: then
sigma-delta neurons compute at every step what a network of ReLUs does with the input of that step,
and send nothing where nothing has changed (O'Connor and Welling 2016, "Sigma delta quantized
networks").

In integers it is what lava-nc 0.10.0 computes in fixed point (``lava/proc/sdn``), where v is called
act, of Sigma sigma. All sums are of 32 bits and wrap there; Lava declares 24 bits for its variables
and does not hold to them, so what leaves them is counted. Powers of two say how much finer v is
than the input of Delta, and than messages:

    v[t] = (a[t] << input_exponent) + bias     Delta; spike_exp + state_exp in Lava
    s[t] = d[t] >> exponent                    where d is sent; state_exp in Lava

The shift rounds down and nobody keeps what it cuts off, so every message is up to 1 below what it
stands for, and what readers have added up is up to n below v after n messages; of changes below
1 the positive ones are lost, unless the threshold keeps them back. Lava's documentation
says |d| > threshold, its code >=; what is sent is d, also where it is error that crosses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from neurodeploy.errors import InputError
from neurodeploy.ir.fixed_point import INT32_EXACT, STATE_LIMIT
from neurodeploy.ir.models import FloatModel, IntegerModel, Message, Tally
from neurodeploy.support.schema import build

SIGMA, DELTA, SIGMA_DELTA = "Sigma", "Delta", "SigmaDelta"
"""Names of the models, as Lava has them."""

MESSAGE_BITS = 24
"""Width of a message with its sign that Lava's processes declare."""

MOST_EXPONENT = 7
"""Lava declares 3 bits for each of its exponents."""

State = dict[str, np.ndarray]


def _changes(state: State, v: np.ndarray, neuron: Any) -> np.ndarray:
    """The changes of v that are sent, before any shift; the state becomes that of this step."""
    change = v - state["v"] + state["residue"]
    if neuron.cumulative:
        error = state["error"] + change
        sent = np.where(np.abs(error) >= neuron.threshold, change, 0)
        state["error"] = np.where(sent != 0, 0, error)
    else:
        sent = np.where(np.abs(change) >= neuron.threshold, change, 0)
    state["residue"], state["v"] = change - sent, v
    return sent


def _encoded(state: State, values: np.ndarray, neuron: Any) -> np.ndarray:
    """What Delta sends."""
    return _changes(state, values + neuron.bias.astype(values.dtype), neuron)


def _integrated(state: State, activation: np.ndarray, neuron: Any) -> np.ndarray:
    """What SigmaDelta sends."""
    state["sigma"] = state["sigma"] + activation
    v = state["sigma"] + neuron.bias.astype(activation.dtype)
    return _changes(state, np.maximum(v, 0) if neuron.rectified else v, neuron)


@dataclass(frozen=True, eq=False)
class Sigma(FloatModel):
    """Read-outs in real numbers."""

    kind: str = SIGMA
    states: ClassVar[tuple[str, ...]] = ("v",)
    state_shift: ClassVar[int] = 0

    @property
    def message(self) -> Message:
        return Message(MESSAGE_BITS, signed=True)

    def step(self, state: State, activation: np.ndarray, tally: Tally) -> np.ndarray:
        state["v"] = state["v"] + activation
        return state["v"]


@dataclass(frozen=True, eq=False)
class Delta(FloatModel):
    """Encoders of an input that is there at every step, in real numbers.

    Attributes:
        threshold: at least 0, one for all.
        bias: broadcasts to the population.
        cumulative: whether changes add up until they cross the threshold.
    """

    threshold: float
    bias: np.ndarray
    cumulative: bool = False
    kind: str = DELTA
    states: ClassVar[tuple[str, ...]] = ("v", "residue", "error")
    state_shift: ClassVar[int] = 0

    @property
    def message(self) -> Message:
        return Message(MESSAGE_BITS, signed=True)

    def step(self, state: State, activation: np.ndarray, tally: Tally) -> np.ndarray:
        return _encoded(state, activation, self)


@dataclass(frozen=True, eq=False)
class SigmaDelta(FloatModel):
    """Sigma-delta neurons in real numbers.

    Attributes:
        threshold, bias, cumulative: as of ``Delta``.
        rectified: whether v is at least 0.
    """

    threshold: float
    bias: np.ndarray
    rectified: bool = True
    cumulative: bool = False
    kind: str = SIGMA_DELTA
    states: ClassVar[tuple[str, ...]] = ("sigma", "v", "residue", "error")
    state_shift: ClassVar[int] = 0

    @property
    def message(self) -> Message:
        return Message(MESSAGE_BITS, signed=True)

    def step(self, state: State, activation: np.ndarray, tally: Tally) -> np.ndarray:
        return _integrated(state, activation, self)


@dataclass(frozen=True)
class _Table:
    """What a deployment says of neurons that send changes beside their arrays."""

    bits: int
    threshold: int
    exponent: int
    cumulative: bool
    rectified: bool = True
    input_exponent: int = 0

    def __post_init__(self) -> None:
        _check_bits(self.bits)
        if not 0 <= self.threshold < 2**31:
            raise ValueError(f"a threshold is 0 to 2^31 - 1, found {self.threshold}")
        if not 0 <= self.exponent <= MOST_EXPONENT:
            raise ValueError(f"an exponent is 0 to {MOST_EXPONENT}, found {self.exponent}")
        if not 0 <= self.input_exponent <= 2 * MOST_EXPONENT:
            raise ValueError(
                f"an input exponent is 0 to {2 * MOST_EXPONENT}, found {self.input_exponent}"
            )


@dataclass(frozen=True)
class _SumTable:
    """What a deployment says of read-outs."""

    bits: int

    def __post_init__(self) -> None:
        _check_bits(self.bits)


def _check_bits(bits: int) -> None:
    if not 2 <= bits <= 32:
        raise ValueError(f"a message has 2 to 32 bits, found {bits}")


def _beyond(values: np.ndarray, limit: int) -> int:
    """How many are not below a limit in magnitude."""
    if not values.size or -limit < values.min() <= values.max() < limit:
        return 0
    return int(np.count_nonzero((values <= -limit) | (values >= limit)))


class _Integers(IntegerModel):
    """What all three have in common in integers; ``bits`` is the width of a message."""

    bits: int
    numbers: ClassVar[type] = np.int32
    state_shift: ClassVar[int] = 0
    slots: ClassVar[int] = 1
    """The neurons of a Loihi 2 core that are known were read from a sigma-delta network."""

    @property
    def message(self) -> Message:
        return Message(self.bits, signed=True)

    @property
    def largest_message(self) -> int:
        """That of a 32-bit integer: nothing is held within the width of a message."""
        return INT32_EXACT

    def _counted(self, state: State, message: np.ndarray, tally: Tally) -> np.ndarray:
        """The message, when what Lava's declared widths do not hold has been counted."""
        tally.wraps += sum(_beyond(values, STATE_LIMIT) for values in state.values())
        tally.saturations += _beyond(message, self.message.largest + 1)
        return message


@dataclass(frozen=True, eq=False)
class QuantizedSigma(_Integers):
    """Read-outs in integers.

    Attributes:
        bits: width of a message with its sign, 2 to 32.
    """

    bits: int = MESSAGE_BITS
    kind: str = SIGMA
    states: ClassVar[tuple[str, ...]] = ("v",)

    def step(self, state: State, activation: np.ndarray, tally: Tally) -> np.ndarray:
        state["v"] = state["v"] + activation
        return self._counted(state, state["v"], tally)

    def arrays(self) -> dict[str, np.ndarray]:
        return {}

    def table(self) -> dict[str, Any]:
        return {"bits": self.bits}

    @classmethod
    def restored(
        cls, table: Mapping[str, Any], arrays: Mapping[str, np.ndarray], where: str
    ) -> QuantizedSigma:
        return cls(build(_SumTable, table, where).bits)


@dataclass(frozen=True, eq=False)
class _Encoders(_Integers):
    """What sends changes, in integers.

    Attributes:
        threshold: 0 to 2^31 - 1, one for all, in units of v.
        bias: int64 within 32 bits, in units of v; broadcasts to the population.
        exponent: messages are coarser than v by 2 to this, 0 to 7.
        cumulative: whether changes add up until they cross the threshold.
        bits: width of a message with its sign, 2 to 32.
    """

    threshold: int
    bias: np.ndarray
    exponent: int = 0
    cumulative: bool = False
    bits: int = MESSAGE_BITS

    def message_unit(self, scale: float) -> float:
        return scale / 2**self.exponent

    def arrays(self) -> dict[str, np.ndarray]:
        return {"bias": self.bias}

    def table(self) -> dict[str, Any]:
        return {
            "bits": self.bits,
            "threshold": self.threshold,
            "exponent": self.exponent,
            "cumulative": self.cumulative,
        }


@dataclass(frozen=True, eq=False)
class QuantizedDelta(_Encoders):
    """Encoders in integers; their scale is that of v.

    Attributes:
        input_exponent: v is finer than the input by 2 to this, 0 to 14.
    """

    input_exponent: int = 0
    kind: str = DELTA
    states: ClassVar[tuple[str, ...]] = ("v", "residue", "error")

    def step(self, state: State, activation: np.ndarray, tally: Tally) -> np.ndarray:
        sent = _encoded(state, activation << np.int32(self.input_exponent), self)
        return self._counted(state, sent >> np.int32(self.exponent), tally)

    def table(self) -> dict[str, Any]:
        return {**super().table(), "input_exponent": self.input_exponent}

    @classmethod
    def restored(
        cls, table: Mapping[str, Any], arrays: Mapping[str, np.ndarray], where: str
    ) -> QuantizedDelta:
        known = build(_Table, table, where)
        return cls(**_encoder(known, arrays, where), input_exponent=known.input_exponent)


@dataclass(frozen=True, eq=False)
class QuantizedSigmaDelta(_Encoders):
    """Sigma-delta neurons in integers.

    Attributes:
        rectified: whether v is at least 0.
    """

    rectified: bool = True
    kind: str = SIGMA_DELTA
    states: ClassVar[tuple[str, ...]] = ("sigma", "v", "residue", "error")

    def step(self, state: State, activation: np.ndarray, tally: Tally) -> np.ndarray:
        sent = _integrated(state, activation, self)
        return self._counted(state, sent >> np.int32(self.exponent), tally)

    def table(self) -> dict[str, Any]:
        return {**super().table(), "rectified": self.rectified}

    @classmethod
    def restored(
        cls, table: Mapping[str, Any], arrays: Mapping[str, np.ndarray], where: str
    ) -> QuantizedSigmaDelta:
        known = build(_Table, table, where)
        return cls(**_encoder(known, arrays, where), rectified=known.rectified)


def _encoder(known: _Table, arrays: Mapping[str, np.ndarray], where: str) -> dict[str, Any]:
    """What both kinds of encoders are made of."""
    if "bias" not in arrays:
        raise InputError(f"{where}: there is no bias")
    names = ("threshold", "exponent", "cumulative", "bits")
    return {"bias": arrays["bias"], **{name: getattr(known, name) for name in names}}
