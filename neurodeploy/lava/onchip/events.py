"""The work of one layer's synapses in the fused form: only where something arrives, compiled.

The tables that ``layer.SynapseTable`` writes out, put together to runs: the synapses of a source
that lead to all channels at one place, or of a dense layer to all targets, lie side by side, and so
do their weights. Walks go from run to run of each source that spiked. numba compiles them; torch
can hang in a forked process.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np

from neurodeploy.ir.convolution import Convolution
from neurodeploy.ir.fixed_point import WEIGHT_BITS
from neurodeploy.ir.operators import Dense, Operator
from neurodeploy.lava.onchip.layer import SynapseTable
from neurodeploy.onchip.arithmetic import GOLDEN, random_key
from neurodeploy.onchip.plan import ERROR_BITS, UPDATE_BITS, SynapsePlan
from neurodeploy.onchip.synapses import largest_activation

walk: Any = numba.njit(cache=True, nogil=True)

_WIDEST = 2.0**31
"""Sums below it are held in 32 bits."""


@dataclass(frozen=True, eq=False)
class Runs:
    """The synapses of a projection, ``width`` at a time.

    Attributes:
        starts: where the runs of each source begin, and where the last ones end.
        places: to which row of (places, width) sums a run leads.
        rows: which row of (rows, width) weights it has.
        names: (rows, width) number of each weight in the operator's order.
        shape: (groups, positions, width) of the sums, of which targets are the transposed order.
    """

    starts: np.ndarray
    places: np.ndarray
    rows: np.ndarray
    names: np.ndarray
    shape: tuple[int, int, int]

    @staticmethod
    def of(operator: Operator) -> Runs:
        """Runs over the channels of a group, the targets of a dense layer, or single synapses."""
        table = SynapseTable(operator).by_source
        outputs, size = table.shape[1], operator.weights.size
        if isinstance(operator, Dense):
            shape = (1, 1, outputs)
        elif isinstance(operator, Convolution):
            channels = operator.output_shape[0]
            shape = (operator.groups, outputs // channels, channels // operator.groups)
        else:
            shape = (1, outputs, 1)
        groups, positions, width = shape
        # The operator's order is by target channel, then by what a channel reads.
        reads = size // (groups * width)
        number = np.arange(size).reshape(groups, width, reads)
        names = number.transpose(0, 2, 1).reshape(-1, width)
        row = table.weight // (reads * width) * reads + table.weight % reads
        place, channel = table.others % positions, table.others // positions
        place = channel // width * positions + place
        sources = np.repeat(np.arange(len(table.starts) - 1), np.diff(table.starts))
        first = np.flatnonzero(channel % width == 0)
        order = first[np.lexsort((row[first], place[first], sources[first]))]
        starts = np.searchsorted(sources[order], np.arange(len(table.starts)))
        return Runs(
            starts.astype(np.int32),
            place[order].astype(np.int32),
            row[order].astype(np.int32),
            np.ascontiguousarray(names, np.int64),
            shape,
        )

    def by_place(self, targets: np.ndarray) -> np.ndarray:
        """(T, targets) as (T, places, width)."""
        groups, positions, width = self.shape
        split = targets.reshape(-1, groups, width, positions).swapaxes(2, 3)
        return np.ascontiguousarray(split).reshape(-1, groups * positions, width)

    def by_target(self, places: np.ndarray) -> np.ndarray:
        """(places, width) as (targets,)."""
        return places.reshape(self.shape).swapaxes(1, 2).ravel()


@walk
def _send(
    starts: np.ndarray,
    places: np.ndarray,
    rows: np.ndarray,
    weights: np.ndarray,
    spikes: np.ndarray,
    total: np.ndarray,
) -> None:
    """Add weight times spike to the sums of what every spike reaches."""
    total[:] = 0
    for source in range(spikes.shape[0]):
        spike = spikes[source]
        if spike == 0:
            continue
        for run in range(starts[source], starts[source + 1]):
            sums, met = total[places[run]], weights[rows[run]]
            for i in range(met.shape[0]):
                sums[i] += spike * met[i]


@walk
def _return(
    starts: np.ndarray,
    places: np.ndarray,
    rows: np.ndarray,
    weights: np.ndarray,
    errors: np.ndarray,
    slopes: np.ndarray,
    sums: np.ndarray,
    total: np.ndarray,
) -> None:
    """Weight times error, summed for each step and source whose slope is not 0.

    Args:
        errors: (T, places, width) int32 of 16 bits.
        slopes: (T, sources).
        sums: (width,) for use on the way.
        total: (T, sources) int64, written.
    """
    total[:] = 0
    for t in range(errors.shape[0]):
        if not errors[t].any():
            continue
        for source in range(slopes.shape[1]):
            if slopes[t, source] == 0:
                continue
            sums[:] = 0
            for run in range(starts[source], starts[source + 1]):
                place, row = places[run], rows[run]
                for i in range(sums.shape[0]):
                    sums[i] += errors[t, place, i] * weights[row, i]
            found = np.int64(0)
            for i in range(sums.shape[0]):
                found += sums[i]
            total[t, source] = found


@walk
def _pair(
    starts: np.ndarray,
    places: np.ndarray,
    rows: np.ndarray,
    errors: np.ndarray,
    spikes: np.ndarray,
    gradient: np.ndarray,
    seen: np.ndarray,
) -> None:
    """Add error times spike to the gradient of each synapse, and mark its row of weights.

    Args:
        errors: (T, places, width) int64.
        spikes: (T, sources).
    """
    for t in range(errors.shape[0]):
        if not errors[t].any():
            continue
        for source in range(spikes.shape[1]):
            spike = np.int64(spikes[t, source])
            if spike == 0:
                continue
            for run in range(starts[source], starts[source + 1]):
                row = rows[run]
                seen[row] = True
                sums, arrived = gradient[row], errors[t, places[run]]
                for i in range(sums.shape[0]):
                    sums[i] += spike * arrived[i]


@walk
def _hashed(number: int, low: int, high: int) -> Any:
    """32 bits of ``arithmetic.random_bits``."""
    x = np.uint32(np.uint32(number) * np.uint32(GOLDEN) + np.uint32(low))
    x = np.uint32(x ^ (x >> np.uint32(16)))
    x = np.uint32(np.uint32(x * np.uint32(0x7FEB352D)) ^ np.uint32(high))
    x = np.uint32(x ^ (x >> np.uint32(15)))
    x = np.uint32(x * np.uint32(0x846CA68B))
    return np.uint32(x ^ (x >> np.uint32(16)))


@walk
def _change(
    seen: np.ndarray,
    gradient: np.ndarray,
    indices: np.ndarray,
    tags: np.ndarray,
    weights: np.ndarray,
    names: np.ndarray,
    step: int,
    bits: int,
    lowest: int,
    highest: int,
    most: int,
    shift: int,
    low: int,
    high: int,
    numbers: np.ndarray,
    values: np.ndarray,
) -> int:
    """Change the weights of marked rows by their gradients, which end at 0, and list what changed.

    A gradient of 0 changes nothing, whatever the random number.

    Returns:
        How many changed.
    """
    half = np.int64(1) << (bits - 1)
    wanted = np.zeros(gradient.shape[1], np.int64)
    changed = 0
    for row in range(seen.shape[0]):
        if not seen[row]:
            continue
        seen[row] = False
        found = gradient[row]
        # A loop without branches, of which the compiler makes vectors.
        if shift > 0:
            for i in range(wanted.shape[0]):
                drawn = np.int64(_hashed(names[row, i], low, high) >> np.uint32(32 - shift))
                wanted[i] = min(max((drawn - found[i]) >> shift, -most), most)
        else:
            for i in range(wanted.shape[0]):
                wanted[i] = min(max(-found[i] << -shift, -most), most)
        found[:] = 0
        for i in range(wanted.shape[0]):
            if wanted[i] == 0:
                continue
            index, tag = np.int64(indices[row, i]), np.int64(tags[row, i])
            before = (index << bits) + tag
            tag += wanted[i]
            # What a tag cannot hold goes over into the weight.
            over = (tag + half) >> bits
            index += over
            tag -= over << bits
            if index > highest:
                index, tag = highest, half - 1
            elif index < lowest:
                index, tag = lowest, -half
            if (index << bits) + tag != before:
                indices[row, i], tags[row, i], weights[row, i] = index, tag, index * step
                numbers[changed] = names[row, i]
                values[changed] = (index << bits) + tag
                changed += 1
    return changed


class EventSynapses:
    """Weights and tags of one projection, as ``layer.FixedSynapses`` has them.

    Attributes:
        numbers, values: of ``update``: the synapses that changed, in the operator's order, and
            their X.
    """

    def __init__(self, plan: SynapsePlan, seed: int) -> None:
        self.plan, self.seed = plan, seed
        projection = plan.projection
        self.name, self.exponent = projection.name, projection.exponent
        self.runs = runs = Runs.of(projection.operator)
        self.table = runs.starts, runs.places, runs.rows
        indices = projection.operator.weights.ravel() // plan.step
        self.indices = indices[runs.names].astype(np.int32)
        self.tags = plan.tags[runs.names].astype(np.int32)
        self.weights = self.indices * np.int32(plan.step)
        self.check()
        feedback = plan.feedback
        self.back = self.weights
        if feedback is not None:
            self.back = feedback.ravel()[runs.names].astype(np.int32)
        self.gradient = np.zeros(runs.names.shape, np.int64)
        self.seen = np.zeros(len(runs.names), bool)
        self._numbers, self._values = (np.empty(runs.names.size, np.int32) for _ in range(2))
        self.numbers, self.values = self._numbers[:0], self._values[:0]
        groups, positions, width = runs.shape
        met = largest_activation(projection)
        self.sums = np.zeros((groups * positions, width), np.int32 if met < _WIDEST else np.int64)
        # Errors of 16 bits by weights of 9, over all runs of a source.
        back = 2.0 ** (ERROR_BITS - 1 + WEIGHT_BITS) * int(np.diff(runs.starts).max(initial=0))
        self.carried = np.zeros(width, np.int32 if back < _WIDEST else np.int64)

    def check(self) -> None:
        """See that Lava takes the weights as they are.

        Raises:
            ValueError: Lava would clip or truncate some.
        """
        from lava.utils.weightutils import SignMode, clip_weights, truncate_weights

        form = self.plan.projection.weight_format
        sign = SignMode[form.sign.upper()]
        taken: Any = truncate_weights(
            clip_weights(self.weights.copy(), sign, num_bits=8), sign, form.bits
        )
        if not np.array_equal(taken, self.weights):
            raise ValueError(f"{self.name}: weights that Lava would change")

    def activate(self, spikes: np.ndarray) -> np.ndarray:
        """Activation of one step from (inputs,) spikes."""
        _send(*self.table, self.weights, spikes, self.sums)
        found = self.runs.by_target(self.sums).astype(np.int64)
        return found << self.exponent if self.exponent > 0 else found >> -self.exponent

    def carry_back(self, errors: np.ndarray, slopes: np.ndarray) -> np.ndarray:
        """What errors (T, outputs) come to at each input that has a slope (T, inputs), else 0."""
        found = np.empty(slopes.shape, np.int64)
        arrived = self.runs.by_place(errors.astype(np.int32))
        _return(*self.table, self.back, arrived, slopes, self.carried, found)
        return found

    def accumulate(self, errors: np.ndarray, spikes: np.ndarray) -> None:
        """Add errors (T, outputs) times the spikes (T, inputs) of the same step to the gradient."""
        _pair(*self.table, self.runs.by_place(errors), spikes, self.gradient, self.seen)

    def update(self, number: int) -> None:
        """Change the synapses that have a gradient, and forget it."""
        plan = self.plan
        key = random_key(self.seed, number, plan.index)
        shift = plan.rate_shift + sum(number >= halved for halved in plan.halvings)
        changed = _change(
            *(self.seen, self.gradient, self.indices, self.tags, self.weights, self.runs.names),
            *(plan.step, plan.tag, plan.lowest, plan.highest, 2 ** (UPDATE_BITS - 1) - 1),
            *(shift, key & 0xFFFFFFFF, key >> 32, self._numbers, self._values),
        )
        self.numbers, self.values = self._numbers[:changed], self._values[:changed]

    @property
    def state(self) -> np.ndarray:
        """X of every synapse in the operator's order."""
        found = np.empty(self.runs.names.size, np.int64)
        found[self.runs.names] = (self.indices.astype(np.int64) << self.plan.tag) + self.tags
        return found
