"""What a picture shows of more populations than can be told apart on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from neurodeploy.simulation.trace import SpikeTrace

CURVE, SILENT = "#0b5fa5", "#c1440e"


def chosen(names: Sequence[str], most: int, keep: str) -> list[str]:
    """At most so many names in their order, spread evenly: the first, the last and ``keep`` too.

    Args:
        most: at least 3.
    """
    found = [names[place] for place in label_places(len(names), most)]
    if keep not in found:
        found = [names[place] for place in label_places(len(names), most - 1)] + [keep]
    return [name for name in names if name in found]


def label_places(count: int, most: int) -> list[int]:
    """At most so many of the rows 0 to ``count`` - 1, spread evenly, to be labelled."""
    if count <= most:
        return list(range(count))
    return sorted(set(np.linspace(0, count - 1, most).round().astype(int).tolist()))


def draw_shares(figure: Figure, axes: Axes, trace: SpikeTrace, below: int) -> None:
    """One row per population: the share of its neurons that are active in each step."""
    names = list(trace.populations)
    found = [trace.populations[name].s[0] for name in names]
    share = np.stack([(s.reshape(len(s), -1) != 0).mean(axis=1) for s in found])
    style: dict[str, Any] = {"aspect": "auto", "interpolation": "nearest", "vmin": 0}
    image = axes.imshow(share, cmap="Blues", vmax=max(float(share.max()), 1e-12), **style)
    bar = figure.colorbar(image, ax=axes, label="share active", pad=0.01)
    bar.ax.tick_params(labelsize=8)
    silent = int((share.max(axis=1) == 0).sum())
    said = f"all {len(names):,} populations, {silent:,} of them without any event"
    axes.set_title(f"{said}; {below} of them below", fontsize=9, loc="left", pad=3)
    places = label_places(len(names), 8)
    axes.set_yticks(places, [names[place] for place in places], fontsize=8)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def rate_curve(activity: Mapping[str, np.ndarray], steps: int) -> Figure:
    """The means as a curve over the populations, the middle half of their neurons as a band."""
    names = list(activity)
    rates = [values.ravel() / steps for values in activity.values()]
    means = np.array([values.mean() for values in rates])
    low, high = np.array([np.quantile(values, (0.25, 0.75)) for values in rates]).T
    figure = Figure(figsize=(7.2, 3.6), layout="constrained")
    axes = figure.subplots()
    at = np.arange(len(names))
    axes.fill_between(at, low, high, step="mid", color=CURVE, alpha=0.25, lw=0)
    axes.step(at, means, where="mid", color=CURVE, lw=1.2)
    (silent,) = np.nonzero(means == 0)
    axes.plot(silent, np.zeros(len(silent)), ls="", marker="|", ms=7, color=SILENT)
    axes.set_title(
        f"{len(names):,} populations, {len(silent):,} of them silent (marked in red)",
        **{"fontsize": 9, "loc": "left"},
    )
    places = label_places(len(names), 12)
    axes.set_xticks(places, [names[place] for place in places], fontsize=8, rotation=30, ha="right")
    axes.set_xlim(-0.5, len(names) - 0.5)
    axes.set_ylim(bottom=-0.02 * max(float(high.max()), float(means.max()), 1e-3))
    axes.set_ylabel("spikes per neuron and step")
    axes.set_xlabel("population: mean, and the middle half of its neurons")
    axes.spines[["top", "right"]].set_visible(False)
    return figure
