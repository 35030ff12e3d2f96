"""From a NIR graph to a ``Network``: every node accounted for, every semantic choice explicit.

Neurons become populations. Whatever lies on a path between two of them becomes one projection,
composed into a single operator; biases on the way become the target's bias. A path inside a cycle
carries the spikes of an earlier step.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

import nir
import numpy as np

from neurodeploy.contract import METADATA_KEY, Contract
from neurodeploy.errors import InputError, UnsupportedError
from neurodeploy.interchange.linear_nodes import LINEAR_NODES, to_operator
from neurodeploy.network import Network, Neuron, Population, Projection
from neurodeploy.neurons import NEURONS
from neurodeploy.operators import Operator, Shape, compose, identity, reading, reshaped
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


@dataclass
class _Path:
    """A path from a population up to some node: the operator so far, delay, and what it crossed."""

    source: str
    operator: Operator | None
    shape: Shape
    delay: int = 0
    names: tuple[str, ...] = ()


@dataclass
class _Arrival:
    """Everything that arrives at a node's output or input: paths and the summed bias."""

    shape: Shape
    paths: list[_Path] = field(default_factory=list)
    bias: np.ndarray | None = None


class _Importer:
    def __init__(self, graph: nir.NIRGraph, contract: Contract, name: str) -> None:
        self.graph = graph
        self.contract = contract
        self.name = name
        self.before: dict[str, list[str]] = {node: [] for node in graph.nodes}
        for source, target in graph.edges:
            self.before[target].append(source)
        self.visiting: set[str] = set()

    def network(self) -> Network:
        nodes = self.graph.nodes
        for name, node in nodes.items():
            self._check_known(name, node)
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
        if len(output) != 1 or not self._is_population(output[0]):
            raise UnsupportedError(
                f"{self.name}: output {outputs[0]!r} reads {', '.join(map(repr, output))}; it has "
                "to read one neuron node (add I or LI as a readout that does not spike)"
            )
        network = Network(
            self.name, tuple(populations), tuple(projections), output[0], self.contract
        )
        return _in_order(network)

    def _check_known(self, name: str, node: Any) -> None:
        known = (*LINEAR_NODES, nir.Input, nir.Output)
        if isinstance(node, known) or type(node).__name__ in NEURONS:
            return
        raise UnsupportedError(
            f"{self.name}: node {name!r} is a {type(node).__name__}, which cannot be deployed yet"
        )

    def _is_population(self, name: str) -> bool:
        node = self.graph.nodes[name]
        return isinstance(node, nir.Input) or type(node).__name__ in NEURONS

    def _shape_of(self, name: str) -> Shape:
        """Shape of a population: what its node says, or what reaches it."""
        node = self.graph.nodes[name]
        if isinstance(node, nir.Input):
            return tuple(int(n) for n in np.asarray(node.input_type["input"]).ravel())
        declared = (node.output_type or {}).get("output")
        if declared is not None and np.asarray(declared).size:
            return tuple(int(n) for n in np.asarray(declared).ravel())
        return self._arrival(self.before[name], name).shape

    def _population(self, name: str, node: Any) -> tuple[Population, list[Projection]]:
        where = f"{self.name}: node {name!r} ({type(node).__name__})"
        neuron, gain = NEURONS[type(node).__name__](node, self.contract.semantics, where)
        arrival = self._arrival(self.before[name], name)
        shape = arrival.shape
        neuron, gain = _fitted(neuron, gain, shape, where)
        if arrival.bias is not None and np.any(arrival.bias):
            if np.any(neuron.u_keep):
                raise UnsupportedError(
                    f"{where}: a bias enters its synaptic current, but Loihi adds biases to the "
                    "membrane; move the bias into v_leak or feed it as a constant input"
                )
            neuron = replace(neuron, bias=neuron.bias + gain * arrival.bias)
        projections = []
        for path in arrival.paths:
            operator = path.operator or identity(path.shape)
            operator = reading(operator, self._shape_of(path.source))
            crossed = "+".join(path.names) or f"{path.source}_to_{name}"
            projections.append(
                Projection(crossed, path.source, name, operator.scaled(gain), path.delay)
            )
        return Population(name, shape, neuron), projections

    def _arrival(self, sources: list[str], at: str) -> _Arrival:
        """Sum of everything that reaches a node."""
        if not sources:
            raise UnsupportedError(f"{self.name}: node {at!r} has no input")
        parts = [self._leaving(source) for source in sources]
        shapes = {part.shape for part in parts}
        if len(shapes) > 1:
            raise UnsupportedError(
                f"{self.name}: node {at!r} adds arrays of different shapes: "
                f"{', '.join(map(str, sorted(shapes)))}"
            )
        total = _Arrival(parts[0].shape)
        for part in parts:
            total.paths += part.paths
            if part.bias is not None:
                total.bias = part.bias if total.bias is None else total.bias + part.bias
        return total

    def _leaving(self, name: str) -> _Arrival:
        """What a node sends on: a population's spikes, or a linear node's map of what reaches it."""
        node = self.graph.nodes[name]
        if self._is_population(name):
            shape = self._shape_of(name)
            return _Arrival(shape, [_Path(name, None, shape)])
        if name in self.visiting:
            raise UnsupportedError(
                f"{self.name}: node {name!r} feeds back on itself without a neuron in between"
            )
        self.visiting.add(name)
        arrival = self._arrival(self.before[name], name)
        self.visiting.discard(name)
        return self._through(name, node, arrival)

    def _through(self, name: str, node: Any, arrival: _Arrival) -> _Arrival:
        where = f"{self.name}: node {name!r} ({type(node).__name__})"
        if isinstance(node, nir.Delay):
            delay = self._delay_steps(node, where)
            paths = [replace(path, delay=path.delay + delay) for path in arrival.paths]
            return replace(arrival, paths=paths)
        if isinstance(node, nir.Flatten):
            shape = _flattened(node, arrival.shape)
            bias = None if arrival.bias is None else arrival.bias.reshape(shape)
            return _Arrival(shape, [_reshape(path, shape) for path in arrival.paths], bias)
        operator, bias = to_operator(node, arrival.shape, where)
        paths = [_extend(path, operator, name) for path in arrival.paths]
        if arrival.bias is not None:
            carried = operator(np.asarray(arrival.bias)[None])[0]
            bias = carried if bias is None else bias + carried
        return _Arrival(operator.output_shape, paths, bias)

    def _delay_steps(self, node: Any, where: str) -> int:
        delays = np.unique(np.asarray(node.delay, np.float64))
        steps = delays / self.contract.semantics.dt
        if delays.size != 1:
            raise UnsupportedError(f"{where}: delays differ between elements; one is supported")
        if abs(steps[0] - round(steps[0])) > 1e-6 or steps[0] < 0:
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
    return fitted, fit(gain)


