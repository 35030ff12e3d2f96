"""Everything about a deployment on one page, from the files in its folder."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from neurodeploy.artifacts.deployment import Deployment, TrainingRecord
from neurodeploy.artifacts.names import (
    ACTIVITY,
    LEARNING,
    PARITY,
    PARITY_MAP,
    RASTER,
    REPORT,
    SHOWN,
    SUMMARY,
)
from neurodeploy.artifacts.results import Result, read_results
from neurodeploy.artifacts.shown import read_shown
from neurodeploy.ir.quantized import QuantizedNetwork
from neurodeploy.mapping import CoreMapping
from neurodeploy.mapping.placement import core_messages, flows
from neurodeploy.reporting.confusion import confusion_matrix
from neurodeploy.reporting.network_pictures import core_map, network_graph
from neurodeploy.reporting.neurobench import neurobench_rows
from neurodeploy.reporting.parity_report import Divergence
from neurodeploy.reporting.pictures import CurvePoint, firing_rates, learning_figure
from neurodeploy.reporting.report import deployed, trained
from neurodeploy.reporting.report.beside import read_beside
from neurodeploy.reporting.report.costs import cost_shares, costs
from neurodeploy.reporting.report.exploring import explored
from neurodeploy.reporting.report.rendering import render
from neurodeploy.reporting.text import by_class_text, facts
from neurodeploy.reporting.value_pictures import values_figure
from neurodeploy.simulation.firing import warnings_among
from neurodeploy.support.figures import ornament, svg
from neurodeploy.support.files import write_whole
from neurodeploy.support.reading import read_json
from neurodeploy.support.schema import build
from neurodeploy.support.tensors import read_arrays


def write_report(deployment: Deployment) -> Path:
    """Write ``report.html`` into a deployment's folder, in place of an older one.

    What there is to tell grows with what has been done: trained, simulated, validated. A report
    that cannot be made is a ``PictureWarning``, and missing.
    """
    path = deployment.path / REPORT
    with ornament(path):
        _write_page(deployment, path)
    return path


def _write_page(deployment: Deployment, path: Path) -> None:
    values, data = _context(deployment)
    write_whole(path, render(REPORT, values, data))


def _context(deployment: Deployment) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the template draws, and what the script reads."""
    network, target, mapping = deployment.network, deployment.target, deployment.mapping
    simulations, ignored = read_results(deployment, SUMMARY)
    comparisons, also_ignored = read_results(deployment, PARITY)
    runs = [simulation.values for simulation in simulations]
    # What must be equal comes before what need not.
    checks = [_check(comparison, deployment.path) for comparison in comparisons]
    checks.sort(key=lambda check: not check["mood"])
    root = deployment.path
    activities = [
        read_beside(simulation, ACTIVITY, read_arrays, root) for simulation in simulations
    ]
    activity, counted = _activity(simulations, [found for found, _ in activities])
    names = [population.name for population in network.populations]
    shown, unreadable = None, [reason for _, reasons in activities for reason in reasons]
    if simulations:
        read = partial(read_shown, names=names)
        shown, reasons = read_beside(simulations[0], SHOWN, read, root)
        unreadable += reasons
    sent = core_messages(network, target, mapping, activity)
    errors = deployed.rounding_errors(deployment)
    learning = _learning(deployment.listed(LEARNING))
    data, about = explored(deployment, runs[0] if runs else None, shown, activity, sent)
    values = {
        "name": _name(deployment),
        "target": target,
        "created": deployment.created[:16].replace("T", " ") + " UTC",
        "source": _source(deployment.source),
        "figures": [
            *(learning["cards"] if learning else ()),
            *_cards(deployment, mapping, runs, checks),
        ],
        "silent": warnings_among(network.notes),
        "training": _training(deployment.training),
        "learning": learning,
        "graph": _picture(network_graph(network), "Populations and projections"),
        "populations": deployed.populations(network),
        "layers": deployed.layers(network, errors),
        "rounded": bool(errors),
        "notes": _notes(network),
        "cores": _picture(core_map(mapping, target.chip, sent), "Cores by how full they are"),
        "core_use": deployed.core_use(mapping),
        "traffic": _traffic(mapping),
        "flows": deployed.flows(flows(sent, mapping, target.chip)) if sent.nnz else None,
        "counted": counted,
        "unchecked": ", ".join(mapping.unchecked),
        "behaviour": _behaviour(deployment, simulations[0], activities[0][0]) if runs else None,
        "simulated": deployed.simulated(runs),
        "checks": checks,
        "ignored": [*ignored, *unreadable],
        "also_ignored": also_ignored,
        "costs": _costs(runs),
        "neurobench": _neurobench(runs),
        "contract": deployed.contract(network.contract),
        "digest": deployment.digest,
        "suspicious": deployment.warnings,
        "versions": facts(list(deployment.versions.items())),
        "files": facts([(name, f"sha256 {h}") for name, h in deployment.files.items()]),
        "explored": about,
    }
    return values, data


