"""Plot of a run: loss and accuracy over epochs."""

from __future__ import annotations

import io
from collections.abc import Sequence

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from neurodeploy.training.metrics import EpochMetrics

TRAIN, VALIDATION, BEST = "#7a8da6", "#0b5fa5", "#c1440e"


def learning_curve(
    title: str, history: Sequence[EpochMetrics], best_epoch: int, test_accuracy: float
) -> bytes:
    """Draw loss (left) and accuracy (right) of both parts, with the chosen epoch marked.

    Args:
        title: the recipe's name.
        history: one entry per epoch.
        best_epoch: counted from 1.
        test_accuracy: of the best epoch's weights, 0 to 1.

    Returns:
        A PNG.
    """
    epochs = [metrics.epoch for metrics in history]
    # No pyplot: it would pick a display and keep the figure alive.
    figure = Figure(figsize=(9.0, 3.6), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    loss_axes, accuracy_axes = figure.subplots(1, 2)
    for axes, quantity in ((loss_axes, "loss"), (accuracy_axes, "accuracy")):
        for part, colour in (("train", TRAIN), ("validation", VALIDATION)):
            values = [getattr(metrics, f"{part}_{quantity}") for metrics in history]
            marker = "o" if len(history) < 3 else ""
            axes.plot(epochs, values, color=colour, label=part, lw=1.6, marker=marker, ms=4)
        axes.axvline(best_epoch, color=BEST, lw=1.0, ls="--", label=f"best epoch ({best_epoch})")
        axes.set_xlabel("epoch")
        axes.set_title(quantity, fontsize=11)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    loss_axes.set_yscale("log")
    loss_axes.legend(frameon=False, fontsize=9)
    accuracy_axes.plot(
        [best_epoch],
        [test_accuracy],
        ls="",
        marker="D",
        ms=6,
        color=BEST,
        label=f"test: {100 * test_accuracy:.2f} %",
    )
    accuracy_axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    accuracy_axes.legend(frameon=False, fontsize=9, loc="lower right")
    figure.suptitle(title, fontsize=12)
    buffer = io.BytesIO()
    canvas.print_png(buffer)
    return buffer.getvalue()
