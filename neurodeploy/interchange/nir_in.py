"""From a NIR graph to a ``Network``: every node accounted for, every semantic choice explicit.

Neurons become populations. Whatever lies on a path between two of them becomes one projection,
composed into a single operator; biases on the way become the target's bias. A path inside a cycle
carries the spikes of an earlier step.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import replace
from itertools import chain, count
from typing import Any

import nir
import numpy as np

from neurodeploy.composition import reading
from neurodeploy.contract import METADATA_KEY, Contract
from neurodeploy.errors import InputError, UnsupportedError
from neurodeploy.interchange.linear_nodes import LINEAR_NODES, flattened, to_operator
from neurodeploy.interchange.paths import Arrival, Path, delayed, flat, joined, mapped, merged
from neurodeploy.network import Network, Neuron, Population, Projection
from neurodeploy.neurons import NEURONS
from neurodeploy.neurons.leak import exactly_one
from neurodeploy.operators import Shape, identity
from neurodeploy.timing import components


def contract_of(graph: nir.NIRGraph, where: str) -> Contract | None:
    """The contract in the graph's metadata, or None when the file carries none."""
    found = graph.metadata.get(METADATA_KEY)
    if found is None:
        return None
    if not isinstance(found, dict):
        raise InputError(f"{where}: metadata {METADATA_KEY!r} is not a table")
    return Contract.from_metadata(found, f"{where} metadata")


def output_spikes(graph: nir.NIRGraph) -> bool:
    """Whether the nodes that feed the output have a threshold."""
    outputs = {name for name, node in graph.nodes.items() if isinstance(node, nir.Output)}
    feeding = [graph.nodes[source] for source, target in graph.edges if target in outputs]
    return all(hasattr(node, "v_threshold") for node in feeding)


def to_network(graph: nir.NIRGraph, contract: Contract, name: str) -> Network:
    """Discretise a graph under a contract.

    Raises:
        UnsupportedError: a node or a connection that cannot be expressed, named with the reason.
    """
    return _Importer(graph, contract, name).network()


