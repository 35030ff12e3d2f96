"""Pictures of a deployed network: populations and what joins them, and the cores they lie on."""

from __future__ import annotations

import math
import textwrap
from dataclasses import replace

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle
from matplotlib.patheffects import withStroke
from scipy import sparse

from neurodeploy.ir.quantized import QuantizedNetwork, QuantizedPopulation, QuantizedProjection
from neurodeploy.ir.schedule import depths
from neurodeploy.mapping import CoreMapping
from neurodeploy.neurons.constant import is_constant
from neurodeploy.reporting.mesh import (
    chip_corners,
    core_place,
    grid,
    mesh_size,
    strongest,
)
from neurodeploy.target import Chip

INK, INPUT, HIDDEN, READOUT = "#22303f", "#e9edf2", "#dbe9f6", "#e3f1e4"
ASIDE = "#4a5a6b"
FREE, EDGE, MESSAGE, BUSY = "#f4f6f8", "#c5ced8", "#c1440e", "#0b4a8a"
LOADS = "Blues"
WIDTH, HEIGHT = 0.86, 0.5
"""Of a box, where columns are 1 and rows 1 apart."""
SPREAD = 1.6
"""Distance of columns where populations project to themselves."""
LEVELS, COLUMNS, ARROWS = 24, 8, 120
"""Of a network's graph: lines, populations in a line, and arrows that are drawn at most."""
NAMED = 60
"""So many populations are named beside the numbers on a map of cores."""
LINES = 250
"""So many of the strongest connections are drawn."""


def network_graph(network: QuantizedNetwork) -> Figure:
    """Populations from top to bottom by pipeline depth, projections as arrows.

    A constant source leads to many populations and is named in their boxes instead. Of a deep
    network the first and the last ``LEVELS`` / 2 levels are drawn, of a wide level ``COLUMNS``
    populations, of many projections the first ``ARROWS``; what is left out is said in their place.
    """
    constants = {p.name for p in network.populations if is_constant(p)}
    biases = {
        p.target: f"{math.prod(p.operator.output_shape):,} biases from {p.source!r}"
        for p in network.projections
        if p.source in constants
    }
    network = replace(
        network,
        populations=tuple(p for p in network.populations if p.name not in constants),
        projections=tuple(p for p in network.projections if p.source not in constants),
    )
    depth = depths(network)
    rows: dict[int, list[QuantizedPopulation]] = {}
    for population in network.populations:
        rows.setdefault(depth[population.name], []).append(population)
    lines = _lines(rows, network.output)
    # An arrow back to where it starts has a label beside the box.
    apart = SPREAD if any(p.source == p.target for p in network.projections) else 1.0
    place = {
        item.name: (apart * (index - (len(line) - 1) / 2), -float(row))
        for row, line in enumerate(lines)
        for index, item in enumerate(line)
        if not isinstance(item, str)
    }
    wide = apart * (max(map(len, lines)) - 1) + 1
    figure = Figure(figsize=(max(5.6, 3.4 * wide), 0.4 + 0.95 * len(lines)), layout="constrained")
    axes = figure.subplots()
    joined = [p for p in network.projections if p.source in place and p.target in place]
    for projection in joined[:ARROWS]:
        _arrow(axes, projection, place)
    for row, line in enumerate(lines):
        for index, item in enumerate(line):
            if isinstance(item, str):
                at = (apart * (index - (len(line) - 1) / 2), -float(row))
                axes.text(*at, item, ha="center", va="center", fontsize=8.5, color=ASIDE)
                continue
            output = item.name == network.output
            _box(axes, item, place[item.name], output, biases.get(item.name, ""))
    hidden = len(network.projections) - len(joined[:ARROWS])
    if hidden:
        said = f"{hidden:,} of {len(network.projections):,} projections are not drawn"
        axes.text(0, 0.55 - len(lines), said, ha="center", va="center", fontsize=8, color=ASIDE)
    margin = 0.65 + (0.75 if _has_bow(joined, place) else 0.0)
    axes.set_xlim(-(wide - 1) / 2 - 0.75, (wide - 1) / 2 + margin)
    axes.set_ylim(-len(lines) + (0.45 if hidden else 0.6), 0.4)
    axes.axis("off")
    return figure


