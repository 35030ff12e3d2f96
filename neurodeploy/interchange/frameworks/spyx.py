"""Spyx: spikes of the membrane of the step before, a late reset, channels last."""

from __future__ import annotations

from typing import Any

import nir
import numpy as np

from neurodeploy.errors import Setting, Text
from neurodeploy.interchange.frameworks.framework import (
    Framework,
    fixed,
    is_round,
    learned_share,
    membrane_time,
    neurons_of,
    numbers,
    one_step_late,
    one_value,
    require_written,
    stepping,
)
from neurodeploy.interchange.frameworks.spyx_layers import channels_first
from neurodeploy.ir.contract import Semantics

SPIKING = (nir.LIF, nir.IF, nir.CubaLIF)


WITH_ITS_DT = Text("state the ", Setting("dt"), " that it was exported with")


def _beta(node: Any, semantics: Semantics) -> np.ndarray:
    """beta as it runs, clipped to 0..1; r is beta as it was learned."""
    written = 1 - semantics.dt / numbers(membrane_time(node))
    require_written("r", node.r, written, "Spyx", WITH_ITS_DT)
    return np.clip(numbers(node.r), 0, 1)


def _share(tau: Any, semantics: Semantics) -> np.ndarray:
    return np.clip(learned_share(tau, semantics.dt), 0, 1)


def _lif(node: Any, semantics: Semantics) -> Any:
    """LIF: V = beta V + x, less the threshold if V was above it."""
    return stepping("LIF", semantics, keep=_beta(node, semantics), v_threshold=node.v_threshold)


def _cuba_lif(node: Any, semantics: Semantics) -> Any:
    """CuBaLIF: I = alpha I + x, then V = beta V + I."""
    return stepping(
        "CubaLIF",
        semantics,
        keep=_beta(node, semantics),
        current_keep=_share(node.tau_syn, semantics),
        v_threshold=node.v_threshold,
    )


def _if(node: Any, semantics: Semantics) -> Any:
    """IF: V = V + x."""
    return stepping("IF", semantics, v_threshold=node.v_threshold)


def _li(node: Any, semantics: Semantics) -> Any:
    """The membrane of PSU_LIF: V = beta V + x."""
    return stepping("LI", semantics, keep=_share(node.tau, semantics))


def _as_it_runs(graph: nir.NIRGraph, semantics: Semantics) -> tuple[nir.NIRGraph, list[str]]:
    """Recurrent layers wired as they run, and a step of delay behind every spiking layer.

    ``to_nir`` leads the input of a recurrent layer through its recurrent weights. Layers over
    images are brought to channels first.
    """
    nodes = graph.nodes
    loops = {
        (weights, neuron)
        for weights, neuron in graph.edges
        if (neuron, weights) in graph.edges
        and isinstance(nodes.get(neuron), SPIKING)
        and isinstance(nodes.get(weights), nir.Linear | nir.Affine)
    }
    inside = dict(loops)

    def late(source: str, target: str) -> bool:
        spikes, leaves = isinstance(nodes.get(source), SPIKING), target not in inside
        return spikes and leaves and not isinstance(nodes.get(target), nir.Output)

    delayed = one_step_late(graph, semantics.dt, late)
    edges, notes = [], []
    for source, target in delayed.edges:
        if target in inside and source != inside[target]:
            notes.append(
                f"spyx 1.0.0 leads the input of a recurrent layer through {target!r}: led to "
                f"{inside[target]!r} instead"
            )
            edges.append((source, inside[target]))
        else:
            edges.append((source, target))
    wired = nir.NIRGraph(delayed.nodes, edges, graph.metadata, type_check=False)
    done, more = channels_first(wired)
    return done, [*notes, *more]


def _time_step(graph: nir.NIRGraph) -> float | None:
    """dt from r = beta = 1 - dt/tau."""
    found = [np.zeros(0)]
    for node in neurons_of(graph, "LIF", "CubaLIF"):
        with np.errstate(all="ignore"):
            found.append(np.ravel(numbers(membrane_time(node)) * (1 - numbers(node.r))))
    steps = np.concatenate(found)
    return one_value(steps[np.isfinite(steps)], 5)


def _evidence(graph: nir.NIRGraph) -> list[str] | None:
    """Names by layer number, and r = beta = 1 - dt/tau."""
    spoken = []
    if any(name.startswith("layer_") for name in graph.nodes):
        spoken.append("names by layer number")
    if is_round(_time_step(graph)):
        spoken.append("r = 1 - dt/tau")
    return spoken


SPYX = Framework(
    title="Spyx",
    version="1.0.0",
    sources=("spyx/nir.py", "spyx/nn.py", "spyx/axn.py"),
    semantics=Semantics(1.0, "subtract", ">", "euler"),
    neurons={
        "LIF": fixed("Spyx", _lif, v_leak=0, v_reset=0),
        "CubaLIF": fixed("Spyx", _cuba_lif, v_leak=0, v_reset=0, w_in=1),
        "IF": fixed("Spyx", _if, r=1, v_reset=0),
        "LI": fixed("Spyx", _li, r=1, v_leak=0),
    },
    notes=(
        Text(
            "Spyx does not write dt: where r of a leaking neuron does not tell it, taken as its "
            "default, 1; for another add ",
            Setting("dt"),
        ),
        "Spyx writes convolutions without dilation, with the padding before for both sides, and "
        "leaves out LI and other layers that NIR lacks: taken as the file says",
        "Spyx passes spikes on one step late: a delay of one step stands behind every spiking "
        "layer; the spikes of the last layer come out one step earlier than in Spyx",
    ),
    evidence=_evidence,
    late_reset=frozenset({"LIF"}),
    prepared=_as_it_runs,
    time_step=_time_step,
)
