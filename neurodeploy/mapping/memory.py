"""Synapse memory: what the synapses of one projection take on a core, word by word.

A row of n entries takes, in words of ``word_bits``,

    ceil((header + n (weight + delay + overhead)) / word_bits)

per started block of ``row_entries`` entries, or once when rows have no blocks. ``weight`` is the
width that the projection's own integers need, ``delay`` counts only where delays are used, and the
overhead is the target's for that kind of row:

- dense: one row per input with a synapse on the core, an entry per neuron, zeros included;
- sparse, and convolutions written out: the same, an entry per synapse; so is a fully connected
  projection at most half of whose weights are not zero, if that takes fewer words;
- shared convolutions: one row per input channel and kernel position, an entry per output channel
  of its group, no overhead; the whole kernel lies on every core that holds a part of the layer.

Rows of zeros take nothing. The formula is nengo-loihi's for Loihi 1 (``bits_per_axon``); that it
meets every reading published for Loihi 2 is a fit, see ``targets/loihi2.toml``.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import ClassVar, Literal

import numpy as np
from scipy import sparse

from neurodeploy.ir.convolution import Convolution
from neurodeploy.ir.operators import Dense, Operator, SparseMatrix
from neurodeploy.ir.quantized import QuantizedNetwork, QuantizedProjection
from neurodeploy.ir.schedule import depths, pipeline_delay
from neurodeploy.mapping.mapping import Box, box_indices, box_size
from neurodeploy.mapping.receptive_field import ReceptiveField
from neurodeploy.target import SynapseMemory, Target

RowKind = Literal["dense", "sparse", "kernel"]
"""How synapses are stored: with their zeros, as a list, or as a kernel that positions share."""

LISTED_UP_TO = 0.5
"""Share of a fully connected projection's weights that are not zero, above which it has dense rows
anyway: every reading of Loihi 2 has them, with the zeros that rounding makes."""

COUNTED_UP_TO = 8
"""Neurons for each synapse up to which the sources of synapses are counted instead of sorted."""


def weight_width(projection: QuantizedProjection) -> int:
    """Fewest bits, with the sign, that hold a projection's weights in units of their step.

    Mixed 8-bit weights, multiples of 2 in [-256, 254], are -128..127: 8 bits. At most the width
    of the weight format, at least 1.
    """
    weights = projection.operator.weights
    step = projection.weight_format.step
    highest, lowest = int(weights.max(initial=0)) // step, int(weights.min(initial=0)) // step
    if projection.weight_format.sign == "mixed":
        bits = max(highest.bit_length(), (-lowest - 1).bit_length() if lowest < 0 else 0) + 1
    else:
        bits = max(highest, -lowest).bit_length()
    return min(max(bits, 1), projection.weight_format.bits)


def row_words(entries: np.ndarray, entry_bits: int, memory: SynapseMemory) -> np.ndarray:
    """Words that rows of so many entries take; int64, 0 for empty rows."""
    entries = np.asarray(entries, np.int64)

    def words(count: np.ndarray) -> np.ndarray:
        bits = memory.row_header_bits.value + count * entry_bits
        return np.where(count > 0, -(-bits // memory.word_bits.value), 0)

    if memory.row_entries is None:
        return words(entries)
    block = memory.row_entries.value
    return entries // block * words(np.asarray(block)) + words(entries % block)


class SynapseRows(ABC):
    """What the synapses of one projection take, for any part of its target population.

    Attributes:
        name: of the projection.
        source: name of the population they come from.
        kind: how they are stored.
        shared: whether a core holds a kernel instead of rows per input.
    """

    kind: ClassVar[RowKind] = "sparse"
    shared = False

    def __init__(self, projection: QuantizedProjection, target: Target, delay: int) -> None:
        memory = target.synapse.memory
        self.name = projection.name
        self.source = projection.source
        self.shape = projection.operator.output_shape
        self.memory = memory
        self.weight_bits = memory.weight_widths.holding(weight_width(projection))
        if projection.learning_bits is not None:
            # Any weight of the format may be learnt, whatever those of now need.
            self.weight_bits = memory.weight_widths.holding(projection.weight_format.bits)
            self.weight_bits += projection.learning_bits
        if delay > 0:
            self.weight_bits += memory.delay_bits.value

    @abstractmethod
    def cost(self, box: Box) -> tuple[int, int]:
        """Input axons and words of the synapses onto a part of the target population."""

    @abstractmethod
    def entries(self, box: Box) -> tuple[np.ndarray, np.ndarray]:
        """Source neurons with a synapse onto that part, and what a spike of each has to read.

        Returns:
            Sorted indices of the flattened source population, and the entries of their rows: the
            synapses, for dense rows the zeros among them too. Both (n,) int64.
        """

    def least_bits(self) -> int:
        """Bits that all synapses take at least, on however many cores they lie.

        A shared kernel lies on each of them, so of it nothing is certain.
        """
        return 0

    def words(self, box: Box) -> dict[RowKind, int]:
        """Words onto a part of the target population, stored as they are and as they could be."""
        return {self.kind: self.cost(box)[1]}

    def sources(self, box: Box) -> np.ndarray:
        """Source neurons with a synapse onto that part, as flattened indices."""
        return self.entries(box)[0]


class DenseRows(SynapseRows):
    """Rows with an entry per neuron of the core."""

    kind = "dense"

    def __init__(self, projection: QuantizedProjection, target: Target, delay: int) -> None:
        super().__init__(projection, target, delay)
        self.nonzero = projection.operator.weights != 0
        self.entry_bits = self.weight_bits + self.memory.dense_entry_bits.value

    def cost(self, box: Box) -> tuple[int, int]:
        rows = int(self._used(box).sum())
        return rows, rows * int(row_words(np.array(box_size(box)), self.entry_bits, self.memory))

    def entries(self, box: Box) -> tuple[np.ndarray, np.ndarray]:
        sources = np.flatnonzero(self._used(box))
        return sources, np.full(len(sources), box_size(box))

    def least_bits(self) -> int:
        return int(np.count_nonzero(self.nonzero)) * self.entry_bits

    def words(self, box: Box) -> dict[RowKind, int]:
        listed = self.weight_bits + self.memory.sparse_entry_bits.value
        counts = self._part(box).sum(axis=0)
        sparse_words = int(row_words(counts, listed, self.memory).sum())
        return {"dense": self.cost(box)[1], "sparse": sparse_words}

    def _used(self, box: Box) -> np.ndarray:
        """Whether each input has a synapse in the box."""
        return self._part(box).any(axis=0)

    def _part(self, box: Box) -> np.ndarray:
        """Which weights onto the box are not zero, (neurons, inputs)."""
        if len(box) == 1:
            return self.nonzero[slice(*box[0])]
        return self.nonzero[box_indices(box, self.shape)]


class SparseRows(SynapseRows):
    """Rows that list their neurons, from any matrix."""

    def __init__(self, projection: QuantizedProjection, target: Target, delay: int) -> None:
        super().__init__(projection, target, delay)
        self.matrix = _without_zeros(projection.operator)
        self.fully_connected = isinstance(projection.operator, Dense)
        self.entry_bits = self.weight_bits + self.memory.sparse_entry_bits.value

    def cost(self, box: Box) -> tuple[int, int]:
        _, entries = self.entries(box)
        return len(entries), int(row_words(entries, self.entry_bits, self.memory).sum())

    def entries(self, box: Box) -> tuple[np.ndarray, np.ndarray]:
        columns = self._columns(box)
        first = int(columns.min(initial=np.iinfo(np.int32).max))
        if int(columns.max(initial=0)) - first > COUNTED_UP_TO * len(columns):
            found, entries = np.unique(columns, return_counts=True)
            return found.astype(np.int64), entries
        # Of neighbours, counting takes a fifth of the time of sorting.
        counts = np.bincount(columns - first) if len(columns) else np.zeros(0, np.int64)
        (present,) = np.nonzero(counts)
        return present + first, counts[present]

    def least_bits(self) -> int:
        return self.matrix.nnz * self.entry_bits

    def words(self, box: Box) -> dict[RowKind, int]:
        if not self.fully_connected:
            return super().words(box)
        rows, words = self.cost(box)
        bits = self.weight_bits + self.memory.dense_entry_bits.value
        dense = rows * int(row_words(np.array(box_size(box)), bits, self.memory))
        return {"sparse": words, "dense": dense}

    def _columns(self, box: Box) -> np.ndarray:
        """The input of every synapse onto the box."""
        if len(box) == 1:
            start, stop = self.matrix.indptr[list(box[0])]
            return self.matrix.indices[start:stop]
        return self.matrix[box_indices(box, self.shape)].indices


def _without_zeros(operator: Operator) -> sparse.csr_matrix:
    """The matrix of an operator; that of one without zeros shares its arrays."""
    if not isinstance(operator, SparseMatrix) or not operator.weights.all():
        return operator.matrix()
    shape = (math.prod(operator.output_shape), math.prod(operator.input_shape))
    return sparse.csr_matrix((operator.weights, operator.indices, operator.indptr), shape=shape)


class ConvRows(SynapseRows):
    """The rows of a convolution written out, counted without writing them out."""

    def __init__(
        self, projection: QuantizedProjection, target: Target, delay: int, field: ReceptiveField
    ) -> None:
        super().__init__(projection, target, delay)
        self.field = field
        self.entry_bits = self.weight_bits + self.memory.sparse_entry_bits.value
        self._costs: dict[object, tuple[int, int]] = {}

    def cost(self, box: Box) -> tuple[int, int]:
        key = self.field.pattern(box)
        if key not in self._costs:
            entries, _ = self.field.entries(box)
            words = row_words(entries, self.entry_bits, self.memory).sum()
            self._costs[key] = int((entries > 0).sum()), int(words)
        return self._costs[key]

    def entries(self, box: Box) -> tuple[np.ndarray, np.ndarray]:
        return self.field.synapses(box)


class KernelSynapses(SynapseRows):
    """A convolution whose kernel is stored once per core.

    All its input comes through one axon, as Intel's partitioner printed for Loihi 2 (1 or 2 per
    core, however many inputs a tile has).
    """

    kind = "kernel"
    shared = True

    def __init__(
        self, projection: QuantizedProjection, target: Target, delay: int, field: ReceptiveField
    ) -> None:
        super().__init__(projection, target, delay)
        self.field = field
        self._costs: dict[tuple[int, int], tuple[int, int]] = {}

    def cost(self, box: Box) -> tuple[int, int]:
        channels = box[0]
        if channels not in self._costs:
            rows, entries = self.field.kernel_rows(channels)
            words = int((rows * row_words(entries, self.weight_bits, self.memory)).sum())
            self._costs[channels] = int(rows.any()), words
        return self._costs[channels]

    def entries(self, box: Box) -> tuple[np.ndarray, np.ndarray]:
        return self.field.synapses(box)


def synapses(projection: QuantizedProjection, target: Target, delay: int) -> SynapseRows:
    """What a projection's synapses take on ``target``.

    Args:
        delay: steps of synaptic delay they need on the chip.
    """
    if isinstance(projection.operator, Dense):
        return _fully_connected(projection, target, delay)
    if not isinstance(projection.operator, Convolution):
        return SparseRows(projection, target, delay)
    field = ReceptiveField(projection.operator)
    if target.synapse.memory.shared_convolution.value:
        return KernelSynapses(projection, target, delay, field)
    return ConvRows(projection, target, delay, field)


def _fully_connected(projection: QuantizedProjection, target: Target, delay: int) -> SynapseRows:
    """Rows that list their synapses where these are few and take fewer words, else dense ones."""
    weights = projection.operator.weights
    dense = DenseRows(projection, target, delay)
    few = np.count_nonzero(weights) <= LISTED_UP_TO * weights.size
    # Of synapses that learn, one of weight 0 may get another.
    if not few or projection.learning_bits is not None:
        return dense
    listed = SparseRows(projection, target, delay)
    whole = tuple((0, size) for size in projection.operator.output_shape)
    return min((dense, listed), key=lambda rows: rows.cost(whole)[1])


def incoming(network: QuantizedNetwork, target: Target) -> dict[str, list[SynapseRows]]:
    """What the synapses onto each population take, with the delays that they need on the chip.

    Raises:
        UnsupportedError: a cycle has fewer steps of delay than projections.
    """
    depth = depths(network)
    found: dict[str, list[SynapseRows]] = {p.name: [] for p in network.populations}
    for projection in network.projections:
        delay = pipeline_delay(depth, projection)
        found[projection.target].append(synapses(projection, target, delay))
    return found
