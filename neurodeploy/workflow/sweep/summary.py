"""The runs of a sweep in means over seeds: a table, and a picture with a panel for each key."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

from neurodeploy.reporting.text import table_text
from neurodeploy.workflow.sweep.point import SweepRow

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOUR, OTHER, BEST = "#0b5fa5", "#7a8da6", "#c1440e"
MOST_PANELS = 4
MOST_CATEGORIES, MOST_TICKS = 12, 6


@dataclass(frozen=True)
class Setting:
    """The runs of one combination of values.

    Attributes:
        settings: key to value.
        runs: how many there are, and ``results`` those with one.
        accuracy, smape: means over them on the test samples, the one of classes or the other of
            values.
        deviation: over seeds (n - 1) of these; None with fewer than two.
        validation: mean of what the best is chosen by, in the same unit.
        seconds: mean of training.
        ended: why the first without a result has none.
        best: whether no other one is better in validation.
    """

    settings: dict[str, str]
    runs: int
    results: int
    accuracy: float | None
    smape: float | None
    deviation: float | None
    validation: float | None
    seconds: float | None
    ended: str = ""
    best: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as JSON holds them."""
        return asdict(self)


def summarized(rows: Sequence[SweepRow]) -> list[Setting]:
    """One for each combination, in the order of the first of each."""
    groups: dict[tuple[str, ...], list[SweepRow]] = {}
    for row in rows:
        groups.setdefault(tuple(row.settings.values()), []).append(row)
    scores = {key: _mean([row.score for row in group]) for key, group in groups.items()}
    best = max((score for score in scores.values() if score is not None), default=None)
    return [
        _setting(group, scores[key], scores[key] is not None and scores[key] == best)
        for key, group in groups.items()
    ]


def _setting(rows: Sequence[SweepRow], score: float | None, best: bool) -> Setting:
    tested = [value for row in rows if (value := _tested(row)) is not None]
    values = any(row.smape is not None for row in rows)
    mean = fmean(tested) if tested else None
    return Setting(
        settings=rows[0].settings,
        runs=len(rows),
        results=len(tested),
        accuracy=None if values else mean,
        smape=mean if values else None,
        deviation=stdev(tested) if len(tested) > 1 else None,
        validation=None if score is None else abs(score),
        seconds=_mean([row.seconds for row in rows]),
        ended=next((row.ended for row in rows if row.ended), ""),
        best=best,
    )


def _tested(row: SweepRow) -> float | None:
    return row.accuracy if row.smape is None else row.smape


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def table(found: Sequence[Setting]) -> str:
    """As text: a line for each combination."""
    values = any(row.smape is not None for row in found)

    def score(value: float | None) -> str:
        if value is None:
            return ""
        return f"{value:.3f}" if values else f"{value:.2%}"

    name = "sMAPE" if values else "accuracy"
    columns = [*found[0].settings, "runs", f"test {name}", "+-", "validation", "s", ""]
    return table_text(
        columns,
        [
            (
                *row.settings.values(),
                row.runs if row.results == row.runs else f"{row.results} of {row.runs}",
                score(row.accuracy if row.smape is None else row.smape),
                score(row.deviation),
                score(row.validation),
                "" if row.seconds is None else f"{row.seconds:,.1f}",
                "best" if row.best else row.ended.splitlines()[0] if row.ended else "",
            )
            for row in found
        ],
    )


