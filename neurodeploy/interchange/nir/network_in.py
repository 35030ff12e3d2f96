"""From a NIR graph to a ``Network``: every node accounted for, every semantic choice explicit.

Neurons become populations. Whatever lies on a path between two of them becomes one projection,
composed into a single operator, or, where the target has graded spikes, sums that several read
become relays (``streams``); biases on the way become the target's bias, or where that is no
constant of the membrane, synapses from a constant source (``neurons.constant``). A path inside a
cycle carries the spikes of an earlier step. Everything that cannot be expressed is named, all at
once.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import nir
import numpy as np

from neurodeploy.errors import InputError, Setting, Text, UnsupportedError, in_lines, nearest
from neurodeploy.interchange.nir.delayed_synapses import listed_by_delay
from neurodeploy.interchange.nir.layout import BrokenBefore, Layout
from neurodeploy.interchange.nir.linear import flattened
from neurodeploy.interchange.nir.parameters import delay_steps, fitted
from neurodeploy.interchange.nir.paths import (
    Arrival,
    LinearPath,
    delayed,
    flat,
    joined,
    mapped,
    merged,
)
from neurodeploy.interchange.nir.plain_graph import unnested
from neurodeploy.interchange.nir.streams import Streams
from neurodeploy.ir.composition import fan_in, reading
from neurodeploy.ir.contract import METADATA_KEY, Contract
from neurodeploy.ir.convolution import Convolution
from neurodeploy.ir.network import Network, Neuron, Population, Projection
from neurodeploy.ir.operators import Operator, Shape, TooLargeError, diagonal, identity
from neurodeploy.ir.schedule import in_order
from neurodeploy.neurons import NEURONS
from neurodeploy.neurons.constant import (
    CONSTANT,
    bias_name,
    constant_source,
    from_constant,
    split_bias,
)
from neurodeploy.neurons.kinds import BEHIND, UNRESET, without_reset
from neurodeploy.neurons.relay import Relay

MOST_DELAYS = 64
"""Different delays within one Delay node; each takes a projection of its own."""


def contract_of(graph: nir.NIRGraph, where: str) -> Contract | None:
    """The contract in the graph's metadata, or None when the file carries none."""
    found = graph.metadata.get(METADATA_KEY)
    if found is None:
        return None
    if not isinstance(found, dict):
        raise InputError(f"{where}: metadata {METADATA_KEY!r} is not a table")
    return Contract.from_metadata(found, f"{where} metadata")


def stepped_as_written(graph: nir.NIRGraph, contract: Contract, where: str) -> Contract:
    """The contract, but with what the graph's own metadata say of its nodes, if they say it."""
    found = contract_of(graph, where)
    return contract if found is None else replace(contract, semantics=found.semantics)


def output_spikes(graph: nir.NIRGraph) -> bool:
    """Whether the nodes that feed the output have a threshold."""
    outputs = {name for name, node in graph.nodes.items() if isinstance(node, nir.Output)}
    feeding = [graph.nodes.get(source) for source, target in graph.edges if target in outputs]
    return all(hasattr(node, "v_threshold") or hasattr(node, "threshold") for node in feeding)


def firing(nodes: Mapping[str, Any]) -> dict[str, str]:
    """The kind of each node that fires, by its name."""
    return {
        name: type(node).__name__
        for name, node in nodes.items()
        if hasattr(node, "v_threshold") or isinstance(node, nir.Threshold)
    }


def to_network(
    graph: nir.NIRGraph, contract: Contract, name: str, *, relays: int | None = None
) -> Network:
    """Discretise a graph under a contract; subgraphs are written out first.

    Args:
        relays: as for ``network_from_layout``.

    Raises:
        UnsupportedError: nodes or connections that cannot be expressed, each named with the reason
            and what would help.
    """
    return network_from_layout(Layout(unnested(graph, name), name), contract, relays=relays)


