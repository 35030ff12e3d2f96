"""Pictures on disk, of activity, of where engines agree, and of learning on a deployment."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, ListedColormap, PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator, PercentFormatter, StrMethodFormatter

from neurodeploy.reporting.crowded import chosen, draw_shares, label_places, rate_curve
from neurodeploy.reporting.parity_report import ParityReport
from neurodeploy.simulation.trace import PopulationTrace, SpikeTrace

SPIKE, INPUT, READOUT = "#0b5fa5", "Greys", "viridis"
INK = "#22303f"
EQUAL, FEW, SOME, ALL = "#e6edf3", "#fbe6b5", "#c65fa0", "#3b1a5c"
"""Of a parity map, from no value that differs to all: light to dark, whatever colours one sees."""
SPIKES = ListedColormap(["#f2f5f8", SPIKE])
SHADED_STEPS = 64
"""Up to so many steps spikes are drawn as cells, beyond as ticks."""
TALLEST, SHORTEST, SUMMARY = 12.0, 0.75, 3.4
"""Inches that all populations share, that each has however many they are, and of their summary."""
PANELS, DETAILED = 24, 8
"""Up to so many populations are drawn neuron by neuron; of more, so many examples are."""
LABELS = 24
"""Up to so many rows of a picture are named."""
BARS = 40
"""Up to so many populations have a bar of their own for their firing rate."""
ROWS = 512
"""More neurons than that are drawn as the means of neighbours: there are no more pixels."""


def raster(trace: SpikeTrace, title: str) -> Figure:
    """Spike raster of the batch's first sample: every population, neuron by step.

    Spikes are ticks, graded input and the read-out's v are shades. Of more populations than
    ``PANELS`` there is one panel that tells of all how many of their neurons are active in each
    step, and below it some of them neuron by neuron.

    Args:
        trace: at least one sample.
    """
    everything = list(trace.populations)
    crowded = len(everything) > PANELS
    names = chosen(everything, DETAILED, trace.output) if crowded else everything
    sizes = [trace.populations[name].s[0, 0].size for name in names]
    heights = [0.8 + 0.57 * np.log10(max(size, 1)) for size in sizes]
    if sum(heights) > TALLEST:
        heights = [max(SHORTEST, TALLEST / len(names))] * len(names)
    heights = [SUMMARY] * crowded + heights
    figure = Figure(figsize=(6.6, 0.9 + sum(heights)), layout="constrained", dpi=120)
    rows = figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    steps = trace.populations[names[0]].s.shape[1]
    if crowded:
        draw_shares(figure, rows[0], trace, len(names))
        rows[0].set_xlim(-0.5, steps - 0.5)
    for axes, name in zip(rows[crowded:], names, strict=True):
        _draw_population(figure, axes, name, trace.populations[name])
        axes.spines[["top", "right"]].set_visible(False)
        axes.yaxis.set_major_locator(MaxNLocator(nbins=3, integer=True))
        axes.set_xlim(-0.5, steps - 0.5)
    figure.supylabel("population, and below neuron" if crowded else "neuron", fontsize=9)
    rows[-1].set_xlabel("model step t")
    rows[-1].xaxis.set_major_locator(MaxNLocator(nbins=12, integer=True))
    figure.suptitle("\n".join(textwrap.wrap(title, 90)), fontsize=9.5)
    return figure


def _draw_population(figure: Figure, axes: Axes, name: str, record: PopulationTrace) -> None:
    s = record.s[0].reshape(record.s.shape[1], -1)
    steps, size = s.shape
    silent = not s.any()
    detail = f"{int(s.sum()):,} spikes"
    if s.max(initial=0) > 1:
        detail = "graded input"
        _shade(figure, axes, s, INPUT, "value")
    elif silent and record.v is not None:
        detail = "no spikes; v shown"
        _shade(figure, axes, record.v[0].reshape(steps, -1), READOUT, "v")
    elif steps <= SHADED_STEPS:
        _shade(figure, axes, s, SPIKES, None)
    else:
        at, neuron = np.nonzero(s)
        ticks = max(0.4, min(6.0, 220 / size))
        axes.scatter(at, neuron, marker="|", s=18 * ticks, lw=1.1, color=SPIKE)
        axes.set_ylim(-0.5, size - 0.5)
    axes.tick_params(labelsize=8)
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.set_title(f"{name} ({size:,} neurons, {detail})", fontsize=9, loc="left", pad=3)


def _shade(figure: Figure, axes: Axes, values: np.ndarray, colours: Any, label: str | None) -> None:
    """One cell per neuron and step; neurons too many for the pixels blend into a density."""
    steps, size = values.shape
    extent = (-0.5, steps - 0.5, -0.5, size - 0.5)
    # Rows finer than pixels are blended; every step is many columns, so steps never are.
    blend = "antialiased" if size > 128 else "nearest"
    if size > ROWS:
        first = np.linspace(0, size, ROWS, endpoint=False).astype(np.int64)
        values = np.add.reduceat(values, first, axis=1, dtype=np.float64)
        values /= np.diff(first, append=size)
    style: dict[str, Any] = {"aspect": "auto", "origin": "lower", "interpolation": blend}
    wide = np.repeat(values.T, -(-1024 // steps), axis=1)
    image = axes.imshow(wide, cmap=colours, extent=extent, **style)
    boundaries = np.arange(1, steps) - 0.5
    axes.vlines(boundaries, 0, 1, transform=axes.get_xaxis_transform(), color="white", lw=1.0)
    if label:
        bar = figure.colorbar(image, ax=axes, label=label, pad=0.01, format=EngFormatter(sep=""))
        bar.locator = MaxNLocator(nbins=3)
        bar.ax.tick_params(labelsize=8)


def firing_rates(activity: Mapping[str, np.ndarray], steps: int) -> Figure:
    """Spikes per neuron and step of each population: the mean as a bar, quartiles as a line.

    More populations than ``BARS`` are a curve instead.

    Args:
        activity: mean spikes per sample of every neuron, by population.
        steps: T, of a sample.
    """
    names = list(activity)
    if len(names) > BARS:
        return rate_curve(activity, steps)
    figure = Figure(figsize=(7.2, 0.9 + 0.32 * len(names)), layout="constrained")
    axes = figure.subplots()
    for row, name in enumerate(names):
        rates = activity[name].ravel() / steps
        low, high = np.quantile(rates, (0.25, 0.75))
        axes.barh(row, rates.mean(), color=SPIKE, height=0.62, alpha=0.75)
        axes.plot([low, high], [row, row], color=INK, lw=1.4)
        silent = float((rates == 0).mean())
        label = f" {rates.mean():.3f}" + (f", {silent:.0%} silent" if silent else "")
        axes.text(max(rates.mean(), high), row, label, va="center", fontsize=7.5, color=INK)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.invert_yaxis()
    axes.margins(x=0.18)
    axes.set_xlim(left=0)
    axes.set_xlabel("spikes per neuron and step: mean, and the middle half of the neurons")
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def parity_map(report: ParityReport) -> Figure:
    """Where two engines agree: the share of equal values, population by step.

    Each cell also tells how many differ, where there is room for it. Potentials that need not be
    equal are left out.
    """
    shown = [p for p in report.populations if p.mismatches_by_step]
    names = [p.name for p in shown]
    counts = np.array([p.mismatches_by_step for p in shown])
    steps = counts.shape[1]
    values = np.array([max(p.compared, 1) / steps for p in shown])
    share = counts / values[:, None]
    crowded = len(names) > LABELS
    figure = Figure(
        figsize=(2.6 + min(9.0, 0.55 * steps + 2.4), 1.6 + 0.42 * min(len(names), LABELS)),
        layout="constrained",
        dpi=110,
    )
    axes = figure.subplots()
    colours = LinearSegmentedColormap.from_list("parity", [FEW, SOME, ALL]).with_extremes(bad=EQUAL)
    # The scale is always all of them, so that a few per cent look like a few; a square root keeps
    # those apart from none.
    image = axes.imshow(
        np.ma.masked_equal(share, 0), aspect="auto", cmap=colours, norm=PowerNorm(0.5, 0, 1)
    )
    if steps <= 40 and not crowded:
        for (row, column), count in np.ndenumerate(counts):
            axes.text(
                *(column, row, f"{count:,}"), ha="center", va="center", fontsize=7,
                color="white" if share[row, column] > 0.2 else INK,
            )  # fmt: skip
    places = label_places(len(names), LABELS)
    axes.set_yticks(places, [names[place] for place in places])
    axes.set_xticks(range(0, steps, max(1, steps // 16)))
    axes.set_xlabel("model step t")
    if share.any():
        bar = figure.colorbar(image, ax=axes, label="share of values that differ", pad=0.02)
        bar.set_ticks([0.01, 0.1, 0.25, 0.5, 1], labels=["1%", "10%", "25%", "50%", "100%"])
    what = "u, v and spikes" if report.exact else "spikes"
    differ, compared = int(counts.sum()), sum(p.compared for p in shown)
    equal = "all equal, and no neuron spiked" if report.silent else "all equal"
    verdict = f"{differ:,} ({differ / compared:.2%}) differ" if differ else equal
    axes.set_title(
        f"{report.engines[0]} against {report.engines[1]}: {compared:,} values of {what} "
        f"over {report.samples} samples, {verdict}",
        fontsize=9,
        loc="left",
    )
    return figure


COLOURS = ("#0b5fa5", "#c1440e", "#2e7d4f", "#b07c10")
CEILING, LEVEL, STREAM = "#7a5195", "#7a8da6", "#9aa7b5"


@dataclass(frozen=True)
class CurvePoint:
    """What was measured after some samples.

    Attributes:
        samples: learnt from so far.
        accuracies: by held-out set, 0 to 1.
        stream: share of the samples since the last point that were right before they were learnt
            from; None at the start.
        ceiling: of learning in floats from the same samples, on the task's measure, or None.
    """

    samples: int
    accuracies: Mapping[str, float]
    stream: float | None = None
    ceiling: float | None = None


def learning_figure(
    title: str,
    points: Sequence[CurvePoint],
    levels: Mapping[str, float],
    kept_after: int | None = None,
) -> Figure:
    """Accuracy on held-out samples over those that a deployment has learnt from.

    Args:
        points: at least the one before learning.
        levels: accuracies to compare with, drawn across, by what they are.
        kept_after: samples after which the weights are that were kept; None for the last.
    """
    samples = [point.samples for point in points]
    kept = -1 if kept_after is None else samples.index(kept_after)
    figure = Figure(figsize=(7.6, 4.3), layout="constrained")
    axes = figure.subplots()
    streamed = [point for point in points if point.stream is not None]
    for before, point in itertools.pairwise(points):
        if point.stream is not None:
            ends = [before.samples, point.samples]
            label = "stream, before each update" if point is streamed[0] else None
            axes.plot(ends, [point.stream] * 2, color=STREAM, lw=5, alpha=0.5, label=label)
    for name, value in levels.items():
        axes.axhline(value, color=LEVEL, lw=1.2, ls=":", label=f"{name}, {value:.1%}")
    ceiling = [(p.samples, p.ceiling) for p in points if p.ceiling is not None]
    if ceiling:
        label = f"in floats, {ceiling[-1][1]:.1%}"
        axes.plot(*zip(*ceiling, strict=True), color=CEILING, lw=1.3, ls="--", label=label)
    for colour, name in zip(itertools.cycle(COLOURS), points[0].accuracies, strict=False):
        values = [point.accuracies[name] for point in points]
        label = f"{name}, {values[0]:.1%} to {values[kept]:.1%}"
        axes.plot(samples, values, color=colour, lw=1.8, marker="o", ms=3.5, label=label)
    if kept_after is not None:
        label = f"weights kept, after {kept_after:,} samples"
        axes.axvline(kept_after, color=LEVEL, lw=6, alpha=0.25, label=label)
    axes.set_xlabel("samples learnt from")
    axes.set_ylabel("accuracy")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_ylim(*_range(points, levels))
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(title, fontsize=11)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    return figure


def _range(points: Sequence[CurvePoint], levels: Mapping[str, float]) -> tuple[float, float]:
    values = [value for point in points for value in point.accuracies.values()]
    values += [v for p in points for v in (p.stream, p.ceiling) if v is not None]
    bottom = min([*values, *levels.values()])
    margin = 0.05 * (1 - bottom) + 0.002
    return max(0.0, bottom - margin), 1 + margin
