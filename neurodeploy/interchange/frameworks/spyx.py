"""Spyx: spikes of the membrane of the step before, a late reset, and r that nothing reads."""

from __future__ import annotations

from typing import Any

import nir
import numpy as np

from neurodeploy.errors import Setting, Text
from neurodeploy.interchange.frameworks.framework import (
    Framework,
    held_in_single,
    membrane_time,
    neurons_of,
    numbers,
    stepping,
)
from neurodeploy.ir.contract import Semantics
from neurodeploy.neurons.leak import keep_and_feed

SPIKING = (nir.LIF, nir.IF, nir.CubaLIF)


def _keep(tau: Any, semantics: Semantics) -> np.ndarray:
    return held_in_single(keep_and_feed(numbers(tau), semantics, "time constant")[0])


def _lif(node: Any, semantics: Semantics) -> Any:
    """LIF: V = beta V + x, less the threshold if V was above it."""
    keep = _keep(node.tau, semantics)
    return stepping("LIF", semantics, keep=keep, v_threshold=node.v_threshold)


def _cuba_lif(node: Any, semantics: Semantics) -> Any:
    """CuBaLIF: I = alpha I + x, then V = beta V + I."""
    return stepping(
        "CubaLIF",
        semantics,
        keep=_keep(node.tau_mem, semantics),
        current_keep=_keep(node.tau_syn, semantics),
        v_threshold=node.v_threshold,
    )


def _if(node: Any, semantics: Semantics) -> Any:
    """IF: V = V + x."""
    return stepping("IF", semantics, v_threshold=node.v_threshold)


def _li(node: Any, semantics: Semantics) -> Any:
    """The membrane of PSU_LIF: V = beta V + x."""
    return stepping("LI", semantics, keep=_keep(node.tau, semantics))


def _as_it_runs(graph: nir.NIRGraph, semantics: Semantics) -> tuple[nir.NIRGraph, list[str]]:
    """Recurrent layers wired as they run, and a step of delay behind every spiking layer.

    ``to_nir`` leads the input of a recurrent layer through its recurrent weights.
    """
    nodes, edges, notes = dict(graph.nodes), [], []
    loops = {
        (weights, neuron)
        for weights, neuron in graph.edges
        if (neuron, weights) in graph.edges
        and isinstance(nodes.get(neuron), SPIKING)
        and isinstance(nodes.get(weights), nir.Linear | nir.Affine)
    }
    inside = dict(loops)
    for source, target in graph.edges:
        if target in inside and source != inside[target]:
            notes.append(
                f"spyx 1.0.0 leads the input of a recurrent layer through {target!r}: led to "
                f"{inside[target]!r} instead"
            )
            edges.append((source, inside[target]))
        elif (
            isinstance(nodes.get(source), SPIKING)
            and inside.get(target) != source
            and not isinstance(nodes.get(target), nir.Output)
        ):
            late = f"{source}.late"
            if late not in nodes:
                nodes[late] = nir.Delay(np.array([semantics.dt]))
                edges.append((source, late))
            edges.append((late, target))
        else:
            edges.append((source, target))
    return nir.NIRGraph(nodes, edges, graph.metadata, type_check=False), notes


def _looks_so(graph: nir.NIRGraph) -> bool:
    """Names by layer number, and r = beta = 1 - 1/tau."""
    found = neurons_of(graph, "LIF", "CubaLIF", "IF", "LI")
    return (
        bool(found)
        and any(name.startswith("layer_") for name in graph.nodes)
        and all(
            type(node).__name__ in ("IF", "LI")
            or np.allclose(numbers(node.r), 1 - 1 / numbers(membrane_time(node)), atol=1e-3)
            for node in found
        )
    )


SPYX = Framework(
    title="Spyx",
    version="1.0.0",
    sources=("spyx/nir.py", "spyx/nn.py", "spyx/axn.py"),
    semantics=Semantics(1.0, "subtract", ">", "euler"),
    neurons={"LIF": _lif, "CubaLIF": _cuba_lif, "IF": _if, "LI": _li},
    notes=(
        Text("Spyx does not write dt: taken as its default, 1; for another add ", Setting("dt")),
        "Spyx hands spikes on one step late: a delay of one step stands behind every spiking "
        "layer; the spikes of the last layer come out one step earlier than in Spyx",
    ),
    looks_so=_looks_so,
    late_reset=frozenset({"LIF"}),
    prepared=_as_it_runs,
)
