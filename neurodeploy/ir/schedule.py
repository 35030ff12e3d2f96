"""When things happen: order of computation, pipeline depth, delays and guard steps.

Works on any graph whose populations have a ``name`` and whose projections have ``name``,
``source``, ``target`` and ``delay``: the float network and the quantised one alike.

A network computes layer-synchronously in model time. Lava adds one step per synaptic process, so
population p runs ``depth(p)`` steps late and every projection needs
``depth(target) + delay - depth(source) - 1`` extra steps of synaptic delay, never less than 0.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from graphlib import CycleError, TopologicalSorter
from itertools import chain, count
from typing import Protocol

import numpy as np
from scipy import sparse
from scipy.sparse import csgraph

from neurodeploy.errors import UnsupportedError
from neurodeploy.ir.network import Network, Projection


class NamedPopulation(Protocol):
    """What timing needs to know of a population."""

    @property
    def name(self) -> str: ...


class Edge(Protocol):
    """What timing needs to know of a projection."""

    @property
    def name(self) -> str: ...
    @property
    def source(self) -> str: ...
    @property
    def target(self) -> str: ...
    @property
    def delay(self) -> int: ...


class Graph(Protocol):
    """A float or a quantised network."""

    @property
    def populations(self) -> Sequence[NamedPopulation]: ...
    @property
    def projections(self) -> Sequence[Edge]: ...


def components(graph: Graph) -> list[list[str]]:
    """Strongly connected components in topological order, each in the graph's own order.

    A component of one population without a projection to itself can be computed over all steps at
    once; any other has to be stepped.
    """
    names = [population.name for population in graph.populations]
    number = {name: index for index, name in enumerate(names)}
    ends = np.array([(number[e.source], number[e.target]) for e in graph.projections], int)
    rows, columns = ends.reshape(-1, 2).T
    links = sparse.csr_matrix((np.ones(len(ends)), (rows, columns)), shape=(len(names),) * 2)
    _, found = csgraph.connected_components(links, directed=True, connection="strong")
    first: dict[int, str] = {}
    groups: dict[str, list[str]] = {}
    label = {}
    for name, component in zip(names, found, strict=True):
        label[name] = first.setdefault(int(component), name)
        groups.setdefault(label[name], []).append(name)
    sorter: TopologicalSorter[str] = TopologicalSorter({name: set() for name in groups})
    for edge in graph.projections:
        if label[edge.source] != label[edge.target]:
            sorter.add(label[edge.target], label[edge.source])
    return [groups[name] for name in sorter.static_order()]


def is_recurrent(graph: Graph, component: Sequence[str]) -> bool:
    """Whether a component of ``components`` has to be computed step by step."""
    return len(component) > 1 or any(
        edge.source == edge.target == component[0] for edge in graph.projections
    )


def step_order(graph: Graph) -> list[str]:
    """An order in which populations can be computed within one step.

    Raises:
        UnsupportedError: projections without delay form a cycle.
    """
    sorter: TopologicalSorter[str] = TopologicalSorter()
    for population in graph.populations:
        sorter.add(population.name)
    for edge in graph.projections:
        if edge.delay == 0:
            sorter.add(edge.target, edge.source)
    try:
        return list(sorter.static_order())
    except CycleError as error:
        cycle = " -> ".join(error.args[1])
        raise UnsupportedError(
            f"projections without delay form a cycle ({cycle}): give one of them a delay"
        ) from None


def depths(graph: Graph) -> dict[str, int]:
    """Steps that each population lags behind model time in a pipeline of synaptic processes.

    Raises:
        UnsupportedError: a cycle has fewer steps of delay than projections, which a pipeline that
            spends a step in every projection cannot keep up with.
    """
    groups = components(graph)
    order = {name: number for number, group in enumerate(groups) for name in group}
    # Upstream first: without cycles one pass finds all, whatever order the projections come in.
    edges = sorted(graph.projections, key=lambda edge: order[edge.source])
    depth = {population.name: 0 for population in graph.populations}
    for _ in range(len(depth) + 1):
        changed = False
        for edge in edges:
            needed = depth[edge.source] + 1 - edge.delay
            if needed > depth[edge.target]:
                depth[edge.target] = needed
                changed = True
        if not changed:
            return depth
    raise UnsupportedError(
        "a cycle has fewer steps of delay than projections; every projection spends one step on "
        "the chip, so give each projection of the cycle a delay of at least 1"
    )


def pipeline_delay(graph_depths: dict[str, int], edge: Edge) -> int:
    """Extra synaptic delay that lines ``edge`` up with the depths of its two populations."""
    return graph_depths[edge.target] + edge.delay - graph_depths[edge.source] - 1


def guard_steps(graph: Graph) -> int:
    """Silent steps needed between samples, so that no spike in flight reaches the next one."""
    return max((edge.delay for edge in graph.projections), default=0)


def needs_silence(graph: Graph, name: str) -> bool:
    """Whether a population must be silent during guard steps: it feeds a delayed projection."""
    return any(edge.source == name and edge.delay > 0 for edge in graph.projections)


def in_order(network: Network) -> Network:
    """Populations from input to output, projections with names of their own, delays in cycles.

    A projection inside a cycle brings the spikes of at least one step ago.
    """
    groups = components(network)
    group_of = {name: index for index, names in enumerate(groups) for name in names}
    times_used = Counter(projection.name for projection in network.projections)
    projections: dict[str, Projection] = {}
    for p in network.projections:
        name = p.name if times_used[p.name] == 1 else f"{p.name} ({p.source} to {p.target})"
        numbered = (f"{name} {number}" for number in count(2))
        name = next(
            candidate for candidate in chain([name], numbered) if candidate not in projections
        )
        delay = max(p.delay, 1) if group_of[p.source] == group_of[p.target] else p.delay
        projections[name] = replace(p, name=name, delay=delay)
    by_name = {population.name: population for population in network.populations}
    return replace(
        network,
        populations=tuple(by_name[name] for names in groups for name in names),
        projections=tuple(sorted(projections.values(), key=lambda p: group_of[p.target])),
    )
