"""NIR graphs made plain: subgraphs written out, and slips that have one possible meaning set right.

NIR's own type check refuses such files. Anything with two possible meanings is left to the import,
which refuses it by name.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

import nir
import numpy as np

from neurodeploy.errors import UnsupportedError
from neurodeploy.interchange.nir.layout import Layout
from neurodeploy.ir.operators import Shape

MOST_DEPTH = 32

MOST_EDGES = 100_000
"""Of a graph whose subgraphs are written out; pairs of what is before and behind one add up."""


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
    edges = _through_doors(flat, where)
    return nir.NIRGraph(flat.nodes, edges, graph.metadata, type_check=False)


def _through_doors(flat: _Flat, where: str) -> list[tuple[str, str]]:
    """The edges without the doors, which leave the nodes; one that is written again comes twice.

    As sets before pairs are made of them, however often a file repeats an edge.
    """
    after: dict[str, dict[str, bool]] = {}
    before: dict[str, dict[str, bool]] = {}

    def join(source: str, target: str, again: bool) -> None:
        again = again or target in after.get(source, ())
        after.setdefault(source, {})[target] = again
        before.setdefault(target, {})[source] = again

    for source, target in flat.edges:
        join(source, target, False)
    count = sum(map(len, after.values()))
    for door in flat.doors:
        sources, targets = before.pop(door, {}), after.pop(door, {})
        if door in sources:
            raise UnsupportedError(
                f"{where}: subgraphs lead back to {door!r} without a node between"
            )
        count += len(sources) * len(targets) - len(sources) - len(targets)
        if count > MOST_EDGES:
            raise UnsupportedError(
                f"{where}: {len(sources):,} edges lead into {door!r} and {len(targets):,} out of "
                f"it, which makes more than {MOST_EDGES:,} without the subgraph"
            )
        for source in sources:
            del after[source][door]
        for target in targets:
            del before[target][door]
        for source, again in sources.items():
            for target, behind in targets.items():
                join(source, target, again or behind)
        del flat.nodes[door]
    return [
        (source, target)
        for source, targets in after.items()
        for target, again in targets.items()
        for _ in range(1 + again)
    ]


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
    dropped = _drop_batch_axes(nodes, edges, notes)
    if dropped or any(map(_counts_more, nodes.values())):
        _drop_from_flattens(dropped, nodes, edges, notes)
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


def _drop_batch_axes(
    nodes: dict[str, Any], edges: list[tuple[str, str]], notes: list[str]
) -> Shape:
    """Take the batch and time from the Input; the axes that went."""
    dropped: Shape = ()
    for name, node in nodes.items():
        if not isinstance(node, nir.Input):
            continue
        declared = tuple(int(n) for n in np.ravel(node.input_type["input"]))
        fitting = {
            _tail(declared, target, nodes, edges)
            for source, target in edges
            if source == name and target in nodes
        } - {None}
        if len(fitting) != 1 or fitting == {declared}:
            continue
        (shape,) = fitting
        assert shape is not None
        dropped = declared[: len(declared) - len(shape)]
        nodes[name] = replace(node, input_type={"input": np.array(shape)})
        axes = "axes" if len(dropped) > 1 else "axis"
        notes.append(
            f"Input {name!r} has shape {declared}, but what it leads to takes {shape}: the leading "
            f"{axes} {dropped} dropped as batch or time"
        )
    return dropped


def _counts_more(node: Any) -> bool:
    """Whether a Flatten starts at an axis that the shape it declares does not have."""
    if not isinstance(node, nir.Flatten):
        return False
    declared = (node.input_type or {}).get("input")
    return declared is not None and int(np.ravel(node.start_dim)[0]) >= np.size(declared)


def _drop_from_flattens(
    dropped: Shape, nodes: dict[str, Any], edges: list[tuple[str, str]], notes: list[str]
) -> None:
    """Take axes that the Input does not have any more from the Flatten nodes that count them."""
    waiting = [name for name, node in nodes.items() if isinstance(node, nir.Flatten)]
    while waiting:
        shapes = Layout(nir.NIRGraph(nodes, edges, {}, type_check=False), "").shapes
        reached = {
            target: shapes[source]
            for source, target in edges
            if target in waiting and source in shapes
        }
        if not reached:
            return
        for name, shape in reached.items():
            waiting.remove(name)
            node = _without(dropped, nodes[name], shape)
            if node is not None:
                nodes[name] = node
                notes.append(
                    f"Flatten {name!r} counts the batch among its axes: flattens axes "
                    f"{node.start_dim} to {node.end_dim} of {shape}"
                )


def _without(dropped: Shape, node: Any, shape: Shape) -> Any:
    """A Flatten of arrays without the batch; None where it does not count that."""
    declared = (node.input_type or {}).get("input")
    declared = shape if declared is None else tuple(np.ravel(declared).tolist())
    start, end = (int(np.ravel(value)[0]) for value in (node.start_dim, node.end_dim))
    counted = len(declared) - len(shape)
    if declared == shape and start == len(shape):
        counted = 1  # a start that these axes do not have
    elif not dropped or declared != (*dropped, *shape):
        return None
    # Flattened along with the sample's axes, too, the batch is none of them.
    start, end = (n if n < 0 else max(n - counted, 0) for n in (start, end))
    start, end = max(start, -len(shape)), max(end, -len(shape))
    return nir.Flatten({"input": np.array(shape)}, start, end, metadata=node.metadata)


def _tail(
    declared: Shape, name: str, nodes: dict[str, Any], edges: list[tuple[str, str]]
) -> Shape | None:
    """The last axes of a declared shape that the node takes; None where it takes any."""
    node = nodes[name]
    if isinstance(node, nir.Conv1d | nir.Conv2d):
        axes = np.ndim(node.weight) - 1
        channels = np.shape(node.weight)[1] * int(np.ravel(node.groups)[0])
        tail = declared[-axes:]
        return tail if len(tail) == axes and tail[0] == channels else None
    if isinstance(node, nir.Flatten):
        return _tail_flattened(declared, name, nodes, edges)
    taken = _taken_by(node)
    if taken is None or declared[len(declared) - len(taken) :] != taken:
        return None
    return taken


def _tail_flattened(
    declared: Shape, name: str, nodes: dict[str, Any], edges: list[tuple[str, str]]
) -> Shape | None:
    """The last axes whose elements, flattened, are what weights take; all of them if they can be.

    Raises:
        UnsupportedError: neurons take what is flattened, and their parameters fit with the leading
            axes and without them.
    """
    behind = [target for source, target in edges if source == name and target in nodes]
    for target in behind:
        node, taken = nodes[target], _taken_by(nodes[target])
        if isinstance(node, nir.Flatten):
            return _tail_flattened(declared, target, nodes, edges)
        threshold: Any = getattr(node, "v_threshold", getattr(node, "threshold", None))
        size = taken[0] if taken else np.size(threshold)
        tails = [declared[k:] for k in range(len(declared)) if math.prod(declared[k:]) == size]
        if not tails or tails[0] == declared:
            continue
        if taken:
            return tails[0]
        if size > 1:
            raise UnsupportedError(
                f"node {target!r} has parameters for {size} neurons, and Input of shape {declared} "
                f"reaches it flattened: {declared[: len(declared) - len(tails[0])]} may be the "
                "batch or axes of a sample; write the Input without the batch"
            )
    return None


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
