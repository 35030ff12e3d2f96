"""Steps from one layer of a network to the next, and where NIR's edges do not say them."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from neurodeploy.errors import UnsupportedError
from neurodeploy.nn.layers import Delay
from neurodeploy.nn.network import INPUT, SpikingNetwork
from neurodeploy.nn.nodes import NEURONS

Edge = tuple[str, str]
"""A layer, or the input, and a layer that reads it."""


def is_late(model: SpikingNetwork, edge: Edge) -> bool:
    """Whether the reader gets what its source gave at the step before."""
    source, reader = edge
    order = [*model.layers]
    return source != INPUT and order.index(source) >= order.index(reader)


def late_edges(model: SpikingNetwork, said: Collection[Edge]) -> set[Edge]:
    """Where a Delay of one step has to say that a layer reads the step before.

    Between neurons of one loop NIR's edges are read as one step, if no Delay says more. Everywhere
    else, and where other delays or steps add up on the way, a Delay has to say it.

    Args:
        said: where a Delay of one step says it already.

    Returns:
        ``said`` and the rest.

    Raises:
        UnsupportedError: a bias that starts late, and more steps on the way of it.
    """
    late = [(s, r) for r, read in model.sources.items() for s in read if is_late(model, (s, r))]
    paths = {path for edge in late for path in _paths(model, edge)}
    loops = {path for path in paths if _in_loop(model, path)}
    result = {*said}
    for path in sorted(paths):
        if _said(model, path, result, path in loops) != _taken(model, path):
            result.update(e for e in path if is_late(model, e) and not _delays(model, e))
    for path in sorted(paths):
        if _said(model, path, result, path in loops) != _taken(model, path):
            source, reader = next(edge for edge in path if edge in said)
            raise UnsupportedError(
                f"layer {source!r} sends {reader!r} a bias that is not added at the first step, "
                "and is delayed further; NIR cannot express both. Use bias=False there, "
                "and give the bias to a layer that acts within the step"
            )
    return result


def _taken(model: SpikingNetwork, path: tuple[Edge, ...]) -> int:
    """Steps from the neurons at the start of a path to those at its end."""
    return sum(is_late(model, edge) + _delays(model, edge) for edge in path)


def _said(model: SpikingNetwork, path: tuple[Edge, ...], said: set[Edge], loop: bool) -> int:
    """The same as a NIR file says it. A Delay's node counts the step that the Delay reads late."""
    steps = sum(
        _delays(model, edge) + (edge in said or bool(_delays(model, edge) and is_late(model, edge)))
        for edge in path
    )
    return max(steps, 1) if loop else steps


def _delays(model: SpikingNetwork, edge: Edge) -> int:
    """Steps by which the reader of an edge delays."""
    layer = model.layers[edge[1]]
    return layer.steps if isinstance(layer, Delay) else 0


def _paths(model: SpikingNetwork, edge: Edge) -> Iterator[tuple[Edge, ...]]:
    """The ways through an edge from neurons or the input to neurons or the output."""
    for before in _before(model, (edge,)):
        yield from _behind(model, before)


def _before(model: SpikingNetwork, path: tuple[Edge, ...]) -> Iterator[tuple[Edge, ...]]:
    """A path with every way that leads to it. Weights that feed back on themselves add none."""
    start = path[0][0]
    if start == INPUT or isinstance(model.layers[start], NEURONS):
        yield path
        return
    for source in model.sources[start]:
        if (source, start) not in path:
            yield from _before(model, ((source, start), *path))


def _behind(model: SpikingNetwork, path: tuple[Edge, ...]) -> Iterator[tuple[Edge, ...]]:
    """A path with every way that leads on from it."""
    end = path[-1][1]
    neurons = isinstance(model.layers[end], NEURONS)
    if neurons or end == [*model.layers][-1]:
        yield path
    for reader in () if neurons else model.readers[end]:
        if (end, reader) not in path:
            yield from _behind(model, (*path, (end, reader)))


def _in_loop(model: SpikingNetwork, path: tuple[Edge, ...]) -> bool:
    """Whether the neurons at the end of a path lead to those at its start, over any steps."""
    start, end = path[0][0], path[-1][1]
    if not isinstance(model.layers[end], NEURONS):  # a readout, which leads nowhere
        return False
    waiting, seen = [end], {end}
    while waiting:
        name = waiting.pop()
        if name == start:
            return True
        more = {*model.readers[name]} - seen
        waiting += more
        seen |= more
    return False
