"""From a NIR graph to a ``Network``: every node accounted for, every semantic choice explicit.

Neurons become populations. Whatever lies on a path between two of them becomes one projection,
composed into a single operator, or, where the target has graded spikes, sums that several read
become relays (``streams``); biases on the way become the target's bias, or where that is no
constant of the membrane, synapses from a constant source (``neurons.constant``). A path inside a
cycle carries the spikes of an earlier step. Everything that cannot be expressed is named, all at
once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import nir
import numpy as np

from neurodeploy.errors import InputError, Setting, Text, UnsupportedError, in_lines, nearest
from neurodeploy.interchange.nir.arrivals import Arrivals
from neurodeploy.interchange.nir.delayed_synapses import listed_by_delay
from neurodeploy.interchange.nir.layout import Layout
from neurodeploy.interchange.nir.parameters import fitted
from neurodeploy.interchange.nir.plain_graph import unnested
from neurodeploy.ir.contract import METADATA_KEY, Contract
from neurodeploy.ir.network import Network, Neuron, Population, Projection
from neurodeploy.ir.operators import diagonal
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
    """One import: what each population makes of that which reaches it."""

    def __init__(
        self, layout: Layout, contract: Contract, relays: int | None, notes: list[str]
    ) -> None:
        self.contract = contract
        self.name = layout.name
        self.layout = layout
        self.nodes = self.layout.nodes
        self.constant = self._constant_name()
        """Of the source of biases into currents, if there are any."""
        self.read: str | None = None
        self.arrivals = Arrivals(layout, contract.semantics.dt, self.constant, relays, notes)

    def network(self) -> Network:
        layout = self.layout
        layout.check_potentials()
        layout.check_used()
        self.read = output = layout.output()
        self._check_named()
        self.arrivals.send()
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
        for relays, incoming in self.arrivals.relays.values():
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

    def _population(self, name: str) -> tuple[Population, list[Projection]]:
        node: Any = self.nodes[name]
        where = self.layout.where(name)
        if isinstance(node, nir.Input):
            return Population(name, self.layout.shapes[name], None), []
        potential = self._potential_before(name)
        arrival = self.arrivals.at(potential or name)
        dynamics = self.nodes[potential] if potential else node
        discretize = NEURONS[type(dynamics).__name__]
        semantics = self.contract.semantics.of(name)
        neuron, gain = discretize(dynamics, semantics, where)
        if potential:
            neuron = replace(neuron, v_threshold=np.asarray(node.threshold, np.float64))
        neuron, gain = fitted(neuron, gain, arrival.shape, where)
        neuron, entering = split_bias(neuron, gain, arrival.biases)
        projections = listed_by_delay(self.arrivals.incoming(name, arrival, gain))
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
                "spikes are sent to other nodes; a deployment would subtract the threshold at a "
                "spike and add it again, so its potential would differ",
                fix=Text("read it by ", Setting("decode", "spike_count")),
            )
        return True

    def _potential_before(self, name: str) -> str | None:
        """The node whose potential a Threshold compares; None for anything else."""
        before = self.layout.before[name]
        if isinstance(self.nodes[name], nir.Threshold) and len(before) == 1:
            return before[0] if self.layout.sends_potential(before[0]) else None
        return None
