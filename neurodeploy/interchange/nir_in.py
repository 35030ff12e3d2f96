"""From a NIR graph to a ``Network``: every node accounted for, every semantic choice explicit.

Neurons become populations. Whatever lies on a path between two of them becomes one projection,
composed into a single operator; biases on the way become the target's bias. A path inside a cycle
carries the spikes of an earlier step. Everything that cannot be expressed is named, all at once.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from graphlib import CycleError, TopologicalSorter
from itertools import chain, count
from typing import Any

import nir
import numpy as np

from neurodeploy.composition import reading
from neurodeploy.contract import METADATA_KEY, Contract
from neurodeploy.errors import InputError, UnsupportedError
from neurodeploy.interchange.linear_nodes import (
    LINEAR_NODES,
    checked_shape,
    flattened,
    to_operator,
)
from neurodeploy.interchange.paths import Arrival, Path, delayed, flat, joined, mapped, merged
from neurodeploy.interchange.subgraphs import unnested
from neurodeploy.network import Network, Neuron, Population, Projection
from neurodeploy.neurons import NEURONS
from neurodeploy.neurons.leak import exactly_one
from neurodeploy.neurons.threshold import WITHOUT_RESET, without_reset
from neurodeploy.operators import Operator, Shape, diagonal, identity
from neurodeploy.timing import components

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


def output_spikes(graph: nir.NIRGraph) -> bool:
    """Whether the nodes that feed the output have a threshold."""
    outputs = {name for name, node in graph.nodes.items() if isinstance(node, nir.Output)}
    feeding = [graph.nodes.get(source) for source, target in graph.edges if target in outputs]
    return all(hasattr(node, "v_threshold") or hasattr(node, "threshold") for node in feeding)


def to_network(graph: nir.NIRGraph, contract: Contract, name: str) -> Network:
    """Discretise a graph under a contract; subgraphs are written out first.

    Raises:
        UnsupportedError: nodes or connections that cannot be expressed, each named with the reason
            and what would help.
    """
    return _Importer(unnested(graph, name), contract, name).network()


def shapes_of(graph: nir.NIRGraph, name: str) -> dict[str, Shape]:
    """Shape of what each node sends on, for the nodes that the input reaches; none is refused."""
    importer = _Importer(graph, None, name)
    importer.find_shapes()
    return importer.shapes


class _Importer:
    """One import; ``problems`` grows until there is nothing more to find."""

    def __init__(self, graph: nir.NIRGraph, contract: Contract | None, name: str) -> None:
        self.graph = graph
        self.contract = contract
        self.name = name
        self.problems: list[str] = []
        self.broken: set[str] = set()
        """Nodes that cannot be computed, themselves or for what leads to them."""
        self.before: dict[str, list[str]] = {node: [] for node in graph.nodes}
        self.after: dict[str, list[str]] = {node: [] for node in graph.nodes}
        self.shapes: dict[str, Shape] = {}
        self.operators: dict[str, tuple[Operator, np.ndarray | None]] = {}
        self.sent: dict[str, Arrival] = {}

    def network(self) -> Network:
        self.find_shapes()
        self._check_potentials()
        output = self._output()
        self._send()
        populations, projections = [], []
        for name in self.graph.nodes:
            if not self._is_population(name) or name in self.broken:
                continue
            with self._collecting(name):
                population, incoming = self._population(name)
                populations.append(population)
                projections.extend(incoming)
        self._check_used()
        if self.problems:
            raise UnsupportedError("\n".join(dict.fromkeys(self.problems)))
        assert self.contract is not None and output is not None
        parts = tuple(populations), tuple(projections)
        return _in_order(Network(self.name, *parts, output, self.contract))

    @contextmanager
    def _collecting(self, name: str) -> Iterator[None]:
        """What is refused inside is noted, and the node left out."""
        try:
            yield
        except _BrokenBefore:
            self.broken.add(name)
        except UnsupportedError as error:
            self.problems.append(str(error))
            self.broken.add(name)
        except ValueError as error:
            self.problems.append(f"{self._where(name)}: {error}")
            self.broken.add(name)

    # --- the graph ---

    def find_shapes(self) -> None:
        """Check nodes and edges, and find the shape of what each node sends on."""
        for name, node in self.graph.nodes.items():
            self._check_known(name, node)
        for source, target in self.graph.edges:
            self._add_edge(source, target)
        self._check_ends()
        for name, node in self.graph.nodes.items():
            if isinstance(node, nir.Input):
                with self._collecting(name):
                    declared = np.ravel(node.input_type["input"])
                    shape = tuple(int(n) for n in declared)
                    self.shapes[name] = checked_shape(shape, self._where(name))
        self._spread(list(self.shapes))
        for name, node in self.graph.nodes.items():
            # Neurons that only feed each other have the shape of their parameters.
            if type(node).__name__ in NEURONS and name not in self.shapes and not self.problems:
                declared = np.ravel((node.input_type or {}).get("input", ()))
                if self.before[name] and declared.size:
                    self.shapes[name] = tuple(int(n) for n in declared)
                    self._spread([name])

    def _spread(self, names: list[str]) -> None:
        """Find the shapes behind these nodes, as far as none is known."""
        reached = deque(names)
        while reached:
            source = reached.popleft()
            for name in self.after[source]:
                if name in self.shapes or name in self.broken:
                    continue
                with self._collecting(name):
                    self.shapes[name] = self._shape_behind(name, self.shapes[source])
                    reached.append(name)

    def _check_known(self, name: str, node: Any) -> None:
        known = (*LINEAR_NODES, nir.Input, nir.Output)
        if isinstance(node, known) or type(node).__name__ in NEURONS:
            return
        found = "nothing" if node is None else f"a {type(node).__name__}"
        self.problems.append(
            f"{self.name}: node {name!r} is {found}, which is none of NIR's primitives; the tool "
            "that wrote it could not translate a layer"
        )
        self.broken.add(name)

    def _add_edge(self, source: str, target: str) -> None:
        nodes = self.graph.nodes
        edge = f"{self.name}: edge {source!r} to {target!r}"
        unknown = [name for name in (source, target) if name not in nodes]
        if unknown:
            self.problems.append(f"{edge} names {unknown[0]!r}, which is no node")
            self.broken.update(name for name in (source, target) if name in nodes)
        elif isinstance(nodes[target], nir.Input) or isinstance(nodes[source], nir.Output):
            self.problems.append(
                f"{edge} leads into the input or out of the output, which has no meaning here"
            )
        else:
            self.before[target].append(source)
            self.after[source].append(target)

    def _check_ends(self) -> None:
        inputs, outputs = (
            [name for name, node in self.graph.nodes.items() if isinstance(node, kind)]
            for kind in (nir.Input, nir.Output)
        )
        if len(inputs) != 1 or len(outputs) != 1:
            self.problems.append(
                f"{self.name}: {len(inputs)} inputs and {len(outputs)} outputs; one of each is "
                "supported, so join the inputs into one, and read one layer"
            )

    def _shape_behind(self, name: str, shape: Shape) -> Shape:
        """Shape of what a node makes of an array of ``shape``."""
        node = self.graph.nodes[name]
        if isinstance(node, nir.Flatten):
            return flattened(node, shape, self._where(name))
        if type(node).__name__ in NEURONS or isinstance(node, nir.Delay | nir.Output):
            return shape
        self.operators[name] = to_operator(node, shape, self._where(name))
        return self.operators[name][0].output_shape

    def _is_population(self, name: str) -> bool:
        node = self.graph.nodes[name]
        if self._sends_potential(name):
            return self._is_read(name) or not self._thresholds_behind(name)
        return isinstance(node, nir.Input) or type(node).__name__ in NEURONS

    def _where(self, name: str) -> str:
        return f"{self.name}: node {name!r} ({type(self.graph.nodes[name]).__name__})"

    # --- potentials: what LI and I send on ---

    def _sends_potential(self, name: str) -> bool:
        return type(self.graph.nodes[name]).__name__ in WITHOUT_RESET

    def _thresholds_behind(self, name: str) -> list[str]:
        nodes = self.graph.nodes
        return [after for after in self.after[name] if isinstance(nodes[after], nir.Threshold)]

    def _is_read(self, name: str) -> bool:
        return any(self._reads_output(after) for after in self.after[name])

    def _reads_output(self, name: str) -> bool:
        """Whether a node is the output, or leads to nothing else by flattening."""
        node = self.graph.nodes[name]
        if isinstance(node, nir.Flatten):
            return any(map(self._reads_output, self.after[name]))
        return isinstance(node, nir.Output)

    def _check_potentials(self) -> None:
        """A potential can be read out, or go through a threshold at once; nothing else takes it."""
        for name in self.graph.nodes:
            if name in self.broken or not self._sends_potential(name):
                continue
            behind = self._thresholds_behind(name)
            others = [a for a in self.after[name] if a not in behind and not self._reads_output(a)]
            if others:
                self.problems.append(
                    f"{self._where(name)}: sends its potential to {', '.join(map(repr, others))}, "
                    "but neurons of the chip send spikes; put a Threshold behind it, or read it out"
                )
            for threshold in behind:
                if self.before[threshold] != [name]:
                    self.problems.append(
                        f"{self._where(threshold)}: adds other input to the potential of {name!r}; "
                        "lead all of it through that node"
                    )
                    self.broken.add(threshold)

    def _output(self) -> str | None:
        """The population that is read out; flattening on the way does not matter."""
        nodes = self.graph.nodes
        outputs = [name for name, node in nodes.items() if isinstance(node, nir.Output)]
        if len(outputs) != 1:
            return None
        read = self.before[outputs[0]]
        while len(read) == 1 and isinstance(nodes[read[0]], nir.Flatten):
            read = self.before[read[0]]
        if len(read) == 1 and type(nodes[read[0]]).__name__ in NEURONS:
            return read[0]
        if not any(name in self.broken for name in read):
            self.problems.append(
                f"{self.name}: output {outputs[0]!r} reads {', '.join(map(repr, read)) or None}; "
                "it has to read one neuron node (add I or LI as a readout that does not spike)"
            )
        return None

    # --- what each node sends on ---

    def _send(self) -> None:
        """Fill ``sent``, each linear node once, after those before it."""
        for name in self.graph.nodes:
            if self._is_population(name) and name in self.shapes and name not in self.broken:
                shape = self.shapes[name]
                self.sent[name] = Arrival(shape, [Path(name, None, shape)])
        for name in self._linear_order():
            if name not in self.broken:
                with self._collecting(name):
                    self._send_through(name)

    def _linear_order(self) -> list[str]:
        nodes = self.graph.nodes
        linear = [name for name in nodes if isinstance(nodes[name], LINEAR_NODES)]
        sorter: TopologicalSorter[str] = TopologicalSorter()
        for name in linear:
            sorter.add(name, *(b for b in self.before[name] if isinstance(nodes[b], LINEAR_NODES)))
        try:
            return list(sorter.static_order())
        except CycleError as error:
            cycle = error.args[1]
            self.problems.append(
                f"{self.name}: node {cycle[0]!r} feeds back on itself without a neuron in between"
            )
            self.broken.update(linear)
            return []

    def _send_through(self, name: str) -> None:
        node, where = self.graph.nodes[name], self._where(name)
        arrival = merged(self._arrival(name))
        if isinstance(node, nir.Delay):
            self.sent[name] = self._delayed(node, arrival, where)
        elif isinstance(node, nir.Flatten):
            self.sent[name] = flat(arrival, flattened(node, arrival.shape, where))
        else:
            operator, bias = self.operators[name]
            self.sent[name] = mapped(arrival, operator, bias, name)

    def _arrival(self, at: str) -> Arrival:
        """Sum of everything that reaches a node."""
        if not self.before[at]:
            raise UnsupportedError(f"{self.name}: node {at!r} has no input")
        if any(source in self.broken for source in self.before[at]):
            raise _BrokenBefore
        for source in self.before[at]:
            if source not in self.sent:
                raise UnsupportedError(f"{self.name}: no input reaches node {source!r}")
        parts = [self.sent[source] for source in self.before[at]]
        shapes = {part.shape for part in parts}
        if len(shapes) > 1:
            raise UnsupportedError(
                f"{self.name}: node {at!r} adds arrays of different shapes: "
                f"{', '.join(map(str, sorted(shapes)))}"
            )
        return joined(parts)

    def _delayed(self, node: Any, arrival: Arrival, where: str) -> Arrival:
        """The arrival some steps later; where the delay differs, as a path for each delay."""
        steps = self._delay_steps(node, arrival.shape, where)
        different = np.unique(steps)
        if arrival.bias is not None and np.any(arrival.bias) and different.any():
            raise UnsupportedError(
                f"{where}: delays a bias, which would start late; move the bias behind the delay"
            )
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

    def _delay_steps(self, node: Any, shape: Shape, where: str) -> np.ndarray:
        assert self.contract is not None
        dt = self.contract.semantics.dt
        seconds = _fit(node.delay, shape, where)
        steps = np.rint(seconds / dt)
        wrong = (steps < 0) | (np.abs(seconds / dt - steps) > 1e-6) | (steps > 2**31)
        if wrong.any():
            raise UnsupportedError(
                f"{where}: a delay of {seconds[wrong].flat[0]:g} s is not a whole number of steps "
                f"of dt = {dt:g} s; round the delays, or choose a dt that divides them"
            )
        return steps.astype(np.int64)

    # --- populations ---

    def _population(self, name: str) -> tuple[Population, list[Projection]]:
        node: Any = self.graph.nodes[name]
        where = self._where(name)
        if isinstance(node, nir.Input):
            return Population(name, self.shapes[name], None), []
        assert self.contract is not None
        potential = self._potential_before(name)
        arrival = self._arrival(potential or name)
        dynamics = self.graph.nodes[potential] if potential else node
        discretize = NEURONS[type(dynamics).__name__]
        neuron, gain = discretize(dynamics, self.contract.semantics, where)
        if potential:
            neuron = replace(neuron, v_threshold=np.asarray(node.threshold, np.float64))
        neuron, gain = _fitted(neuron, gain, arrival.shape, where)
        neuron = _with_bias(neuron, gain, arrival.bias, where)
        projections = list(self._incoming(name, arrival, gain))
        if potential:
            neuron, kept = without_reset(neuron)
            projections += [
                Projection(f"{name}_kept_{delay}", name, name, diagonal(weights), delay)
                for delay, weights in kept
            ]
        return Population(name, arrival.shape, neuron), projections

    def _potential_before(self, name: str) -> str | None:
        """The node whose potential a Threshold compares; None for anything else."""
        before = self.before[name]
        if isinstance(self.graph.nodes[name], nir.Threshold) and len(before) == 1:
            return before[0] if self._sends_potential(before[0]) else None
        return None

    def _incoming(self, name: str, arrival: Arrival, gain: np.ndarray) -> Iterable[Projection]:
        for path in arrival.paths:
            operator = reading(path.operator or identity(path.shape), self.shapes[path.source])
            crossed = "+".join(path.names) or f"{path.source}_to_{name}"
            yield Projection(crossed, path.source, name, operator.scaled(gain), path.delay)

    def _check_used(self) -> None:
        """A linear node that leads nowhere was meant to lead somewhere."""
        for name, node in self.graph.nodes.items():
            if isinstance(node, LINEAR_NODES) and not self.after[name] and name not in self.broken:
                self.problems.append(
                    f"{self._where(name)}: leads nowhere; connect it or leave it out"
                )


class _BrokenBefore(UnsupportedError):
    """A node cannot be computed because of one before it, which is named already."""


def _with_bias(neuron: Neuron, gain: np.ndarray, bias: np.ndarray | None, where: str) -> Neuron:
    if bias is None or not np.any(bias):
        return neuron
    if np.any(neuron.u_keep):
        raise UnsupportedError(
            f"{where}: a bias enters its synaptic current, but Loihi adds biases to the membrane; "
            "move the bias into v_leak or feed it as a constant input"
        )
    return replace(neuron, bias=neuron.bias + gain * bias)


def _fit(values: Any, shape: Shape, where: str) -> np.ndarray:
    """Broadcast a parameter to the shape of its neurons, in float64."""
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


def _fitted(
    neuron: Neuron, gain: np.ndarray, shape: Shape, where: str
) -> tuple[Neuron, np.ndarray]:
    """Broadcast per-neuron parameters to the population's shape."""
    threshold = neuron.v_threshold
    if threshold is not None:
        threshold = _fit(threshold, shape, where)
        if (threshold < 0).any():
            raise UnsupportedError(
                f"{where}: a threshold lies {-threshold.min():g} below where v starts and returns "
                "to; thresholds of the chip are at least 0"
            )
    fitted = replace(
        neuron,
        u_keep=_fit(neuron.u_keep, shape, where),
        v_keep=_fit(neuron.v_keep, shape, where),
        bias=_fit(neuron.bias, shape, where),
        v_threshold=threshold,
    )
    return fitted, exactly_one(_fit(gain, shape, where))


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
