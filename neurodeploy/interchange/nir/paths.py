"""What arrives at a node of a NIR graph: linear paths from populations, and biases.

Values, not changed in place: a node's may be read by many others.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from neurodeploy.ir.composition import add, compose, reading, reshaped
from neurodeploy.ir.operators import Operator, Shape, identity


@dataclass(frozen=True, eq=False)
class LinearPath:
    """A path from a population up to some node: the operator so far, delay, and what it crossed.

    Attributes:
        operator: None for the population's spikes as they are.
        shape: of what arrives.
        delay: in steps.
        names: the linear nodes on the way.
    """

    source: str
    operator: Operator | None
    shape: Shape
    delay: int = 0
    names: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Arrival:
    """Everything that arrives at a node's output or input.

    Attributes:
        biases: what is added at every step from some step on, 0 for the first, of full shape.
    """

    shape: Shape
    paths: list[LinearPath] = field(default_factory=list)
    biases: dict[int, np.ndarray] = field(default_factory=dict)


def joined(parts: list[Arrival]) -> Arrival:
    """The sum of arrivals of one shape."""
    biases: dict[int, np.ndarray] = {}
    for part in parts:
        for delay, bias in part.biases.items():
            biases[delay] = biases[delay] + bias if delay in biases else bias
    paths = [path for part in parts for path in part.paths]
    return Arrival(parts[0].shape, paths, biases)


def merged(arrival: Arrival) -> Arrival:
    """Parallel paths, from one source with one delay, as one path each.

    Where linear paths branch and join again and again, their number would double at each join.
    """
    found: dict[tuple[str, int], LinearPath] = {}
    for path in arrival.paths:
        key = path.source, path.delay
        found[key] = _beside(found[key], path) if key in found else path
    return replace(arrival, paths=list(found.values()))


def mapped(arrival: Arrival, operator: Operator, bias: np.ndarray | None, *names: str) -> Arrival:
    """The arrival behind one more linear node, called ``names``; without a name for none.

    Raises:
        ValueError: a path through it would become too large.
    """
    paths = [
        replace(
            path,
            operator=operator if path.operator is None else compose(path.operator, operator),
            shape=operator.output_shape,
            names=(*path.names, *names),
        )
        for path in arrival.paths
    ]
    biases = {delay: operator(carried[None])[0] for delay, carried in arrival.biases.items()}
    if bias is not None:
        biases[0] = biases[0] + bias if 0 in biases else bias
    return Arrival(operator.output_shape, paths, biases)


def delayed(arrival: Arrival, delay: int) -> Arrival:
    """The arrival ``delay`` steps later, its biases included: before, nothing has come through."""
    paths = [replace(path, delay=path.delay + delay) for path in arrival.paths]
    biases = {before + delay: bias for before, bias in arrival.biases.items()}
    return replace(arrival, paths=paths, biases=biases)


def flat(arrival: Arrival, shape: Shape) -> Arrival:
    """The same numbers in the same C order under another shape."""
    paths = [
        replace(
            path,
            operator=None if path.operator is None else reshaped(path.operator, shape),
            shape=shape,
        )
        for path in arrival.paths
    ]
    biases = {delay: bias.reshape(shape) for delay, bias in arrival.biases.items()}
    return Arrival(shape, paths, biases)


def _beside(first: LinearPath, second: LinearPath) -> LinearPath:
    """Two parallel paths as one."""
    one, other = (path.operator or identity(path.shape) for path in (first, second))
    names = (*first.names, *(name for name in second.names if name not in first.names))
    return replace(first, operator=add(one, reading(other, one.input_shape)), names=names)
