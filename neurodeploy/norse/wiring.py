"""Who reads whom in a NIR graph, and what flows between its nodes in one step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import nir
import numpy as np
import torch
from torch import Tensor

from neurodeploy.ir.schedule import components
from neurodeploy.norse.linear import LinearFunction, linear_function
from neurodeploy.norse.neurons import NORSE_NEURONS, SENDS_POTENTIAL


class _Edge(NamedTuple):
    """An edge as ``timing`` wants it."""

    name: str
    source: str
    target: str
    delay: int = 0


class _Node(NamedTuple):
    """A node as ``timing`` wants it."""

    name: str


class _Nodes(NamedTuple):
    """A NIR graph as ``timing`` wants it."""

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
        return self.wiring.functions[node](self._sum(node, late, cycle))

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
