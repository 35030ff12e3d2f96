"""A framework's graph as one whose own equations are what the framework computes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import nir
import numpy as np

from neurodeploy.errors import Setting, Text, UnsupportedError, in_lines
from neurodeploy.interchange.frameworks import FRAMEWORKS, Framework
from neurodeploy.interchange.frameworks.framework import numbers
from neurodeploy.ir.contract import Semantics
from neurodeploy.neurons import NEURONS
from neurodeploy.neurons.leak import exactly_one, keep_and_feed


@dataclass(frozen=True, eq=False)
class Translation:
    """A graph to be read by NIR's equations, and what was assumed or changed for that."""

    graph: nir.NIRGraph
    notes: list[str]


def likely_framework(graph: nir.NIRGraph) -> str | None:
    """The name in ``FRAMEWORKS`` whose files look like this graph; for advice, never acted on."""
    try:
        return next((name for name, f in FRAMEWORKS.items() if f.looks_so(graph)), None)
    except (AttributeError, TypeError, ValueError):  # a graph so odd that it looks like none
        return None


def translated(
    graph: nir.NIRGraph, framework: Framework, semantics: Semantics, where: str, *, late: bool
) -> Translation:
    """Translate every neuron of a graph without subgraphs.

    Args:
        semantics: in force, with reset by subtraction where the framework's comes late.
        late: whether the framework's late reset applies, which a stated reset replaces.

    Raises:
        UnsupportedError: neurons that the framework does not know, or parameters that it does not
            write or cannot mean; all are named.
    """
    graph, notes = framework.prepared(graph, semantics)
    nodes, edges = dict(graph.nodes), list(graph.edges)
    problems: list[str] = []
    for name, node in graph.nodes.items():
        kind = type(node).__name__
        if kind not in NEURONS or kind == "Threshold":  # which knows no time
            continue
        try:
            nodes[name] = _translated(kind, node, framework, semantics)
        except UnsupportedError as error:
            problems.append(Text(f"{where}: node {name!r} ({kind}): ", error.text))
            continue
        if late and kind in framework.late_reset:
            _add_late_reset(name, nodes, edges, semantics)
    if problems:
        raise UnsupportedError(in_lines(problems))
    done = nir.NIRGraph(nodes, edges, graph.metadata, type_check=False)
    return Translation(done, [*notes, *framework.notes])


def with_gain_one(graph: nir.NIRGraph, semantics: Semantics, where: str) -> nir.NIRGraph:
    """The graph with r and w_in such that the input enters as it is, whatever they were."""
    nodes = {
        name: _with_gain_one(node, semantics, f"{where}: node {name!r}")
        for name, node in graph.nodes.items()
    }
    return nir.NIRGraph(nodes, graph.edges, graph.metadata, type_check=False)


def _translated(kind: str, node: Any, framework: Framework, semantics: Semantics) -> Any:
    translate = framework.neurons.get(kind)
    if translate is None:
        known = ", ".join(framework.neurons)
        raise UnsupportedError(
            f"{framework.title} {framework.version} neither writes nor reads this neuron, only "
            f"{known}",
            fix=Text(
                "state ",
                Setting("dt"),
                ", ",
                Setting("reset"),
                ", ",
                Setting("comparison"),
                " and ",
                Setting("integrator"),
                " in place of ",
                Setting("framework"),
            ),
        )
    return translate(node, semantics)


def _add_late_reset(
    name: str, nodes: dict[str, Any], edges: list[tuple[str, str]], semantics: Semantics
) -> None:
    """Subtract the whole threshold one step after the spike, by an inhibitory synapse onto itself.

    Subtracted at once, v_threshold decays to keep v_threshold by the next step; the synapse, one
    step late, subtracts the rest. Where it enters through a current that decays, a second synapse,
    two steps late, takes back what the current would keep of it.
    """
    node = nodes[name]
    if isinstance(node, nir.CubaLIF):
        current_keep, current_feed = keep_and_feed(node.tau_syn, semantics, name)
        keep, feed = keep_and_feed(node.tau_mem, semantics, name)
        gain = exactly_one(current_feed * node.w_in * feed * node.r)
    else:
        current_keep = np.zeros(1)
        keep, feed = keep_and_feed(node.tau, semantics, name)
        gain = exactly_one(feed * node.r)
    rest = -(1 - keep) * numbers(node.v_threshold) / gain
    if not rest.any():
        return
    first = _free(f"{name}.late_reset", nodes)
    nodes[first] = nir.Scale(np.asarray(rest))
    edges += [(name, first), (first, name)]
    if current_keep.any():
        second, delay = _free(f"{name}.late_reset_end", nodes), _free(f"{name}.two_steps", nodes)
        nodes[second] = nir.Scale(np.asarray(-current_keep * rest))
        nodes[delay] = nir.Delay(np.array([2 * semantics.dt]))
        edges += [(name, second), (second, delay), (delay, name)]


def _with_gain_one(node: Any, semantics: Semantics, where: str) -> Any:
    kind = type(node).__name__
    if kind in ("IF", "I"):
        return replace(node, r=np.full(np.shape(node.r), 1 / semantics.dt))
    if kind in ("LIF", "LI"):
        return replace(node, r=1 / keep_and_feed(node.tau, semantics, where)[1])
    if kind in ("CubaLIF", "CubaLI"):
        r = 1 / keep_and_feed(node.tau_mem, semantics, where)[1]
        return replace(node, r=r, w_in=1 / keep_and_feed(node.tau_syn, semantics, where)[1])
    return node


def _free(name: str, nodes: dict[str, Any]) -> str:
    while name in nodes:
        name += "_"
    return name
