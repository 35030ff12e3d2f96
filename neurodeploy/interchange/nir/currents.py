"""Integrators that lead to neurons, as those neurons' synaptic currents.

An LI whose potential goes on, as it is or through weights, to a neuron without a current is that
neuron's current: weights and a decay that is the same for all commute, and one that differs
commutes with what joins neurons one to one. So LI before LIF is exactly a CubaLIF.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import nir
import numpy as np

from neurodeploy.errors import UnsupportedError
from neurodeploy.interchange.nir.layout import Layout
from neurodeploy.interchange.nir.linear import LINEAR_NODES
from neurodeploy.ir.contract import Semantics
from neurodeploy.neurons.leak import keep_and_feed, time_constant

ONE_TO_ONE = (nir.Scale, nir.Flatten, nir.Delay)
TAKES_A_CURRENT = (nir.LIF, nir.LI, nir.IF, nir.I, nir.Threshold)


def with_currents(
    graph: nir.NIRGraph,
    semantics: Semantics,
    where: str,
    notes: list[str],
    *,
    takes_bias: bool = True,
) -> nir.NIRGraph:
    """The graph with every such pair as one neuron.

    What is no such pair stays as it is, and the import names it.

    Args:
        notes: gets what was done, a line each.
        takes_bias: whether a bias between the two may go into v_leak.

    Raises:
        UnsupportedError: a pair that no single neuron is, with the reason.
    """
    if not any(isinstance(node, nir.LI) for node in graph.nodes.values()):
        return graph
    layout = Layout(graph, where)
    filters = [at for at in graph.nodes if layout.filters(at)]
    if not filters or layout.problems:
        return graph
    return _Joined(layout, filters, semantics, takes_bias).graph(graph, notes)


class _Joined:
    """One graph whose integrators become currents."""

    def __init__(
        self, layout: Layout, filters: list[str], semantics: Semantics, takes_bias: bool
    ) -> None:
        self.layout = layout
        self.semantics = semantics
        self.takes_bias = takes_bias
        self.nodes: dict[str, Any] = dict(layout.nodes)
        self.filters = filters
        self.biases: dict[str, np.ndarray | None] = {}
        """What the linear nodes behind the integrators send on by themselves."""

    def graph(self, graph: nir.NIRGraph, notes: list[str]) -> nir.NIRGraph:
        layout = self.layout
        behind = [at for at in layout.linear_order() if self._sources(at) & set(self.filters)]
        for at in behind:
            self._carry_bias(at)
        targets = [
            at
            for at in graph.nodes
            if at not in behind and self._sources(at) & set(self.filters) and self._receives(at)
        ]
        for at in targets:
            self.nodes[at] = self._with_current(at)
            found = ", ".join(map(repr, sorted(self._sources(at))))
            notes.append(f"node {at!r}: {found} before it is its synaptic current")
        for at in behind:
            bias = getattr(self.nodes[at], "bias", None)
            if bias is not None:
                self.nodes[at] = replace(self.nodes[at], bias=np.zeros(np.shape(bias)))
        edges = list(graph.edges)
        for at in self.filters:
            on = layout.filters(at)
            edges += [(before, after) for before in layout.before[at] for after in on]
            edges = [edge for edge in edges if edge[0] != at or edge[1] not in on]
            if not any(source == at for source, _ in edges):
                edges = [edge for edge in edges if edge[1] != at]
                del self.nodes[at]
        return nir.NIRGraph(self.nodes, edges, graph.metadata, type_check=False)

    def _receives(self, at: str) -> bool:
        """Whether potentials reach a node otherwise than as those of a Threshold or a readout."""
        behind = (before for before in self.layout.before[at])
        return any(
            before not in self.filters or at in self.layout.filters(before) for before in behind
        )

    def _sources(self, at: str) -> set[str]:
        """The neurons and inputs before a node, with linear nodes at most in between."""
        found, reached, seen = set(), [at], set()
        while reached:
            for before in self.layout.before[reached.pop()]:
                if before in seen:
                    continue
                seen.add(before)
                if isinstance(self.layout.nodes[before], LINEAR_NODES):
                    reached.append(before)
                else:
                    found.add(before)
        return found

    def _carry_bias(self, at: str) -> None:
        arriving = self._arriving_bias(at)
        node = self.layout.nodes[at]
        if isinstance(node, nir.Flatten):
            shape = self.layout.shapes[at]
            self.biases[at] = None if arriving is None else arriving.reshape(shape)
        elif isinstance(node, nir.Delay):
            if arriving is not None:
                raise UnsupportedError(
                    f"{self.layout.where(at)}: delays a bias between an integrator and the neurons "
                    "behind it; move the bias behind the delay"
                )
            self.biases[at] = None
        else:
            operator, own = self.layout.operators[at]
            through = None if arriving is None else operator(arriving[None])[0]
            parts = [part for part in (through, own) if part is not None]
            self.biases[at] = sum(parts[1:], parts[0]) if parts else None

    def _arriving_bias(self, at: str) -> np.ndarray | None:
        found = [self.biases.get(before) for before in self.layout.before[at]]
        parts = [part for part in found if part is not None]
        return sum(parts[1:], parts[0]) if parts else None

    def _with_current(self, at: str) -> Any:
        """The node with a synaptic current in place of the integrators before it."""
        node, where = self.layout.nodes[at], self.layout.where(at)
        if not isinstance(node, TAKES_A_CURRENT) or at in self.filters:
            raise UnsupportedError(
                f"{where}: an integrator leads to it, but it is or has a current already, and no "
                "neuron of the chip has two"
            )
        sources = self._sources(at)
        if not sources <= set(self.filters):
            others = ", ".join(map(repr, sorted(sources - set(self.filters))))
            raise UnsupportedError(
                f"{where}: reads the potential of an integrator and the spikes of {others}, which "
                "would decay too; lead all through the integrator, or none"
            )
        tau_syn, w_in = self._current_of(at, sources, where)
        shape = self.layout.shapes[at]
        tau_mem, r, v_leak = self._membrane(node, where)
        bias = self._arriving_bias(at)
        if bias is not None and np.any(bias):
            if not self.takes_bias:
                raise UnsupportedError(
                    f"{where}: a bias stands between an integrator and neurons that start at "
                    "v_leak; move it before the integrator or into v_leak"
                )
            v_leak = v_leak + r * bias.reshape(shape)
        values: dict[str, Any] = {"tau_syn": tau_syn, "tau_mem": tau_mem, "r": r, "v_leak": v_leak}
        values["w_in"] = w_in
        kind: Any = nir.CubaLI
        threshold = getattr(node, "v_threshold", getattr(node, "threshold", None))
        if threshold is not None:
            kind = nir.CubaLIF
            v_reset = getattr(node, "v_reset", None)
            values |= {"v_threshold": threshold, "v_reset": 0.0 if v_reset is None else v_reset}
        return kind(**{key: self._full(value, shape) for key, value in values.items()})

    def _full(self, value: Any, shape: tuple[int, ...]) -> np.ndarray:
        found = np.asarray(value, np.float64)
        fits = found.size == np.prod(shape)
        return (found.reshape(shape) if fits else np.broadcast_to(found, shape)).copy()

    def _membrane(self, node: Any, where: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """tau, r and v_leak of a membrane with the step of this node's."""
        if isinstance(node, nir.LIF | nir.LI):
            return (
                np.asarray(node.tau, np.float64),
                np.asarray(node.r, np.float64),
                np.asarray(node.v_leak, np.float64),
            )
        counts = isinstance(node, nir.IF | nir.I)
        gain = np.asarray(node.r, np.float64) * self.semantics.dt if counts else np.ones(1)
        tau = time_constant(np.full(1, 1.0 if counts else 0.0), self.semantics)
        _, feed = keep_and_feed(tau, self.semantics, where)
        return tau, gain / feed, np.zeros(1)

    def _current_of(self, at: str, sources: set[str], where: str) -> tuple[Any, Any]:
        """tau_syn and w_in of the integrators before a node; other factors go into Scale nodes."""
        found = [self.layout.nodes[source] for source in sorted(sources)]
        for source, node in zip(sorted(sources), found, strict=True):
            if np.any(np.asarray(node.v_leak, np.float64)):
                raise UnsupportedError(
                    f"{self.layout.where(source)}: leads to {at!r} as its current, which has no "
                    "v_leak; add a bias to what reaches it instead"
                )
        taus, factors = (
            [np.asarray(value, np.float64) for value in values]
            for values in ([node.tau for node in found], [node.r for node in found])
        )
        one = [
            np.unique(np.concatenate([np.ravel(v) for v in values])) for values in (taus, factors)
        ]
        if all(values.size == 1 for values in one):
            return one[0], one[1]
        if len(found) == 1 and self._one_to_one(at):
            return taus[0], factors[0]
        what = "time constants" if one[0].size > 1 else "values of r"
        raise UnsupportedError(
            f"{where}: the {what} of {', '.join(map(repr, sorted(sources)))} before it differ, and "
            "weights stand between; give all one, or put the weights before the integrator"
        )

    def _one_to_one(self, at: str) -> bool:
        """Whether nothing stands between an integrator and a node that joins different neurons."""
        reached = [at]
        while reached:
            for before in self.layout.before[reached.pop()]:
                if before in self.filters:
                    continue
                if not isinstance(self.layout.nodes[before], ONE_TO_ONE):
                    return False
                reached.append(before)
        return True
