"""The work of one layer's synapses in the fused form: only where something arrives, compiled.

The tables that ``layer.SynapseTable`` writes out, walked through from the source of each spike.
Weights are numbered anew in the order in which such a walk first meets them, so that those of a
dense layer lie side by side. numba compiles the walks; torch can hang in a forked process.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from neurodeploy.lava.onchip.layer import SynapseTable
from neurodeploy.onchip.arithmetic import GOLDEN, random_key
from neurodeploy.onchip.plan import UPDATE_BITS, SynapsePlan

walk: Any = numba.njit(cache=True, nogil=True)


@walk
def _send(
    starts: np.ndarray,
    others: np.ndarray,
    which: np.ndarray,
    weights: np.ndarray,
    spikes: np.ndarray,
    total: np.ndarray,
) -> None:
    """Add weight times spike to the sums of what every spike reaches."""
    total[:] = 0
    for source in np.flatnonzero(spikes):
        spike = spikes[source]
        for synapse in range(starts[source], starts[source + 1]):
            total[others[synapse]] += spike * weights[which[synapse]]


@walk
def _return(
    starts: np.ndarray,
    others: np.ndarray,
    which: np.ndarray,
    weights: np.ndarray,
    errors: np.ndarray,
    slopes: np.ndarray,
    total: np.ndarray,
) -> None:
    """Weight times error, summed for each source whose slope is not 0."""
    total[:] = 0
    if not errors.any():
        return
    for source in np.flatnonzero(slopes):
        found = np.int64(0)
        for synapse in range(starts[source], starts[source + 1]):
            found += errors[others[synapse]] * weights[which[synapse]]
        total[source] = found


@walk
def _pair(
    starts: np.ndarray,
    others: np.ndarray,
    which: np.ndarray,
    errors: np.ndarray,
    spikes: np.ndarray,
    gradient: np.ndarray,
    seen: np.ndarray,
    touched: np.ndarray,
    count: int,
) -> int:
    """Add error times spike to the gradient of each synapse that has both.

    Returns:
        How many weights are in ``touched`` now, each once.
    """
    if not errors.any():
        return count
    for source in np.flatnonzero(spikes):
        spike = np.int64(spikes[source])
        for synapse in range(starts[source], starts[source + 1]):
            error = errors[others[synapse]]
            if error == 0:
                continue
            weight = which[synapse]
            gradient[weight] += error * spike
            if not seen[weight]:
                seen[weight] = True
                touched[count] = weight
                count += 1
    return count


@walk
def _hashed(number: int, low: int, high: int) -> Any:
    """32 bits of ``arithmetic.random_bits``, in 64."""
    mask = np.uint64(0xFFFFFFFF)
    x = (np.uint64(number) * np.uint64(GOLDEN) + np.uint64(low)) & mask
    x ^= x >> np.uint64(16)
    x = (x * np.uint64(0x7FEB352D)) & mask
    x ^= np.uint64(high)
    x ^= x >> np.uint64(15)
    x = (x * np.uint64(0x846CA68B)) & mask
    return x ^ (x >> np.uint64(16))


@walk
def _change(
    touched: np.ndarray,
    count: int,
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
    """Change the touched weights by their gradients, which end at 0, and list what changed.

    Returns:
        How many changed.
    """
    half = np.int64(1) << (bits - 1)
    changed = 0
    for place in range(count):
        weight = touched[place]
        seen[weight] = False
        change = -gradient[weight]
        gradient[weight] = 0
        if shift > 0:
            drawn = np.int64(_hashed(names[weight], low, high) >> np.uint64(32 - shift))
            change = (change + drawn) >> shift
        else:
            change <<= -shift
        index, tag = np.int64(indices[weight]), np.int64(tags[weight])
        before = (index << bits) + tag
        tag += min(max(change, -most), most)
        # What a tag cannot hold goes over into the weight.
        over = (tag + half) >> bits
        index += over
        tag -= over << bits
        if index > highest:
            index, tag = highest, half - 1
        elif index < lowest:
            index, tag = lowest, -half
        if (index << bits) + tag != before:
            indices[weight], tags[weight], weights[weight] = index, tag, index * step
            numbers[changed] = names[weight]
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
        rows = SynapseTable(projection.operator).by_source
        size = projection.operator.weights.size
        # Weights without a synapse come last.
        met, first = np.unique(rows.weight, return_index=True)
        met = met[np.argsort(first)]
        self.names = np.concatenate([met, np.setdiff1d(np.arange(size), met)]).astype(np.int64)
        renamed = np.empty(size, np.int64)
        renamed[self.names] = np.arange(size)
        self.table = rows.starts, rows.others, renamed[rows.weight].astype(np.int32)
        indices = projection.operator.weights.ravel() // plan.step
        self.indices = indices[self.names].astype(np.int32)
        self.tags = plan.tags[self.names].astype(np.int32)
        self.weights = self.indices * np.int32(plan.step)
        self.check()
        feedback = plan.feedback
        self.back = self.weights
        if feedback is not None:
            self.back = feedback.ravel()[self.names].astype(np.int32)
        self.gradient = np.zeros(size, np.int64)
        self.seen, self.touched, self.count = np.zeros(size, bool), np.empty(size, np.int64), 0
        self._numbers, self._values = np.empty(size, np.int32), np.empty(size, np.int32)
        self.numbers, self.values = self._numbers[:0], self._values[:0]
        inputs, outputs = len(rows.starts) - 1, rows.shape[1]
        self.sums, self.returned = np.zeros(outputs, np.int64), np.zeros(inputs, np.int64)

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
        if self.exponent > 0:
            return self.sums << self.exponent
        return self.sums >> -self.exponent

    def carry_back(self, errors: np.ndarray, slopes: np.ndarray) -> np.ndarray:
        """What the errors of one step come to at each input that has a slope, else 0."""
        _return(*self.table, self.back, errors, slopes, self.returned)
        return self.returned.copy()

    def accumulate(self, errors: np.ndarray, spikes: np.ndarray) -> None:
        """Add errors times the spikes of the same model step to the gradient."""
        self.count = _pair(
            *(*self.table, errors, spikes, self.gradient, self.seen, self.touched, self.count)
        )

    def update(self, number: int) -> None:
        """Change the synapses that have a gradient, and forget it."""
        plan = self.plan
        key = random_key(self.seed, number, plan.index)
        shift = plan.rate_shift + sum(number >= halved for halved in plan.halvings)
        changed = _change(
            *(self.touched, self.count, self.seen, self.gradient),
            *(self.indices, self.tags, self.weights, self.names),
            *(plan.step, plan.tag, plan.lowest, plan.highest, 2 ** (UPDATE_BITS - 1) - 1),
            *(shift, key & 0xFFFFFFFF, key >> 32, self._numbers, self._values),
        )
        self.count = 0
        self.numbers, self.values = self._numbers[:changed], self._values[:changed]

    @property
    def state(self) -> np.ndarray:
        """X of every synapse in the operator's order."""
        found = np.empty(len(self.names), np.int64)
        found[self.names] = (self.indices.astype(np.int64) << self.plan.tag) + self.tags
        return found
