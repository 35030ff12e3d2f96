"""Limits of a chip: what it has, and what a core of it holds.

A limit nobody published stays out of the file; checks then report it as unchecked instead of
passing it.
"""

from __future__ import annotations

from dataclasses import dataclass

from neurodeploy.target.figures import MOST_BITS, Ability, Limit, Widths, check_ranges

MOST_CORES = 2**20
"""Of a chip, and chips of a system: both far beyond the largest system, of 1,152 chips."""

MOST_HELD = 2**31 - 1
"""Neurons, axons or words of a core."""


@dataclass(frozen=True)
class Chip:
    """How many cores a chip has, how they lie, and how many chips there are.

    Cores are counted tile by tile, tiles row by row in a mesh; spikes travel along its rows and
    columns.

    Attributes:
        tile_cores: cores that share a router of the mesh.
        tile_columns: tiles in a row of the mesh.
    """

    cores: Limit
    chips: Limit
    tile_cores: Limit
    tile_columns: Limit

    def __post_init__(self) -> None:
        names = ("cores", "chips", "tile_cores", "tile_columns")
        check_ranges(self, dict.fromkeys(names, (1, MOST_CORES)))


@dataclass(frozen=True)
class Core:
    """What one core holds; None where nothing was published.

    Attributes:
        neurons: most neurons.
        input_axons: most distinct sources arriving.
        output_axons: most pairs of a neuron and a core it reaches.
        synapse_words: memory words for synapses.
        fill_words: words at which a partitioner stops adding rows of a dense or sparse projection
            to a core and takes the next one. A habit of the maker's tools, not a limit.
    """

    neurons: Limit
    input_axons: Limit | None = None
    output_axons: Limit | None = None
    synapse_words: Limit | None = None
    fill_words: Limit | None = None

    def __post_init__(self) -> None:
        names = ("neurons", "input_axons", "output_axons", "synapse_words", "fill_words")
        check_ranges(self, dict.fromkeys(names, (1, MOST_HELD)))


@dataclass(frozen=True)
class SynapseMemory:
    """How synapses fill memory words; see ``mapping.memory`` for the formula.

    Attributes:
        word_bits: width of a memory word.
        row_header_bits: bits spent per row besides its entries.
        row_entries: most entries under one header, after which a new one starts on a new word;
            None when a row has one header whatever its length.
        weight_widths: widths in which weights are stored.
        delay_bits: bits per entry that a projection with delays spends on them.
        dense_entry_bits: bits per entry of a dense row besides weight and delay.
        sparse_entry_bits: the same of a row that lists its neurons.
        shared_convolution: whether a core stores a convolution's kernel once, with entries of the
            weight alone, and takes all its input through one axon.
    """

    word_bits: Limit
    row_header_bits: Limit
    weight_widths: Widths
    delay_bits: Limit
    dense_entry_bits: Limit
    sparse_entry_bits: Limit
    shared_convolution: Ability
    row_entries: Limit | None = None

    def __post_init__(self) -> None:
        bits = ("row_header_bits", "delay_bits", "dense_entry_bits", "sparse_entry_bits")
        ranges = dict.fromkeys(bits, (0, MOST_BITS))
        check_ranges(self, {**ranges, "word_bits": (1, 4096), "row_entries": (1, MOST_HELD)})


@dataclass(frozen=True)
class Synapse:
    """Widths of weights and delays."""

    weight_bits: Limit
    weight_exponent_min: Limit
    weight_exponent_max: Limit
    delay_max: Limit
    memory: SynapseMemory

    def __post_init__(self) -> None:
        shifts = dict.fromkeys(("weight_exponent_min", "weight_exponent_max"), (-16, 16))
        check_ranges(self, {"weight_bits": (1, 8), **shifts, "delay_max": (0, 2**16)})
        low, high = self.weight_exponent_min.value, self.weight_exponent_max.value
        if low > high:
            raise ValueError(f"weight_exponent_min {low} is above weight_exponent_max {high}")


@dataclass(frozen=True)
class NeuronLimits:
    """Widths of neuron parameters, and whether neurons can be programmed.

    Attributes:
        programmable: soft reset, >= and neurons that never spike need it.
        refractory_max: steps after a spike that a neuron can rest.
    """

    threshold_bits: Limit
    bias_mantissa_bits: Limit
    bias_exponent_max: Limit
    decay_bits: Limit
    programmable: Ability
    refractory_max: Limit | None = None

    def __post_init__(self) -> None:
        check_ranges(
            self,
            {
                "threshold_bits": (1, 17),
                "bias_mantissa_bits": (2, 24),
                "bias_exponent_max": (0, 16),
                "decay_bits": (1, 12),
                "refractory_max": (0, 2**16),
            },
        )


@dataclass(frozen=True)
class SpikeLimits:
    """What a spike carries: 0 payload bits for binary spikes."""

    payload_bits: Limit

    def __post_init__(self) -> None:
        check_ranges(self, {"payload_bits": (0, 32)})
