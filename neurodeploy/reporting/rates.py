"""Picture of how active each population is."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

BAR, TEXT = "#0b5fa5", "#22303f"


def firing_rates(activity: Mapping[str, np.ndarray], steps: int) -> Figure:
    """Spikes per neuron and step of each population: the mean as a bar, quartiles as a line.

    Args:
        activity: mean spikes per sample of every neuron, by population.
        steps: T, of a sample.
    """
    names = list(activity)
    figure = Figure(figsize=(7.2, 0.9 + 0.32 * len(names)), layout="constrained")
    axes = figure.subplots()
    for row, name in enumerate(names):
        rates = activity[name].ravel() / steps
        low, high = np.quantile(rates, (0.25, 0.75))
        axes.barh(row, rates.mean(), color=BAR, height=0.62, alpha=0.75)
        axes.plot([low, high], [row, row], color=TEXT, lw=1.4)
        silent = float((rates == 0).mean())
        label = f" {rates.mean():.3f}" + (f", {silent:.0%} silent" if silent else "")
        axes.text(max(rates.mean(), high), row, label, va="center", fontsize=7.5, color=TEXT)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.invert_yaxis()
    axes.margins(x=0.18)
    axes.set_xlim(left=0)
    axes.set_xlabel("spikes per neuron and step: mean, and the middle half of the neurons")
    axes.spines[["top", "right"]].set_visible(False)
    return figure
