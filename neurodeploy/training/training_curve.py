"""Plot of a run: loss, accuracy or the error of values, and firing rates over epochs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import (
    FormatStrFormatter,
    LogLocator,
    MaxNLocator,
    NullFormatter,
    PercentFormatter,
)

from neurodeploy.nn.network import INPUT
from neurodeploy.training.metrics import EpochMetrics

TITLES = {"accuracy": "accuracy", "smape": "sMAPE"}
TRAIN, VALIDATION, BEST = "#7a8da6", "#0b5fa5", "#c1440e"


def curve_figure(
    title: str, history: Sequence[EpochMetrics], best_epoch: int, test_score: float
) -> Figure:
    """Loss (left) and accuracy or sMAPE (right) of both parts, with the chosen epoch marked.

    Firing rates of the layers are below, where every epoch has those of the same layers.

    Args:
        title: the recipe's name.
        history: one entry per epoch.
        best_epoch: counted from 1.
        test_score: of the best epoch's weights: accuracy, 0 to 1, or sMAPE, 0 to 200.
    """
    epochs = [metrics.epoch for metrics in history]
    # No pyplot: it would pick a display and keep the figure alive.
    has_rates = all(len(metrics.firing_rates) > 1 for metrics in history)
    figure = Figure(figsize=(7.2, 5.9 if has_rates else 3.5), layout="constrained")
    upper, *lower = figure.subfigures(
        1 + has_rates, 1, squeeze=False, height_ratios=(3, 2)[: 1 + has_rates]
    )[:, 0]
    loss_axes, score_axes = upper.subplots(1, 2)
    score = history[0].quantity
    panels = {"loss": loss_axes, TITLES[score]: score_axes}
    if has_rates:
        panels["spikes per neuron and step"] = lower[0].subplots()
        _draw_rates(panels["spikes per neuron and step"], history)
    for name, axes in panels.items():
        axes.axvline(best_epoch, color=BEST, lw=1.0, ls="--", label=f"best epoch, {best_epoch}")
        axes.set_xlabel("epoch")
        axes.set_title(name, fontsize=11)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if len(history) == 1:
            axes.set_xticks(epochs)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    for quantity, axes in (("loss", loss_axes), (score, score_axes)):
        for part, colour in (("train", TRAIN), ("validation", VALIDATION)):
            values = [getattr(metrics, f"{part}_{quantity}") for metrics in history]
            marker = "o" if len(history) < 3 else ""
            axes.plot(epochs, values, color=colour, label=part, lw=1.6, marker=marker, ms=4)
    _logarithmic(loss_axes)
    found = f"{test_score:.3f}" if score == "smape" else f"{100 * test_score:.2f} %"
    score_axes.plot(
        [best_epoch], [test_score], ls="", marker="D", ms=6, color=BEST, label=f"test, {found}"
    )
    if score == "smape":
        _logarithmic(score_axes)
    else:
        _in_percent(score_axes, history, test_score)
    figure.suptitle(title, fontsize=12)
    handles, labels = score_axes.get_legend_handles_labels()
    upper.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    return figure


def _logarithmic(axes: Axes) -> None:
    """Ticks of a scale on which errors fall."""
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
    axes.yaxis.set_major_formatter(FormatStrFormatter("%g"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _in_percent(axes: Axes, history: Sequence[EpochMetrics], test_accuracy: float) -> None:
    """Ticks of accuracies, up to 100 %."""
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    bottom, top = _accuracy_range(history, test_accuracy)
    ticks = MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]).tick_values(bottom, 1.0)
    axes.set_yticks([tick for tick in ticks if bottom <= tick <= 1.0 + 1e-9])
    axes.set_ylim(bottom, top)


def _draw_rates(axes: Axes, history: Sequence[EpochMetrics]) -> None:
    """Spikes per neuron and step of every layer, dark for the first and light for the last.

    None so light, or so dark when a report inverts it, that it is hard to see.
    """
    layers = [name for name in history[0].firing_rates if name != INPUT]
    shades = colormaps["viridis"](np.linspace(0, 0.68, len(layers)))
    for name, shade in zip(layers, shades, strict=True):
        rates = [metrics.firing_rates[name] for metrics in history]
        marker = "o" if len(history) < 3 else ""
        epochs = [metrics.epoch for metrics in history]
        label = f"{name}, {rates[-1]:.3f}"
        axes.plot(epochs, rates, color=shade, lw=1.4, marker=marker, ms=4, label=label)
    highest = max(max(metrics.firing_rates[name] for name in layers) for metrics in history)
    axes.set_ylim(0, 1.08 * highest or 0.1)
    axes.legend(
        loc="center left",
        bbox_to_anchor=(1.0, 0.5),
        ncols=-(-len(layers) // 12),
        frameon=False,
        fontsize=8,
        title="at the end",
        title_fontsize=8,
    )


def _accuracy_range(history: Sequence[EpochMetrics], test_accuracy: float) -> tuple[float, float]:
    """From a little below all but the first tenth of the epochs, which start near chance."""
    later = history[len(history) // 10 :]
    values = [score or 0.0 for m in later for score in m.scores.values()]
    bottom = min(*values, test_accuracy)
    margin = 0.05 * (1 - bottom) + 0.002
    return max(0.0, bottom - margin), 1 + margin
