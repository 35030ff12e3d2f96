"""Every parameter of every primitive in every framework's row: what becomes of another value."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import nir
import numpy as np

from neurodeploy.errors import NeurodeployError
from neurodeploy.interchange.frameworks import FRAMEWORKS
from neurodeploy.interchange.nir.importing import Imported
from neurodeploy.ir.contract import Origin
from support.framework_runs import imported
from support.matrix.cell import short

ONE = np.ones(2)

PARAMETERS = {
    "LIF": ("tau", "r", "v_leak", "v_threshold", "v_reset"),
    "LI": ("tau", "r", "v_leak"),
    "IF": ("r", "v_threshold", "v_reset"),
    "CubaLIF": ("tau_syn", "tau_mem", "r", "v_leak", "v_threshold", "v_reset", "w_in"),
    "CubaLI": ("tau_syn", "tau_mem", "r", "v_leak", "w_in"),
}


def parameter_rows() -> Iterator[tuple[Origin, str, str]]:
    """Framework, primitive and parameter."""
    for name in get_args(Origin):
        for kind in FRAMEWORKS[name].neurons:
            yield from ((name, kind, parameter) for parameter in PARAMETERS[kind])


def becomes(framework: Origin, kind: str, parameter: str, folder: Path) -> str:
    """``used``, ``refused`` with the reason, or ``ignored`` with a note that says so.

    Raises:
        AssertionError: another value changes nothing, and nothing is said.
    """
    plain = _imported(framework, kind, {}, folder)
    dt = FRAMEWORKS[framework].semantics.dt
    other = {
        "tau": 6 * dt * ONE,
        "tau_mem": 6 * dt * ONE,
        "tau_syn": 5 * dt * ONE,
        "v_leak": 0.25 * ONE,
        "v_threshold": 1.5 * ONE,
        "v_reset": -0.25 * ONE,
    }
    written = _node_values(framework, kind, {})
    value = other[parameter] if parameter in other else 1.5 * written[parameter]
    try:
        found = _imported(framework, kind, {parameter: value}, folder)
    except NeurodeployError as error:
        reason = short(str(error).split("; state ")[0])
        reason = reason.removeprefix(f"node 'n' ({kind}): ")
        return f"refused: {reason}"
    if any(f"{parameter} is ignored" in note for note in found.notes):
        return "ignored, with a note"
    assert _numbers(found) != _numbers(plain), f"{framework}: {parameter} of {kind} is ignored"
    return "used"


def _node_values(framework: str, kind: str, changes: dict[str, Any]) -> dict[str, Any]:
    """Parameters as the framework writes them, those that follow from others with these."""
    dt = FRAMEWORKS[framework].semantics.dt
    values: dict[str, Any] = {
        "tau": 4 * dt * ONE,
        "tau_mem": 4 * dt * ONE,
        "tau_syn": 3 * dt * ONE,
        "v_leak": 0 * ONE,
        "v_threshold": ONE,
        "v_reset": 0 * ONE,
    } | changes
    tau = values["tau"] if kind in ("LIF", "LI") else values["tau_mem"]
    steps = framework in ("snntorch", "spikingjelly", "lava")
    values["r"], values["w_in"] = ONE, values["tau_syn"] / dt if steps else ONE
    if framework == "spikingjelly":
        values["r"] = ONE / dt if kind == "IF" else tau / dt
        values["v_leak"] = changes.get("v_leak", values["v_reset"] if kind == "LIF" else 0 * ONE)
    elif framework == "rockpool":
        values["r"] = tau * np.exp(-dt / tau) / dt
    elif framework == "spyx" and kind in ("LIF", "CubaLIF"):
        values["r"] = 1 - dt / tau
    elif steps:
        values["r"] = tau / dt if kind != "IF" else ONE
    values |= changes
    return {key: values[key] for key in PARAMETERS[kind]}


def _imported(framework: Origin, kind: str, changes: dict[str, Any], folder: Path) -> Imported:
    node = getattr(nir, kind)(**_node_values(framework, kind, changes))
    named = {"input": nir.Input({"input": np.array([2])}), "w": nir.Linear(np.eye(2)), "n": node}
    named["output"] = nir.Output({"output": np.array([2])})
    graph = nir.NIRGraph(named, list(pairwise(named)), {}, type_check=False)
    return imported(graph, folder, framework)


def _numbers(found: Imported) -> list[Any]:
    """All numbers of a network, and the time step."""
    network = found.network
    numbers: list[Any] = [network.contract.semantics.dt]
    for population in network.populations:
        if population.neuron is not None:
            neuron = population.leaky
            parts = (neuron.u_keep, neuron.v_keep, neuron.bias, neuron.v_threshold)
            numbers += [np.asarray(part).tolist() for part in parts]
    numbers += [(p.name, p.operator.weights.tolist(), p.delay) for p in network.projections]
    return numbers + [note for note in found.notes if "v counts from" in note]
