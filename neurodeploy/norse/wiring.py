"""Wiring of a NIR graph: who reads whom, and what linear nodes make of it in one step.

Linear nodes are PyTorch functions on batches, read straight from the node.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import nir
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from neurodeploy.errors import Setting, Text, UnsupportedError
from neurodeploy.ir.schedule import components
from neurodeploy.norse.neurons import NORSE_NEURONS, SENDS_POTENTIAL

LinearFunction = Callable[[Tensor], Tensor]


class _Edge(NamedTuple):
    """An edge as ``schedule`` wants it."""

    name: str
    source: str
    target: str
    delay: int = 0


class _Node(NamedTuple):
    """A node as ``schedule`` wants it."""

    name: str


class _Nodes(NamedTuple):
    """A NIR graph as ``schedule`` wants it."""

    populations: list[_Node]
    projections: list[_Edge]


class Wiring:
    """Who reads whom, in which order, and what linear nodes compute.

    Attributes:
        order: inputs and neurons, sources before their targets except within a cycle.
        cycle: number of the cycle that a node lies on; nodes on none have one of their own.
        potentials: by Threshold, the node whose potential it compares.
        functions: what linear nodes compute.
        delays: by Delay node, steps per element.
    """

    def __init__(self, graph: nir.NIRGraph, dt: float, name: str) -> None:
        self.graph = graph
        self.file = name
        self.before: dict[str, list[str]] = {node: [] for node in graph.nodes}
        for source, target in graph.edges:
            self.before[target].append(source)
        edges = [_Edge(f"{a} to {b}", a, b) for a, b in graph.edges]
        groups = components(_Nodes([_Node(node) for node in graph.nodes], edges))
        self.cycle = {node: number for number, group in enumerate(groups) for node in group}
        self.potentials = {
            target: source
            for source, target in graph.edges
            if isinstance(graph.nodes[target], nir.Threshold)
            and isinstance(graph.nodes[source], SENDS_POTENTIAL)
        }
        self.order = self._neurons_in_order(node for group in groups for node in group)
        self.functions: dict[str, LinearFunction] = {}
        self.delays: dict[str, np.ndarray] = {}
        for node, kind in graph.nodes.items():
            if isinstance(kind, nir.Delay):
                self.delays[node] = np.rint(np.asarray(kind.delay) / dt).astype(np.int64)
            elif not isinstance(kind, nir.Output) and node not in self.order:
                self.functions[node] = linear_function(kind, self.where(node))

    def _neurons_in_order(self, nodes: Iterable[str]) -> list[str]:
        """Inputs and neurons among nodes in order, a potential always before what compares it."""
        order: dict[str, None] = {}
        for node in nodes:
            kind = self.graph.nodes[node]
            if node in self.potentials:
                order[self.potentials[node]] = None
            if isinstance(kind, nir.Input) or type(kind).__name__ in NORSE_NEURONS:
                order[node] = None
        return list(order)

    def where(self, node: str) -> str:
        """A node's place, for messages."""
        return f"{self.file}: node {node!r} ({type(self.graph.nodes[node]).__name__})"


