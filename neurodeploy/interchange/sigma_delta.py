"""A trained network of ReLUs as a sigma-delta network, its thresholds traded against accuracy.

Every ReLU becomes a population of sigma-delta neurons, the output one without rectification, and
the input gets a population of Delta, which sends its changes. With thresholds of 0 the result
computes at every step what the network of ReLUs does with the input of that step.

A threshold is ``factor`` times what its population reaches on samples, one factor for all. The
largest factor is taken up to which the outputs stay within a deviation: the root mean square of
their difference from the exact ones, in units of how far these spread around their mean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile

import numpy as np

from neurodeploy.errors import InputError
from neurodeploy.ir.network import Network, Population, Projection
from neurodeploy.ir.operators import identity
from neurodeploy.ir.quantized import QuantizedNetwork
from neurodeploy.mapping.fan_out import synapses_behind
from neurodeploy.neurons.sigma_delta import Delta, SigmaDelta
from neurodeploy.simulation.engines import FloatEngine
from neurodeploy.simulation.trace import Samples

FACTORS = (0.0, *(2.0 ** (-n / 2) for n in range(18, 1, -1)))
"""Tried from 0 up: half powers of two from 1/512 to a half."""

PERCENTILE = 99.9
"""Of the magnitudes above 0 of a population on samples: what it reaches, but for outliers."""

DEVIATION = 0.02
"""Of the outputs, which thresholds may cost when nobody says more."""

BATCH = 16
SOME = 2**16
"""Samples at a time, and values of each population that a percentile is taken of in these."""


@dataclass(frozen=True)
class Trade:
    """What one factor costs and saves on samples.

    Attributes:
        factor: of all thresholds.
        deviation: of the outputs.
        agreement: share of steps whose largest output is that of the exact network.
        messages: share of neurons, input's among them, that send something in a step.
        operations: share of synaptic operations that a network computed in full at every step has.
    """

    factor: float
    deviation: float
    agreement: float
    messages: float
    operations: float

    def line(self) -> str:
        """For people to read."""
        return (
            f"factor {self.factor:8.5f}: outputs off by {self.deviation:.4f}, "
            f"{self.agreement:.2%} of steps with the same largest output, messages "
            f"{self.messages:.1%}, synaptic operations {self.operations:.1%} of dense"
        )


def with_changes(network: Network) -> Network:
    """The sigma-delta network of one whose neurons stand for ReLUs and a linear read-out.

    Args:
        network: of neurons that neither leak nor keep a current; spiking ones stand for ReLUs.
    """
    (source,) = network.inputs
    name = f"{source.name}_changes"
    while any(p.name == name for p in network.populations):
        name += "_"
    populations = [source, Population(name, source.shape, Delta(0.0, np.zeros(source.shape)))]
    for population in network.populations:
        if population.neuron is None:
            continue
        neuron = population.leaky
        bias = np.broadcast_to(neuron.bias, population.shape).copy()
        model = SigmaDelta(0.0, bias, rectified=neuron.spiking)
        populations.append(replace(population, neuron=model))
    taken = Projection(f"{name}_input", source.name, name, identity(source.shape))
    projections = [
        replace(p, source=name) if p.source == source.name else p for p in network.projections
    ]
    return replace(network, populations=tuple(populations), projections=(taken, *projections))


def with_thresholds(network: Network, thresholds: dict[str, float]) -> Network:
    """The network with these thresholds; others stay as they are."""

    def changed(population: Population) -> Population:
        if population.name not in thresholds:
            return population
        neuron = population.neuron
        if not isinstance(neuron, Delta | SigmaDelta):
            raise ValueError(f"population {population.name!r} has no threshold")
        return replace(population, neuron=replace(neuron, threshold=thresholds[population.name]))

    return replace(network, populations=tuple(map(changed, network.populations)))


def trades(
    network: Network, samples: Samples, factors: Sequence[float] = FACTORS
) -> list[tuple[Trade, Network]]:
    """What each factor costs and saves, with the network that has it.

    Args:
        network: of ``with_changes``.
        samples: simulated for each factor.
        factors: from 0 up.

    Raises:
        InputError: a population sends nothing on the samples.
    """
    exact = _Run.of(network, samples)
    reached = exact.reached()
    found = []
    for factor in factors:
        made = with_thresholds(network, {name: factor * top for name, top in reached.items()})
        run = exact if factor == 0 else _Run.of(made, samples)
        found.append((run.against(exact, factor), made))
    return found


def within(found: Sequence[Trade], deviation: float = DEVIATION) -> Trade:
    """The largest factor up to which all keep the outputs within a deviation.

    Raises:
        InputError: not even the smallest does.
    """
    kept = list(takewhile(lambda trade: trade.deviation <= deviation, found))
    if not kept:
        raise InputError(f"no factor keeps the outputs within a deviation of {deviation:g}")
    return kept[-1]


@dataclass(frozen=True, eq=False)
class _Run:
    """What a sigma-delta network did on samples.

    Attributes:
        outputs: (N T, outputs) of the read-out.
        sent: messages of each neuron over all samples and steps, by population.
        steps: how many steps that were, over all samples.
        magnitudes: some of those of what a population stands for, above 0.
    """

    network: Network
    outputs: np.ndarray
    sent: dict[str, np.ndarray]
    steps: int
    magnitudes: dict[str, np.ndarray]

    @staticmethod
    def of(network: Network, samples: Samples) -> _Run:
        senders = [p.name for p in network.populations if _sends(network, p)]
        outputs: list[np.ndarray] = []
        sent = {name: np.zeros(network.population(name).shape, np.int64) for name in senders}
        magnitudes: dict[str, list[np.ndarray]] = {name: [] for name in senders}
        for _, trace in FloatEngine(network).run(samples.batches(BATCH)):
            v = trace.populations[network.output].v
            assert v is not None  # a read-out's is always recorded
            outputs.append(v.reshape(v.shape[0] * v.shape[1], -1))
            for name in senders:
                messages = trace.populations[name].s
                sent[name] += np.count_nonzero(messages, axis=(0, 1))
                values = np.abs(messages.cumsum(axis=1)).ravel()
                magnitudes[name].append(values[:: 1 + values.size // SOME])
        joined = {name: np.concatenate(parts) for name, parts in magnitudes.items()}
        together = np.concatenate(outputs)
        return _Run(network, together, sent, len(together), joined)

    def reached(self) -> dict[str, float]:
        """A percentile of what each population that sends stands for, without thresholds."""
        found = {}
        for name, values in self.magnitudes.items():
            above = values[values > 0]
            if not above.size:
                raise InputError(
                    f"population {name!r} is silent on the samples, by which its threshold is "
                    "chosen; give samples of the data that the network was trained on, scaled as "
                    "they were then"
                )
            found[name] = float(np.percentile(above, PERCENTILE))
        return found

    def against(self, exact: _Run, factor: float) -> Trade:
        """The trade of a factor, whose run this is."""
        wanted = exact.outputs
        spread = float(np.sqrt(((wanted - wanted.mean(axis=0)) ** 2).mean())) or 1.0
        off = float(np.sqrt(((self.outputs - wanted) ** 2).mean()))
        same = self.outputs.argmax(axis=1) == wanted.argmax(axis=1)
        could = sum(sent.size for sent in self.sent.values()) * self.steps
        messages = sum(int(sent.sum()) for sent in self.sent.values()) / could
        operations = share_of_dense(self.network, self.sent, self.steps)
        return Trade(factor, off / spread, float(same.mean()), messages, operations)


def _sends(network: Network, population: Population) -> bool:
    """Whether a population sends changes to others."""
    sends = isinstance(population.neuron, Delta | SigmaDelta)
    return sends and any(p.source == population.name for p in network.projections)


def share_of_dense(
    network: Network | QuantizedNetwork, sent: Mapping[str, np.ndarray], steps: int
) -> float:
    """Synapses that messages reach, as a share of all of them at every step.

    The connections that hand the input over are left out: a network computed in full has none.

    Args:
        sent: messages of each neuron, by population.
        steps: over which they were sent.
    """
    inputs = {p.name for p in network.inputs}
    done = dense = 0.0
    for projection in network.projections:
        if projection.source not in inputs:
            behind = synapses_behind(projection.operator)
            done += float(sent[projection.source].ravel() @ behind)
            dense += float(behind.sum()) * steps
    return done / dense if dense else 0.0
