"""What a network knows of its neurons, whatever their model: what they keep and what they send.

The leaky neurons of ``network`` and ``quantized`` are one model. Every other has a file in
``neurodeploy.neurons`` with its parameters and its step, in floats (``FloatModel``) and in integers
(``IntegerModel``), and a line in ``neurodeploy.neurons.registry``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np

from neurodeploy.errors import UnsupportedError
from neurodeploy.ir.fixed_point import ACTIVATION_SHIFT
from neurodeploy.ir.operators import Shape
from neurodeploy.target import Target

MOST_MESSAGE_BITS = 32
"""Of a message with its sign: messages are summed as 32-bit integers. Without, one less."""


@dataclass(frozen=True)
class Message:
    """What one neuron sends at a step; 0 is no message at all.

    Attributes:
        bits: width, the sign among them; 1 is a spike without a value.
        signed: whether it can be negative.
    """

    bits: int = 1
    signed: bool = False

    def __post_init__(self) -> None:
        least, most = 1 + self.signed, MOST_MESSAGE_BITS - (not self.signed)
        if not least <= self.bits <= most:
            raise ValueError(f"a message has {least} to {most} bits, found {self.bits}")

    @property
    def graded(self) -> bool:
        """Whether it carries an integer."""
        return self.bits > 1

    @property
    def largest(self) -> int:
        """The largest magnitude: 2^(bits - 1) - 1 with a sign, 2^bits - 1 without."""
        return (1 << (self.bits - self.signed)) - 1


SPIKE = Message()
"""A spike without a value."""


class Tally(Protocol):
    """Counts what leaves its width while neurons step."""

    wraps: int
    saturations: int


class AnyNeuron:
    """Neurons of any model, in floats or in integers.

    Attributes:
        kind: name of the model, of leaky neurons that of the NIR primitive they came from.
        states: names of what a neuron keeps. ``v`` is among them: it is what ``last_v`` and
            ``sum_v`` read.
        state_shift: how much finer, in powers of two, v is than the summed input.
    """

    kind: str
    states: ClassVar[tuple[str, ...]] = ("u", "v")
    state_shift: ClassVar[int] = ACTIVATION_SHIFT

    @property
    def spiking(self) -> bool:
        """Whether anything is ever sent."""
        raise NotImplementedError

    @property
    def message(self) -> Message:
        """What is sent."""
        return SPIKE

    @property
    def largest_message(self) -> int:
        """The largest magnitude that is ever sent."""
        return self.message.largest


class Dynamics(AnyNeuron, ABC):
    """Neurons of a model other than the leaky one, with their step.

    Attributes:
        numbers: numpy type of the state: float64, or int64 in integers.
    """

    numbers: ClassVar[type] = np.int64

    @property
    def spiking(self) -> bool:
        return True

    def begin(self, shape: Shape) -> dict[str, np.ndarray]:
        """The state at the start of a sample: zeros of (N, *population)."""
        return {name: np.zeros(shape, self.numbers) for name in self.states}

    @abstractmethod
    def step(
        self, state: dict[str, np.ndarray], activation: np.ndarray, tally: Tally
    ) -> np.ndarray:
        """Advance by one step.

        Args:
            state: (N, *population) each, of the last step; replaced by that of this one.
            activation: (N, *population), the summed input.
            tally: counts what wraps and saturates.

        Returns:
            (N, *population), what is sent.
        """


class Arriving(Protocol):
    """What a population's scale depends on of a projection into it; see ``quantization.weights``.

    Attributes:
        bound: largest input through it, in units of the float network.
        graded: whether neurons send graded values through it.
    """

    @property
    def bound(self) -> float: ...
    @property
    def graded(self) -> bool: ...
    @property
    def full_ratio(self) -> float: ...
    def lossless_ratio(self) -> float | None: ...
    def exponent_at(self, scale: float, ratio: float, target: Target) -> int: ...


class FloatModel(Dynamics):
    """Neurons of such a model in real numbers, and their way to integers."""

    numbers = np.float64

    def laid_out(
        self, incoming: Sequence[Arriving], ratios: Sequence[float], target: Target, steps: int
    ) -> tuple[float, tuple[int, ...]]:
        """Integers per unit of the summed input, and the exponent of each projection.

        Args:
            ratios: by which the weights of each projection are to be multiplied at most.
            steps: T.

        Raises:
            UnsupportedError: this model is not quantised from floats.
        """
        raise UnsupportedError(f"neurons of kind {self.kind} are not quantised from floats")

    def integers(self, scale: float, reach: int, target: Target) -> tuple[IntegerModel, list[str]]:
        """Integer parameters at a scale, and notes on what had to give way.

        Args:
            reach: no sum of integers that arrive exceeds this in magnitude.
        """
        raise UnsupportedError(f"neurons of kind {self.kind} are not quantised from floats")


class IntegerModel(Dynamics):
    """Neurons of such a model in integers: exactly what is deployed.

    Attributes:
        slots: how many leaky neurons' room one takes in a core.
    """

    slots: ClassVar[int] = 1

    @abstractmethod
    def arrays(self) -> dict[str, np.ndarray]:
        """Parameters with a value per neuron, by name; each broadcasts to the population."""

    @abstractmethod
    def table(self) -> dict[str, Any]:
        """All other parameters, as JSON can hold them."""

    @classmethod
    @abstractmethod
    def restored(
        cls, table: Mapping[str, Any], arrays: Mapping[str, np.ndarray], where: str
    ) -> IntegerModel:
        """The neurons of which these are ``table`` and ``arrays``.

        Raises:
            InputError: something is missing, of another type or out of range.
            ValueError: likewise.
        """

    def message_unit(self, scale: float) -> float:
        """What 1 of the float network's messages is in integers, at a scale of the population."""
        return scale if self.message.graded else 1.0


def not_leaky(name: str, neuron: AnyNeuron | None) -> Exception:
    """What to raise where leaky neurons are needed and a population has none."""
    if neuron is None:
        return ValueError(f"population {name!r} is an input")
    return UnsupportedError(
        f"population {name!r}: has neurons of kind {neuron.kind}, and only leaky "
        "integrate-and-fire neurons are taken here"
    )


def only_leaky(graph: Any, taker: str) -> None:
    """Refuse a network with neurons of other models.

    Args:
        graph: in floats or integers.
        taker: who cannot take them, as the subject of a sentence.

    Raises:
        UnsupportedError: it has some; all of them are named.
    """
    others: dict[str, list[str]] = {}
    for population in graph.populations:
        if isinstance(population.neuron, Dynamics):
            others.setdefault(population.neuron.kind, []).append(repr(population.name))
    if others:
        found = "; ".join(f"{kind} ({', '.join(names)})" for kind, names in others.items())
        raise UnsupportedError(
            f"network {graph.name!r}: {taker} takes only leaky integrate-and-fire neurons, found "
            f"populations of {found}"
        )
