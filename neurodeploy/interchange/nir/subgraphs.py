"""Graphs inside graphs, written out as one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import nir

from neurodeploy.errors import UnsupportedError

MOST_DEPTH = 32


@dataclass
class _Flat:
    nodes: dict[str, Any] = field(default_factory=dict)
    edges: list[tuple[str, str]] = field(default_factory=list)
    doors: list[str] = field(default_factory=list)
    """Inputs and outputs of subgraphs: what goes in comes out."""


def unnested(graph: nir.NIRGraph, where: str) -> nir.NIRGraph:
    """The graph with the nodes of its subgraphs in place of them, as ``subgraph.node``.

    The inputs and outputs of a subgraph vanish: whatever leads into its input leads to what the
    input leads to. The metadata of the outermost graph stay.

    Raises:
        UnsupportedError: a subgraph without exactly one input and one output, or one that leads
            from its input to its output and back without a node in between.
    """
    if not any(isinstance(node, nir.NIRGraph) for node in graph.nodes.values()):
        return graph
    flat = _Flat()
    _collect(graph, "", where, flat, 0)
    edges = flat.edges
    for door in flat.doors:
        if (door, door) in edges:
            raise UnsupportedError(
                f"{where}: subgraphs lead back to {door!r} without a node between"
            )
        before = [source for source, target in edges if target == door]
        after = [target for source, target in edges if source == door]
        edges = [edge for edge in edges if door not in edge]
        edges += [(source, target) for source in before for target in after]
        del flat.nodes[door]
    return nir.NIRGraph(flat.nodes, edges, graph.metadata, type_check=False)


def _collect(graph: nir.NIRGraph, prefix: str, where: str, flat: _Flat, depth: int) -> None:
    """Add a graph's nodes under ``prefix``."""
    if depth > MOST_DEPTH:
        raise UnsupportedError(f"{where}: subgraphs more than {MOST_DEPTH} deep")
    doors: dict[str, tuple[str, str]] = {}
    for name, node in graph.nodes.items():
        full = _full_name(prefix, name)
        if full in flat.nodes:
            raise UnsupportedError(f"{where}: a subgraph and a node share the name {full!r}")
        if isinstance(node, nir.NIRGraph):
            _collect(node, f"{full}.", where, flat, depth + 1)
            doors[name] = _doors(node, full, where)
        else:
            flat.nodes[full] = node
            if prefix and isinstance(node, nir.Input | nir.Output):
                flat.doors.append(full)
    for source, target in graph.edges:
        leaving = doors[source][1] if source in doors else _full_name(prefix, source)
        entering = doors[target][0] if target in doors else _full_name(prefix, target)
        flat.edges.append((leaving, entering))


def _doors(graph: nir.NIRGraph, name: str, where: str) -> tuple[str, str]:
    """Full names of the one input and the one output of a subgraph."""
    inputs, outputs = (
        [_full_name(f"{name}.", key) for key, node in graph.nodes.items() if isinstance(node, kind)]
        for kind in (nir.Input, nir.Output)
    )
    if len(inputs) != 1 or len(outputs) != 1:
        raise UnsupportedError(
            f"{where}: subgraph {name!r} has {len(inputs)} inputs and {len(outputs)} outputs, and "
            "an edge does not say which it means; give it one of each"
        )
    return inputs[0], outputs[0]


def _full_name(prefix: str, name: str) -> str:
    """Some exporters write the subgraph's name before those of its nodes themselves."""
    return name if name.startswith(prefix) else f"{prefix}{name}"
