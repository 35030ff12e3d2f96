"""NIR graphs written from a ``Network``: the inverse of ``network_in``.

Populations become neuron nodes whose gain is 1, projections the linear nodes between them with
their weights as they are, and the contract goes into the metadata, so that reading the graph gives
the same network back. Every node is one that other tools read: a dense map is an Affine with an
explicit bias, every parameter a float64 array of full shape.

What NIR has no node for is written in a longer form that computes the same: a connectivity that is
known as a matrix only becomes an Affine, and where that has to reach neurons in more than one axis,
those are written in one. Relays are a Scale of ones, and metadata say that they are relays. A
constant source is written as the biases that it stands for. A readout
can be left out for tools that have no neuron for it.
"""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import count
from typing import Any

import nir
import numpy as np

from neurodeploy.errors import UnsupportedError
from neurodeploy.interchange.nir.biases import carriers, membrane_carrier
from neurodeploy.interchange.nir.linear import (
    chain_between,
    flatten_node,
    input_shape_of,
    linear_node,
    written_out,
)
from neurodeploy.ir.composition import one_to_one
from neurodeploy.ir.contract import METADATA_KEY, NodeReset
from neurodeploy.ir.network import Network, Neuron, Population, Projection
from neurodeploy.ir.operators import Operator, Shape
from neurodeploy.ir.schedule import components, is_recurrent
from neurodeploy.neurons.constant import is_constant, joined_biases
from neurodeploy.neurons.kinds import BEHIND, UNRESET, to_node, without_reset
from neurodeploy.neurons.relay import RELAY, RELAYS_KEY, Relay


def network_to_nir(network: Network) -> nir.NIRGraph:
    """Write a network as a NIR graph with its contract as metadata.

    ``network_in.to_network`` of the result is the same network: populations, weights, biases,
    delays and semantics to the last bit, unless a form that NIR lacks had to be written out. Where
    a projection takes several nodes, its name may change.

    Raises:
        UnsupportedError: NIR cannot say it; the population or projection is named.
    """
    return _Writer(network).graph()