class _Importer:
    def __init__(self, graph: nir.NIRGraph, contract: Contract, name: str) -> None:
        self.graph = graph
        self.contract = contract
        self.name = name
        self.before: dict[str, list[str]] = {node: [] for node in graph.nodes}
        for source, target in graph.edges:
            self._check_edge(source, target)
            self.before[target].append(source)
        for name, node in graph.nodes.items():
            self._check_known(name, node)
        self.visiting: set[str] = set()
        self.sent: dict[str, Arrival] = {}
        self.shapes = self._reached_shapes()

    def network(self) -> Network:
        nodes = self.graph.nodes
        inputs = [name for name, node in nodes.items() if isinstance(node, nir.Input)]
        outputs = [name for name, node in nodes.items() if isinstance(node, nir.Output)]
        if len(inputs) != 1 or len(outputs) != 1:
            raise UnsupportedError(
                f"{self.name}: {len(inputs)} inputs and {len(outputs)} outputs; one of each is "
                "supported"
            )
        populations, projections = [], []
        for name, node in nodes.items():
            if isinstance(node, nir.Input):
                populations.append(Population(name, self._shape_of(name), None))
            elif type(node).__name__ in NEURONS:
                population, incoming = self._population(name, node)
                populations.append(population)
                projections.extend(incoming)
        output = self.before[outputs[0]]
        if len(output) != 1 or type(nodes[output[0]]).__name__ not in NEURONS:
            raise UnsupportedError(
                f"{self.name}: output {outputs[0]!r} reads {', '.join(map(repr, output)) or None}; "
                "it has to read one neuron node (add I or LI as a readout that does not spike)"
            )
        parts = tuple(populations), tuple(projections)
        return _in_order(Network(self.name, *parts, output[0], self.contract))

    def _check_known(self, name: str, node: Any) -> None:
        known = (*LINEAR_NODES, nir.Input, nir.Output)
        if isinstance(node, known) or type(node).__name__ in NEURONS:
            return
        raise UnsupportedError(
            f"{self.name}: node {name!r} is a {type(node).__name__}, which cannot be deployed yet"
        )

    def _check_edge(self, source: str, target: str) -> None:
        nodes = self.graph.nodes
        for name in (source, target):
            if name not in nodes:
                raise UnsupportedError(
                    f"{self.name}: edge {source!r} to {target!r} names {name!r}, which is no node"
                )
        if isinstance(nodes[target], nir.Input) or isinstance(nodes[source], nir.Output):
            raise UnsupportedError(
                f"{self.name}: edge {source!r} to {target!r} leads into the input or out of the "
                "output, which has no meaning here"
            )

    def _is_population(self, name: str) -> bool:
        node = self.graph.nodes[name]
        return isinstance(node, nir.Input) or type(node).__name__ in NEURONS

    def _shape_of(self, name: str) -> Shape:
        """Shape of a population: what reaches it; of one that only feeds itself, its parameters'.

        Parameters may be one number or fewer axes than the neurons have.
        """
        if name in self.shapes:
            return self.shapes[name]
        declared = (self.graph.nodes[name].output_type or {}).get("output")
        if declared is None or not np.asarray(declared).size:
            raise UnsupportedError(f"{self.name}: no input reaches node {name!r}")
        return tuple(int(n) for n in np.asarray(declared).ravel())

    def _reached_shapes(self) -> dict[str, Shape]:
        """Shape of what each node sends on, for all nodes that the input reaches."""
        after: dict[str, list[str]] = {node: [] for node in self.graph.nodes}
        for source, target in self.graph.edges:
            after[source].append(target)
        shapes: dict[str, Shape] = {
            name: tuple(int(n) for n in np.asarray(node.input_type["input"]).ravel())
            for name, node in self.graph.nodes.items()
            if isinstance(node, nir.Input)
        }
        reached = deque(shapes)
        while reached:
            source = reached.popleft()
            for name in after[source]:
                if name not in shapes:
                    shapes[name] = self._shape_behind(name, shapes[source])
                    reached.append(name)
        return shapes

    def _shape_behind(self, name: str, shape: Shape) -> Shape:
        """Shape of what a node makes of an array of ``shape``."""
        node = self.graph.nodes[name]
        if isinstance(node, nir.Flatten):
            return flattened(node, shape)
        if self._is_population(name) or isinstance(node, nir.Delay | nir.Output):
            return shape
        return to_operator(node, shape, self._where(name))[0].output_shape

    def _where(self, name: str) -> str:
        return f"{self.name}: node {name!r} ({type(self.graph.nodes[name]).__name__})"

    def _population(self, name: str, node: Any) -> tuple[Population, list[Projection]]:
        where = self._where(name)
        neuron, gain = NEURONS[type(node).__name__](node, self.contract.semantics, where)
        arrival = self._arrival(name)
        neuron, gain = _fitted(neuron, gain, arrival.shape, where)
        if arrival.bias is not None and np.any(arrival.bias):
            if np.any(neuron.u_keep):
                raise UnsupportedError(
                    f"{where}: a bias enters its synaptic current, but Loihi adds biases to the "
                    "membrane; move the bias into v_leak or feed it as a constant input"
                )
            neuron = replace(neuron, bias=neuron.bias + gain * arrival.bias)
        projections = []
        for path in arrival.paths:
            operator = reading(path.operator or identity(path.shape), self._shape_of(path.source))
            crossed = "+".join(path.names) or f"{path.source}_to_{name}"
            scaled = operator.scaled(gain)
            projections.append(Projection(crossed, path.source, name, scaled, path.delay))
        return Population(name, arrival.shape, neuron), projections

    def _arrival(self, at: str) -> Arrival:
        """Sum of everything that reaches a node."""
        if not self.before[at]:
            raise UnsupportedError(f"{self.name}: node {at!r} has no input")
        parts = [self._leaving(source) for source in self.before[at]]
        shapes = {part.shape for part in parts}
        if len(shapes) > 1:
            raise UnsupportedError(
                f"{self.name}: node {at!r} adds arrays of different shapes: "
                f"{', '.join(map(str, sorted(shapes)))}"
            )
        return joined(parts)

    def _leaving(self, name: str) -> Arrival:
        """What a node sends on: a population's spikes, or a linear node's map of its input.

        Computed once per node, however many read it.
        """
        if name in self.sent:
            return self.sent[name]
        if self._is_population(name):
            shape = self._shape_of(name)
            sent = Arrival(shape, [Path(name, None, shape)])
        elif name in self.visiting:
            raise UnsupportedError(
                f"{self.name}: node {name!r} feeds back on itself without a neuron in between"
            )
        else:
            self.visiting.add(name)
            sent = self._through(name, merged(self._arrival(name)))
            self.visiting.discard(name)
        self.sent[name] = sent
        return sent

    def _through(self, name: str, arrival: Arrival) -> Arrival:
        """What a linear node makes of what arrives at it."""
        node, where = self.graph.nodes[name], self._where(name)
        if isinstance(node, nir.Delay):
            delay = self._delay_steps(node, where)
            if delay and arrival.bias is not None and np.any(arrival.bias):
                raise UnsupportedError(
                    f"{where}: delays a bias, which would start late; move the bias behind the "
                    "delay"
                )
            return delayed(arrival, delay)
        if isinstance(node, nir.Flatten):
            return flat(arrival, flattened(node, arrival.shape))
        operator, bias = to_operator(node, arrival.shape, where)
        return mapped(arrival, operator, bias, name)

    def _delay_steps(self, node: Any, where: str) -> int:
        delays = np.unique(np.asarray(node.delay, np.float64))
        steps = delays / self.contract.semantics.dt
        if delays.size != 1:
            raise UnsupportedError(f"{where}: delays differ between elements; one is supported")
        if not (steps[0] >= 0 and abs(steps[0] - np.rint(steps[0])) <= 1e-6):
            raise UnsupportedError(
                f"{where}: a delay of {delays[0]:g} s is not a whole number of steps of "
                f"dt = {self.contract.semantics.dt:g} s"
            )
        return round(steps[0])


