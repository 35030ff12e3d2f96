"""Two runs or two deployments side by side: their figures as data, as text and as a page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from neurodeploy.reporting.report.deployed import in_nano
from neurodeploy.reporting.report.rendering import render
from neurodeploy.reporting.text import Table, table_text

TEMPLATE = "compare.html"

Form = Literal["text", "share", "count", "number", "energy", "time"]
"""How a value is written: energies in nJ and times in us are ranges, ``low`` to ``high``."""


@dataclass(frozen=True)
class Figure:
    """A value of both.

    Attributes:
        key: its name in JSON.
        label: its name for people.
        first, second: None where it is not known.
    """

    key: str
    label: str
    form: Form
    first: Any
    second: Any

    @property
    def known(self) -> bool:
        """Whether one of them at least has it."""
        return not (_absent(self.first) and _absent(self.second))

    @property
    def texts(self) -> tuple[str, str, str]:
        """The first, the second, and how the second differs from the first."""
        return _text(self.first, self.form), _text(self.second, self.form), self._change()

    def _change(self) -> str:
        if _absent(self.first) or _absent(self.second) or self.first == self.second:
            return ""
        if self.form == "share":
            return f"{100 * (self.second - self.first):+.2f} points"
        if self.form == "text":
            return "differs"
        pairs = [(self.first, self.second)]
        if isinstance(self.first, Mapping):
            pairs = [(self.first[end], self.second[end]) for end in ("low", "high")]
        if not all(before for before, _ in pairs):
            return ""
        factors = [f"{after / before:.3g}" for before, after in pairs]
        return "x" + " to x".join(dict.fromkeys(factors))


@dataclass(frozen=True)
class Layer:
    """A population, or a layer of a run, that one of them has at least."""

    name: str
    figures: tuple[Figure, ...]


@dataclass(frozen=True)
class Comparison:
    """Two of a kind.

    Attributes:
        kind: ``runs`` or ``deployments``.
        first, second: their paths.
        figures: of the whole.
        layers: by name, in the order of the first, then those of the second alone.
        settings: what they were made with and does not agree.
        remarks: what makes the comparison worth less than it seems, or easier.
    """

    kind: Literal["runs", "deployments"]
    first: str
    second: str
    figures: tuple[Figure, ...]
    layers: tuple[Layer, ...]
    settings: tuple[Figure, ...]
    remarks: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as JSON holds them."""
        return {
            "kind": self.kind,
            "first": {"path": self.first, **{f.key: f.first for f in self.figures}},
            "second": {"path": self.second, **{f.key: f.second for f in self.figures}},
            "layers": [
                {
                    "name": layer.name,
                    "first": {f.key: f.first for f in layer.figures},
                    "second": {f.key: f.second for f in layer.figures},
                }
                for layer in self.layers
            ],
            "settings": {f.key: {"first": f.first, "second": f.second} for f in self.settings},
            "remarks": list(self.remarks),
        }


def comparison_text(found: Comparison) -> str:
    """For a terminal."""
    lines = [f"A: {found.first}", f"B: {found.second}"]
    tables = [("figure", found.figures), ("setting", found.settings)]
    for what, figures in tables:
        if rows := _rows(figures):
            lines.append(table_text([what, "A", "B", "change"], rows))
    for layer in found.layers:
        lines.append(table_text([layer.name, "A", "B", "change"], _rows(layer.figures)))
    return "\n".join([*lines, *(f"Note: {remark}" for remark in found.remarks)])


def comparison_page(found: Comparison) -> str:
    """One HTML file with the same."""
    columns = ("A", "B", "change")
    values = {
        "kind": found.kind,
        "first": found.first,
        "second": found.second,
        "figures": [
            {
                "label": figure.label,
                "value": f"{figure.texts[0] or 'unknown'}, {figure.texts[1] or 'unknown'}",
                "detail": figure.texts[2] or "the same",
                "mood": "",
            }
            for figure in found.figures
            if figure.form in ("share", "energy") or figure.key in ("spikes", "cores", "smape")
            if figure.known
        ],
        "whole": Table(("figure", *columns), _rows(found.figures)),
        "settings": Table(("setting", *columns), _rows(found.settings)),
        "layers": [
            {"name": layer.name, "table": Table(("figure", *columns), _rows(layer.figures))}
            for layer in found.layers
        ],
        "remarks": found.remarks,
    }
    return render(TEMPLATE, values, scripts=("page.js",))


def _rows(figures: tuple[Figure, ...]) -> list[tuple[str, ...]]:
    return [(figure.label, *figure.texts) for figure in figures if figure.known]


def _absent(value: Any) -> bool:
    return value is None or value == ""


def _text(value: Any, form: Form) -> str:
    if _absent(value):
        return ""
    if form == "share":
        return f"{value:.2%}"
    if form == "count":
        return f"{value:,}"
    if form == "number":
        return f"{value:,.1f}" if abs(value) >= 10 else f"{value:.4g}"
    if form == "energy":
        return in_nano(value, "J")
    if form == "time":
        return in_nano({end: 1000 * found for end, found in value.items()}, "s")
    return str(value)
