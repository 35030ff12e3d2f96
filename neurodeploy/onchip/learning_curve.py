"""The learning curve: accuracy on held-out samples while a deployment learns."""

from __future__ import annotations

import io
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

COLOURS = ("#0b5fa5", "#c1440e", "#2e7d4f")
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


def draw_learning_curve(
    title: str,
    points: Sequence[CurvePoint],
    levels: Mapping[str, float],
    kept_after: int | None = None,
) -> bytes:
    """``learning_figure`` as a PNG."""
    buffer = io.BytesIO()
    FigureCanvasAgg(learning_figure(title, points, levels, kept_after)).print_png(buffer)
    return buffer.getvalue()


def learning_figure(
    title: str,
    points: Sequence[CurvePoint],
    levels: Mapping[str, float],
    kept_after: int | None = None,
) -> Figure:
    """Accuracies over samples.

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
        label = f"SLTT in PyTorch, float, {ceiling[-1][1]:.1%}"
        axes.plot(*zip(*ceiling, strict=True), color=CEILING, lw=1.3, ls="--", label=label)
    for colour, name in zip(COLOURS, points[0].accuracies, strict=False):
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
