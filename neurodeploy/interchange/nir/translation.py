"""A framework's graph as one whose own equations are what the framework computes."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import nir
import numpy as np

from neurodeploy.errors import Text, UnsupportedError, in_lines
from neurodeploy.interchange.frameworks import FRAMEWORKS, Framework
from neurodeploy.interchange.frameworks.framework import (
    IN_PLACE_OF_A_FRAMEWORK,
    AfterSpike,
    numbers,
)
from neurodeploy.interchange.nir.own_synapses import add_late_reset, start_at_leak
from neurodeploy.interchange.nir.resets import after_spike, reset_notes, unsettled
from neurodeploy.ir.contract import Semantics
from neurodeploy.ir.stated import Stated
from neurodeploy.neurons import NEURONS
from neurodeploy.neurons.leak import keep_and_feed


@dataclass(frozen=True, eq=False)
class Translation:
    """A graph to be read by NIR's equations, how, and what was assumed or changed for that.

    Attributes:
        late: neurons whose spike lowers v at the next step only.
        moved: neurons whose potential here is not the framework's plus one number for all of them.
    """

    graph: nir.NIRGraph
    semantics: Semantics
    notes: list[str]
    late: frozenset[str] = frozenset()
    moved: frozenset[str] = frozenset()


def likely_frameworks(graph: nir.NIRGraph) -> dict[str, list[str]]:
    """Names in ``FRAMEWORKS`` of all that the file could come from, and what speaks for each.

    Those for which more speaks come first, those that only read NIR last. For advice, never acted
    on: that a framework could have written a file does not say that it did.
    """
    neurons = {name: node for name, node in graph.nodes.items() if _steps_in_time(node)}
    alone = nir.NIRGraph(neurons, [], {}, type_check=False)
    found: dict[str, list[str]] = {}
    for name, framework in FRAMEWORKS.items():
        try:
            evidence = framework.evidence(graph)
            if neurons and evidence is not None:
                semantics = framework.semantics
                told = framework.time_step(alone)
                semantics = semantics if told is None else replace(semantics, dt=told)
                prepared, _ = framework.prepared(alone, semantics)
                for node in prepared.nodes.values():
                    _translated(type(node).__name__, node, framework, semantics)
                found[name] = evidence
        except (UnsupportedError, AttributeError, TypeError, ValueError):  # it cannot be its file
            continue
    order = sorted(found, key=lambda name: (not FRAMEWORKS[name].writes, -_weight(found[name])))
    return {name: found[name] for name in order}


def _weight(evidence: list[str]) -> int:
    """Names of nodes say more than values, which frameworks share."""
    return sum(NAMES_WEIGH if said.startswith("names") else 1 for said in evidence)


NAMES_WEIGH = 3


def translated(
    graph: nir.NIRGraph, framework: Framework, semantics: Semantics, stated: Stated, where: str
) -> Translation:
    """Translate every neuron of a graph without subgraphs; ``with_own_synapses`` is the other half.

    Args:
        semantics: in force; the translation has those of each node.
        stated: of the file; a reset that is stated replaces the framework's late one.

    Raises:
        UnsupportedError: neurons that the framework does not know, or parameters that it does not
            write or cannot mean; all are named.
    """
    graph, notes = framework.prepared(graph, semantics)
    nodes, resets = dict(graph.nodes), dict[str, AfterSpike]()
    problems = _Problems(where)
    for name, node in graph.nodes.items():
        if _steps_in_time(node):
            with problems.collecting(name, node):
                if hasattr(node, "v_threshold"):
                    found = resets[name] = after_spike(name, graph, framework, semantics, stated)
                    rest, comparison = found.refractory_period, semantics.of(name).comparison
                    semantics = semantics.with_node(name, found.reset, comparison, rest)
                own = semantics.of(name)
                nodes[name] = _translated(type(node).__name__, node, framework, own)
                notes += _unread(name, node, framework)
    problems.refuse()
    done = nir.NIRGraph(nodes, graph.edges, graph.metadata, type_check=False)
    notes = [*notes, *reset_notes(resets, framework, stated), *unsettled(framework.notes, stated)]
    late = frozenset(name for name, found in resets.items() if found.late)
    return Translation(done, semantics, notes, late)


def with_own_synapses(
    graph: nir.NIRGraph,
    framework: Framework,
    semantics: Semantics,
    where: str,
    *,
    late: Collection[str],
) -> Translation:
    """Add what a spike of the framework's neurons does after the reset, and where they start.

    Args:
        semantics: in force, with reset by subtraction where the framework's comes late.
        late: neurons whose spike lowers v at the next step only.

    Raises:
        UnsupportedError: a potential that does not start at 0 goes on.
    """
    nodes, edges, notes, moved = dict(graph.nodes), list(graph.edges), [], set()
    problems = _Problems(where)
    for name, node in graph.nodes.items():
        with problems.collecting(name, node):
            if framework.starts == "v_leak" and hasattr(node, "v_leak"):
                notes += start_at_leak(name, nodes, edges, semantics.of(name), moved)
            if name in late:
                add_late_reset(name, nodes, edges, semantics)
    problems.refuse()
    done = nir.NIRGraph(nodes, edges, graph.metadata, type_check=False)
    return Translation(done, semantics, notes, moved=frozenset(moved))


class _Problems:
    """What is refused of several nodes, to be named at once."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.found: list[str] = []

    @contextmanager
    def collecting(self, name: str, node: Any) -> Iterator[None]:
        try:
            yield
        except UnsupportedError as error:
            at = f"{self.where}: node {name!r} ({type(node).__name__}): "
            self.found.append(Text(at, error.text))

    def refuse(self) -> None:
        if self.found:
            raise UnsupportedError(in_lines(self.found))


def with_gain_one(graph: nir.NIRGraph, semantics: Semantics, where: str) -> nir.NIRGraph:
    """The graph with r and w_in such that the input enters as it is, whatever they were."""
    nodes = {
        name: _with_gain_one(node, semantics, f"{where}: node {name!r}")
        for name, node in graph.nodes.items()
    }
    return nir.NIRGraph(nodes, graph.edges, graph.metadata, type_check=False)


def _steps_in_time(node: Any) -> bool:
    """Whether frameworks differ in what a node computes: a neuron, but no Threshold alone."""
    return type(node).__name__ in NEURONS and type(node).__name__ != "Threshold"


def _translated(kind: str, node: Any, framework: Framework, semantics: Semantics) -> Any:
    translate = framework.neurons.get(kind)
    if translate is None:
        known = ", ".join(framework.neurons)
        raise UnsupportedError(
            f"{framework.title} {framework.version} neither writes nor reads this neuron, only "
            f"{known}",
            fix=IN_PLACE_OF_A_FRAMEWORK,
        )
    return translate(node, semantics)


def _unread(name: str, node: Any, framework: Framework) -> list[str]:
    """What the framework's reader passes over in a node, though it says something."""
    kind = type(node).__name__
    return [
        f"node {name!r} ({kind}): {parameter} is ignored, as {framework.title} does"
        for parameter in framework.unread.get(kind, ())
        if np.any(numbers(getattr(node, parameter)) != 1)
    ]


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