def draw(title: str, rows: Sequence[SweepRow], *, searched: bool) -> Figure:
    """A panel for each key, at most ``MOST_PANELS``; of a search also how it went.

    Args:
        rows: one with a result at least.
    """
    from matplotlib.figure import Figure

    scored = [row for row in rows if row.score is not None]
    keys = list(scored[0].settings)[:MOST_PANELS]
    panels = len(keys) + searched or 1
    figure = Figure(figsize=(1.2 + 3.4 * panels, 3.6), layout="constrained", dpi=110)
    axes = figure.subplots(1, panels, squeeze=False, sharey=True)[0]
    values = any(row.smape is not None for row in scored)
    name = "validation sMAPE" if values else "validation accuracy"
    if searched:
        _history(axes[0], rows)
    for panel, key in zip(axes[searched:], keys, strict=False):
        _panel(panel, key, scored)
    if not keys:
        _seeds(axes[0], scored)
    axes[0].set_ylabel(name)
    if not values:
        from matplotlib.ticker import PercentFormatter

        axes[0].yaxis.set_major_formatter(PercentFormatter(1.0))
    for panel in axes:
        panel.grid(alpha=0.25)
        panel.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title, fontsize=10, x=0.01, ha="left")
    return figure


def _shown(row: SweepRow) -> float:
    return abs(row.score or 0.0)


def _history(axes: Axes, rows: Sequence[SweepRow]) -> None:
    """Scores in the order in which they came, and the best so far."""
    known = [(n, row) for n, row in enumerate(rows, start=1) if row.score is not None]
    axes.plot([n for n, _ in known], [_shown(row) for _, row in known], "o", ms=3.5, color=OTHER)
    numbers, best, found = [], -math.inf, []
    for number, row in known:
        if (row.score or 0.0) > best:
            best = row.score or 0.0
        numbers.append(number)
        found.append(abs(best))
    axes.step(numbers, found, where="post", color=BEST, lw=1.5, label="best so far")
    ended = [n for n, row in enumerate(rows, start=1) if row.score is None]
    if ended:
        at_the_bottom = {"transform": axes.get_xaxis_transform(), "clip_on": False}
        marks = {"marker": "x", "ms": 4, "ls": "", "color": BEST}
        axes.plot(ended, [0.0] * len(ended), label="given up", **marks, **at_the_bottom)
    axes.set_xlabel("run")
    axes.legend(frameon=False, fontsize=8, loc="best")


def _panel(axes: Axes, key: str, rows: Sequence[SweepRow]) -> None:
    """Every run at its value of a key, and the mean of those that share one."""
    from matplotlib.ticker import NullFormatter, StrMethodFormatter

    named = [*dict.fromkeys(row.settings[key] for row in rows)]
    numbers = _numbers(named)
    if numbers is None:
        places = {name: float(place) for place, name in enumerate(named)}
        if len(named) <= MOST_CATEGORIES:
            short = [name if len(name) < 16 else f"{name[:14]}…" for name in named]
            axes.set_xticks(range(len(named)), short, rotation=30, ha="right")
    else:
        places = dict(zip(named, numbers, strict=True))
        if min(numbers) > 0 and max(numbers) / min(numbers) >= 50:
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
            axes.xaxis.set_minor_formatter(NullFormatter())
        elif len(numbers) <= MOST_TICKS:
            axes.set_xticks(numbers, named)
    axes.plot(
        [places[row.settings[key]] for row in rows],
        [_shown(row) for row in rows],
        "o",
        ms=4,
        color=OTHER,
        alpha=0.8,
    )
    groups = {name: [_shown(row) for row in rows if row.settings[key] == name] for name in named}
    if len(rows) > len(named):
        means = sorted((places[name], fmean(group)) for name, group in groups.items())
        axes.plot(*zip(*means, strict=True), color=COLOUR, lw=1.6, marker="_", ms=12, label="mean")
        axes.legend(frameon=False, fontsize=8, loc="best")
    best = max(rows, key=lambda row: row.score or 0.0)
    axes.plot(places[best.settings[key]], _shown(best), "o", ms=6, color=BEST)
    axes.set_xlabel(key)


def _seeds(axes: Axes, rows: Sequence[SweepRow]) -> None:
    axes.plot([row.seed for row in rows], [_shown(row) for row in rows], "o", ms=4, color=COLOUR)
    axes.set_xlabel("seed")


def _numbers(named: Sequence[str]) -> list[float] | None:
    try:
        found = [float(name) for name in named]
    except ValueError:
        return None
    return found if all(map(math.isfinite, found)) else None
