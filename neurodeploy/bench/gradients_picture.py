"""Picture of the bench of gradients: agreement with BPTT over epochs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, MaxNLocator

from neurodeploy.bench.gradients import ALL, GradientRow
from neurodeploy.support.files import written_whole

ROWS = (
    "SLTT, by layer\ncosine with BPTT",
    "all weights\ncosine with BPTT",
    "all weights\nlength relative to BPTT",
)
RULE_STYLES: dict[str, dict[str, Any]] = {
    "sltt": {"color": "#0b5fa5", "lw": 2.5},
    "ottt": {"color": "#e08a1e", "ls": "--"},
    "rate_m": {"color": "#2e7d4f"},
    "rate_s": {"color": "#9a4f96"},
}
"""OTTT often lies on SLTT: it is drawn over it, with gaps."""


def draw_gradients(title: str, rows: Sequence[GradientRow], path: Path) -> None:
    """Draw a column for each tau and T: SLTT by layer, every rule's direction, and its length.

    Args:
        title: what was trained.
        rows: of ``bench_gradients``.
        path: the PNG to write, whole or not at all.
    """
    columns = list(dict.fromkeys((row.tau, row.T) for row in rows))
    layers = [layer for layer in dict.fromkeys(row.layer for row in rows) if layer != ALL]
    shades = colormaps["viridis"]
    figure = Figure(figsize=(2.6 + 2.5 * len(columns), 7.2), layout="constrained", dpi=100)
    canvas = FigureCanvasAgg(figure)
    grid = figure.subplots(3, len(columns), sharex=True, sharey="row", squeeze=False)
    for (by_layer, by_rule, lengths), (tau, T) in zip(grid.T, columns, strict=True):
        here = [row for row in rows if (row.tau, row.T) == (tau, T)]
        by_layer.set_title(f"$\\tau$ = {tau:g}, T = {T}", fontsize=11)
        for number, layer in enumerate(layers):
            chosen = [row for row in here if (row.rule, row.layer) == ("sltt", layer)]
            shade = shades(0.9 * number / max(1, len(layers) - 1))
            _line(by_layer, chosen, "cosine", color=shade, label=layer)
        for rule, style in RULE_STYLES.items():
            chosen = [row for row in here if (row.rule, row.layer) == (rule, ALL)]
            _line(by_rule, chosen, "cosine", label=rule, **style)
            _line(lengths, chosen, "norm_ratio", label=rule, **style)
        lengths.axhline(1, color="black", lw=0.8, ls=":")
        lengths.set_yscale("log", base=2)
        lengths.yaxis.set_major_formatter(FormatStrFormatter("%g"))
        lengths.set_xlabel("epoch")
        lengths.xaxis.set_major_locator(MaxNLocator(integer=True))
    for axes, label in zip(grid[:, 0], ROWS, strict=True):
        axes.set_ylabel(label)
    for axes in grid[:, -1]:
        axes.legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1.0, 0.5))
    for axes in grid.flat:
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title, fontsize=11)
    with written_whole(path) as temporary, temporary.open("wb") as file:
        canvas.print_png(file)


def _line(axes: Axes, rows: Sequence[GradientRow], value: str, **style: Any) -> None:
    """One value of the rows over their epochs."""
    epochs = [row.epoch for row in rows]
    axes.plot(epochs, [getattr(row, value) for row in rows], marker=".", **{"lw": 1.5, **style})
