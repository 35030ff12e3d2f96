"""Accuracy against the width of weights."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator, PercentFormatter

COLOURS = ("#7a8da6", "#0b5fa5")
FLOAT = "#c1440e"
CHANCE_BELOW = 0.5
"""Points this far below the float network would flatten the rest; the axis ends above them."""


def accuracy_curve(title: str, rows: Sequence[tuple[int, str, float, float]]) -> Figure:
    """One line per mode.

    Args:
        rows: bits, mode, accuracy and the accuracy in floats, the last two 0 to 1.
    """
    figure = Figure(figsize=(6.6, 4.2), layout="constrained", dpi=110)
    axes = figure.subplots()
    floats = rows[0][3]
    lowest = min(accuracy for _, _, accuracy, _ in rows)
    bottom = max(lowest, floats - CHANCE_BELOW)
    margin = 0.06 * (floats - bottom) + 0.002
    axes.set_ylim(bottom - 2 * margin, max(floats, *(row[2] for row in rows)) + 2 * margin)
    axes.axhline(floats, color=FLOAT, lw=1.0, ls="--", label=f"in floats, {floats:.2%}")
    modes = [*dict.fromkeys(mode for _, mode, _, _ in rows)]
    for mode, colour in zip(modes, COLOURS, strict=False):
        points = sorted((bits, accuracy) for bits, name, accuracy, _ in rows if name == mode)
        widths, accuracies = zip(*points, strict=True)
        axes.plot(widths, accuracies, color=colour, marker="o", ms=5, lw=1.6, label=mode)
        for width, accuracy in points:
            above = all(other <= accuracy for bits, _, other, _ in rows if bits == width)
            if accuracy >= bottom:
                text = axes.annotate(
                    f"{100 * accuracy:.2f}",
                    (width, accuracy),
                    xytext=(0, 7 if above else -14),
                    textcoords="offset points",
                    ha="center",
                    fontsize=8,
                    color=colour,
                )
                text.set_path_effects([withStroke(linewidth=2.5, foreground="white")])
    axes.set_xlabel("weight bits")
    axes.set_ylabel("test accuracy of the integers")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_title(title, fontsize=10, loc="left")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9, loc="lower right")
    return figure
