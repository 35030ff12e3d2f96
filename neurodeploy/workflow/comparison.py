"""Compare: two training runs, or two deployments with what their simulations found."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from neurodeploy.artifacts.deployment import Deployment, read_deployment
from neurodeploy.artifacts.folders import read_run, read_training
from neurodeploy.artifacts.names import COMPLETE, MANIFEST, RECIPE, SUMMARY
from neurodeploy.artifacts.results import read_results
from neurodeploy.errors import InputError, Setting, Step, Text
from neurodeploy.reporting.comparison import (
    Comparison,
    Figure,
    Form,
    Layer,
    comparison_page,
)
from neurodeploy.support.files import as_path, check_writable, write_whole

Rows = tuple[tuple[str, str, Form], ...]
"""Key, label and form of figures, in the order in which they are shown."""

DEPLOYED: Rows = (
    ("target", "target", "text"),
    ("test_accuracy", "test accuracy when trained", "share"),
    ("engine", "simulated on", "text"),
    ("samples", "samples simulated", "count"),
    ("accuracy", "accuracy", "share"),
    ("smape", "sMAPE", "number"),
    ("spikes", "spikes per sample", "number"),
    ("synaptic_ops", "synaptic operations", "number"),
    ("energy_nj", "energy of a sample, at least", "energy"),
    ("sample_us", "time of a sample, at least", "time"),
    ("latency_us", "latency, at least", "time"),
    ("steps", "steps", "count"),
    ("cores", "cores", "count"),
    ("chips", "chips", "count"),
    ("neurons", "neurons", "count"),
    ("weights", "weights", "count"),
)
IN_DEPLOYED: Rows = (
    ("neuron", "neuron", "text"),
    ("shape", "shape", "text"),
    ("neurons", "neurons", "count"),
    ("weights", "weights to it", "count"),
    ("bits", "bits of these", "text"),
    ("clipped", "clipped of these", "count"),
    ("cores", "cores", "count"),
    ("spikes", "spikes per sample", "number"),
    ("rate", "spikes per neuron and step", "number"),
    ("synaptic_ops", "synaptic operations", "number"),
    ("energy_nj", "energy of a sample, at least", "energy"),
)
TRAINED: Rows = (
    ("recipe", "recipe", "text"),
    ("test_accuracy", "test accuracy", "share"),
    ("validation_accuracy", "validation accuracy", "share"),
    ("test_smape", "test sMAPE", "number"),
    ("validation_smape", "validation sMAPE", "number"),
    ("best_epoch", "best epoch", "count"),
    ("epochs", "epochs", "count"),
    ("seconds", "seconds of training", "number"),
    ("validation_loss", "validation loss", "number"),
    ("synaptic_ops", "synaptic operations per validation sample", "number"),
    ("zero_weights", "weights that are zero", "share"),
)
IN_TRAINED: Rows = (
    ("rate", "spikes per neuron and step", "number"),
    ("synaptic_ops", "synaptic operations", "number"),
    ("silent", "silent neurons", "share"),
    ("saturated", "saturated neurons", "share"),
)

Values = Mapping[str, Any]

GENERATOR, MARKED_BY = b'<meta name="generator" content="neurodeploy">', 2000
"""What our pages hold, and before which byte."""


def compare_folders(first: Path | str, second: Path | str) -> Comparison:
    """Two runs or two deployments side by side.

    Deployments are compared by their newest simulations on an engine that both have results of.

    Raises:
        InputError: one is neither, they are not of one kind, or one is damaged.
    """
    paths = [as_path(path, "compare_folders") for path in (first, second)]
    kinds = [_kind(path) for path in paths]
    if kinds[0] != kinds[1]:
        run, deployment = (paths[kinds.index(kind)] for kind in ("runs", "deployments"))
        raise InputError(
            f"{run} is a training run and {deployment} a deployment",
            fix=Text("compare two of one kind; a run is deployed with ", Step("export", str(run))),
        )
    return (_deployments if kinds[0] == "deployments" else _runs)(*paths)


def write_comparison_page(found: Comparison, path: Path) -> None:
    """Write the comparison as one HTML file, over an older one or none.

    Raises:
        InputError: something else is there, or it cannot be written.
    """
    check_writable(path)
    page = comparison_page(found)
    if path.exists() and GENERATOR not in path.read_bytes()[:MARKED_BY]:
        raise InputError(
            f"{path}: already exists and is not such a page, so it is not overwritten",
            fix=Text("name another file with ", Setting("page")),
        )
    write_whole(path, page)


def _kind(path: Path) -> str:
    if (path / MANIFEST).is_file():
        return "deployments"
    if (path / COMPLETE).is_file() or (path / RECIPE).is_file():
        return "runs"
    raise InputError(
        f"{path}: {'neither a run nor a deployment' if path.exists() else 'no such folder'}"
    )


def _figures(rows: Rows, first: Values, second: Values) -> tuple[Figure, ...]:
    return tuple(
        Figure(key, label, form, first.get(key), second.get(key)) for key, label, form in rows
    )


def _layers(
    rows: Rows, first: Mapping[str, Values], second: Mapping[str, Values]
) -> tuple[Layer, ...]:
    names = dict.fromkeys([*first, *second])
    return tuple(
        Layer(name, _figures(rows, first.get(name, {}), second.get(name, {}))) for name in names
    )


def _unlike(first: Iterable[str], second: Iterable[str]) -> list[str]:
    """What to say of layers that one of the two alone has."""
    found = []
    for letter, own, other in (("A", first, second), ("B", second, first)):
        if alone := [name for name in own if name not in set(other)]:
            found.append(f"only in {letter}: {', '.join(alone)}; layers are compared by name")
    return found


def _settings(first: Values, second: Values) -> tuple[Figure, ...]:
    """What differs of tables inside of tables, with the path to it as its key."""
    flat = [dict(_flattened(table)) for table in (first, second)]
    keys = dict.fromkeys([*flat[0], *flat[1]])
    return tuple(
        Figure(key, key, "text", *(_plain(table.get(key)) for table in flat))
        for key in keys
        if flat[0].get(key) != flat[1].get(key)
    )


def _flattened(table: Values, above: str = "") -> Iterable[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _flattened(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def _plain(value: Any) -> str | None:
    """A value of a setting as text, as JSON writes it but for strings."""
    return value if value is None or isinstance(value, str) else json.dumps(value)


def _deployments(*paths: Path) -> Comparison:
    deployments = [read_deployment(path) for path in paths]
    runs, remarks = _simulations(deployments)
    first, second = (_whole(d, run) for d, run in zip(deployments, runs, strict=True))
    inside = [_populations(d, run) for d, run in zip(deployments, runs, strict=True)]
    one, other = deployments
    if one.digest == other.digest:
        remarks.append("both have the same digest, so they compute the same")
    if one.target.name != other.target.name:
        remarks.append("their targets differ, so energy and time are of different chips")
    return Comparison(
        kind="deployments",
        first=str(paths[0]),
        second=str(paths[1]),
        figures=_figures(DEPLOYED, first, second),
        layers=_layers(IN_DEPLOYED, *inside),
        settings=_settings(*(_made_with(d) for d in deployments)),
        remarks=(*remarks, *_unlike(*inside)),
    )


def _simulations(deployments: list[Deployment]) -> tuple[list[Values], list[str]]:
    """The newest results on an engine that both have, and what is to be said of them."""
    found, remarks = [], []
    for letter, deployment in zip("AB", deployments, strict=True):
        results, ignored = read_results(deployment, SUMMARY)
        found.append({result.values["engine"]: result.values for result in reversed(results)})
        remarks += [f"{letter}: ignored: {reason}" for reason in ignored]
        if not results:
            remarks.append(f"{letter} was not simulated, so its spikes are not known")
    # The newest comes last.
    common = [engine for engine in found[0] if engine in found[1]]
    if common:
        chosen: list[Values] = [results[common[-1]] for results in found]
    else:
        chosen = [list(results.values())[-1] if results else {} for results in found]
        if all(found):
            remarks.append("no engine has simulated both, so these are of different engines")
    return chosen, remarks + (_samples_apart(*chosen) if all(chosen) else [])


def _samples_apart(first: Values, second: Values) -> list[str]:
    """Whether results are of the same samples, and how many of these got the same class."""
    counts, origins = ([run[key] for run in (first, second)] for key in ("samples", "origin"))
    labels, predicted = (
        [run.get("predictions", {}).get(key) for run in (first, second)]
        for key in ("labels", "predicted")
    )
    if counts[0] != counts[1] or origins[0] != origins[1] or labels[0] != labels[1]:
        of = [f"{n:,} ({where})" for n, where in zip(counts, origins, strict=True)]
        return [f"accuracy and spikes are of different samples: {of[0]} and {of[1]}"]
    if None in predicted or first["accuracy"] is None:
        return []
    same = sum(a == b for a, b in zip(*predicted, strict=True))
    return [f"both give the same class to {same:,} of {counts[0]:,} samples"]


def _whole(deployment: Deployment, run: Values) -> Values:
    network, mapping, training = deployment.network, deployment.mapping, deployment.training
    estimate = run.get("estimate") or {}
    return {
        "target": deployment.target.name,
        "test_accuracy": training and training.test_accuracy,
        "engine": run.get("engine"),
        "samples": run.get("samples"),
        "accuracy": run.get("accuracy"),
        "smape": run.get("smape"),
        "spikes": estimate.get("spikes"),
        "synaptic_ops": estimate.get("synaptic_ops"),
        "energy_nj": estimate.get("energy_nj"),
        "sample_us": estimate.get("sample_us"),
        "latency_us": estimate.get("latency_us"),
        "steps": network.contract.steps,
        "cores": len(mapping.uses),
        "chips": mapping.chips,
        "neurons": sum(use.neurons for use in mapping.uses),
        "weights": sum(p.operator.weights.size for p in network.projections),
    }


def _populations(deployment: Deployment, run: Values) -> dict[str, Values]:
    """Figures of every population, the inputs too."""
    network = deployment.network
    uses = deployment.mapping.by_population()
    costs = {c["population"]: c for c in (run.get("estimate") or {}).get("populations") or ()}
    found = {}
    for population in network.populations:
        onto = [p for p in network.projections if p.target == population.name]
        cost = costs.get(population.name, {})
        bits = sorted({p.weight_format.bits for p in onto})
        found[population.name] = {
            "neuron": "input" if population.neuron is None else population.neuron.kind,
            "shape": " x ".join(map(str, population.shape)),
            "neurons": math.prod(population.shape),
            "weights": sum(p.operator.weights.size for p in onto) if onto else None,
            "bits": ", ".join(map(str, bits)),
            "clipped": sum(p.clipped for p in onto) if onto else None,
            "cores": len(uses[population.name]) if population.name in uses else None,
            "spikes": run.get("spikes_per_sample", {}).get(population.name),
            "rate": run.get("firing_rates", {}).get(population.name),
            "synaptic_ops": cost.get("synaptic_ops"),
            "energy_nj": cost.get("energy_nj"),
        }
    return found


def _made_with(deployment: Deployment) -> Values:
    """Settings of a deployment: its contract and, where it was trained here, the recipe."""
    contract, training = deployment.network.contract, deployment.training
    semantics, code = contract.semantics, contract.input_code
    return {
        "dt": semantics.dt,
        "integrator": semantics.integrator,
        "comparison": semantics.comparison,
        "reset": semantics.reset,
        "encoder": code.encoder,
        "levels": code.levels,
        "steps": contract.steps,
        "decode": contract.decode,
        "strategy": deployment.mapping.strategy,
        **({"recipe": training.recipe.as_dict()} if training else {}),
    }


def _runs(*paths: Path) -> Comparison:
    trained = [read_training(path) for path in paths]
    tables = [read_run(path) for path in paths]
    best = [t.history[t.best_epoch - 1] if t.history else {} for t in trained]
    wholes, inside = [], []
    for training, epoch in zip(trained, best, strict=True):
        operations = epoch.get("synaptic_operations") or {}
        wholes.append(
            {
                "recipe": training.recipe.name,
                **training.scores,
                "best_epoch": training.best_epoch,
                "epochs": training.epochs,
                "seconds": training.seconds,
                "validation_loss": epoch.get("validation_loss"),
                "synaptic_ops": sum(operations.values()) if operations else None,
                "zero_weights": epoch.get("zero_weights"),
            }
        )
        inside.append(_trained_layers(epoch))
    remarks = []
    sets = [training.recipe.data for training in trained]
    if sets[0] != sets[1]:
        remarks.append("their data differ, so accuracies are of different samples")
    devices = [table.get("device", "cpu") for table in tables]
    if devices[0] != devices[1]:
        where = f"trained on {devices[0]} and on {devices[1]}"
        remarks.append(f"{where}, so seconds cannot be compared")
    return Comparison(
        kind="runs",
        first=str(paths[0]),
        second=str(paths[1]),
        figures=_figures(TRAINED, *wholes),
        layers=_layers(IN_TRAINED, *inside),
        settings=_settings(*(training.recipe.as_dict() for training in trained)),
        remarks=(*remarks, *_unlike(*inside)),
    )


def _trained_layers(epoch: Values) -> dict[str, Values]:
    """Figures of every layer in the best epoch; none in older files."""
    names = {
        "rate": "firing_rates",
        "synaptic_ops": "synaptic_operations",
        "silent": "silent",
        "saturated": "saturated",
    }
    tables = {name: epoch.get(key) or {} for name, key in names.items()}
    layers = dict.fromkeys(layer for table in tables.values() for layer in table)
    return {layer: {name: table.get(layer) for name, table in tables.items()} for layer in layers}
