"""Picture of a deployed network: populations in the order of the pipeline, and what joins them."""

from __future__ import annotations

import math

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from neurodeploy.ir.quantized import QuantizedNetwork, QuantizedPopulation, QuantizedProjection
from neurodeploy.ir.schedule import depths

INK, INPUT, HIDDEN, READOUT = "#22303f", "#e9edf2", "#dbe9f6", "#e3f1e4"
WIDTH, HEIGHT = 0.86, 0.5
"""Of a box, where columns are 1 and rows 1 apart."""


def network_graph(network: QuantizedNetwork) -> Figure:
    """Populations from top to bottom by pipeline depth, projections as arrows."""
    depth = depths(network)
    rows: dict[int, list[QuantizedPopulation]] = {}
    for population in network.populations:
        rows.setdefault(depth[population.name], []).append(population)
    levels = sorted(rows)
    place = {
        population.name: (index - (len(rows[level]) - 1) / 2, -float(row))
        for row, level in enumerate(levels)
        for index, population in enumerate(rows[level])
    }
    wide = max(len(found) for found in rows.values())
    figure = Figure(figsize=(max(5.6, 3.4 * wide), 0.4 + 0.95 * len(levels)), layout="constrained")
    axes = figure.subplots()
    for projection in network.projections:
        _arrow(axes, projection, place)
    for population in network.populations:
        _box(axes, population, place[population.name], population.name == network.output)
    margin = 0.65 + (0.75 if _has_bow(network, place) else 0.0)
    axes.set_xlim(-(wide - 1) / 2 - 0.75, (wide - 1) / 2 + margin)
    axes.set_ylim(-len(levels) + 0.6, 0.4)
    axes.axis("off")
    return figure


def _box(
    axes: Axes, population: QuantizedPopulation, at: tuple[float, float], output: bool
) -> None:
    neuron = population.neuron
    colour = INPUT if neuron is None else READOUT if output else HIDDEN
    x, y = at
    corner = (x - WIDTH / 2, y - HEIGHT / 2)
    axes.add_patch(
        FancyBboxPatch(
            corner, WIDTH, HEIGHT, "round,pad=0,rounding_size=0.07", fc=colour, ec=INK, lw=0.9
        )
    )
    kind = "input" if neuron is None else neuron.kind
    shape = " x ".join(map(str, population.shape))
    size = math.prod(population.shape)
    neurons = f"{shape} = {size:,}" if len(population.shape) > 1 else f"{size:,}"
    axes.text(x, y + 0.09, population.name, ha="center", va="center", fontsize=9.5, weight="bold")
    axes.text(x, y - 0.12, f"{kind}, {neurons}", ha="center", va="center", fontsize=8)


def _arrow(
    axes: Axes, projection: QuantizedProjection, place: dict[str, tuple[float, float]]
) -> None:
    (x0, y0), (x1, y1) = place[projection.source], place[projection.target]
    passes = y0 - y1
    label = f"{projection.operator.kind}, {projection.operator.weights.size:,} weights"
    label += f" of {projection.weight_format.bits} bits"
    if projection.delay:
        label += f", delay {projection.delay}"
    if passes == 1:
        start, stop, bend = (x0, y0 - HEIGHT / 2), (x1, y1 + HEIGHT / 2), 0.0
        text, align = ((x0 + x1) / 2 - 0.04, (y0 + y1) / 2), "right"
    else:
        # Around whatever lies between, or back to itself.
        side = WIDTH / 2
        start, stop = (x0 + side, y0 - 0.08), (x1 + side, y1 + 0.08)
        bend = -0.9 if passes == 0 else -0.45 if passes > 0 else 0.45
        text, align = (max(x0, x1) + side + 0.22, (y0 + y1) / 2), "left"
        label = label.replace(", ", ",\n", 1)
    style = f"arc3,rad={bend}"
    arrow = FancyArrowPatch(
        start, stop, arrowstyle="-|>", connectionstyle=style, mutation_scale=9, color=INK, lw=0.9
    )
    axes.add_patch(arrow)
    axes.text(*text, label, ha=align, va="center", fontsize=7, color="#4a5a6b")


def _has_bow(network: QuantizedNetwork, place: dict[str, tuple[float, float]]) -> bool:
    return any(place[p.source][1] - place[p.target][1] != 1 for p in network.projections)
