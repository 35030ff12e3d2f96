"""Parity map: where two engines agree, population by step."""

from __future__ import annotations

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from neurodeploy.reporting.parity import ParityReport

AGREE, DIFFER, INK = "#2e7d4f", "#c1440e", "#22303f"


def parity_map(report: ParityReport) -> Figure:
    """The share of equal values per population and step, with the count of different ones."""
    names = [p.name for p in report.populations]
    counts = np.array([p.mismatches_by_step for p in report.populations])
    steps = counts.shape[1]
    values = np.array([max(p.compared, 1) / steps for p in report.populations])
    share = counts / values[:, None]
    figure = Figure(
        figsize=(2.6 + min(9.0, 0.55 * steps + 2.4), 1.6 + 0.42 * len(names)),
        layout="constrained",
        dpi=110,
    )
    axes = figure.subplots()
    colours = LinearSegmentedColormap.from_list("parity", [AGREE, "#e8d9a0", DIFFER])
    worst = max(float(share.max()), 1e-12)
    image = axes.imshow(
        share, aspect="auto", cmap=colours, vmin=0, vmax=worst if share.any() else 1
    )
    if steps <= 40:
        for (row, column), count in np.ndenumerate(counts):
            pale = 0.25 < share[row, column] / worst < 0.75
            axes.text(
                *(column, row, f"{count:,}"), ha="center", va="center", fontsize=7,
                color=INK if pale else "white",
            )  # fmt: skip
    axes.set_yticks(range(len(names)), names)
    axes.set_xticks(range(0, steps, max(1, steps // 16)))
    axes.set_xlabel("model step t")
    if share.any():
        figure.colorbar(image, ax=axes, label="share of values that differ", pad=0.02)
    what = "u, v and spikes" if report.exact else "spikes"
    verdict = "all equal" if report.mismatches == 0 else f"{report.mismatches:,} differ"
    axes.set_title(
        f"{report.engines[0]} against {report.engines[1]}: {report.compared:,} values of {what} "
        f"over {report.samples} samples, {verdict}",
        fontsize=9,
        loc="left",
    )
    return figure