def _flattened(node: Any, shape: Shape) -> Shape:
    start, end = int(node.start_dim), int(node.end_dim)
    start, end = start % len(shape), end % len(shape)
    return (*shape[:start], int(np.prod(shape[start : end + 1])), *shape[end + 1 :])


def _reshape(path: _Path, shape: Shape) -> _Path:
    operator = None if path.operator is None else reshaped(path.operator, shape)
    return replace(path, operator=operator, shape=shape)


def _extend(path: _Path, operator: Operator, name: str) -> _Path:
    """One more operator after what the path already computes."""
    combined = operator if path.operator is None else compose(path.operator, operator)
    return replace(
        path, operator=combined, shape=operator.output_shape, names=(*path.names, name)
    )


def _in_order(network: Network) -> Network:
    """Populations from input to output, projections with names of their own, delays in cycles.

    A projection inside a cycle brings the spikes of at least one step ago.
    """
    groups = components(network)
    group_of = {name: index for index, names in enumerate(groups) for name in names}
    times_used = Counter(projection.name for projection in network.projections)
    projections = []
    for p in network.projections:
        name = p.name if times_used[p.name] == 1 else f"{p.name} ({p.source} to {p.target})"
        delay = max(p.delay, 1) if group_of[p.source] == group_of[p.target] else p.delay
        projections.append(replace(p, name=name, delay=delay))
    return replace(
        network,
        populations=tuple(network.population(name) for names in groups for name in names),
        projections=tuple(sorted(projections, key=lambda p: group_of[p.target])),
    )
