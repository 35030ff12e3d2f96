"""What every node of a NIR graph sends on, each linear node worked out once, after those before it.

Sums that several nodes read, or that would be too large to be written out, become populations of
relays where the target has graded spikes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import nir
import numpy as np

from neurodeploy.errors import UnsupportedError
from neurodeploy.interchange.nir.delayed_synapses import listed_by_delay
from neurodeploy.interchange.nir.layout import BrokenBefore, Layout
from neurodeploy.interchange.nir.linear import flattened
from neurodeploy.interchange.nir.parameters import delay_steps
from neurodeploy.interchange.nir.paths import (
    Arrival,
    LinearPath,
    delayed,
    flat,
    joined,
    mapped,
    merged,
)
from neurodeploy.interchange.nir.streams import Streams
from neurodeploy.ir.composition import fan_in, reading
from neurodeploy.ir.convolution import Convolution
from neurodeploy.ir.network import Population, Projection
from neurodeploy.ir.operators import Operator, Shape, TooLargeError, diagonal, identity
from neurodeploy.neurons.constant import bias_name, from_constant
from neurodeploy.neurons.relay import Relay

MOST_DELAYS = 64
"""Different delays within one Delay node; each takes a projection of its own."""


class Arrivals:
    """What nodes send and what reaches them.

    Args:
        dt: seconds per step.
        constant: name of the source of biases that begin late.
        most_synapses: None where sums of real numbers cannot be sent; else the most synapses that
            a neuron may have (see ``network_in.network_from_layout``).
        notes: takes a line for every population of relays.
    """

    def __init__(
        self, layout: Layout, dt: float, constant: str, most_synapses: int | None, notes: list[str]
    ) -> None:
        self.layout = layout
        self.nodes = layout.nodes
        self.dt = dt
        self.constant = constant
        self.most_synapses = most_synapses
        self.notes = notes
        self.sent: dict[str, Arrival] = {}
        sums = most_synapses is not None and not layout.relays
        self.streams = Streams(layout) if sums else None
        self.relays: dict[str, tuple[Population, list[Projection]]] = {}

    def send(self) -> None:
        """Fill ``sent``, each linear node once, after those before it."""
        for name in self.nodes:
            if (
                self.layout.is_population(name)
                and name in self.layout.shapes
                and name not in self.layout.broken
            ):
                shape = self.layout.shapes[name]
                self.sent[name] = Arrival(shape, [LinearPath(name, None, shape)])
        for name in self.layout.linear_order():
            if name not in self.layout.broken:
                with self.layout.collecting(name):
                    self._send_through(name)

    def _send_through(self, name: str) -> None:
        arrival = merged(self.at(name))
        if name in self.layout.relays:
            self.sent[name] = self._relayed(name, arrival, "as the file says")
            return
        relaying = self.streams is not None and name not in self.streams.looping
        try:
            self.sent[name] = self._through(name, arrival)
            if relaying and self._overfills(name):
                why = f"a neuron behind it would have more than {self.most_synapses:,} synapses"
                relayed = self._relayed(self._before(name), arrival, why)
                self.sent[name] = self._through(name, relayed)
        except TooLargeError as error:
            if relaying:
                why = "a map through it would be too large to be written out"
                relayed = self._relayed(self._before(name), arrival, why)
                self.sent[name] = self._through(name, relayed)
            elif name in self.layout.operators and len(readers := self.layout.readers(name)) > 1:
                where = self.layout.where(name)
                raise UnsupportedError(f"{where}: {error.found}{_stream(readers)}") from None
            else:
                raise
        if self.streams is not None and self.streams.is_read_again(name):
            self.sent[name] = self._if_smaller(
                f"{name}_relay", merged(self.sent[name]), self.streams.readers[name]
            )

    def _through(self, name: str, arrival: Arrival) -> Arrival:
        """What a linear node makes of what arrives at it."""
        node, where = self.nodes[name], self.layout.where(name)
        if isinstance(node, nir.Delay):
            return self._delayed(node, arrival, where)
        if isinstance(node, nir.Flatten):
            return flat(arrival, flattened(node, arrival.shape, where))
        operator, bias = self.layout.operators[name]
        return mapped(arrival, operator, bias, name)

    def _overfills(self, name: str) -> bool:
        """Whether a path through a linear node has too many synapses, the node alone not."""
        if name not in self.layout.operators or self.most_synapses is None:
            return False
        if fan_in(self.layout.operators[name][0]) > self.most_synapses:
            return False
        found = (path.operator for path in self.sent[name].paths)
        return any(fan_in(each) > self.most_synapses for each in found if each is not None)

    def _before(self, name: str) -> str:
        """What to call the sum that a node reads: the only node before it, or after itself."""
        before = self.layout.before[name]
        return f"{before[0]}_relay" if len(before) == 1 else f"{name}_sum"

    def _if_smaller(self, name: str, arrival: Arrival, readers: int) -> Arrival:
        """The arrival as the messages of relays, if these and their synapses are fewer."""
        count = math.prod(arrival.shape)
        synapses = sum(p.operator.connections if p.operator else count for p in arrival.paths)
        apart, through = readers * synapses, synapses + (readers + 1) * count
        if through >= apart or not arrival.paths:
            return arrival
        why = f"{readers} readers take {through:,} synapses and relays, {apart:,} without"
        return self._relayed(name, arrival, why)

    def _relayed(self, name: str, arrival: Arrival, why: str) -> Arrival:
        """The arrival as the messages of a population of relays."""
        name = self._unused(name)
        shape = arrival.shape
        bias = np.asarray(arrival.biases.get(0, np.zeros(shape)), np.float64)
        projections = [*self.incoming(name, merged(arrival), np.ones((1,) * len(shape)))]
        projections += [
            Projection(bias_name(name, delay), self.constant, name, from_constant(late), delay)
            for delay, late in arrival.biases.items()
            if delay and np.any(late)
        ]
        neurons = Relay(np.broadcast_to(bias, shape))
        self.relays[name] = Population(name, shape, neurons), listed_by_delay(projections)
        self.notes.append(f"relays {name!r}: {why}")
        return Arrival(shape, [LinearPath(name, _unchanged(shape), shape)])

    def _unused(self, name: str) -> str:
        while name in self.relays or (name in self.nodes and self.layout.is_population(name)):
            name += "_"
        return name

    def _sum(self, name: str) -> Arrival:
        """What a node or a sum of nodes gives."""
        if name not in self.sent and self.streams is not None and name in self.streams.sums:
            parts = joined([self._sum(part) for part in self.streams.sums[name]])
            self.sent[name] = self._if_smaller(name, merged(parts), self.streams.readers[name])
        return self.sent[name]

    def at(self, at: str) -> Arrival:
        """Sum of everything that reaches a node."""
        if not self.layout.before[at]:
            raise UnsupportedError(f"{self.layout.name}: node {at!r} has no input")
        if any(source in self.layout.broken for source in self.layout.before[at]):
            raise BrokenBefore
        for source in self.layout.before[at]:
            if source not in self.sent:
                raise UnsupportedError(f"{self.layout.name}: no input reaches node {source!r}")
        parts = [self.sent[source] for source in self.layout.before[at]]
        shapes = {part.shape for part in parts}
        if self.streams is not None and len(shapes) == 1:
            parts = [self._sum(source) for source in self.streams.into(at, self.layout.before[at])]
        if len(shapes) > 1:
            raise UnsupportedError(
                f"{self.layout.name}: node {at!r} adds arrays of different shapes: "
                f"{', '.join(map(str, sorted(shapes)))}"
            )
        return joined(parts)

    def _delayed(self, node: Any, arrival: Arrival, where: str) -> Arrival:
        """The arrival some steps later; where the delay differs, as a path for each delay."""
        steps = delay_steps(node, arrival.shape, self.dt, where)
        different = np.unique(steps)
        if different.size == 1:
            return delayed(arrival, int(different[0]))
        if different.size > MOST_DELAYS:
            raise UnsupportedError(
                f"{where}: {different.size} different delays, at most {MOST_DELAYS} are deployed"
            )
        parts = [
            delayed(mapped(arrival, diagonal((steps == delay) * 1.0), None), int(delay))
            for delay in different
        ]
        return joined(parts)

    def _shape_of(self, population: str) -> Shape:
        relays = self.relays.get(population)
        return self.layout.shapes[population] if relays is None else relays[0].shape

    def incoming(self, name: str, arrival: Arrival, gain: np.ndarray) -> Iterator[Projection]:
        """The paths of an arrival as projections to a population, times its gain."""
        for path in arrival.paths:
            operator = reading(path.operator or identity(path.shape), self._shape_of(path.source))
            crossed = "+".join(path.names) or f"{path.source}_to_{name}"
            yield Projection(crossed, path.source, name, operator.scaled(gain), path.delay)


def _unchanged(shape: Shape) -> Operator | None:
    """Everything as it is: of maps, a kernel of ones that their places share."""
    if len(shape) not in (2, 3):
        return None
    axes = len(shape) - 1
    ones = np.ones((shape[0], 1, *(1,) * axes))
    return Convolution(ones, shape, (1,) * axes, ((0, 0),) * axes, (1,) * axes, shape[0])


def _stream(readers: list[str]) -> str:
    """Why a map between neurons grows beyond itself, and what to do, for the end of a message."""
    some = ", ".join(map(repr, readers[:3])) + (", ..." if len(readers) > 3 else "")
    return (
        f". It gives numbers, not spikes, and {len(readers)} layers of neurons read them ({some}): "
        "a residual stream, from which each of them needs one map with all that lies before it. "
        "Where spikes are not graded there is no such stream: export for a target that has them, "
        "let shortcuts carry spikes, as family resnet18 does, put neurons behind each sum, or take "
        "smaller samples"
    )
