"""What is wrong with real NIR files and has one possible meaning: set right, and said.

NIR's own type check refuses these files. Anything with two possible meanings is left to the import,
which refuses it by name.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import nir
import numpy as np

from neurodeploy.ir.operators import Shape


def repaired(graph: nir.NIRGraph) -> tuple[nir.NIRGraph, list[str]]:
    """The graph with its slips set right, and what was done, a line each.

    Edges written twice become one, because the edges of a NIR graph are a set. A missing input or
    output is added where one node alone can be meant. Leading axes of the input that the first
    node does not have are the sample's batch and time, and go.
    """
    nodes, edges = dict(graph.nodes), list(graph.edges)
    notes: list[str] = []
    _drop_repeated_edges(edges, notes)
    _add_input(nodes, edges, notes)
    _add_output(nodes, edges, notes)
    _drop_batch_axes(nodes, edges, notes)
    return nir.NIRGraph(nodes, edges, graph.metadata, type_check=False), notes


def _drop_repeated_edges(edges: list[tuple[str, str]], notes: list[str]) -> None:
    times = Counter(edges)
    notes += [
        f"the edge from {source!r} to {target!r} is written {number} times: taken once, as edges "
        "are a set"
        for (source, target), number in times.items()
        if number > 1
    ]
    edges[:] = times


def _add_input(nodes: dict[str, Any], edges: list[tuple[str, str]], notes: list[str]) -> None:
    if any(isinstance(node, nir.Input) for node in nodes.values()):
        return
    targets = {target for _, target in edges}
    roots = [name for name in nodes if name not in targets]
    shape = _taken_by(nodes[roots[0]]) if len(roots) == 1 else None
    if shape is None:
        return
    name = _free("input", nodes)
    nodes[name] = nir.Input({"input": np.array(shape)})
    edges.append((name, roots[0]))
    notes.append(f"there is no Input: {name!r} of shape {shape} added before {roots[0]!r}")


def _add_output(nodes: dict[str, Any], edges: list[tuple[str, str]], notes: list[str]) -> None:
    if any(isinstance(node, nir.Output) for node in nodes.values()):
        return
    sources = {source for source, _ in edges}
    leaves = [name for name in nodes if name not in sources]
    if len(leaves) != 1:
        return
    name = _free("output", nodes)
    nodes[name] = nir.Output({"output": np.array([1])})
    edges.append((leaves[0], name))
    notes.append(f"there is no Output: {name!r} added behind {leaves[0]!r}")


def _drop_batch_axes(nodes: dict[str, Any], edges: list[tuple[str, str]], notes: list[str]) -> None:
    for name, node in nodes.items():
        if not isinstance(node, nir.Input):
            continue
        declared = tuple(int(n) for n in np.ravel(node.input_type["input"]))
        fitting = {
            _tail(declared, nodes[target])
            for source, target in edges
            if source == name and target in nodes
        } - {None}
        if len(fitting) != 1 or fitting == {declared}:
            continue
        (shape,) = fitting
        assert shape is not None
        dropped = declared[: len(declared) - len(shape)]
        nodes[name] = replace(node, input_type={"input": np.array(shape)})
        notes.append(
            f"Input {name!r} has shape {declared}, but what it leads to takes {shape}: the leading "
            f"{'axes' if len(dropped) > 1 else 'axis'} {dropped} dropped as batch or time"
        )


def _tail(declared: Shape, node: Any) -> Shape | None:
    """The last axes of a declared shape that the node takes; None where it takes any."""
    if isinstance(node, nir.Conv1d | nir.Conv2d):
        axes = np.ndim(node.weight) - 1
        channels = np.shape(node.weight)[1] * int(np.ravel(node.groups)[0])
        tail = declared[-axes:]
        return tail if len(tail) == axes and tail[0] == channels else None
    taken = _taken_by(node)
    if taken is None or declared[len(declared) - len(taken) :] != taken:
        return None
    return taken


def _taken_by(node: Any) -> Shape | None:
    """The shape a node takes, where its own fields leave no doubt.

    The shape of a neuron's parameters does not: they may be fewer than the neurons.
    """
    if isinstance(node, nir.Affine | nir.Linear):
        return (np.shape(node.weight)[-1],)
    return None


def _free(name: str, nodes: dict[str, Any]) -> str:
    while name in nodes:
        name += "_"
    return name