def _fitted(
    neuron: Neuron, gain: np.ndarray, shape: Shape, where: str
) -> tuple[Neuron, np.ndarray]:
    """Broadcast per-neuron parameters to the population's shape."""

    def fit(values: Any) -> np.ndarray:
        values = np.asarray(values, np.float64)
        if not np.isfinite(values).all():
            raise UnsupportedError(f"{where}: a parameter is infinite or not a number")
        if values.size == 1:
            return np.full(shape, values.item())
        if values.size == np.prod(shape):
            return values.reshape(shape)
        try:
            return np.broadcast_to(values, shape).copy()
        except ValueError:
            raise UnsupportedError(
                f"{where}: parameters of shape {values.shape} do not fit neurons of shape {shape}"
            ) from None

    threshold = None if neuron.v_threshold is None else fit(neuron.v_threshold)
    fitted = replace(
        neuron,
        u_keep=fit(neuron.u_keep),
        v_keep=fit(neuron.v_keep),
        bias=fit(neuron.bias),
        v_threshold=threshold,
    )
    return fitted, exactly_one(fit(gain))


def _in_order(network: Network) -> Network:
    """Populations from input to output, projections with names of their own, delays in cycles.

    A projection inside a cycle brings the spikes of at least one step ago.
    """
    groups = components(network)
    group_of = {name: index for index, names in enumerate(groups) for name in names}
    times_used = Counter(projection.name for projection in network.projections)
    projections: dict[str, Projection] = {}
    for p in network.projections:
        name = p.name if times_used[p.name] == 1 else f"{p.name} ({p.source} to {p.target})"
        numbered = (f"{name} {number}" for number in count(2))
        name = next(
            candidate for candidate in chain([name], numbered) if candidate not in projections
        )
        delay = max(p.delay, 1) if group_of[p.source] == group_of[p.target] else p.delay
        projections[name] = replace(p, name=name, delay=delay)
    return replace(
        network,
        populations=tuple(network.population(name) for names in groups for name in names),
        projections=tuple(sorted(projections.values(), key=lambda p: group_of[p.target])),
    )
