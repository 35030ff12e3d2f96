"""Chips: every limit with its source, read from TOML.

A target is found by name among the built-in ones (``targets/*.toml``) or by path. A limit nobody
published stays out of the file; checks then report it as unchecked instead of passing it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from neurodeploy.schema import build, builtin_names, find_toml, read_toml

PACKAGE = "neurodeploy.targets"


@dataclass(frozen=True)
class Limit:
    """One figure and where it comes from."""

    value: int
    source: str


@dataclass(frozen=True)
class Ability:
    """Something a chip can or cannot do, and where that is said."""

    value: bool
    source: str


@dataclass(frozen=True)
class Chip:
    """How many cores and chips there are."""

    cores: Limit
    chips: Limit


@dataclass(frozen=True)
class Core:
    """What one core holds; None where nothing was published.

    Attributes:
        neurons: most neurons.
        input_axons, output_axons: most distinct sources arriving, most targets cores leaving.
        synapse_words: memory words for synapses.
    """

    neurons: Limit
    input_axons: Limit | None = None
    output_axons: Limit | None = None
    synapse_words: Limit | None = None


@dataclass(frozen=True)
class SynapseMemory:
    """How synapses fill memory words; see ``mapping.memory`` for the formula.

    Attributes:
        word_bits: width of a memory word.
        row_words: words spent per input row besides its entries.
        row_header_bits: bits spent per row besides its entries, inside the words.
        dense_entry_bits: bits per synapse of a dense or sparse row besides the weight.
        shared_convolution: whether a core stores a convolution's kernel once.
    """

    word_bits: Limit
    row_words: Limit
    row_header_bits: Limit
    dense_entry_bits: Limit
    shared_convolution: Ability


@dataclass(frozen=True)
class Synapse:
    """Widths of weights and delays."""

    weight_bits: Limit
    weight_exponent_min: Limit
    weight_exponent_max: Limit
    delay_max: Limit
    memory: SynapseMemory


@dataclass(frozen=True)
class NeuronLimits:
    """Widths of neuron parameters, and whether neurons can be programmed.

    Attributes:
        programmable: soft reset, >= and neurons that never spike need it.
    """

    threshold_bits: Limit
    bias_mantissa_bits: Limit
    bias_exponent_max: Limit
    decay_bits: Limit
    programmable: Ability


@dataclass(frozen=True)
class Spike:
    """What a spike carries: 0 payload bits for binary spikes."""

    payload_bits: Limit


@dataclass(frozen=True)
class Target:
    """A chip or a system of chips."""

    name: str
    description: str
    chip: Chip
    core: Core
    synapse: Synapse
    neuron: NeuronLimits
    spike: Spike


def builtin_targets() -> dict[str, Target]:
    """All targets that ship with the package, by name."""
    return {name: load_target(name) for name in builtin_names(PACKAGE)}


def load_target(source: str | Path) -> Target:
    """Read a target by built-in name or path.

    Raises:
        InputError: no such target, malformed TOML, unknown key or bad value.
    """
    path = find_toml(source, PACKAGE, "target")
    table = read_toml(path)
    table.setdefault("name", path.stem)
    return build(Target, table, path.name)
