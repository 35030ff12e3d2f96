"""Spike raster of one sample: every population, neuron by step."""

from __future__ import annotations

import textwrap
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator, StrMethodFormatter

from neurodeploy.simulation.trace import PopulationTrace, SpikeTrace

SPIKE, INPUT, READOUT = "#0b5fa5", "Greys", "viridis"
SPIKES = ListedColormap(["#f2f5f8", SPIKE])
SHADED_STEPS = 64
"""Up to so many steps spikes are drawn as cells, beyond as ticks."""
TALLEST, SHORTEST = 12.0, 0.75
"""Inches that all populations share, and that each has however many they are."""
ROWS = 512
"""More neurons than that are drawn as the means of neighbours: there are no more pixels."""


def raster(trace: SpikeTrace, title: str) -> Figure:
    """The batch's first sample: spikes as ticks, graded input and read-out v in shades.

    Args:
        trace: at least one sample.
    """
    names = list(trace.populations)
    sizes = [trace.populations[name].s[0, 0].size for name in names]
    heights = [0.8 + 0.57 * np.log10(max(size, 1)) for size in sizes]
    if sum(heights) > TALLEST:
        heights = [max(SHORTEST, TALLEST / len(names))] * len(names)
    figure = Figure(figsize=(6.6, 0.9 + sum(heights)), layout="constrained", dpi=120)
    rows = figure.subplots(len(names), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    steps = trace.populations[names[0]].s.shape[1]
    for axes, name in zip(rows, names, strict=True):
        _draw_population(figure, axes, name, trace.populations[name])
        axes.spines[["top", "right"]].set_visible(False)
        axes.yaxis.set_major_locator(MaxNLocator(nbins=3, integer=True))
        axes.set_xlim(-0.5, steps - 0.5)
    figure.supylabel("neuron", fontsize=9)
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
    for boundary in range(1, steps):
        axes.axvline(boundary - 0.5, color="white", lw=1.0)
    if label:
        bar = figure.colorbar(image, ax=axes, label=label, pad=0.01, format=EngFormatter(sep=""))
        bar.locator = MaxNLocator(nbins=3)
        bar.ax.tick_params(labelsize=8)
