"""The comparison over T and tau in means over seeds, as a table and as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter, PercentFormatter

from neurodeploy.bench.paper import PaperRow
from neurodeploy.reporting.text import table_text

EXACT, WITHIN = "bptt", "sltt"
"""Between these two lies the gap that a rule may close."""


@dataclass(frozen=True)
class SummaryRow:
    """A recipe by a rule at one T and tau.

    Attributes:
        recipe, rule, T, tau, memory_mb: as in ``PaperRow``.
        seeds: runs with a result.
        accuracy, deviation: mean of the test accuracies, and their standard deviation over seeds
            (n - 1); None without, and with one.
        seconds: of an epoch, the mean over runs.
        memory_to_bptt, time_to_bptt: over those of BPTT at the same T and tau; None without it.
        gap_closed: (accuracy - SLTT's) / (BPTT's - SLTT's) at the same T and tau, 1 for as good as
            BPTT; None without both, or where BPTT is no better.
        gap_deviation: standard error of BPTT's lead over SLTT, 0 to 1: a share of a gap that is not
            well above it means nothing; None with fewer than two seeds.
        refused: as in ``PaperRow``, of the first run that has no result.
    """

    recipe: str
    rule: str
    T: int
    tau: float | None
    seeds: int
    accuracy: float | None
    deviation: float | None
    memory_mb: float | None
    seconds: float | None
    memory_to_bptt: float | None = None
    time_to_bptt: float | None = None
    gap_closed: float | None = None
    gap_deviation: float | None = None
    refused: str = ""


def summarized(rows: Sequence[PaperRow]) -> list[SummaryRow]:
    """One row for each recipe, T, tau and rule, in the order of the first of each."""
    groups: dict[tuple[Any, ...], list[PaperRow]] = {}
    for row in rows:
        groups.setdefault((row.recipe, row.T, row.tau, row.rule), []).append(row)
    return [_summary(key, groups) for key in groups]


def _summary(key: tuple[Any, ...], groups: dict[tuple[Any, ...], list[PaperRow]]) -> SummaryRow:
    recipe, T, tau, rule = key
    rows = groups[key]
    exact = groups.get((recipe, T, tau, EXACT), [])
    within = groups.get((recipe, T, tau, WITHIN), [])
    own, best, least = _accuracies(rows), _accuracies(exact), _accuracies(within)
    share = error = None
    if own and best and least and fmean(best) > fmean(least):
        share = (fmean(own) - fmean(least)) / (fmean(best) - fmean(least))
        if min(len(best), len(least)) > 1:
            error = (stdev(best) ** 2 / len(best) + stdev(least) ** 2 / len(least)) ** 0.5
    memory, seconds = _mean(rows, "memory_mb"), _mean(rows, "seconds")
    return SummaryRow(
        recipe,
        rule,
        T,
        tau,
        len(own),
        fmean(own) if own else None,
        stdev(own) if len(own) > 1 else None,
        memory,
        seconds,
        _over(memory, _mean(exact, "memory_mb")),
        _over(seconds, _mean(exact, "seconds")),
        share,
        error,
        next((row.refused for row in rows if row.refused), ""),
    )


def _accuracies(rows: Sequence[PaperRow]) -> list[float]:
    return [row.accuracy for row in rows if row.accuracy is not None]


def _mean(rows: Sequence[PaperRow], name: str) -> float | None:
    values = [getattr(row, name) for row in rows]
    found = [value for value in values if value is not None]
    return fmean(found) if found else None


def _over(value: float | None, other: float | None) -> float | None:
    return value / other if value is not None and other else None


COLUMNS = (
    *("recipe", "rule", "T", "tau", "seeds", "accuracy", "gap closed"),
    *("peak MB", "to bptt", "s/epoch", "to bptt"),
)


def table(rows: Sequence[SummaryRow]) -> str:
    """The rows as text, and below them why some have no result."""
    lines, reasons = [], {}
    for row in rows:
        if row.refused:
            reasons.setdefault(row.refused, f"{row.recipe}, {row.rule}")
        tau = "" if row.tau is None else f"{row.tau:g}"
        lines.append(
            [
                *(row.recipe, row.rule, row.T, tau, row.seeds, _accuracy(row)),
                _said(row.gap_closed, "{:.0%}"),
                _said(row.memory_mb, "{:,.1f}"),
                _said(row.memory_to_bptt, "{:.2f}x"),
                _said(row.seconds, "{:.3g}"),
                _said(row.time_to_bptt, "{:.2f}x"),
            ]
        )
    return "\n".join(
        [table_text(COLUMNS, lines), *(f"{who}: {why}" for why, who in reasons.items())]
    )


def _accuracy(row: SummaryRow) -> str:
    if row.accuracy is None:
        return "none"
    spread = "" if row.deviation is None else f" ± {100 * row.deviation:.2f}"
    return f"{100 * row.accuracy:.2f}{spread} %"


def _said(value: float | None, form: str) -> str:
    return "" if value is None else form.format(value)


STYLES: dict[str, dict[str, Any]] = {
    "bptt": {"color": "#202020", "marker": "o"},
    "sltt": {"color": "#0b5fa5", "marker": "s"},
    "sltt-k": {"color": "#6fa8d6", "marker": "D", "ls": "--"},
    "ottt": {"color": "#e08a1e", "marker": "^", "ls": "--"},
    "rate": {"color": "#2e7d4f", "marker": "v"},
    "eprop": {"color": "#c1440e", "marker": "P"},
}
"""Of rules; those with another K, update or variant look like their kind."""

WIDTH, HEIGHT = 3.5, 3.1


def draw(rows: Sequence[SummaryRow]) -> Figure:
    """A row of panels for each recipe: accuracy over tau and over T, memory and time.

    Where there is one T only, memory and time are bars.
    """
    recipes = list(dict.fromkeys(row.recipe for row in rows))
    many_taus = len({row.tau for row in rows}) > 1
    many_T = len({row.T for row in rows}) > 1
    columns = ["tau"] * (many_taus or not many_T) + ["T"] * many_T + ["memory_mb", "seconds"]
    figure = Figure(
        figsize=(WIDTH * len(columns) + 1.2, HEIGHT * len(recipes)), layout="constrained", dpi=100
    )
    grid = figure.subplots(len(recipes), len(columns), squeeze=False)
    for panels, recipe in zip(grid, recipes, strict=True):
        own = [row for row in rows if row.recipe == recipe and row.accuracy is not None]
        for axes, column in zip(panels, columns, strict=True):
            if column in ("tau", "T"):
                _accuracy_panel(axes, own, column)
            elif len({row.T for row in own}) > 1:
                _cost_over_T(axes, own, column)
            else:
                _cost_bars(axes, own, column)
            axes.grid(alpha=0.25)
            axes.set_axisbelow(True)
            axes.spines[["top", "right"]].set_visible(False)
        panels[0].set_title(recipe, loc="left", fontsize=11)
    handles = {
        label: handle
        for panels in grid
        for handle, label in zip(*panels[0].get_legend_handles_labels(), strict=True)
    }
    if handles:
        figure.legend(
            handles.values(), handles.keys(), loc="outside right center", frameon=False, fontsize=9
        )
    return figure


def _style(rule: str) -> dict[str, Any]:
    kind = "sltt-k" if rule.startswith("sltt-") else rule.partition("_")[0]
    return {"lw": 1.5, "ms": 5, **STYLES.get(kind, {"color": "#888888", "marker": "x"})}


def _by_rule(rows: Sequence[SummaryRow]) -> dict[str, list[SummaryRow]]:
    found: dict[str, list[SummaryRow]] = {}
    for row in rows:
        found.setdefault(row.rule, []).append(row)
    return found


def _accuracy_panel(axes: Axes, rows: Sequence[SummaryRow], over: str) -> None:
    """Mean and deviation against tau at the largest T, or against T at the first tau."""
    if over == "tau":
        fixed = max((row.T for row in rows), default=0)
        shown, label = [row for row in rows if fixed == row.T], f"τ in steps (T = {fixed})"
    else:
        fixed = rows[0].tau if rows else None
        shown = [row for row in rows if row.tau == fixed]
        label = "T" if fixed is None else f"T (τ = {fixed:g})"
    if len({getattr(row, over) for row in shown}) == 1:
        _accuracy_by_rule(axes, shown)
        tau = shown[0].tau
        axes.set_xlabel(
            f"test accuracy (T = {shown[0].T}{'' if tau is None else f', τ = {tau:g}'})"
        )
        return
    for rule, points in _by_rule(shown).items():
        points = sorted(points, key=lambda row: getattr(row, over) or 0)
        axes.errorbar(
            [getattr(row, over) or 0 for row in points],
            [row.accuracy or 0 for row in points],
            [row.deviation or 0 for row in points],
            label=rule,
            capsize=2,
            elinewidth=0.8,
            **_style(rule),
        )
    places = sorted({getattr(row, over) or 0 for row in shown})
    _logarithmic(axes, places)
    axes.set_xlabel(label)
    axes.set_ylabel("test accuracy")
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=None))


def _accuracy_by_rule(axes: Axes, rows: Sequence[SummaryRow]) -> None:
    """One point for each rule, where neither T nor tau was varied."""
    for row in rows:
        axes.errorbar(
            [row.accuracy or 0],
            [row.rule],
            xerr=[row.deviation or 0],
            label=row.rule,
            capsize=3,
            elinewidth=1,
            **_style(row.rule),
        )
    axes.margins(y=0.2)
    axes.invert_yaxis()
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=None))


LABELS = {"memory_mb": "peak of an iteration in MiB", "seconds": "seconds of an epoch"}


def _cost_over_T(axes: Axes, rows: Sequence[SummaryRow], what: str) -> None:
    """Against T, the mean over taus."""
    for rule, found in _by_rule(rows).items():
        places = sorted({row.T for row in found})
        values = [
            fmean(getattr(row, what) or 0 for row in found if place == row.T) for place in places
        ]
        axes.plot(places, values, label=rule, **_style(rule))
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    _logarithmic(axes, sorted({row.T for row in rows}))
    axes.set_xlabel("T")
    axes.set_ylabel(LABELS[what])


def _cost_bars(axes: Axes, rows: Sequence[SummaryRow], what: str) -> None:
    """By rule, the mean over taus."""
    found = _by_rule(rows)
    values = [fmean(getattr(row, what) or 0 for row in group) for group in found.values()]
    bars = axes.barh(list(found), values, color=[_style(rule)["color"] for rule in found])
    axes.bar_label(bars, [f"{value:.3g}" for value in values], padding=3, fontsize=8)
    axes.margins(x=0.15)
    axes.invert_yaxis()
    T = rows[0].T if rows else 0
    axes.set_xlabel(f"{LABELS[what]} (T = {T})")


def _logarithmic(axes: Axes, places: Sequence[float]) -> None:
    """A logarithmic axis that names the places measured."""
    if len(places) > 1 and min(places) > 0:
        axes.set_xscale("log")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xticks(places, [f"{place:g}" for place in places])
    axes.minorticks_off()
