"""Picture of what a network takes for what: labels against predicted classes."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.colors import LinearSegmentedColormap, PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

INK = "#22303f"
SHADES = LinearSegmentedColormap.from_list("confusion", ["#ffffff", "#9cc3e3", "#0b5fa5"])
EMPTY = "#eceff2"
"""Of a class that has no sample."""

MOST_NUMBERED = 20
"""Up to so many classes, cells tell how many samples they hold."""

CELL_POINTS = 100.0
"""Points of font size for a cell of one inch and one digit, with some space beside it."""

LETTERS = 14.0
"""That fit into an inch of the title."""


def confusion_matrix(matrix: Sequence[Sequence[int]], title: str) -> Figure:
    """Samples by label (row) and predicted class (column), shaded by their share of the row.

    Args:
        matrix: (K, K) counts.
    """
    counts = np.asarray(matrix, np.int64)
    classes, per_label = len(counts), counts.sum(axis=1)
    share = counts / np.maximum(per_label, 1)[:, None]
    side = float(np.clip(0.38 * classes, 2.4, 6.4))
    figure = Figure(figsize=(side + 1.9, side + 1.0), layout="constrained", dpi=110)
    axes = figure.subplots()
    shown = np.ma.masked_array(share, np.repeat(per_label == 0, classes).reshape(counts.shape))
    axes.set_facecolor(EMPTY)
    # Paler than they are, mistakes of a few per cent would not be seen.
    image = axes.imshow(shown, cmap=SHADES, norm=PowerNorm(0.5, 0, 1), interpolation="nearest")
    if classes <= MOST_NUMBERED:
        longest = max(len(f"{count:,}") for count in counts.ravel())
        size = min(8.0, CELL_POINTS * side / classes / longest)
        for (label, found), count in np.ndenumerate(counts):
            if count:
                colour = "white" if share[label, found] > 0.4 else INK
                axes.text(
                    *(found, label, f"{count:,}"),
                    ha="center", va="center", fontsize=size, color=colour,
                )  # fmt: skip
    ticks = range(0, classes, max(1, -(-classes // MOST_NUMBERED)))
    axes.set_xticks(ticks)
    axes.set_yticks(ticks)
    axes.tick_params(labelsize=8, length=2)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("label")
    lines = textwrap.wrap(title, int(LETTERS * (side + 1.0)))
    axes.set_title("\n".join(lines), fontsize=9, loc="left")
    bar = figure.colorbar(image, ax=axes, pad=0.02, shrink=0.9)
    bar.set_label("share of the label's samples", fontsize=8)
    bar.ax.yaxis.set_major_formatter(PercentFormatter(1.0))
    bar.ax.tick_params(labelsize=8)
    return figure