class _Writer:
    def __init__(self, network: Network) -> None:
        self.network = network
        self.shapes = _written_shapes(network)
        written = [p for p in network.populations if not is_constant(p)]
        self.constants = {p.name for p in network.populations if is_constant(p)}
        self.names = {p.name: _legal(p.name) for p in written}
        self.taken = set(self.names.values())
        if len(self.taken) < len(self.names):
            raise UnsupportedError(f"{network.name}: two populations would share a name in NIR")
        self.nodes: dict[str, nir.NIRNode] = {}
        self.relays: list[str] = []
        self.edges: list[tuple[str, str]] = []
        self.entry: dict[str, str] = {}
        """The node that takes a population's input, where it is not the one that fires."""
        self.semantics = replace(network.contract.semantics, nodes={})
        """What holds for all nodes, and for those written so far that differ."""
        cycles = [set(group) for group in components(network) if is_recurrent(network, group)]
        self.inside = {
            p.name for p in network.projections if any({p.source, p.target} <= c for c in cycles)
        }

    def graph(self) -> nir.NIRGraph:
        for population in self.network.populations:
            if not is_constant(population):
                self._population(population)
        read = self.network.output
        shape = np.array(self.shapes[read])
        self._append(self.names[read], "output", nir.Output({"output": shape}))
        contract = replace(self.network.contract, semantics=self.semantics)
        metadata: dict[str, Any] = {METADATA_KEY: contract.to_metadata()}
        if self.relays:
            metadata[RELAYS_KEY] = dict.fromkeys(self.relays, RELAY)
        # Unchecked: NIR 1.0.8 takes every kernel for square and every convolution for ungrouped.
        return nir.NIRGraph(self.nodes, self.edges, metadata, type_check=False)

    def _population(self, population: Population) -> None:
        name, shape = self.names[population.name], self.shapes[population.name]
        if population.neuron is None:
            self.nodes[name] = nir.Input({"input": np.array(shape)})
            return
        neuron = _reshaped(self._neuron(population), population.shape, shape)
        into = (p for p in self.network.projections if p.target == population.name)
        incoming, late = joined_biases(into, self.constants)
        kept = self._kept(population, incoming)
        self._say(population.name, neuron, unreset=kept is not None)
        if kept is not None:
            incoming = [p for p in incoming if p.name not in kept]
        if kept is not None and neuron.kind.endswith(BEHIND):
            # An integrator that does not spike, and behind it a Threshold of the population's name.
            threshold = nir.Threshold(np.array(neuron.v_threshold))
            neuron = replace(neuron, v_threshold=None, kind=neuron.kind.removesuffix(BEHIND))
            name = self._free(f"{name}_potential")
            self.entry[population.name] = name
            self.nodes[self.names[population.name]] = threshold
            self.edges.append((name, self.names[population.name]))
        chains = {p.name: self._chain(p) for p in incoming}
        carried = carriers(population.name, late, incoming, chains)
        free = {name: chain for name, chain in chains.items() if name not in carried}
        carrier = membrane_carrier(population.name, neuron, free)
        if carrier:
            carried[carrier] = 0, neuron.bias
        for projection in incoming:
            bias = carried.get(projection.name)
            self._projection(projection, chains[projection.name], bias)
        if isinstance(population.neuron, Relay):
            # NIR has no neuron that passes numbers on; to other tools it is a factor of 1.
            self.nodes[name] = nir.Scale(np.ones(shape))
            self.relays.append(name)
            return
        leak_bias = np.zeros(shape) if carrier else neuron.bias
        self.nodes[name] = to_node(neuron, shape, leak_bias, self.network.contract.semantics)

    @staticmethod
    def _neuron(population: Population) -> Neuron:
        """Leaky neurons; for relays some that have their bias, and none of a node's semantics."""
        if not isinstance(population.neuron, Relay):
            return population.leaky
        zero = np.zeros(1)
        return Neuron("I", zero, zero + 1, population.neuron.bias, None, "zero", ">")

    def _kept(self, population: Population, incoming: list[Projection]) -> set[str] | None:
        """The projections that undo the reset of neurons that are not reset where they come from.

        None when the population has no such neurons, or not any more: a quantised one has not.
        """
        neuron = self._neuron(population)
        if not neuron.kind.endswith((BEHIND, UNRESET)):
            return None
        _, expected = without_reset(_reshaped(neuron, population.shape, population.shape))
        own = {p.delay: p for p in incoming if p.name.startswith(f"{population.name}_kept_")}
        same = own.keys() == dict(expected).keys() and all(
            np.array_equal(_factors(own[delay]), weights) for delay, weights in expected
        )
        return {p.name for p in own.values()} if same else None

    def _say(self, name: str, neuron: Neuron, *, unreset: bool) -> None:
        """What the metadata have to say of a node that fires; of a Threshold, not how it resets."""
        if neuron.v_threshold is None:
            return
        reset: NodeReset = "none" if unreset else neuron.reset
        if unreset and neuron.kind.endswith(BEHIND):
            reset = self.semantics.reset
        node, rest = self.names[name], neuron.refractory_period
        self.semantics = self.semantics.with_node(node, reset, neuron.comparison, rest)

    def _chain(self, projection: Projection) -> list[Operator]:
        """The operators to write, a node each; the flattening between them is not counted."""
        shapes = self.shapes[projection.source], self.shapes[projection.target]
        chain = chain_between(projection.operator, *shapes)
        if chain is None:
            return [written_out(projection.operator, f"projection {projection.name!r}")]
        return chain

    def _projection(
        self,
        projection: Projection,
        chain: list[Operator],
        carried: tuple[int, np.ndarray] | None,
    ) -> None:
        """Write one; what it carries is a bias and the steps by which that is late, as it is."""
        at, shape = self.names[projection.source], self.shapes[projection.source]
        labels = _labels(projection, chain)
        late, bias = carried or (0, None)
        delay = self._delay(projection)
        if delay and not late:
            at = self._append(at, f"{labels[0]}_delay", self._delay_node(delay, shape))
        for number, (operator, label) in enumerate(zip(chain, labels, strict=False), 1):
            at = self._flattened(at, shape, input_shape_of(operator), label)
            node = linear_node(operator, bias if number == len(chain) else None)
            at, shape = self._append(at, label, node), operator.output_shape
        if late:
            at = self._append(at, f"{labels[-1]}_delay", self._delay_node(late, shape))
        target = self.entry.get(projection.target, self.names[projection.target])
        wanted = self.shapes[projection.target]
        at = self._flattened(at, shape, wanted, labels[-1])
        if (at, target) in self.edges:
            at = self._append(at, labels[-1], nir.Scale(np.ones(wanted)))
        self.edges.append((at, target))

    def _delay_node(self, steps: int, shape: Shape) -> nir.Delay:
        return nir.Delay(np.full(shape, steps * self.network.contract.semantics.dt))

    def _flattened(self, at: str, shape: Shape, wanted: Shape, label: str) -> str:
        if shape == wanted:
            return at
        node = flatten_node(shape, wanted)
        assert node is not None, "chain_between refuses what flattening cannot reach"
        return self._append(at, f"{label}_flatten", node)

    def _delay(self, projection: Projection) -> int:
        """Steps that a Delay node has to say; inside a cycle one step is understood."""
        if projection.name not in self.inside:
            return projection.delay
        if projection.delay == 0:
            raise UnsupportedError(
                f"projection {projection.name!r}: has no delay inside a cycle, where a NIR file is "
                "read as one step of delay"
            )
        return projection.delay if projection.delay > 1 else 0

    def _append(self, after: str, wanted: str, node: nir.NIRNode) -> str:
        name = self._free(wanted)
        self.nodes[name] = node
        self.edges.append((after, name))
        return name

    def _free(self, wanted: str) -> str:
        """A name that no other node has; it is taken from now on."""
        names = (f"{_legal(wanted)} {number}" if number else _legal(wanted) for number in count())
        name = next(name for name in names if name not in self.taken)
        self.taken.add(name)
        return name


