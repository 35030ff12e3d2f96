"""How far off estimates are: what a chip took for whole networks beside what we estimate for them.

A target carries its chip's readings and our estimates of them (``target.Reading``);
``bench estimates`` makes those anew. Their ratio is the error that every estimate is printed with.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from neurodeploy.mapping.ranges import Range
from neurodeploy.target import Reading, Target

Quantity = Literal["energy", "time"]


@dataclass(frozen=True)
class Check:
    """An estimate held against a reading.

    Attributes:
        quantity: dynamic energy of a sample, or time of a step.
        low, high: the estimate's ends over the reading.
        known: what was estimated, as ``Reading`` has it.
        fitted: figures of ours that were fitted to this very reading, so that it tests nothing.
    """

    network: str
    quantity: Quantity
    low: float
    high: float
    known: Literal["network", "sizes"]
    fitted: tuple[str, ...] = ()

    @property
    def off(self) -> float:
        """The factor by which an end is off; of sizes alone, by which the reading lies outside."""
        if self.known == "network":
            return max(self.high, 1 / self.low)
        return max(1.0, self.low, 1 / self.high)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as JSON can hold them."""
        return {**dataclasses.asdict(self), "off": self.off}


def fitted_figures(target: Target, network: str, quantity: Quantity) -> tuple[str, ...]:
    """Figures of a target that were fitted to a reading, by name."""
    table = target.energy if quantity == "energy" else target.duration
    names = [field.name for field in dataclasses.fields(table)] if table else []
    return tuple(
        f"{quantity} of {name.replace('_', ' ')}"
        for name in names
        if getattr(getattr(table, name), "fitted_to", None) == network
    )


def checks(target: Target) -> tuple[Check, ...]:
    """Every reading of a target that we estimated, energy before time."""
    found = []
    for quantity in ("energy", "time"):
        for reading in target.readings:
            estimated, read = of_reading(reading, quantity)
            if estimated is not None:
                ratio = estimated.scaled(1 / read)
                fitted = fitted_figures(target, reading.network, quantity)
                found.append(
                    Check(reading.network, quantity, ratio.low, ratio.high, reading.known, fitted)
                )
    return tuple(found)


def checks_from(tables: Iterable[Mapping[str, Any]]) -> tuple[Check, ...]:
    """What ``Check.to_dict`` gave, read back from our own results."""
    return tuple(
        Check(
            table["network"],
            table["quantity"],
            table["low"],
            table["high"],
            table["known"],
            tuple(table["fitted"]),
        )
        for table in tables
    )


def of_reading(reading: Reading, quantity: Quantity) -> tuple[Range | None, float]:
    """Our estimate of a reading as its target carries it, and the reading itself."""
    if quantity == "energy":
        pair, read = reading.estimated_uj, reading.dynamic_uj
    else:
        pair, read = reading.estimated_step_us, reading.step_us
    return (None if pair is None else Range(*pair)), read


def error_text(found: Iterable[Check], quantity: Quantity) -> str:
    """How far off estimates of a quantity were on this chip, in words."""
    chosen = [check for check in found if check.quantity == quantity]
    if not chosen:
        return "never compared with this chip"
    parts = []
    for check in chosen:
        if check.known == "network":
            text = f"within {factor(check.off)} on {check.network}"
            if check.fitted:
                text += f", to which {' and '.join(check.fitted)} was fitted"
        elif check.off > 1:
            text = f"{factor(check.off)} off at best on {check.network} (only its sizes are known)"
        else:
            text = f"around the reading on {check.network} (only its sizes are known)"
        parts.append(text)
    return "; ".join(parts)


def factor(value: float) -> str:
    """A factor rounded up to a tenth: what it says is never better than what it is."""
    return f"{math.ceil(value * 10 - 1e-9) / 10:.1f}x"


def power_at_rest(target: Target) -> Range | None:
    """Of a whole chip, in mW, as it was read on networks; None where it was not.

    What was read as a network's share says nothing of another network.
    """
    found = [r.static_mw for r in target.readings if r.static_mw and r.static_of == "chip"]
    return Range(min(found), max(found)) if found else None
