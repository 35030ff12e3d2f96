"""What every table of the report is made of: headings and rows of text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """What the template draws as a table."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


def facts(pairs: Sequence[tuple[str, str]]) -> Table:
    """Two columns without headings; pairs without a value are left out."""
    return Table((), [pair for pair in pairs if pair[1]])
