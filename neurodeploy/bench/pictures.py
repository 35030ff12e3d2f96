"""Pictures of benches: agreement with BPTT over epochs, and accuracy against bits and energy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import (
    FormatStrFormatter,
    LogLocator,
    MaxNLocator,
    NullFormatter,
    PercentFormatter,
    StrMethodFormatter,
)

from neurodeploy.bench.conversion import PLAIN, ConversionRow
from neurodeploy.bench.gradients import ALL, GradientRow
from neurodeploy.bench.pareto import ParetoRow
from neurodeploy.support.figures import png, write_picture
from neurodeploy.support.files import write_whole

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
    grid = figure.subplots(3, len(columns), sharex=True, sharey="row", squeeze=False)
    for (by_layer, by_rule, lengths), (tau, T) in zip(grid.T, columns, strict=True):
        here = [row for row in rows if (row.tau, row.T) == (tau, T)]
        by_layer.set_title(f"τ = {tau:g}, T = {T}", fontsize=11)
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
        lengths.yaxis.set_minor_formatter(NullFormatter())
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
    write_whole(path, png(figure))


def pareto_picture(title: str, rows: Sequence[ParetoRow], path: Path) -> None:
    """Draw accuracy against synaptic operations and against energy, the best points joined.

    Args:
        title: what was trained.
        rows: of ``bench_pareto``, marked by ``with_best``.
        path: the PNG to write, whole or not at all; the same as SVG beside it.
    """
    figure = Figure(figsize=(10.4, 4.4), layout="constrained", dpi=100)
    energies = [row for row in rows if row.energy_low_nj is not None]
    panels = figure.subplots(1, 2 if energies else 1, sharey=True, squeeze=False)[0]
    _points(panels[0], rows, [row.synaptic_ops for row in rows])
    panels[0].set_xlabel("synaptic operations per sample")
    panels[0].set_ylabel("test accuracy of the integers")
    panels[0].yaxis.set_major_formatter(PercentFormatter(1.0, decimals=1))
    if energies:
        low = [row.energy_low_nj or 0.0 for row in energies]
        high = [row.energy_high_nj or 0.0 for row in energies]
        middle = [(a + b) / 2 for a, b in zip(low, high, strict=True)]
        panels[1].hlines([row.accuracy for row in energies], low, high, color=COLOURS[0], lw=1.0)
        _points(panels[1], energies, middle)
        for name, value, dashes in (
            ("as a 32-bit ANN", rows[0].ann_nj, "--"),
            ("as an 8-bit ANN", rows[0].ann_8bit_nj, ":"),
        ):
            panels[1].axvline(value, color=FLOAT, lw=1.0, ls=dashes, label=name)
        error = energies[0].energy_error.replace("; ", "\n")
        held = f"\nagainst the chip: {error}" if error else ""
        panels[1].set_xlabel(f"estimated dynamic energy per sample in nJ{held}")
        # Above the points, which may lie anywhere.
        panels[1].legend(
            frameon=False, fontsize=9, ncols=2, loc="lower right", bbox_to_anchor=(1.0, 1.0)
        )
    for axes in panels:
        axes.set_xscale("log")
        # Numbers, of which there are some within a decade too.
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.10g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.margins(0.12, 0.15)
        axes.grid(alpha=0.25, which="both")
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(f"{title}: {rows[0].key}", fontsize=11)
    write_picture(figure, path)


def _points(axes: Axes, rows: Sequence[ParetoRow], places: Sequence[float]) -> None:
    """A point for each row at its place, named by its value; a line through the best."""
    best = sorted((x, row.accuracy) for x, row in zip(places, rows, strict=True) if row.best)
    axes.plot(*zip(*best, strict=True), color=COLOURS[1], lw=1.6, zorder=1)
    for number, (x, row) in enumerate(zip(places, rows, strict=True)):
        colour = COLOURS[1] if row.best else COLOURS[0]
        axes.plot([x], [row.accuracy], "o", color=colour, ms=6 if row.best else 5, zorder=2)
        text = axes.annotate(
            row.value,
            (x, row.accuracy),
            xytext=(0, 8 if number % 2 else -15),
            textcoords="offset points",
            ha="center",
            fontsize=9,
            color=colour,
        )
        text.set_path_effects([withStroke(linewidth=2.5, foreground="white")])


def _line(axes: Axes, rows: Sequence[GradientRow], value: str, **style: Any) -> None:
    """One value of the rows over their epochs."""
    epochs = [row.epoch for row in rows]
    axes.plot(epochs, [getattr(row, value) for row in rows], marker=".", **{"lw": 1.5, **style})


COLOURS = ("#7a8da6", "#0b5fa5")
FLOAT = "#c1440e"
CHANCE_BELOW = 0.5
"""Points this far below the float network would flatten the rest; the axis ends above them."""


def accuracy_curve(title: str, rows: Sequence[tuple[int, str, float, float]]) -> Figure:
    """Accuracy against the width of weights, one line per mode.

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


METHOD_COLOURS = {"mmse": "#0b5fa5", "percentile": "#e08a1e", "max": "#2e7d4f"}
WORST = 0.5
"""Error rates end here: above it a network is of no use."""


def conversion_curve(title: str, rows: Sequence[ConversionRow]) -> Figure:
    """Share of wrong answers against T, one line per method; dashed where rates round down."""
    figure = Figure(figsize=(8.4, 4.2), layout="constrained", dpi=110)
    axes = figure.subplots()
    ann = rows[0].ann_accuracy
    axes.axhline(1 - ann, color=FLOAT, lw=1.0, ls="--", label=f"with ReLUs, {ann:.2%} right")
    for name in dict.fromkeys(row.method for row in rows):
        points = sorted((row.T, 1 - row.accuracy) for row in rows if row.method == name)
        times, errors = zip(*points, strict=True)
        colour = METHOD_COLOURS[name.removesuffix(PLAIN)]
        dashes = ":" if name.endswith(PLAIN) else "-"
        axes.plot(times, errors, color=colour, ls=dashes, marker="o", ms=4.5, lw=1.6, label=name)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.yaxis.set_minor_formatter(NullFormatter())
    lowest = min(1 - ann, *(1 - row.accuracy for row in rows))
    axes.set_ylim(max(lowest, 1e-4) * 0.8, WORST)
    axes.set_xlabel("T, steps per sample")
    axes.set_ylabel("test samples whose class is wrong")
    axes.set_title(title, fontsize=10, loc="left")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    # Beside the axes: lines cross everywhere in them.
    axes.legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure
