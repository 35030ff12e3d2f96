"""Picture of predicted values: beside those that were to come, and how far from them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

TARGET, PREDICTED = "#7a8da6", "#c1440e"

MOST_SHOWN = 200
"""Samples drawn one after the other; of more, the first."""


def values_figure(
    predicted: Sequence[Sequence[float]], targets: Sequence[Sequence[float]], title: str
) -> Figure:
    """The first output's values sample by sample (left), and against their targets (right).

    Args:
        predicted, targets: (N, K), in units of the data.
    """
    found, wanted = (np.asarray(values, np.float64)[:, 0] for values in (predicted, targets))
    shown = min(len(found), MOST_SHOWN)
    figure = Figure(figsize=(7.2, 3.0), layout="constrained", dpi=110)
    left, right = figure.subplots(1, 2, width_ratios=(2.2, 1))
    left.plot(wanted[:shown], color=TARGET, lw=1.8, label="to come")
    left.plot(found[:shown], color=PREDICTED, lw=0, marker=".", ms=3.5, label="predicted")
    left.set_xlabel("sample" if shown == len(found) else f"the first {shown} samples")
    left.set_ylabel("value")
    left.margins(x=0.01)
    ends = float(min(found.min(), wanted.min())), float(max(found.max(), wanted.max()))
    right.plot(ends, ends, color=TARGET, lw=1.2)
    right.plot(wanted, found, color=PREDICTED, lw=0, marker=".", ms=2.5)
    right.set_xlabel("to come")
    right.set_ylabel("predicted")
    for axes in (left, right):
        axes.grid(alpha=0.25)
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title, fontsize=9, x=0.01, ha="left")
    handles, names = left.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    return figure