# What leaves the floats on the way is refused by name where it would be used.
@np.errstate(all="ignore")
def network_from_layout(
    layout: Layout, contract: Contract, *, relays: int | None = None, notes: list[str] | None = None
) -> Network:
    """Discretise a graph whose layout is known; it is named as the layout is.

    Args:
        relays: None where sums of real numbers cannot be sent; else the most synapses that a
            neuron may have. Sums become populations of relays, which send them on, where several
            nodes read a sum and synapses and relays together are fewer than the synapses from
            every part of it to every reader, and where a map through a sum would be too large to
            be written out or give a neuron more synapses than that.
        notes: takes a line for every relay.

    Raises:
        UnsupportedError: as ``to_network``.
    """
    return _Importer(layout, contract, relays, [] if notes is None else notes).network()


class _Importer:
    """One import: what every node sends on, and what each population makes of it."""

    def __init__(
        self, layout: Layout, contract: Contract, relays: int | None, notes: list[str]
    ) -> None:
        self.contract = contract
        self.name = layout.name
        self.layout = layout
        self.nodes = self.layout.nodes
        self.sent: dict[str, Arrival] = {}
        self.constant = self._constant_name()
        """Of the source of biases into currents, if there are any."""
        self.read: str | None = None
        self.streams = Streams(layout) if relays is not None and not layout.relays else None
        self.most_synapses = relays
        self.relays: dict[str, tuple[Population, list[Projection]]] = {}
        self.notes = notes

    def network(self) -> Network:
        layout = self.layout
        layout.check_potentials()
        layout.check_used()
        self.read = output = layout.output()
        self._check_named()
        self._send()
        populations, projections = [], []
        for name in self.nodes:
            if not layout.is_population(name) or name in layout.broken:
                continue
            # What follows such a neuron can still be looked at, as its shape is known.
            with layout.collecting(name, spreads=False):
                population, incoming = self._population(name)
                populations.append(population)
                projections.extend(incoming)
        if layout.problems:
            raise UnsupportedError(in_lines(dict.fromkeys(layout.problems)))
        assert output is not None, "without an output there is a problem"
        for relays, incoming in self.relays.values():
            populations.append(relays)
            projections.extend(incoming)
        if any(projection.source == self.constant for projection in projections):
            # Behind the input, as it leads to anything.
            populations.insert(1, constant_source(self.constant))
        parts = tuple(populations), tuple(projections)
        return in_order(Network(self.name, *parts, output, self.contract))

    def _constant_name(self) -> str:
        """A name that no population has, the same whenever the populations are."""
        name = CONSTANT
        while name in self.nodes and self.layout.is_population(name):
            name += "_"
        return name

    def _check_named(self) -> None:
        """What is said of single nodes is said of nodes that fire."""
        said, known = self.contract.semantics.nodes, firing(self.nodes)
        self.layout.problems += [
            f"{self.name}: the contract says something of node {name!r}, which does not fire or is "
            f"not there{nearest(name, known)}"
            for name in said
            if name not in known
        ]

    def _send(self) -> None:
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
        arrival = merged(self._arrival(name))
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
        projections = [*self._incoming(name, merged(arrival), np.ones((1,) * len(shape)))]
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

    def _arrival(self, at: str) -> Arrival:
        """Sum of everything that reaches a node."""
        if not self.layout.before[at]:
            raise UnsupportedError(f"{self.name}: node {at!r} has no input")
        if any(source in self.layout.broken for source in self.layout.before[at]):
            raise BrokenBefore
        for source in self.layout.before[at]:
            if source not in self.sent:
                raise UnsupportedError(f"{self.name}: no input reaches node {source!r}")
        parts = [self.sent[source] for source in self.layout.before[at]]
        shapes = {part.shape for part in parts}
        if self.streams is not None and len(shapes) == 1:
            parts = [self._sum(source) for source in self.streams.into(at, self.layout.before[at])]
        if len(shapes) > 1:
            raise UnsupportedError(
                f"{self.name}: node {at!r} adds arrays of different shapes: "
                f"{', '.join(map(str, sorted(shapes)))}"
            )
        return joined(parts)

    def _delayed(self, node: Any, arrival: Arrival, where: str) -> Arrival:
        """The arrival some steps later; where the delay differs, as a path for each delay."""
        steps = delay_steps(node, arrival.shape, self.contract.semantics.dt, where)
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

    def _population(self, name: str) -> tuple[Population, list[Projection]]:
        node: Any = self.nodes[name]
        where = self.layout.where(name)
        if isinstance(node, nir.Input):
            return Population(name, self.layout.shapes[name], None), []
        potential = self._potential_before(name)
        arrival = self._arrival(potential or name)
        dynamics = self.nodes[potential] if potential else node
        discretize = NEURONS[type(dynamics).__name__]
        semantics = self.contract.semantics.of(name)
        neuron, gain = discretize(dynamics, semantics, where)
        if potential:
            neuron = replace(neuron, v_threshold=np.asarray(node.threshold, np.float64))
        neuron, gain = fitted(neuron, gain, arrival.shape, where)
        neuron, entering = split_bias(neuron, gain, arrival.biases)
        projections = listed_by_delay(self._incoming(name, arrival, gain))
        projections += [
            Projection(bias_name(name, delay), self.constant, name, from_constant(bias), delay)
            for delay, bias in entering.items()
        ]
        if potential:
            neuron, kept = self._unreset(name, neuron, BEHIND)
            projections += kept
        elif neuron.v_threshold is not None and semantics.reset == "none":
            if self._reads_potential(name):
                return Population(
                    name, arrival.shape, replace(neuron, v_threshold=None)
                ), projections
            neuron, kept = self._unreset(name, neuron, UNRESET)
            projections += kept
        elif neuron.v_threshold is not None:
            rest = self.contract.semantics.refractory_period(name)
            neuron = replace(neuron, refractory_period=rest)
        return Population(name, arrival.shape, neuron), projections

    def _shape_of(self, population: str) -> Shape:
        relays = self.relays.get(population)
        return self.layout.shapes[population] if relays is None else relays[0].shape

    def _unreset(self, name: str, neuron: Neuron, ending: str) -> tuple[Neuron, list[Projection]]:
        """A neuron that is not reset, and what brings back to it what a spike takes."""
        if self.contract.semantics.refractory_period(name):
            raise UnsupportedError(
                f"{self.layout.where(name)}: rests after a spike, but v is not reset to anything "
                "that it could rest at; leave the refractory period out"
            )
        neuron, kept = without_reset(neuron, ending)
        return neuron, [
            Projection(f"{name}_kept_{delay}", name, name, diagonal(weights), delay)
            for delay, weights in kept
        ]

    def _reads_potential(self, name: str) -> bool:
        """Whether a node that is never reset is there for its potential: a read-out without spikes.

        Raises:
            UnsupportedError: its spikes are wanted as well.
        """
        if name != self.read or self.contract.decode == "spike_count":
            return False
        if not all(map(self.layout.reads_out, self.layout.after[name])):
            raise UnsupportedError(
                f"{self.layout.where(name)}: is never reset and read by its potential, but its "
                "spikes go on to other nodes; what is deployed subtracts the threshold at a spike "
                "and adds it again, so that its potential would not be that",
                fix=Text("read it by ", Setting("decode", "spike_count")),
            )
        return True

    def _potential_before(self, name: str) -> str | None:
        """The node whose potential a Threshold compares; None for anything else."""
        before = self.layout.before[name]
        if isinstance(self.nodes[name], nir.Threshold) and len(before) == 1:
            return before[0] if self.layout.sends_potential(before[0]) else None
        return None

    def _incoming(self, name: str, arrival: Arrival, gain: np.ndarray) -> Iterable[Projection]:
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