def _written_shapes(network: Network) -> dict[str, Shape]:
    """Shape of each population in NIR: one axis where a plain matrix leads into it."""
    shapes = {p.name: p.shape for p in network.populations}
    constants = {p.name for p in network.populations if is_constant(p)}
    projections = [p for p in network.projections if p.source not in constants]
    changed = True
    while changed:
        changed = False
        for p in projections:
            source, target = shapes[p.source], shapes[p.target]
            if len(target) > 1 and chain_between(p.operator, source, target) is None:
                shapes[p.target] = (math.prod(target),)
                changed = True
    return shapes


def _factors(projection: Projection) -> Any:
    """The factor of each one-to-one connection; None for other connections."""
    return one_to_one(projection.operator)


def _reshaped(neuron: Neuron, shape: Shape, wanted: Shape) -> Neuron:
    """The neuron with parameters of full shape, in the axes they are written in."""

    def full(values: np.ndarray) -> np.ndarray:
        return np.broadcast_to(np.asarray(values, np.float64), shape).reshape(wanted)

    return replace(
        neuron,
        u_keep=full(neuron.u_keep),
        v_keep=full(neuron.v_keep),
        bias=full(neuron.bias),
        v_threshold=None if neuron.v_threshold is None else full(neuron.v_threshold),
    )


def _labels(projection: Projection, chain: list[Operator]) -> list[str]:
    """A name for each node of a projection: those it was read from, if as many."""
    names = projection.name.split("+")
    if len(names) == len(chain):
        return names
    if len(chain) <= 1:
        return [projection.name]
    if len(names) == len(chain) - 1 and one_to_one(chain[-1]) is not None:
        return [*names, f"{projection.target}_gain"]
    return [f"{projection.name}.{number + 1}" for number in range(len(chain))]


def _legal(name: str) -> str:
    """HDF5 takes a slash for a folder."""
    return name.replace("/", ".") or "unnamed"


def without_readout(graph: nir.NIRGraph) -> nir.NIRGraph:
    """The graph whose output is what went into its integrator.

    The networks we train end in NIR's I, which integrates the last weighted sum, so that a chip can
    do it. snnTorch and SpikingJelly have no such neuron and refuse the file. Without it the output
    is that sum at every step; adding it up is left to whoever runs the graph.

    Its outputs, added up over a sample and times r dt of the integrator (1 in files of ours), are
    the integrator's last v.

    Raises:
        UnsupportedError: the output does not read one integrator (NIR's I).
    """
    outputs = [name for name, node in graph.nodes.items() if isinstance(node, nir.Output)]
    read = [source for source, target in graph.edges if target in outputs]
    if len(outputs) != 1 or len(read) != 1 or not isinstance(graph.nodes[read[0]], nir.I):
        kinds = ", ".join(f"{name!r} ({type(graph.nodes[name]).__name__})" for name in read)
        raise UnsupportedError(
            f"the output reads {kinds or 'nothing'}; there is a read-out to remove where it "
            "reads one integrator (I)"
        )
    (readout,), (output,) = read, outputs
    if any(source == readout and target != output for source, target in graph.edges):
        raise UnsupportedError(f"integrator {readout!r} feeds more than the output")
    nodes = {name: node for name, node in graph.nodes.items() if name != readout}
    edges = [
        (source, output if target == readout else target)
        for source, target in graph.edges
        if source != readout
    ]
    return nir.NIRGraph(nodes, edges, dict(graph.metadata), type_check=False)
