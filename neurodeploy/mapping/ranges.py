"""Quantities known between two ends."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Range:
    """Between which two numbers something lies."""

    low: float
    high: float

    def __add__(self, other: Range) -> Range:
        return Range(self.low + other.low, self.high + other.high)

    def scaled(self, factor: float) -> Range:
        """Both ends times a factor of at least 0."""
        return Range(self.low * factor, self.high * factor)
