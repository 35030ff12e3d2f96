"""Cores that take about as long: populations cut further, as long as there are free cores.

Limits alone cut a population into as few parts as fit, and the core with most to do then sets the
time of every step. With the spikes of a simulation a part may also take no longer than a bound,
which is made as low as the cores of the chips in use allow:

    e_syn t_syn + neurons t_upd <= bound

with the events of the mean step, as ``step`` counts them. More cores mean more messages.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from neurodeploy.errors import InputError, Setting, Text
from neurodeploy.ir.quantized import QuantizedNetwork
from neurodeploy.ir.schedule import guard_steps
from neurodeploy.mapping.mapping import Box, box_size
from neurodeploy.mapping.memory import SynapseRows
from neurodeploy.mapping.placement import Activity
from neurodeploy.target import Duration, Target


@dataclass(frozen=True)
class Cut:
    """A network in parts, a core each.

    Attributes:
        parts: by population.
        reached: by population, how many parts the spikes of each neuron go to.
    """

    parts: dict[str, list[Box]]
    reached: dict[str, np.ndarray]

    @property
    def count(self) -> int:
        """Of all parts."""
        return sum(map(len, self.parts.values()))


ROUNDS, CLOSE = 12, 1.1
"""So many bounds are tried at most, and none between two that are so close."""


@dataclass(frozen=True)
class BoxTimes:
    """How long parts of populations take in the mean step.

    Attributes:
        onto: synapses by the population they lead to.
        activity: mean spikes per sample of every neuron, by population.
        steps: of a sample.
    """

    onto: Mapping[str, Sequence[SynapseRows]]
    activity: Activity
    steps: int
    figures: Duration
    _found: dict[tuple[str, Box], int] = field(default_factory=dict)

    def picoseconds(self, population: str, box: Box) -> int:
        """Of one part, every neuron of it active, rounded up."""
        if (population, box) not in self._found:
            self._found[population, box] = self._counted(population, box)
        return self._found[population, box]

    def _counted(self, population: str, box: Box) -> int:
        operations = 0.0
        for item in self.onto[population]:
            sources, entries = item.entries(box)
            operations += float(entries @ self.activity[item.source].ravel()[sources])
        reading = operations / self.steps * self.figures.synaptic_op.value
        updating = box_size(box) * self.figures.update_active.value
        return math.ceil(1000 * (reading + updating))

    @property
    def barrier(self) -> float:
        """Picoseconds for which all cores wait for one another."""
        return 1000 * self.figures.barrier_all_tiles.value

    def slowest(self, cut: Cut) -> int:
        """Of the part that takes longest."""
        boxes = [(name, box) for name, found in cut.parts.items() for box in found]
        return max((self.picoseconds(*part) for part in boxes), default=0)


def box_times(
    network: QuantizedNetwork,
    target: Target,
    onto: Mapping[str, Sequence[SynapseRows]],
    activity: Activity | None,
) -> BoxTimes:
    """How long parts of a network take with these spikes.

    Raises:
        InputError: no spikes were counted, or the target has no times.
    """
    if activity is None:
        raise InputError(
            Text(Setting("balance"), " needs the spikes of a simulation"),
            fix=Text("name a simulated deployment with ", Setting("activity")),
        )
    if target.duration is None:
        raise InputError(
            Text(Setting("balance"), f": {target.name} has no times of what a core does")
        )
    steps = network.contract.steps + guard_steps(network)
    return BoxTimes(onto, activity, steps, target.duration)


def balanced(cut: Callable[[int | None], Cut], times: BoxTimes, per_chip: int) -> Cut:
    """The cut whose slowest part is fastest, on no more chips than the one with fewest parts.

    Args:
        cut: into parts that take no longer than so many picoseconds, or the fewest for None.
        per_chip: cores of a chip.
    """
    best = cut(None)
    cores = math.ceil(best.count / per_chip) * per_chip
    slowest = times.slowest(best)
    # Nothing is gained below the barrier, at which all cores wait anyway.
    low, high = max(slowest / max(1, cores), times.barrier), float(slowest)
    for _ in range(ROUNDS):
        if high <= CLOSE * low:
            break
        bound = math.ceil(math.sqrt(low * high))
        found = cut(bound)
        if found.count > cores:
            low = bound
            continue
        high = bound
        if times.slowest(found) < slowest:
            best, slowest = found, times.slowest(found)
    return best
