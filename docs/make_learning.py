"""Measure learning on digits and MNIST; draw the pictures and write the tables of docs/learning.md.

    .venv/bin/python docs/make_learning.py FOLDER [MNIST.npz]

Trains, exports and learns with three seeds, in Lava; what FOLDER holds already is not done again.
The table of MNIST stays as it is without the file.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Rectangle
from matplotlib.ticker import PercentFormatter

from neurodeploy.artifacts.deployment import read_deployment
from neurodeploy.lava.onchip.shared import LearningTimetable
from neurodeploy.recipe import load_recipe
from neurodeploy.training.run import train
from neurodeploy.workflow.export import export
from neurodeploy.workflow.learning.learn import learn
from neurodeploy.workflow.quantization import QuantizationOptions

SEEDS = (0, 1, 2)
HERE = Path(__file__).parent
MARKS = "<!-- begin {} -->", "<!-- end {} -->"
COLOURS = {"sltt": "#0b5fa5", "sltt, random feedback": "#2e7d4f", "delta": "#c1440e"}
INK, CEILING, LEVEL = "#1d2a38", "#7a5195", "#7a8da6"
STEPS = ("#0b5fa5", "#2e7d4f", "#c1440e", "#7a5195")


@dataclass(frozen=True)
class Case:
    """One way of learning one task.

    Attributes:
        data: ``digits``, trained with each seed, or ``mnist``, trained once.
        degrees: of ``drift``, where they are not its own.
    """

    data: str
    task: str
    rule: str
    feedback: str = "transposed"
    degrees: float | None = None

    @property
    def shown_task(self) -> str:
        return f"{self.task}, {self.degrees:g}°" if self.degrees else self.task

    @property
    def label(self) -> str:
        return self.rule if self.feedback == "transposed" else f"{self.rule}, random feedback"

    @property
    def quantization(self) -> QuantizationOptions:
        if self.task != "continue":
            return QuantizationOptions()
        # Scales chosen on data lose nothing that would show at 4 bits on MNIST.
        return QuantizationOptions(4, "max" if self.data == "mnist" else None)

    @property
    def exclude(self) -> list[int]:
        return [9] if self.task == "new-class" else []


TASKS = ("continue", "drift", "new-class")
DIGITS = [
    Case("digits", task, rule, feedback)
    for task in TASKS
    for rule, feedback in (("sltt", "transposed"), ("sltt", "random"), ("delta", "transposed"))
]
MNIST = [
    *(Case("mnist", task, "sltt") for task in TASKS),
    Case("mnist", "drift", "delta"),
    Case("mnist", "drift", "sltt", degrees=40.0),
]


def measure(folder: Path, case: Case, seed: int, data: Path | None = None) -> dict[str, Any]:
    """``learning.json`` of one case and seed."""
    training = seed if case.data == "digits" else 0
    stem = f"{case.data}-without-9-{training}" if case.exclude else f"{case.data}-{training}"
    run = folder / "runs" / stem
    if not run.is_dir():
        overrides = [f"seed={training}", f"data.exclude={case.exclude}"]
        if data is not None:
            overrides.append(f"data.path={json.dumps(str(data.absolute()))}")
        train(load_recipe(f"{case.data}_conv", overrides), run, progress=False)
    width = case.quantization.weight_bits or 8
    deployed = folder / "deployments" / f"{stem}-{width}bit"
    if not deployed.is_dir():
        export(run, "loihi2", deployed, quantization=case.quantization)
    named = f"{case.data}-{case.task}{case.degrees or ''}-{case.rule}-{case.feedback}-{seed}"
    out = folder / "learnt" / named
    return learnt(
        *(deployed, out, case.task),
        rule=case.rule,
        feedback=case.feedback,
        seed=seed,
        degrees=case.degrees,
        data=data,
    )


def learnt(deployed: Path, out: Path, task: str, **options: Any) -> dict[str, Any]:
    """``learning.json`` of a deployment that learns, unless it has already.

    Args:
        options: as ``workflow.learning.learn.learn`` takes them.
    """
    if not out.is_dir():
        learn(read_deployment(deployed), task, out=out, progress=False, **options)
    found = json.loads((out / "learning.json").read_text())
    print(f"{out.name}: {found['accuracy_before']:.2%} to {found['accuracy_after']:.2%}")
    return found


def table(found: dict[Case, list[dict[str, Any]]]) -> str:
    """Markdown: a row per case, its three seeds side by side."""
    rows = [
        "| task | rule | before | after | to come back to | recovered | PyTorch, float "
        "| mismatches | samples/s |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for case, results in found.items():
        names = ["all", "new", "old"] if case.task == "new-class" else [results[0]["measure"]]

        def seeds(values: Callable[[dict[str, Any]], float | None], results: Any = results) -> str:
            cells = [values(result) for result in results]
            return " / ".join("–" if cell is None else f"{100 * cell:.1f}" for cell in cells)

        def each(key: str, names: list[str] = names, seeds: Any = seeds) -> str:
            texts = [seeds(lambda r, name=name: r[key][name]) for name in names]
            named = zip(names, texts, strict=True)
            return "<br>".join(f"{n}: {t}" if len(names) > 1 else t for n, t in named)

        level = {
            "continue": lambda r: r["accuracy_float"],
            "drift": lambda r: r["accuracies_before"]["upright"],
        }.get(case.task)
        shares = [result["recovered"] for result in results]
        recovered = " / ".join("–" if share is None else f"{share:.0%}" for share in shares)
        speed = np.mean([result["samples_per_second"] for result in results])
        cells = [
            case.shown_task,
            case.label,
            each("accuracies_before"),
            each("accuracies_after"),
            seeds(level) if level else "",
            recovered if level else "",
            "all: " * (len(names) > 1) + seeds(lambda r: r["accuracy_ceiling"]),
            str(sum(result["mismatches"] for result in results)),
            f"{speed:.0f}",
        ]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def draw_curves(found: dict[Case, list[dict[str, Any]]], path: Path) -> None:
    """A panel per task: mean over the seeds, and their range."""
    figure = Figure(figsize=(12.0, 4.2), dpi=110, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    panels = figure.subplots(1, 3)
    tasks = {"continue": "continue: 4-bit weights", "drift": "drift: rotated by 25 degrees",
             "new-class": "new-class: held-out images of class 9"}  # fmt: skip
    for axes, (task, title) in zip(panels, tasks.items(), strict=True):
        measured = "new" if task == "new-class" else None
        for case, results in found.items():
            if case.task != task:
                continue
            name = measured or results[0]["measure"]
            x = [p["samples"] for p in results[0]["curve"]["points"]]
            y = np.array([[p["accuracies"][name] for p in r["curve"]["points"]] for r in results])
            colour = COLOURS[case.label]
            axes.plot(x, y.mean(axis=0), color=colour, lw=1.8, label=case.label)
            axes.fill_between(x, y.min(axis=0), y.max(axis=0), color=colour, alpha=0.15, lw=0)
            if case.label == "sltt" and measured is None:
                c = np.array([[p["ceiling"] for p in r["curve"]["points"]] for r in results]).mean(
                    axis=0
                )
                axes.plot(x, c, color=CEILING, lw=1.3, ls="--", label="SLTT in PyTorch, float")
            if case.label == "sltt" and measured:
                old = np.array(
                    [[p["accuracies"]["old"] for p in r["curve"]["points"]] for r in results]
                )
                axes.plot(x, old.mean(axis=0), color=LEVEL, lw=1.5, label="sltt, the old classes")
        first = next(r for c, r in found.items() if c.task == task)
        if task != "new-class":
            key = "accuracy_float" if task == "continue" else None
            levels = [r[key] if key else r["accuracies_before"]["upright"] for r in first]
            what = "float network" if key else "before the drift"
            axes.axhline(np.mean(levels), color=LEVEL, lw=1.2, ls=":", label=what)
        axes.set_title(title, fontsize=11, color=INK)
        axes.set_xlabel("samples learnt from")
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        if task == "continue":
            axes.set_ylim(0.95, 1.002)
        axes.legend(frameon=False, fontsize=8.5, loc="lower right")
    with path.open("wb") as file:
        canvas.print_png(file)


def draw_alignment(path: Path) -> None:
    """Who works on which model step when, for three layers and four steps."""
    timetable = LearningTimetable(steps=4, layers=3, update="sample")
    layers = timetable.layers
    rows = ["input"]
    for layer in range(1, layers + 1):
        rows += [f"synapses {layer}", f"neurons {layer}" if layer < layers else "read-out"]
    height = {name: len(rows) - 1 - row for row, name in enumerate(rows)}
    figure = Figure(figsize=(10.4, 4.6), dpi=110, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.subplots()

    def cell(row: str, time_step: int, step: int, error: bool) -> None:
        y = height[row] + (0.02 if error else 0.42)
        fill = to_rgba(STEPS[step], 0.16 if error else 1.0)
        axes.add_patch(Rectangle((time_step - 0.46, y), 0.92, 0.38, ec=STEPS[step], fc=fill))
        style = {"ha": "center", "va": "center", "fontsize": 8}
        colour = STEPS[step] if error else "white"
        axes.text(time_step, y + 0.19, f"t = {step}", color=colour, **style)

    def remember(row: str, start: int, delay: int, step: int) -> None:
        y = height[row]
        axes.add_patch(
            FancyArrowPatch((start + 0.3, y + 0.42), (start + delay - 0.46, y + 0.2),
                            color=STEPS[step], arrowstyle="-|>", mutation_scale=9, lw=1.1,
                            connectionstyle="arc3,rad=0.12")
        )  # fmt: skip

    for step in range(timetable.steps):
        for depth in range(layers + 1):
            here = 1 + step + depth
            if depth:
                row = f"neurons {depth}" if depth < layers else "read-out"
                cell(row, here, step, error=False)
                if depth == layers:
                    cell(row, here, step, error=True)
            else:
                cell("input", here, step, error=False)
        for layer in range(1, layers + 1):
            met = step + layer
            cell(f"synapses {layer}", met, step, error=False)
            cell(f"synapses {layer}", met + timetable.spike_delay(layer), step, error=True)
            if layer < layers:
                back = 1 + step + layer + timetable.slope_delay(layer)
                cell(f"neurons {layer}", back, step, error=True)
            if step == 0:
                remember(f"synapses {layer}", met, timetable.spike_delay(layer), step)
                if layer < layers:
                    remember(f"neurons {layer}", 1 + layer, timetable.slope_delay(layer), step)
    last = timetable.interval
    axes.axvline(last + 0.5, color=INK, lw=1.2)
    axes.text(
        last + 0.58, len(rows) - 0.5, "update,\nnext sample", fontsize=8.5, va="top", color=INK
    )
    axes.set_xlim(0.4, last + 2.2)
    axes.set_ylim(-0.15, len(rows))
    axes.set_yticks([height[name] + 0.41 for name in rows], rows)
    axes.set_xticks(range(1, last + 1))
    axes.set_xlabel("Lava time step")
    axes.tick_params(length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.set_title(
        "full: spikes of model step t on their way forward      pale: its errors on their way back"
        "      arrows: what is remembered",
        fontsize=9.5, color=INK,
    )  # fmt: skip
    with path.open("wb") as file:
        canvas.print_png(file)


def write_between(page: Path, name: str, text: str) -> None:
    """Put text between two marks of a page."""
    begin, end = (mark.format(name) for mark in MARKS)
    whole = page.read_text()
    before, after = whole[: whole.index(begin)], whole[whole.index(end) :]
    page.write_text(f"{before}{begin}\n\n{text}\n\n{after}")


def main(folder: Path, mnist: Path | None) -> None:
    page = HERE / "learning.md"
    draw_alignment(HERE / "learning_alignment.png")
    found = {case: [measure(folder, case, seed) for seed in SEEDS] for case in DIGITS}
    draw_curves(found, HERE / "learning_curves.png")
    write_between(page, "digits", table(found))
    if mnist is not None:
        found = {case: [measure(folder, case, seed, mnist) for seed in SEEDS] for case in MNIST}
        write_between(page, "mnist", table(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None)
