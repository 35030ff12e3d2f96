"""Draw docs/pipeline.png from a real demo folder. Run with ``make docs`` after ``make demo``."""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch
from matplotlib.ticker import PercentFormatter

from neurodeploy.artifacts.deployment import read_deployment
from neurodeploy.artifacts.folders import newest_deployment, newest_run
from neurodeploy.artifacts.names import COMPLETE, PARITY, SUMMARY
from neurodeploy.reporting.pictures import ALL, EQUAL, FEW, SOME
from neurodeploy.workflow.samples import choose_samples

INK, BLUE, GREEN, GREY = "#1d2a38", "#0b5fa5", "#2e7d4f", "#7a8da6"


def draw(demo: Path, out: Path) -> None:
    """Five panels, each with what the step really produced."""
    run = newest_run(demo / "runs")
    deployment = read_deployment(newest_deployment(demo / "deployments"))
    report = json.loads((deployment.results / "reference-lava" / PARITY).read_text())
    figure = Figure(figsize=(15.0, 3.6), dpi=110)
    canvas = FigureCanvasAgg(figure)
    panels = figure.subplots(1, 5, gridspec_kw={"wspace": 0.42})
    figure.subplots_adjust(left=0.04, right=0.985, top=0.70, bottom=0.15)
    summary = json.loads((run / COMPLETE).read_text())
    lava = json.loads((deployment.results / "lava" / SUMMARY).read_text())
    cores = len(deployment.mapping.placements)
    captions = [
        ("1  train", f"SLTT in PyTorch\ntest {summary['test_accuracy']:.2%}"),
        ("2  export to NIR", "graph, weights, semantics\nread back from the file"),
        ("3  quantise and map", f"8-bit weights\n{cores} of 128 Loihi 2 cores"),
        ("4  simulate", f"Lava, {lava['samples']} test images\ntest {lava['accuracy']:.2%}"),
        (
            "5  validate",
            f"{report['samples']} images, {report['compared']:,} values\n"
            f"{report['mismatches']} mismatches",
        ),
    ]
    metrics = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    epochs = [m["epoch"] for m in metrics]
    for name, colour in (("training", GREY), ("validation", BLUE)):
        key = "train_accuracy" if name == "training" else "validation_accuracy"
        panels[0].plot(epochs, [m[key] for m in metrics], color=colour, lw=1.4, label=name)
    panels[0].set_xlabel("epoch", fontsize=8)
    panels[0].set_ylabel("accuracy", fontsize=8)
    panels[0].yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    panels[0].legend(frameon=False, fontsize=7, loc="lower right")
    _draw_graph(panels[1], deployment)
    _draw_weights(panels[2], deployment)
    _draw_spikes(panels[3], deployment)
    _draw_parity(panels[4], report)
    for axes, (title, caption) in zip(panels, captions, strict=True):
        axes.set_title(title, fontsize=12, color=INK, fontweight="bold", pad=38)
        axes.text(0.5, 1.05, caption, transform=axes.transAxes, ha="center", fontsize=9, color=INK)
        axes.tick_params(labelsize=7)
        axes.spines[["top", "right"]].set_visible(False)
    for left, right in itertools.pairwise(panels):
        start, end = left.get_position(), right.get_position()
        y = 0.868
        figure.patches.append(
            FancyArrowPatch((start.x1 - 0.004, y), (end.x0 + 0.004, y), color=GREY,
                            arrowstyle="-|>", mutation_scale=14, transform=figure.transFigure)
        )  # fmt: skip
    with out.open("wb") as file:
        canvas.print_png(file)


def _draw_graph(axes, deployment) -> None:
    axes.set_axis_off()
    populations = deployment.network.populations
    for index, population in enumerate(populations):
        y = 1 - (index + 0.5) / len(populations)
        kind = "Input" if population.neuron is None else population.neuron.kind
        shape = "x".join(map(str, population.shape))
        box = {"boxstyle": "round,pad=0.4", "fc": "#f2f5f8", "ec": BLUE}
        style = {"ha": "center", "va": "center", "fontsize": 8, "bbox": box}
        axes.text(0.5, y, f"{population.name}: {kind} {shape}", **style)
        for projection in deployment.network.projections:
            if projection.source == population.name:
                axes.annotate("", (0.5, y - 1 / len(populations) + 0.075), (0.5, y - 0.075),
                              arrowprops={"arrowstyle": "-|>", "color": GREY})  # fmt: skip
                axes.text(0.53, y - 0.5 / len(populations), projection.name, fontsize=7,
                          va="center", color=INK)  # fmt: skip
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)


def _draw_weights(axes, deployment) -> None:
    for projection, colour in zip(
        deployment.network.projections, (BLUE, GREEN, GREY), strict=False
    ):
        weights = projection.operator.weights.ravel()
        axes.hist(weights, bins=np.arange(-256, 257, 16), histtype="step", density=True,
                  color=colour, lw=1.4, label=projection.name)  # fmt: skip
    axes.set_xlabel("integer weight", fontsize=8)
    axes.set_yticks([])
    axes.legend(frameon=False, fontsize=7)


def _draw_spikes(axes, deployment) -> None:
    from neurodeploy.simulation.engines import ReferenceEngine

    samples = choose_samples(deployment.network, samples=1)
    ((_, trace),) = ReferenceEngine(deployment.network).run(samples.batches(1))
    row = 0
    for population in deployment.network.populations:
        if population.neuron is None or population.neuron.threshold is None:
            continue
        spikes = (
            trace.populations[population.name].s[0].reshape(deployment.network.contract.steps, -1)
        )
        chosen = spikes[:, spikes.any(axis=0)][:, :60]
        at, neuron = np.nonzero(chosen)
        axes.scatter(at, neuron + row, marker="_", s=60, lw=1.0, color=BLUE if row == 0 else GREEN)
        row += 66
    axes.set_xlabel("step", fontsize=8)
    axes.set_xticks(range(deployment.network.contract.steps))
    axes.set_ylabel("60 active neurons a layer", fontsize=7)
    axes.set_yticks([])


def _draw_parity(axes, report) -> None:
    counts = np.array([p["mismatches_by_step"] for p in report["populations"]])
    compared = np.array([[p["compared"]] for p in report["populations"]]) / counts.shape[1]
    colours = LinearSegmentedColormap.from_list("parity", [FEW, SOME, ALL]).with_extremes(bad=EQUAL)
    share = np.ma.masked_equal(counts / compared, 0)
    axes.imshow(share, aspect="auto", cmap=colours, vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        axes.text(column, row, str(count), ha="center", va="center", fontsize=8, color=INK)
    axes.set_yticks(range(len(counts)), [p["name"] for p in report["populations"]], fontsize=7)
    axes.set_xticks(range(counts.shape[1]))
    axes.set_xlabel("step: values that differ", fontsize=8)


if __name__ == "__main__":
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "demo")
    draw(folder, Path(__file__).with_name("pipeline.png"))
