"""Norse: forward Euler with dt as an argument; its exporter inverts time constants wrongly."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import nir
import numpy as np

from neurodeploy.errors import Setting, Text
from neurodeploy.interchange.frameworks.framework import (
    Framework,
    fixed,
    membrane_time,
    neurons_of,
    numbers,
    require,
    stepping,
)
from neurodeploy.ir.contract import Semantics
from neurodeploy.neurons.leak import keep_and_feed

TIME_CONSTANTS = ("tau", "tau_mem", "tau_syn")


def _box(node: Any, semantics: Semantics) -> Any:
    """LIFBox and LIBox: v += dt/tau (v_leak - v + x)."""
    return node


def _cell(node: Any, semantics: Semantics) -> Any:
    """LIFCell: i = (1 - dt/tau_syn) i + x, then v += dt/tau_mem (v_leak - v + i)."""
    _resets_to_a_value(semantics, "LIFCell")
    return _with_current("CubaLIF", node, semantics)


def _readout_cell(node: Any, semantics: Semantics) -> Any:
    """LICell: the equations of LIFCell without a spike."""
    return _with_current("CubaLI", node, semantics)


def _with_current(kind: str, node: Any, semantics: Semantics) -> Any:
    current_keep, _ = keep_and_feed(numbers(node.tau_syn), semantics, "tau_syn")
    keep, feed = keep_and_feed(numbers(node.tau_mem), semantics, "tau_mem")
    return stepping(
        kind,
        semantics,
        keep=keep,
        current_keep=current_keep,
        gain=feed,
        v_leak=node.v_leak,
        v_threshold=getattr(node, "v_threshold", None),
        v_reset=getattr(node, "v_reset", 0.0),
    )


def _counting(node: Any, semantics: Semantics) -> Any:
    """IAFCell: v += x, without dt; v starts at v_reset."""
    _resets_to_a_value(semantics, "IAFCell")
    return stepping("IF", semantics, v_threshold=node.v_threshold, v_reset=node.v_reset)


def _resets_to_a_value(semantics: Semantics, cell: str) -> None:
    require(
        semantics.reset == "zero",
        f"Norse's {cell} resets to v_reset always, only LIFBoxCell has a reset_method",
        fix=Text(
            "state it only for LIFBoxCell nodes, ", Setting("reset", f"NODE={semantics.reset}")
        ),
    )


def _with_time_constants(
    graph: nir.NIRGraph, semantics: Semantics
) -> tuple[nir.NIRGraph, list[str]]:
    """``to_nir`` writes dt/tau_inv for 1/tau_inv; where some lie below dt, that was done here.

    No network of Norse has a time constant below dt, which Euler could not step.
    """
    found = [
        numbers(getattr(node, name))
        for node in neurons_of(graph, "LIF", "LI", "CubaLIF", "CubaLI")
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


def _evidence(graph: nir.NIRGraph) -> list[str] | None:
    """Single numbers for whole layers, and time constants in seconds."""
    found = neurons_of(graph, "LIF", "CubaLIF", "LI", "CubaLI", "IF")
    leaky = [node for node in found if hasattr(node, "v_leak")]
    if any(np.any(numbers(membrane_time(node)) >= 1) for node in leaky):
        return []  # which would be seconds
    spoken = ["time constants in seconds with r = 1"] if leaky else []
    if all(np.size(node.r) == 1 for node in found):
        spoken.append("single numbers for whole layers")
    single = all(np.asarray(node.r).dtype == np.float32 for node in found)
    if "input_1" in graph.nodes and single:  # from its exporter after 1.1.0
        spoken.append("names as torch.fx gives them")
    return spoken


NORSE = Framework(
    title="Norse",
    version="1.1.0",
    sources=(
        "norse/torch/utils/export_nir.py",
        "norse/torch/functional/lif_box.py",
        "norse/torch/functional/lif.py",
        "norse/torch/functional/leaky_integrator.py",
        "norse/torch/functional/leaky_integrator_box.py",
        "norse/torch/functional/iaf.py",
    ),
    semantics=Semantics(1e-3, "zero", ">", "euler"),
    neurons={
        "LIF": fixed("Norse", _box, r=1),
        "LI": fixed("Norse", _box, r=1),
        "CubaLIF": fixed("Norse", _cell, r=1, w_in=1),
        "CubaLI": fixed("Norse", _readout_cell, r=1, w_in=1),
        "IF": fixed("Norse", _counting, r=1),
    },
    notes=(
        Text(
            "Norse does not write reset_method: taken as reset_value; for reset_subtract add ",
            Setting("reset", "subtract"),
        ),
        "norse 1.1.0 does not write v_reset, its current exporter does: taken as the file says",
        Text("Norse does not write dt: taken as its default; for another add ", Setting("dt")),
    ),
    evidence=_evidence,
    starts="v_leak",
    prepared=_with_time_constants,
)
