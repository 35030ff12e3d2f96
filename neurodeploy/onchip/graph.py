"""Which networks learn beyond chains: layers within a step, with shortcuts, loops and delays.

Errors go back within a step, through projections without a delay. A projection with a delay learns
from the spikes that it brought, and no error goes back through it: its source has to have another
way to the read-out. By rule ``local`` no error goes back, and none of that matters.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neurodeploy.errors import UnsupportedError
from neurodeploy.ir.fixed_point import DECAY_ONE
from neurodeploy.ir.operators import Dense
from neurodeploy.ir.quantized import QuantizedNetwork, QuantizedProjection
from neurodeploy.ir.schedule import step_order
from neurodeploy.neurons.constant import is_constant
from neurodeploy.onchip.chain import check_hidden
from neurodeploy.onchip.learner import RuleName


@dataclass(frozen=True, eq=False)
class LearningGraph:
    """A network's populations in the order of a step, and what learns of its projections.

    Attributes:
        order: populations with neurons.
        constant: those of them that spike at every step, for biases.
        learning: projections whose synapses learn.
        fixed: the others, which bring biases.
    """

    network: QuantizedNetwork
    order: tuple[str, ...]
    constant: frozenset[str]
    learning: tuple[QuantizedProjection, ...]
    fixed: tuple[QuantizedProjection, ...]

    def readers(self, name: str) -> tuple[QuantizedProjection, ...]:
        """The projections that bring a population's errors back, within the step."""
        return tuple(p for p in self.learning if p.source == name and not p.delay)

    def carries_back(self, projection: QuantizedProjection) -> bool:
        """Whether errors go back through a projection."""
        return not projection.delay and projection.source in self.order

    def above(self, name: str) -> tuple[str, ...]:
        """Populations behind one that keep what reaches them, by their place in the network.

        Those of its spikes' way forward, late or not; a read-out that only adds up is none of them.
        """
        place = {p.name: number for number, p in enumerate(self.network.populations)}
        seen: set[str] = set()
        waiting = [name]
        while waiting:
            at = waiting.pop()
            for p in self.learning:
                if p.source == at and place[p.target] > place[at] and p.target not in seen:
                    seen.add(p.target)
                    waiting.append(p.target)
        kept = (found for found in seen if not self.adds_up(found))
        return tuple(sorted(kept, key=place.__getitem__))

    def adds_up(self, name: str) -> bool:
        """Whether a population is the read-out and o[t] is the drive of step t alone."""
        neuron = self.network.population(name).leaky
        return (
            name == self.network.output
            and neuron.threshold is None
            and self.network.contract.decode == "last_v"
            and bool(np.all(neuron.u_decay == DECAY_ONE) and np.all(neuron.v_decay == 0))
        )


def learning_graph(network: QuantizedNetwork, rule: RuleName) -> LearningGraph:
    """A network's graph of learning.

    Args:
        rule: of which ``eprop`` keeps traces, which takes fully connected layers, and ``local``
            sends no errors back.

    Raises:
        UnsupportedError: neurons of another model, or whose thresholds are far apart, hidden ones
            that do not spike or that no error reaches, a read-out that is decoded by what it has
            not, or, where synapses are to keep traces, some that share their weights or neurons
            that rest.
    """
    constant = frozenset(p.name for p in network.populations if is_constant(p))
    inputs = {p.name for p in network.inputs}
    graph = LearningGraph(
        network,
        tuple(name for name in step_order(network) if name not in inputs),
        constant,
        tuple(p for p in network.projections if p.source not in constant),
        tuple(p for p in network.projections if p.source in constant),
    )
    _check_readout(network)
    for name in graph.order:
        population = network.population(name)
        if name in constant:
            continue
        if name != network.output or population.leaky.spiking:
            check_hidden(population)
        if name != network.output and rule != "local":
            _check_reached(graph, name)
        if rule == "eprop" and population.leaky.refractory_period:
            raise UnsupportedError(
                f"population {name!r} rests for {population.leaky.refractory_period} steps after a "
                "spike: rule eprop has no trace for that, on a chip as in training; use rule sltt "
                "or local"
            )
    for p in graph.learning:
        if rule == "eprop" and not isinstance(p.operator, Dense):
            raise UnsupportedError(
                f"projection {p.name!r} is a {p.operator.kind}: rule eprop keeps a trace for each "
                "synapse of a fully connected layer; shared or pooled weights have none; use "
                "rule sltt or local"
            )
    return graph


def _check_readout(network: QuantizedNetwork) -> None:
    output, decode = network.population(network.output), network.contract.decode
    neuron = output.leaky
    if neuron.spiking != (decode == "spike_count"):
        spikes = "spikes" if neuron.spiking else "never spikes"
        raise UnsupportedError(
            f"read-out {output.name!r} is a {neuron.kind} that {spikes}, decoded by {decode}: "
            "learning needs the error of each step's output"
        )
    for p in network.projections:
        if p.source == output.name and not neuron.spiking:
            raise UnsupportedError(
                f"projection {p.name!r} starts at {p.source!r}, which never spikes"
            )


def _check_reached(graph: LearningGraph, name: str) -> None:
    """Refuse hidden neurons that no error of the same step comes back to."""
    seen: set[str] = set()
    waiting = [name]
    while waiting:
        at = waiting.pop()
        seen.add(at)
        waiting += [p.target for p in graph.readers(at) if p.target not in seen]
    if graph.network.output not in seen:
        late = [p.name for p in graph.learning if p.source == name and p.delay]
        how = f"without a delay, only through {', '.join(late)}" if late else "at all"
        raise UnsupportedError(
            f"population {name!r} does not reach the read-out {how}: errors are sent back within "
            "a step, and none reaches it; use rule local, which sends none back"
        )
