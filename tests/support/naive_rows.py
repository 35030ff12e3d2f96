"""Words of synapse memory counted row by row, and which rows a fully connected projection has."""

from __future__ import annotations

import math

import numpy as np

from neurodeploy.ir.operators import Dense
from neurodeploy.ir.quantized import QuantizedProjection
from neurodeploy.mapping.memory import weight_width
from neurodeploy.target import SynapseMemory, Target


def words(memory: SynapseMemory, entries: int, bits: int) -> int:
    """Words of a row with so many entries of so many bits."""
    block = memory.row_entries.value if memory.row_entries else entries
    whole = [min(block, entries - at) for at in range(0, entries, block)]
    return sum(math.ceil((memory.row_header_bits.value + n * bits) / 64) for n in whole)


def weight_bits(projection: QuantizedProjection, target: Target, delayed: bool) -> int:
    """Bits of a synapse without what a kind of row adds."""
    memory = target.synapse.memory
    bits = memory.weight_widths.holding(weight_width(projection))
    return bits + (memory.delay_bits.value if delayed else 0)


def is_dense(projection: QuantizedProjection, target: Target, delayed: bool = False) -> bool:
    """Whether it is fully connected and stored with its zeros: many are there, or that is less."""
    if not isinstance(projection.operator, Dense):
        return False
    memory, weights = target.synapse.memory, projection.operator.weights
    bits = weight_bits(projection, target, delayed)
    counts = [int(np.count_nonzero(column)) for column in weights.T]
    if sum(counts) > weights.size / 2:
        return True
    dense = sum(words(memory, len(weights), bits + memory.dense_entry_bits.value)
                for count in counts if count)  # fmt: skip
    listed = sum(
        words(memory, count, bits + memory.sparse_entry_bits.value) for count in counts if count
    )
    return dense <= listed
