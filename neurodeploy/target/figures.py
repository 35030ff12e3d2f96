"""Figures of a chip: a number with its source and how well it is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Quality = Literal["documented", "read", "secondary", "fitted", "assumed"]
"""How well a figure is known: ``documented`` in a paper or in code written against the chip,
``read`` off the output of the maker's tools, ``secondary`` from someone who cites the maker,
``fitted`` so that a formula meets such outputs, ``assumed`` where there is none of these."""

MOST_BITS = 64
"""Of an entry of a row of synapses, or of its head."""

MOST_QUANTITY = 1e12
"""Picojoules or nanoseconds of one event: a joule, or a quarter of an hour."""


def check_ranges(part: Any, ranges: Mapping[str, tuple[int, int]]) -> None:
    """Refuse limits that no arithmetic of ours, or no chip, can have; None is no limit.

    Raises:
        ValueError: naming the limit and its range.
    """
    for name, (low, high) in ranges.items():
        limit: Limit | None = getattr(part, name)
        if limit is not None and not low <= limit.value <= high:
            raise ValueError(f"{name} must be from {low} to {high}, found {limit.value}")


@dataclass(frozen=True, kw_only=True)
class Figure:
    """Where a figure comes from and how well it is known."""

    source: str
    quality: Quality

    def __post_init__(self) -> None:
        if not self.source.strip():
            raise ValueError("every figure needs its source, found an empty one")


@dataclass(frozen=True, kw_only=True)
class Limit(Figure):
    """One number."""

    value: int


@dataclass(frozen=True, kw_only=True)
class Quantity(Figure):
    """One measured number, in the unit that its field names.

    Attributes:
        fitted_to: the reading of a whole network that it was fitted to, by name.
    """

    value: float
    fitted_to: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.value < 0:
            raise ValueError(f"energies and times are not negative, found {self.value}")
        if not self.value <= MOST_QUANTITY:
            raise ValueError(f"energies and times end at {MOST_QUANTITY:g}, found {self.value}")
        if self.fitted_to is not None and self.quality != "fitted":
            raise ValueError(f"fitted_to is for quality fitted, found {self.quality}")


@dataclass(frozen=True, kw_only=True)
class Widths(Figure):
    """The widths that a field can have, in bits."""

    values: tuple[int, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.values or min(self.values) < 1:
            raise ValueError(f"widths are at least one positive number, found {self.values}")
        if max(self.values) > MOST_BITS:
            raise ValueError(f"widths are at most {MOST_BITS} bits, found {max(self.values)}")

    def holding(self, bits: int) -> int:
        """The smallest width that holds ``bits``; the largest one when none does."""
        return min((width for width in self.values if width >= bits), default=max(self.values))


@dataclass(frozen=True, kw_only=True)
class Ability(Figure):
    """Something a chip can or cannot do."""

    value: bool