def _activity(
    simulations: list[Result], activities: list[dict[str, np.ndarray] | None]
) -> tuple[dict[str, np.ndarray] | None, str]:
    """Spikes of the newest simulation, for the messages between cores, and what they are."""
    for simulation, activity in zip(simulations, activities, strict=True):
        if activity is not None:
            run = simulation.values
            return activity, f"with the spikes of {run['samples']:,} samples on {run['engine']}"
    return None, "if every neuron spikes once"


def _notes(network: QuantizedNetwork) -> list[tuple[str, str]]:
    """The notes of the deployment but for warnings, and for clipped weights, in a table."""
    clipped = {p.name: f"{p.clipped:,} weights clipped" for p in network.projections}
    told = warnings_among(network.notes)
    return [
        (where, note)
        for where, note in network.notes.items()
        if clipped.get(where) != note and note not in told
    ]


def _cards(
    deployment: Deployment,
    mapping: CoreMapping,
    runs: list[Mapping[str, Any]],
    checks: list[dict[str, Any]],
) -> list[dict[str, str]]:
    """The figures to see first."""

    def card(label: str, value: str, detail: str, mood: str = "") -> dict[str, str]:
        return {"label": label, "value": value, "detail": detail, "mood": mood}

    cards = []
    training = deployment.training
    if training:
        detail = f"test, {trained.trained_in(training.recipe)}"
        cards.append(card("trained", training.test_text, detail))
    for run in runs[:1]:
        if run["accuracy"] is not None:
            detail = f"{run['engine']}, {run['samples']:,} samples"
            cards.append(card("deployed", f"{run['accuracy']:.2%}", detail))
        elif run.get("smape") is not None:
            detail = f"{run['engine']}, {run['samples']:,} samples"
            cards.append(card("deployed", f"sMAPE {run['smape']:.3f}", detail))
    for check in checks[:1]:
        value = "bit for bit" if check["mood"] == "good" else check["verdict"]
        cards.append(card("matches", value, check["basis"], check["mood"]))
    resource, share = mapping.fullest(list(mapping.uses))
    chips = f"{mapping.chips} chip{'s' * (mapping.chips > 1)}"
    cards.append(card("cores", f"{len(mapping.uses):,}", f"of {mapping.cores:,}, on {chips}"))
    cards.append(card("fullest core", f"{share:.0%}", f"of its {resource.replace('_', ' ')}"))
    weights = sum(p.operator.weights.size for p in deployment.network.projections)
    neurons = sum(use.neurons for use in mapping.uses)
    cards.append(card("neurons", f"{neurons:,}", f"{weights:,} weights"))
    return cards


def _training(training: TrainingRecord | None) -> dict[str, Any] | None:
    """Recipe, results and the curve of the run that was exported."""
    if training is None:
        return None
    from neurodeploy.training.metrics import EpochMetrics
    from neurodeploy.training.training_curve import curve_figure

    curve = None
    history = [build(EpochMetrics, epoch, "training history") for epoch in training.history]
    if history:
        figure = curve_figure(
            *(training.recipe.name, history, training.best_epoch),
            next(score for score in training.scores.values() if score is not None),
        )
        curve = _picture(figure, f"Loss, {history[0].quantity} and firing rates by epoch")
    return {
        "description": training.recipe.description.rstrip("."),
        "facts": trained.trained(training),
        "curve": curve,
        "warnings": training.warnings,
        "confusion": _confusion(
            training.predictions.get("test"),
            f"Test samples in {trained.trained_in(training.recipe)}, {training.test_text} right",
        ),
    }


def _learning(file: Path | None) -> dict[str, Any] | None:
    """What the deployment has learnt, how, and what that would need on the chip."""
    if file is None:
        return None
    found = read_json(file)
    curve = found["curve"]
    points = [CurvePoint(**point) for point in curve["points"]]
    figure = learning_figure(curve["title"], points, curve["levels"], curve.get("kept_after"))
    return {
        "cards": trained.learnt_cards(found),
        "lead": trained.learnt_lead(found),
        "facts": trained.learnt(found),
        "curve": _picture(figure, "Accuracy on held-out samples while learning"),
        "circuits": trained.circuits(found["cost"]),
        "cost": trained.learning_cost(found["cost"]),
        "sources": found["cost"]["sources"],
    }


def _source(path: str) -> str:
    """What was exported, as it was named; of an absolute path the last part."""
    return Path(path).name if Path(path).is_absolute() else path


def _name(deployment: Deployment) -> str:
    """Of the recipe, or of the file for a network from elsewhere."""
    training = deployment.training
    return training.recipe.name if training else Path(deployment.network.name).stem