def _lines(
    rows: dict[int, list[QuantizedPopulation]], output: str
) -> list[list[QuantizedPopulation | str]]:
    """What stands in each line of the graph: populations, and words for those left out."""
    levels = sorted(rows)
    left_out: list[int] = []
    if len(levels) > LEVELS:
        left_out = levels[LEVELS // 2 : -LEVELS // 2]
        levels = levels[: LEVELS // 2] + levels[-LEVELS // 2 :]
    lines: list[list[QuantizedPopulation | str]] = []
    for level in levels:
        line: list[QuantizedPopulation | str] = [*rows[level]]
        if len(line) > COLUMNS:
            kept = sorted(rows[level], key=lambda p: p.name != output)[: COLUMNS - 1]
            line = [*kept, f"and {len(line) - len(kept):,} more populations"]
        lines.append(line)
    if left_out:
        count = sum(len(rows[level]) for level in left_out)
        lines.insert(
            LEVELS // 2, [f"{len(left_out):,} levels with {count:,} populations are left out here"]
        )
    return lines


def _box(
    axes: Axes, population: QuantizedPopulation, at: tuple[float, float], output: bool, more: str
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
    up = 0.04 if more else 0.0
    axes.text(
        x, y + 0.09 + up, population.name, ha="center", va="center", fontsize=9.5, weight="bold"
    )
    axes.text(x, y - 0.12 + 2 * up, f"{kind}, {neurons}", ha="center", va="center", fontsize=8)
    axes.text(x, y - 0.165, more, ha="center", va="center", fontsize=7, color=ASIDE)


def _arrow(
    axes: Axes, projection: QuantizedProjection, place: dict[str, tuple[float, float]]
) -> None:
    (x0, y0), (x1, y1) = place[projection.source], place[projection.target]
    passes = y0 - y1
    itself = projection.source == projection.target
    label = f"{projection.operator.kind}, {projection.operator.weights.size:,} weights"
    label += f" of {projection.weight_format.bits} bits"
    if projection.delay:
        label += f", delay {projection.delay}"
    if passes == 0 and not itself:
        # To the neighbour's facing side, with the label below; back from it, above.
        way = math.copysign(1, x1 - x0)
        start, stop, bend = (x0 + way * WIDTH / 2, y0), (x1 - way * WIDTH / 2, y1), 0.3
        text, align = ((x0 + x1) / 2, y0 - way * (HEIGHT / 2 + 0.08)), "center"
    elif passes == 1:
        start, stop, bend = (x0, y0 - HEIGHT / 2), (x1, y1 + HEIGHT / 2), 0.0
        text, align = ((x0 + x1) / 2 - 0.04, (y0 + y1) / 2), "right"
    else:
        # Around whatever lies between, or back to itself: always out to the right.
        side, apart = WIDTH / 2, 0.16 if itself else 0.08
        start, stop = (x0 + side, y0 - apart), (x1 + side, y1 + apart)
        bend = 1.3 if itself else -0.45 if passes > 0 else 0.45
        text, align = (max(x0, x1) + side + (0.12 if itself else 0.22), (y0 + y1) / 2), "left"
        label = label.replace(", ", ",\n", 1)
    style = f"arc3,rad={bend}"
    arrow = FancyArrowPatch(
        start, stop, arrowstyle="-|>", connectionstyle=style, mutation_scale=9, color=INK, lw=0.9
    )
    axes.add_patch(arrow)
    axes.text(*text, label, ha=align, va="center", fontsize=7, color=ASIDE)


def _has_bow(projections: list[QuantizedProjection], place: dict[str, tuple[float, float]]) -> bool:
    return any(place[p.source][1] - place[p.target][1] != 1 for p in projections)


def core_map(mapping: CoreMapping, chip: Chip, sent: sparse.csr_matrix) -> Figure:
    """Chips as meshes of tiles, messages as lines; cores by how full they are.

    That is the share in use of whatever each has least left of.

    Only chips with a part of the network are drawn, at most ``mesh.SHOWN_CHIPS``.

    Args:
        sent: messages from core to core, (parts, parts) in the order of the placements.
    """
    corner = chip_corners(mapping, chip)
    columns, rows = grid(len(corner))
    width, height = mesh_size(chip)
    scale = 6.4 / (columns * (width + 1.2))
    figure = Figure(figsize=(7.2, 0.9 + rows * (height + 2.0) * scale + 0.4), layout="constrained")
    axes = figure.subplots()
    palette = matplotlib.colormaps[LOADS]
    for number, at in corner.items():
        _draw_chip(axes, chip, at, f"chip {number}")
    centres = []
    for placement, use in zip(mapping.placements, mapping.uses, strict=True):
        if placement.chip not in corner:
            centres.append((math.nan, math.nan))
            continue
        x, y = core_place(placement.core, chip, corner[placement.chip])
        _, share = mapping.fullest([use])
        axes.add_patch(Rectangle((x, y), 0.92, 0.92, fc=palette(0.12 + 0.8 * min(share, 1)), lw=0))
        centres.append((x + 0.46, y + 0.46))
    _draw_messages(axes, np.array(centres), sent)
    _draw_numbers(axes, mapping, np.array(centres), 72 * scale)
    axes.set_xlim(-0.6, columns * (width + 1.2) - 0.6)
    axes.set_ylim(-(rows - 1) * (height + 2.0) - height - 0.3, 1.2)
    axes.set_aspect("equal")
    axes.axis("off")
    bar = ScalarMappable(
        Normalize(0, 100),
        ListedColormap(palette(0.12 + 0.8 * np.linspace(0, 1, 64))),
    )
    figure.colorbar(
        bar, ax=axes, location="bottom", shrink=0.5, aspect=34, pad=0.02,
        label="share in use of each core's scarcest resource, %",
    )  # fmt: skip
    return figure


def _draw_chip(axes: Axes, chip: Chip, corner: tuple[float, float], name: str) -> None:
    width, height = mesh_size(chip)
    x, y = corner
    outline = Rectangle(
        (x - 0.4, y - height), width + 0.45, height + 0.4, fill=False, ec="#7a8da6", lw=0.8
    )
    axes.add_patch(outline)
    axes.text(x - 0.4, y + 0.55, name, fontsize=8, va="bottom")
    for core in range(chip.cores.value):
        at = core_place(core, chip, corner)
        axes.add_patch(Rectangle(at, 0.92, 0.92, fc=FREE, ec=EDGE, lw=0.3))


def _draw_messages(axes: Axes, centres: np.ndarray, sent: sparse.csr_matrix) -> None:
    """The strongest connections as lines, thicker the more messages they carry."""
    row, column, count = strongest(sent, LINES)
    segments = np.stack([centres[row], centres[column]], axis=1)
    keep = np.isfinite(segments).all(axis=(1, 2))
    if not keep.any():
        return
    share = count[keep] / count.max()
    axes.add_collection(
        LineCollection(
            list(segments[keep]),
            linewidths=0.3 + 1.6 * share,
            colors=MESSAGE,
            alpha=0.25 if keep.sum() > 40 else 0.7,
        )
    )


def _draw_numbers(axes: Axes, mapping: CoreMapping, centres: np.ndarray, size: float) -> None:
    """On each core the number of its population, and above what the numbers mean.

    Args:
        size: of a core on the page, in points.
    """
    number = {name: i for i, name in enumerate(mapping.by_population(), start=1)}
    height = min(10.0, 0.45 * size)
    for placement, use, (x, y) in zip(mapping.placements, mapping.uses, centres, strict=True):
        if math.isfinite(x):
            dark = mapping.fullest([use])[1] > 0.45
            colour, halo = ("white", BUSY) if dark else (INK, "white")
            label = str(number[placement.population])
            text = axes.text(x, y, label, ha="center", va="center", fontsize=height, color=colour)
            text.set_path_effects([withStroke(linewidth=0.16 * height, foreground=halo)])
    names = [f"{i}\u00a0{name}" for name, i in number.items()]
    if len(names) > NAMED:
        names[NAMED:] = [f"and {len(names) - NAMED:,} more, in the order of the table"]
    lines = textwrap.wrap(", ".join(names), 104)
    axes.set_title("\n".join(lines), fontsize=8, loc="left", color=INK)
