"""From a NIR graph to a ``Network``: every node accounted for, every semantic choice explicit.

Neurons become populations. Whatever lies on a path between two of them becomes one projection,
composed into a single operator; biases on the way become the target's bias. A path inside a cycle
carries the spikes of an earlier step.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from itertools import chain, count
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
            self._check_edge(source, target)
            self.before[target].append(source)
        self.visiting: set[str] = set()
        self.shapes: dict[str, Shape] = {}

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
        if len(output) != 1 or type(nodes[output[0]]).__name__ not in NEURONS:
            raise UnsupportedError(
                f"{self.name}: output {outputs[0]!r} reads {', '.join(map(repr, output)) or None}; "
                "it has to read one neuron node (add I or LI as a readout that does not spike)"
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
        reached = self._shape_leaving(name, frozenset())
        if reached is not None:
            return reached
        declared = (self.graph.nodes[name].output_type or {}).get("output")
        if declared is None or not np.asarray(declared).size:
            raise UnsupportedError(f"{self.name}: no input reaches node {name!r}")
        return tuple(int(n) for n in np.asarray(declared).ravel())

    def _shape_leaving(self, name: str, passed: frozenset[str]) -> Shape | None:
        """Shape of what a node sends on; None where that depends on a node in ``passed``."""
        if name in self.shapes or name in passed:
            return self.shapes.get(name)
        node = self.graph.nodes[name]
        if isinstance(node, nir.Input):
            shape = tuple(int(n) for n in np.asarray(node.input_type["input"]).ravel())
        else:
            before = (self._shape_leaving(s, passed | {name}) for s in self.before[name])
            shape = next((found for found in before if found is not None), None)
            if shape is None:
                return None
            if isinstance(node, nir.Flatten):
                shape = _flattened(node, shape)
            elif not self._is_population(name) and not isinstance(node, nir.Delay):
                shape = to_operator(node, shape, self._where(name))[0].output_shape
        self.shapes[name] = shape
        return shape

    def _where(self, name: str) -> str:
        return f"{self.name}: node {name!r} ({type(self.graph.nodes[name]).__name__})"

    def _population(self, name: str, node: Any) -> tuple[Population, list[Projection]]:
        where = self._where(name)
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
            projection = Projection(crossed, path.source, name, operator.scaled(gain), path.delay)
            projections.append(projection)
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
        """What a node sends on: a population's spikes, or a linear node's map of its input."""
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
        where = self._where(name)
        if isinstance(node, nir.Delay):
            delay = self._delay_steps(node, where)
            if delay and arrival.bias is not None and np.any(arrival.bias):
                raise UnsupportedError(
                    f"{where}: delays a bias, which would start late; move the bias behind the "
                    "delay"
                )
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
    return replace(path, operator=combined, shape=operator.output_shape, names=(*path.names, name))


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
