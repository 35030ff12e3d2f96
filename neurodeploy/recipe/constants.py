"""Time constants of neurons in a recipe: one for all, or drawn, or learned."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Draw = Literal["", "uniform", "log_uniform", "normal"]


@dataclass(frozen=True)
class TimeConstant:
    """A time constant in steps.

    Attributes:
        value: the constant, or the initial value of a learned one, or the mean of a ``normal``
            draw; or a list with one per layer of neurons.
        per: whether, if it is drawn or learned, there is one constant for the ``network``, for each
            ``layer`` or for each ``neuron``.
        draw: ``uniform`` or ``log_uniform`` from ``low`` to ``high``, or ``normal`` with this
            ``deviation`` about the value, truncated at ``low`` and ``high``; empty for none.
        low, high: the range of a draw.
        deviation: above 0 for a normal draw.
        learn: learned from its initial value, 1/tau = sigmoid(w) (Fang et al. 2021).
    """

    value: float | tuple[float, ...] = 0.0
    per: Literal["network", "layer", "neuron"] = "layer"
    draw: Draw = ""
    low: float = 0.0
    high: float = 0.0
    deviation: float = 0.0
    learn: bool = False

    def __post_init__(self) -> None:
        if self.draw and isinstance(self.value, tuple):
            raise ValueError("a list of values, one per layer, is not drawn; leave draw out")
        if self.draw and not self.low <= self.high:
            raise ValueError(f"low = {self.low:g} is above high = {self.high:g}")
        if self.draw == "normal" and not (self.deviation > 0 and math.isfinite(self.deviation)):
            raise ValueError(f"deviation of a normal draw is above 0, found {self.deviation:g}")
        if self.draw == "normal" and not self.low <= self.first <= self.high:
            raise ValueError(
                f"the mean, value = {self.first:g}, is not from low = {self.low:g} to "
                f"high = {self.high:g}"
            )
        if not self.draw and (self.low or self.high or self.deviation):
            raise ValueError('low, high and deviation need a draw, for example draw = "uniform"')
        if isinstance(self.value, tuple) and self.per == "network":
            raise ValueError("a list of values, one per layer, is not one for the network")
        if isinstance(self.value, tuple) and not self.value:
            raise ValueError("value is an empty list; give one per layer")

    @property
    def first(self) -> float:
        """The value, or that of the first layer."""
        return self.value[0] if isinstance(self.value, tuple) else self.value

    @property
    def lowest(self) -> float:
        """The smallest that a neuron may have, or start with."""
        if self.draw:
            return self.low
        return min(self.value) if isinstance(self.value, tuple) else self.value

    @property
    def layers(self) -> int:
        """Layers that it lists values for; 0 for any number."""
        return len(self.value) if isinstance(self.value, tuple) else 0


Constant = float | tuple[float, ...] | TimeConstant
"""One number for all neurons, one for each layer, or more than that."""


def spelled_out(constant: Constant) -> TimeConstant:
    """The same as a table."""
    return constant if isinstance(constant, TimeConstant) else TimeConstant(constant)


def check(constant: Constant, name: str, exclusive: bool) -> None:
    """Refuse time constants below one step.

    Args:
        exclusive: whether a constant of 1 step is too short as well.

    Raises:
        ValueError: one may be too short.
    """
    table = spelled_out(constant)
    exclusive = exclusive or table.learn
    if table.lowest > 1 or (table.lowest == 1 and not exclusive):
        return
    what = "low, the shortest that is drawn" if table.draw else "found"
    raise ValueError(
        f"{name} is in steps and must be {'above' if exclusive else 'at least'} 1"
        f"{' to be learned' if table.learn else ''}, {what} {table.lowest}"
    )