def _behaviour(
    deployment: Deployment, simulation: Result, activity: Mapping[str, np.ndarray] | None
) -> dict[str, Any]:
    """Pictures of the newest simulation."""
    run = simulation.values
    title = f"Raster of one sample on {run['engine']}"
    raster, ignored = _stored(simulation, RASTER, title, deployment.path)
    rates = None
    if activity is not None:
        shown = {
            p.name: activity[p.name]
            for p in deployment.network.populations
            if p.name in activity and (p.neuron is None or p.neuron.spiking)
        }
        figure = firing_rates(shown, deployment.network.contract.steps)
        rates = _picture(figure, f"Firing rates on {run['engine']}")
    return {
        "engine": run["engine"],
        "samples": f"{run['samples']:,}",
        "origin": run["origin"],
        "rates": rates,
        "by_class": by_class_text(run["predictions"]) if "predictions" in run else "",
        "confusion": _confusion(
            run.get("predictions"),
            f"{run['samples']:,} samples on {run['engine']}, "
            + (
                f"sMAPE {run['smape']:.3f}"
                if run.get("smape") is not None
                else f"{run['accuracy'] or 0:.2%} right"
            ),
        ),
        "warnings": run.get("warnings", []),
        "raster": raster,
        "ignored": ignored,
    }


def _confusion(predictions: Mapping[str, Any] | None, title: str) -> dict[str, str] | None:
    """What the network takes for what, or its values; nothing without labels, and in older files.

    Values are drawn where those of every sample are there.
    """
    if predictions and predictions.get("task") == "regression":
        if not predictions.get("labels"):
            return None
        figure = values_figure(predictions["predicted"], predictions["labels"], title)
        return _picture(figure, f"Predicted values: {title}")
    matrix: list[list[int]] | None = predictions.get("confusion") if predictions else None
    if matrix is None or len(matrix) < 2:
        return None
    return _picture(confusion_matrix(matrix, title), f"Confusion matrix: {title}")


def _check(comparison: Result, root: Path) -> dict[str, Any]:
    """One comparison's section; engines that need not be equal are neither good nor bad."""
    report = comparison.values
    pair = " against ".join(report["engines"])
    detail = f"{pair}: {report['samples']:,} samples, {report['compared']:,} values compared."
    if report["exact"]:
        count, silent = report["mismatches"], report.get("silent")
        mood = "bad" if count else "" if silent else "good"
        verdict = f"{count:,} differ" if count else "0 mismatches" + ", of silence" * bool(silent)
    else:
        shares = [p["spike_agreement"] for p in report["populations"] if p["spikes_compared"]]
        mood, verdict = "", f"{min(shares):.2%} of spikes agree"
        detail += " In the population that agrees least; integers need not match floats."
        detail += deployed.potentials(report)
    if report["first_divergence"]:
        first = build(Divergence, report["first_divergence"], str(comparison.path))
        detail += f" First difference: population {first.population!r}, {first}."
    picture, ignored = _stored(comparison, PARITY_MAP, f"Parity map of {pair}", root)
    return {
        "mood": mood,
        "verdict": verdict,
        "basis": f"on {report['samples']:,} sample{'s' * (report['samples'] != 1)}: {pair}",
        "detail": detail,
        "warnings": report.get("warnings", []),
        "picture": picture,
        "ignored": ignored,
    }


def _costs(runs: list[Mapping[str, Any]]) -> dict[str, Any] | None:
    """The newest simulation's estimate."""
    for run in runs:
        if run.get("estimate"):
            return {
                "engine": f"{run['engine']} ({run['samples']:,} samples)",
                "facts": costs(run),
                "shares": cost_shares(run["estimate"]),
                "sources": run["estimate"]["sources"],
            }
    return None


def _neurobench(runs: list[Mapping[str, Any]]) -> dict[str, Any] | None:
    """The metrics of the newest simulation that counted them."""
    for run in runs:
        found = run.get("metrics", {}).get("neurobench")
        if found:
            engine = f"{run['engine']} ({run['samples']:,} samples)"
            return {"engine": engine, "facts": facts(neurobench_rows(found))}
    return None


def _traffic(mapping: CoreMapping) -> str:
    """How parts were placed, in a sentence."""
    found = mapping.traffic
    if found is None:
        return ""
    basis = "for the spikes of a simulation" if found.measured else "as if all neurons spiked once"
    text = (
        f"Placed by strategy {mapping.strategy} {basis}: {found.between_cores:,.0f} messages "
        "between cores per sample"
    )
    if mapping.chips > 1:
        text += f", {found.between_chips:,.0f} of them between chips"
    return text + "."


def _picture(figure: Figure, alt: str) -> dict[str, str]:
    return {"data": _data(svg(figure)), "alt": alt}


def _stored(
    result: Result, name: str, alt: str, root: Path
) -> tuple[dict[str, str] | None, list[str]]:
    """A picture that a command has left beside its result, of which the report takes the SVG.

    The second is why there is none.
    """
    name = Path(name).with_suffix(".svg").name
    content, reasons = read_beside(result, name, Path.read_bytes, root)
    return (None if content is None else {"data": _data(content), "alt": alt}), reasons


def _data(picture: bytes) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(picture).decode()
