"""What the report's script shows: cores with their activity, classes, and samples in full."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import sparse

from neurodeploy.artifacts.deployment import Deployment
from neurodeploy.artifacts.shown import ShownPopulation, ShownSamples
from neurodeploy.ir.quantized import QuantizedNeuron, QuantizedPopulation
from neurodeploy.mapping.mapping import RESOURCES, CoreMapping
from neurodeploy.reporting.mesh import CORE, chip_corners, core_place, mesh_size, strongest
from neurodeploy.reporting.report.packing import Pack
from neurodeploy.target import Chip

LINES = 250
"""So many of the strongest connections between cores are drawn."""
LISTED = 50_000
"""Samples whose classes are in the page; of more, the numbers alone."""


def explored(
    deployment: Deployment,
    run: Mapping[str, Any] | None,
    shown: ShownSamples | None,
    activity: Mapping[str, np.ndarray] | None,
    sent: sparse.csr_matrix,
) -> tuple[dict[str, Any], str]:
    """What the script reads, and what there is to see of samples, in words.

    Args:
        run: the newest simulation's summary.
        shown: samples that it kept.
        activity: mean spikes per sample by population, as far as they are known.
        sent: messages from core to core, as from ``placement.messages``.
    """
    pack, mapping = Pack(), deployment.mapping
    data: dict[str, Any] = {
        "cores": _cores(mapping, deployment.target.chip, activity, sent),
        "matrix": None,
        "samples": None,
    }
    text = ""
    if run is not None:
        data["matrix"] = _matrix(run, pack)
        if shown is not None:
            data["samples"] = _samples(deployment, run, shown, pack)
            text = _about(run, shown, deployment)
    data["arrays"] = pack.text()
    return data, text


def _cores(
    mapping: CoreMapping,
    chip: Chip,
    activity: Mapping[str, np.ndarray] | None,
    sent: sparse.csr_matrix,
) -> dict[str, Any]:
    corner = chip_corners(mapping, chip)
    width, height = mesh_size(chip)
    numbers = {name: i for i, name in enumerate(mapping.by_population(), start=1)}
    parts = []
    for placement, use in zip(mapping.placements, mapping.uses, strict=True):
        resource, share = mapping.fullest([use])
        at = corner.get(placement.chip)
        spikes = None
        if activity is not None and placement.population in activity:
            box = tuple(slice(start, stop) for start, stop in placement.ranges)
            spikes = float(activity[placement.population][box].sum())
        parts.append(
            {
                "at": None if at is None else core_place(placement.core, chip, at),
                "chip": placement.chip,
                "core": placement.core,
                "population": placement.population,
                "number": numbers[placement.population],
                "neurons": use.neurons,
                "share": round(share, 4),
                "resource": RESOURCES[resource],
                "spikes": spikes,
            }
        )
    row, column, count = strongest(sent, LINES)
    return {
        "size": CORE,
        "chips": [
            {
                "number": number,
                "at": at,
                "cores": [core_place(core, chip, at) for core in range(chip.cores.value)],
            }
            for number, at in corner.items()
        ],
        "width": width,
        "height": height,
        "parts": parts,
        "lines": [
            [int(source), int(goal), float(messages)]
            for source, goal, messages in zip(row, column, count, strict=True)
        ],
        "counted": activity is not None,
    }


def _matrix(run: Mapping[str, Any], pack: Pack) -> dict[str, Any] | None:
    predictions = run.get("predictions", {})
    matrix = predictions.get("confusion")
    if matrix is None or len(matrix) < 2:
        return None
    found = {"counts": matrix, "predicted": None, "labels": None}
    if predictions.get("labels") and len(predictions["labels"]) <= LISTED:
        for name in ("predicted", "labels"):
            found[name] = pack.add(np.asarray(predictions[name], np.int64))
    return found


def _samples(
    deployment: Deployment, run: Mapping[str, Any], shown: ShownSamples, pack: Pack
) -> dict[str, Any]:
    predictions = run.get("predictions", {})
    predicted, labels = predictions.get("predicted"), predictions.get("labels")
    listed = [
        {
            "number": int(number),
            "predicted": predicted[number] if predicted else None,
            "label": labels[number] if labels else None,
        }
        for number in shown.samples
    ]
    populations = [
        _population(population, shown.populations[population.name], shown.states_of, pack)
        for population in deployment.network.populations
        if population.name in shown.populations and len(shown.populations[population.name].neurons)
    ]
    return {
        "listed": listed,
        "cores": None if shown.cores is None else pack.add(shown.cores),
        "populations": populations,
        "steps": deployment.network.contract.steps,
    }


def _population(
    population: QuantizedPopulation, found: ShownPopulation, states_of: str, pack: Pack
) -> dict[str, Any]:
    neuron = population.neuron
    spiking = neuron is None or neuron.spiking
    return {
        "name": population.name,
        "kind": "input" if neuron is None else neuron.kind,
        "shape": list(population.shape),
        "size": math.prod(population.shape),
        "shows": "s" if spiking or "v" not in found.states else "v",
        "neurons": pack.add(found.neurons),
        "s": pack.add(found.s),
        "traced": pack.add(found.traced),
        "states": {name: pack.add(values) for name, values in found.states.items()},
        "threshold": _threshold(population, found.traced, states_of, pack),
    }


def _threshold(
    population: QuantizedPopulation, traced: np.ndarray, states_of: str, pack: Pack
) -> dict[str, Any] | None:
    """What v is compared with, of every neuron whose states are shown; None where it is not known.

    In the units of the states: integers, or those of the float network.
    """
    neuron = population.neuron
    if not isinstance(neuron, QuantizedNeuron) or neuron.threshold is None or not len(traced):
        return None
    threshold = np.broadcast_to(neuron.threshold.astype(np.int64) << 6, population.shape)
    chosen = threshold.ravel()[traced]
    return pack.add(chosen / population.state_unit if states_of == "float" else chosen)


def _about(run: Mapping[str, Any], shown: ShownSamples, deployment: Deployment) -> str:
    count = len(shown.samples)
    text = f"{count:,} of {run['samples']:,} samples are kept here"
    labels = run.get("predictions", {}).get("labels")
    if count < run["samples"]:
        text += ": the first ones" + (", and then some that were misclassified" if labels else "")
    text += "."
    if shown.states_of == run["engine"]:
        text += f" States such as u and v are those of {shown.states_of}."
    elif shown.states_of:
        text += (
            f" States such as u and v were computed by {shown.states_of}, whose spikes equal those "
            f"of {run['engine']}."
        )
    elif shown.missing:
        text += f" There are no states: {shown.missing}."
    fewer = [
        p.name
        for p in deployment.network.populations
        if p.name in shown.populations
        and len(shown.populations[p.name].neurons) < math.prod(p.shape)
    ]
    if fewer:
        text += (
            " Of large populations, evenly spaced neurons are kept, with the states of a part of "
            "them."
        )
    return text