class OneStep:
    """What flows between nodes in one step, each value computed once.

    Args:
        sent: what every population sent so far, (T, N, *shape).
        scales: what a population's integers are divided by.
    """

    def __init__(
        self, wiring: Wiring, sent: Mapping[str, Tensor], scales: Mapping[str, int], t: int
    ) -> None:
        self.wiring = wiring
        self.sent = sent
        self.scales = scales
        self.t = t
        self.known: dict[tuple[str, int, int | None], Tensor] = {}

    def into(self, neuron: str) -> Tensor:
        """Summed input of a population."""
        return self._sum(neuron, 0, self.wiring.cycle[neuron])

    def _sum(self, node: str, late: int, cycle: int | None) -> Tensor:
        parts = [self._from(source, late, cycle) for source in self.wiring.before[node]]
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        return total

    def _from(self, node: str, late: int, cycle: int | None) -> Tensor:
        """What a node sends towards a population on ``cycle`` through ``late`` steps of delay.

        A population on the same cycle is heard at least one step later. A linear node off the
        cycle cannot lead there from a population on it.
        """
        if cycle != self.wiring.cycle[node]:
            cycle = None
        key = node, late, cycle
        if key not in self.known:
            self.known[key] = self._computed(*key)
        return self.known[key]

    def _computed(self, node: str, late: int, cycle: int | None) -> Tensor:
        if node in self.sent:
            lag = late if cycle is None else max(late, 1)
            spikes = self.sent[node]
            if self.t < lag:
                return torch.zeros(spikes.shape[1:], dtype=torch.float64)
            return spikes[self.t - lag].to(torch.float64) / self.scales[node]
        if node in self.wiring.delays:
            return self._delayed(node, late, cycle)
        result = self.wiring.functions[node](self._sum(node, late, cycle))
        # What has not come through a delay yet brings no bias either.
        return result if self.t >= late else torch.zeros_like(result)

    def _delayed(self, node: str, late: int, cycle: int | None) -> Tensor:
        """The sum into a Delay node, every element as late as the node says."""
        delays = self.wiring.delays[node]
        different = [int(delay) for delay in np.unique(delays)]
        parts = [self._sum(node, late + delay, cycle) for delay in different]
        total = parts[0]
        for part, delay in zip(parts[1:], different[1:], strict=True):
            here = torch.from_numpy(delays == delay)
            here = here.reshape(part.shape[1:]) if here.numel() == part[0].numel() else here
            total = torch.where(here, part, total)
        return total


def linear_function(node: Any, where: str) -> LinearFunction:
    """A function from (N, *input) to (N, *output), bias included, in float64.

    Args:
        where: the place to name in messages.

    Raises:
        UnsupportedError: it is none of NIR's linear nodes.
    """
    for kinds, make in LINEAR:
        if isinstance(node, kinds):
            return make(node)
    raise UnsupportedError(
        f"{where}: the Norse engine has no counterpart of it",
        fix=Text(Setting("engine", "float"), " runs what we deploy"),
    )


def _matrix(node: Any) -> LinearFunction:
    weight = _tensor(node.weight)
    bias = _tensor(node.bias).expand(len(weight)) if isinstance(node, nir.Affine) else None
    # The last weights of an image may take all its pixels in a row, without a Flatten before.
    return lambda x: functional.linear(x.flatten(1), weight, bias)


def _scale(node: Any) -> LinearFunction:
    factor = _tensor(node.scale)
    return lambda x: x * factor


def _convolution(node: Any) -> LinearFunction:
    weight = _tensor(node.weight)
    axes = weight.ndim - 2
    bias = None if node.bias is None else _tensor(node.bias).expand(len(weight))
    convolve: Callable[..., Tensor] = functional.conv1d if axes == 1 else functional.conv2d
    padding = node.padding.decode() if isinstance(node.padding, bytes) else node.padding
    options: dict[str, Any] = {
        "stride": _numbers(node.stride, axes),
        "padding": padding if isinstance(padding, str) else _numbers(padding, axes),
        "dilation": _numbers(node.dilation, axes),
        "groups": _numbers(node.groups, 1)[0],
    }
    return lambda x: convolve(x, weight, bias, **options)


def _pool(node: Any) -> LinearFunction:
    kernel, stride, padding = (
        _numbers(value, 2) for value in (node.kernel_size, node.stride, node.padding)
    )
    # Zeros of the padding count as inputs; a sum is an average that is divided by 1.
    divisor = 1 if isinstance(node, nir.SumPool2d) else None
    return lambda x: functional.avg_pool2d(x, kernel, stride, padding, divisor_override=divisor)


def _flatten(node: Any) -> LinearFunction:
    # NIR does not count the batch axis.
    start, end = (int(d) + (int(d) >= 0) for d in (node.start_dim, node.end_dim))
    return lambda x: x.flatten(start, end)


def _tensor(values: Any) -> Tensor:
    return torch.from_numpy(np.array(values, np.float64))


def _numbers(value: Any, axes: int) -> tuple[int, ...]:
    flat = [int(item) for item in np.asarray(value).ravel()]
    return tuple(flat * axes if len(flat) == 1 else flat)


LINEAR: tuple[tuple[Any, Callable[[Any], LinearFunction]], ...] = (
    ((nir.Affine, nir.Linear), _matrix),
    (nir.Scale, _scale),
    ((nir.Conv1d, nir.Conv2d), _convolution),
    ((nir.SumPool2d, nir.AvgPool2d), _pool),
    (nir.Flatten, _flatten),
)
