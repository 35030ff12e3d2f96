"""The layout of a NIR graph: what leads where, in which shapes, and what is wrong with that."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from graphlib import CycleError, TopologicalSorter
from typing import Any

import nir
import numpy as np

from neurodeploy.errors import Setting, Text, UnsupportedError
from neurodeploy.interchange.nir.linear import (
    LINEAR_NODES,
    checked_shape,
    flattened,
    to_operator,
)
from neurodeploy.ir.operators import Operator, Shape
from neurodeploy.neurons import NEURONS
from neurodeploy.neurons.kinds import WITHOUT_RESET
from neurodeploy.neurons.relay import RELAYS_KEY


class BrokenBefore(UnsupportedError):
    """A node cannot be computed because of one before it, which is named already."""


class Layout:
    """A graph without subgraphs, looked at node by node.

    Attributes:
        relays: the nodes that the graph's metadata say are relays.
        problems: what was found wrong, a line each; it grows with every check.
        broken: nodes that cannot be computed, themselves or for what leads to them.
        before, after: the other ends of the edges into and out of each node.
        shapes: of what each node sends on, for the nodes that the input reaches.
        operators: of the linear nodes among them, with their biases.
    """

    def __init__(self, graph: nir.NIRGraph, name: str) -> None:
        self.nodes: dict[str, Any] = graph.nodes
        self.name = name
        self.problems: list[str] = []
        self.relays = self._said_relays(graph.metadata.get(RELAYS_KEY, {}))
        self.broken: set[str] = set()
        self.before: dict[str, list[str]] = {node: [] for node in graph.nodes}
        self.after: dict[str, list[str]] = {node: [] for node in graph.nodes}
        self.shapes: dict[str, Shape] = {}
        self.operators: dict[str, tuple[Operator, np.ndarray | None]] = {}
        for name, node in graph.nodes.items():
            self._check_known(name, node)
        for source, target in graph.edges:
            self._add_edge(source, target)
        self._check_ends()
        self._find_shapes()

    def _said_relays(self, said: Any) -> frozenset[str]:
        """Names of relays; one that is no Scale of ones is a problem."""
        names = frozenset(said) if isinstance(said, dict) else frozenset[str]()
        for name in sorted(names):
            node = self.nodes.get(name)
            if not isinstance(node, nir.Scale) or np.any(np.asarray(node.scale) != 1):
                self.problems.append(
                    f"{self.name}: the metadata say that node {name!r} is relays, which are a "
                    "Scale of ones, but it is none"
                )
        return names

    @contextmanager
    def collecting(self, name: str, spreads: bool = True) -> Iterator[None]:
        """What is refused inside is noted, and if it ``spreads``, the node counts as broken."""
        try:
            yield
            return
        except BrokenBefore:
            pass
        except UnsupportedError as error:
            self.problems.append(error.text)
        except ValueError as error:
            self.problems.append(f"{self.where(name)}: {error}")
        if spreads:
            self.broken.add(name)

    def _find_shapes(self) -> None:
        for name, node in self.nodes.items():
            if isinstance(node, nir.Input):
                with self.collecting(name):
                    declared = np.ravel(node.input_type["input"])
                    shape = tuple(int(n) for n in declared)
                    self.shapes[name] = checked_shape(shape, self.where(name))
        self._spread(list(self.shapes))
        for name, node in self.nodes.items():
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
                with self.collecting(name):
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
        nodes = self.nodes
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
            [name for name, node in self.nodes.items() if isinstance(node, kind)]
            for kind in (nir.Input, nir.Output)
        )
        if len(inputs) != 1 or len(outputs) != 1:
            self.problems.append(
                f"{self.name}: {len(inputs)} inputs and {len(outputs)} outputs; one of each is "
                "supported, so join the inputs into one, and read one layer"
            )

    def _shape_behind(self, name: str, shape: Shape) -> Shape:
        """Shape of what a node makes of an array of ``shape``."""
        node = self.nodes[name]
        if isinstance(node, nir.Flatten):
            return flattened(node, shape, self.where(name))
        if type(node).__name__ in NEURONS or isinstance(node, nir.Delay | nir.Output):
            return shape
        self.operators[name] = to_operator(node, shape, self.where(name))
        return self.operators[name][0].output_shape

    def is_population(self, name: str) -> bool:
        node = self.nodes[name]
        if self.sends_potential(name):
            return self._is_read(name) or not self._thresholds_behind(name)
        return isinstance(node, nir.Input) or type(node).__name__ in NEURONS

    def where(self, name: str) -> str:
        return f"{self.name}: node {name!r} ({type(self.nodes[name]).__name__})"

    # --- potentials: what LI and I send on ---

    def sends_potential(self, name: str) -> bool:
        return type(self.nodes[name]).__name__ in WITHOUT_RESET

    def filters(self, name: str) -> list[str]:
        """The nodes that an LI leads its potential to as to their synaptic current."""
        if not isinstance(self.nodes[name], nir.LI) or name in self.broken:
            return []
        behind = self._thresholds_behind(name)
        return [a for a in self.after[name] if a not in behind and not self.reads_out(a)]

    def _thresholds_behind(self, name: str) -> list[str]:
        nodes = self.nodes
        return [after for after in self.after[name] if isinstance(nodes[after], nir.Threshold)]

    def _is_read(self, name: str) -> bool:
        return any(map(self.reads_out, self.after[name]))

    def reads_out(self, name: str) -> bool:
        """Whether a node is the output, or leads to it alone and only by flattening."""
        seen: set[str] = set()
        waiting = [name]
        while waiting:
            at = waiting.pop()
            flattens = isinstance(self.nodes[at], nir.Flatten) and self.after[at]
            if at in seen or not (flattens or isinstance(self.nodes[at], nir.Output)):
                return False
            seen.add(at)
            waiting += self.after[at]
        return True

    def check_potentials(self) -> None:
        """A potential can be read out, or go through a threshold at once; nothing else takes it."""
        for name in self.nodes:
            if name in self.broken or not self.sends_potential(name):
                continue
            behind = self._thresholds_behind(name)
            others = [a for a in self.after[name] if a not in behind and not self.reads_out(a)]
            if others:
                self.problems.append(
                    f"{self.where(name)}: sends its potential to {', '.join(map(repr, others))}, "
                    "but neurons of the chip send spikes; put a Threshold behind it, read it out, "
                    "or lead an LI to neurons without a current"
                )
            for threshold in behind:
                if self.before[threshold] != [name]:
                    self.problems.append(
                        f"{self.where(threshold)}: adds other input to the potential of {name!r}; "
                        "lead all of it through that node"
                    )
                    self.broken.add(threshold)

    def output(self) -> str | None:
        """The population that is read out; flattening on the way does not matter."""
        nodes = self.nodes
        outputs = [name for name, node in nodes.items() if isinstance(node, nir.Output)]
        if len(outputs) != 1:
            return None
        read = self.before[outputs[0]]
        for _ in nodes:  # as many, so that a circle of Flatten nodes ends
            if len(read) == 1 and isinstance(nodes[read[0]], nir.Flatten):
                read = self.before[read[0]]
        if len(read) == 1 and type(nodes[read[0]]).__name__ in NEURONS:
            return read[0]
        if not any(name in self.broken for name in read):
            self.problems.append(
                Text(
                    f"{self.name}: output {outputs[0]!r} reads "
                    f"{', '.join(map(repr, read)) or None}; it has to read one neuron node (add I "
                    "or LI as a read-out that does not spike, or state ",
                    Setting("decode", "last_v"),
                    " for an integrator behind the last weights)",
                )
            )
        return None

    def readers(self, name: str) -> list[str]:
        """The neurons that what a linear node gives reaches through linear nodes alone."""
        waiting, seen = [name], {name}
        while waiting:
            new = {n for n in self.after[waiting.pop()] if n not in seen}
            seen |= new
            waiting += (n for n in new if isinstance(self.nodes[n], LINEAR_NODES))
        return [n for n in self.nodes if n in seen and type(self.nodes[n]).__name__ in NEURONS]

    def linear_order(self) -> list[str]:
        nodes = self.nodes
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

    def check_used(self) -> None:
        """A linear node that leads nowhere was meant to lead somewhere."""
        for name, node in self.nodes.items():
            if isinstance(node, LINEAR_NODES) and not self.after[name] and name not in self.broken:
                self.problems.append(
                    f"{self.where(name)}: leads nowhere; connect it or leave it out"
                )
