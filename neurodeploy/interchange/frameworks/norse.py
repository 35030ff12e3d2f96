"""Norse: forward Euler with dt as an argument; its exporter inverts time constants wrongly."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import nir
import numpy as np

from neurodeploy.errors import Setting, Text
from neurodeploy.interchange.frameworks.framework import (
    Framework,
    membrane_time,
    neurons_of,
    numbers,
    require,
    stepping,
)
from neurodeploy.ir.contract import Semantics
from neurodeploy.neurons.leak import keep_and_feed

TIME_CONSTANTS = ("tau", "tau_mem", "tau_syn")


def _starts_at_zero(node: Any) -> None:
    require(
        numbers(node.v_leak) == 0,
        "Norse starts a sample with v at v_leak and its exporter drops v_reset, so that a v_leak "
        "other than 0 leaves open where v starts and returns to; export it with a v_leak of 0",
    )


def _box(node: Any, semantics: Semantics) -> Any:
    """LIFBox and LIBox: v += dt/tau (v_leak - v + x), whatever r says."""
    _starts_at_zero(node)
    return replace(node, r=np.ones(np.shape(node.r)))


def _cell(node: Any, semantics: Semantics) -> Any:
    """LIFCell: i = (1 - dt/tau_syn) i + x, then v += dt/tau_mem (v_leak - v + i)."""
    _starts_at_zero(node)
    current_keep, _ = keep_and_feed(numbers(node.tau_syn), semantics, "tau_syn")
    keep, feed = keep_and_feed(numbers(node.tau_mem), semantics, "tau_mem")
    return stepping(
        "CubaLIF",
        semantics,
        keep=keep,
        current_keep=current_keep,
        gain=feed,
        v_threshold=node.v_threshold,
    )


def _counting(node: Any, semantics: Semantics) -> Any:
    """IAFCell: v += x, without dt."""
    return stepping("IF", semantics, v_threshold=node.v_threshold)


def _with_time_constants(
    graph: nir.NIRGraph, semantics: Semantics
) -> tuple[nir.NIRGraph, list[str]]:
    """``to_nir`` writes dt/tau_inv for 1/tau_inv; where some lie below dt, that was done here.

    No network of Norse has a time constant below dt, which Euler could not step.
    """
    found = [
        numbers(getattr(node, name))
        for node in neurons_of(graph, "LIF", "LI", "CubaLIF")
        for name in TIME_CONSTANTS
        if hasattr(node, name)
    ]
    if not any((tau < semantics.dt * (1 - 1e-6)).any() for tau in found):
        return graph, []
    nodes = {}
    for key, node in graph.nodes.items():
        changes = {
            name: numbers(getattr(node, name)) / semantics.dt
            for name in TIME_CONSTANTS
            if hasattr(node, name)
        }
        nodes[key] = replace(node, **changes) if changes else node
    note = (
        f"time constants below dt = {semantics.dt:g} s: norse 1.1.0 writes dt/tau_inv where it "
        "means 1/tau_inv; all divided by dt"
    )
    return nir.NIRGraph(nodes, graph.edges, graph.metadata, type_check=False), [note]


def _looks_so(graph: nir.NIRGraph) -> bool:
    """Single numbers for whole layers, r = 1, time constants in seconds."""
    leaky = neurons_of(graph, "LIF", "CubaLIF", "LI")
    return bool(leaky) and all(
        np.ndim(node.r) == 0
        and np.all(numbers(node.r) == 1)
        and np.all(numbers(membrane_time(node)) < 1)
        for node in leaky
    )


NORSE = Framework(
    title="Norse",
    version="1.1.0",
    sources=(
        "norse/torch/utils/export_nir.py",
        "norse/torch/functional/lif_box.py",
        "norse/torch/functional/lif.py",
        "norse/torch/functional/leaky_integrator_box.py",
        "norse/torch/functional/iaf.py",
    ),
    semantics=Semantics(1e-3, "zero", ">", "euler"),
    neurons={"LIF": _box, "LI": _box, "CubaLIF": _cell, "IF": _counting},
    notes=(
        Text(
            "Norse does not write reset_method and v_reset: taken as reset_value and 0; for "
            "reset_subtract add ",
            Setting("reset", "subtract"),
        ),
        Text("Norse does not write dt: taken as its default; for another add ", Setting("dt")),
    ),
    looks_so=_looks_so,
    prepared=_with_time_constants,
)
