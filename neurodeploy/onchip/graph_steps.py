"""The steps of a network that learns, whatever numbers it is computed in: forward, back, and on.

Populations spike in the order of a step, each from what arrives of this step and of earlier ones;
the read-out's error goes back in the opposite order, or hidden populations make errors of their own
spikes; every projection that learns adds error times what it meets to its gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from neurodeploy.onchip.graph import LearningGraph


class Node(Protocol):
    """A population; arrays are of its size.

    Attributes:
        slope: surrogates of this step.
        kept: what its membranes keep from the step before to this one, through their resets.
        mean: the mean of that.
    """

    slope: np.ndarray
    kept: np.ndarray
    mean: Any

    def reset(self) -> None:
        """Start a sample."""
        ...

    def step(self, arrived: np.ndarray) -> np.ndarray:
        """One step: spikes."""
        ...

    def output(self) -> np.ndarray:
        """o[t], of the read-out."""
        ...

    def errors(self, carried: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Errors of its output and of its membranes, from what came back to its output."""
        ...


class Arc(Protocol):
    """A projection."""

    def reset(self) -> None:
        """Start a sample."""
        ...

    def arrive(self, spikes: np.ndarray) -> np.ndarray:
        """What the spikes of a step, (inputs,), come to at each neuron."""
        ...

    def carry_back(self, errors: np.ndarray) -> np.ndarray:
        """What errors of membranes come to at each input."""
        ...

    def learn(self, node: Node, errors: tuple[np.ndarray, np.ndarray], means: Any) -> None:
        """Bring traces to this step, and add errors times what they meet to the gradient."""
        ...


@dataclass(frozen=True, eq=False)
class GraphSteps:
    """A network that learns step by step.

    Attributes:
        nodes: by population with neurons.
        arcs: by projection, those that do not learn among them.
        error: of an output o[t] and a label.
        signals: of rule ``local``, what hidden populations make of their spikes and a label; by
            the others none do.
    """

    graph: LearningGraph
    nodes: Mapping[str, Node]
    arcs: Mapping[str, Arc]
    error: Callable[[np.ndarray, int], np.ndarray]
    signals: Mapping[str, Callable[[np.ndarray, int], np.ndarray]]

    def sample(
        self, frames: np.ndarray, label: int, steps: int, after_step: Callable[[], None]
    ) -> None:
        """Go through a sample, adding up gradients.

        Args:
            frames: (T, inputs), or (1, inputs) when every step is the same.
            steps: that it lasts, at most T.
            after_step: called when a step has been learnt from.
        """
        graph = self.graph
        (source,) = graph.network.inputs
        for part in (*self.nodes.values(), *self.arcs.values()):
            part.reset()
        sent: dict[str, list[np.ndarray]] = {name: [] for name in (source.name, *graph.order)}
        for t in range(steps):
            sent[source.name].append(frames[t % len(frames)])
            self._forward(t, sent)
            errors = self._back(label, sent)
            means = {name: self.nodes[name].mean for name in errors}
            for p in graph.learning:
                self.arcs[p.name].learn(self.nodes[p.target], errors[p.target], means)
            after_step()

    def _forward(self, t: int, sent: dict[str, list[np.ndarray]]) -> None:
        graph = self.graph
        for name in graph.order:
            arrived: Any = 0
            for p in (*graph.learning, *graph.fixed):
                if p.target == name:
                    before = sent[p.source]
                    then = t - p.delay
                    silent = np.zeros_like(before[0]) if before else self._nothing(p.source)
                    spikes = before[then] if then >= 0 else silent
                    arrived = arrived + self.arcs[p.name].arrive(spikes)
            sent[name].append(self.nodes[name].step(arrived))

    def _nothing(self, name: str) -> np.ndarray:
        return np.zeros_like(self.nodes[name].slope)

    def _back(
        self, label: int, sent: Mapping[str, list[np.ndarray]]
    ) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Errors of each population's output and membranes at this step."""
        graph = self.graph
        errors: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        for name in reversed(graph.order):
            node = self.nodes[name]
            if name in graph.constant:
                continue
            if name == graph.network.output:
                carried = self.error(node.output(), label)
            elif name in self.signals:
                carried = self.signals[name](sent[name][-1], label)
            else:
                carried = sum(
                    self.arcs[p.name].carry_back(errors[p.target][1]) for p in graph.readers(name)
                )
            errors[name] = node.errors(np.asarray(carried))
        return errors
