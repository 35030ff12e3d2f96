"""Chips: every limit with its source, read from TOML.

A target is found by name among the built-in ones (``targets/*.toml``) or by path. A limit nobody
published stays out of the file; checks then report it as unchecked instead of passing it. A file
that says ``extends = "NAME"`` gives only what differs from that target.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from neurodeploy.errors import InputError
from neurodeploy.support.reading import read_toml
from neurodeploy.support.schema import build, builtin_names, find_toml

PACKAGE = "neurodeploy.targets"

Quality = Literal["documented", "read", "secondary", "fitted", "assumed"]
"""How well a figure is known: ``documented`` in a paper or in code written against the chip,
``read`` off the output of the maker's tools, ``secondary`` from someone who cites the maker,
``fitted`` so that a formula meets such outputs, ``assumed`` for want of any of these."""


MOST_CORES = 2**20
"""Of a chip, and chips of a system: both far beyond the largest system, of 1,152 chips."""

MOST_HELD = 2**31 - 1
"""Neurons, axons or words of a core."""

MOST_BITS = 64
"""Of an entry of a row of synapses, or of its head."""

MOST_QUANTITY = 1e12
"""Picojoules or nanoseconds of one event: a joule, or a quarter of an hour."""


def _check_ranges(part: Any, ranges: Mapping[str, tuple[int, int]]) -> None:
    """Refuse limits that no arithmetic of ours, or no chip, can have; None is no limit.

    Raises:
        ValueError: naming the limit and its range.
    """
    for name, (low, high) in ranges.items():
        limit: Limit | None = getattr(part, name)
        if limit is not None and not low <= limit.value <= high:
            raise ValueError(f"{name} must be from {low} to {high}, found {limit.value}")


@dataclass(frozen=True, kw_only=True)
class Figure:
    """Where a figure comes from and how well it is known."""

    source: str
    quality: Quality

    def __post_init__(self) -> None:
        if not self.source.strip():
            raise ValueError("every figure needs its source, found an empty one")


@dataclass(frozen=True, kw_only=True)
class Limit(Figure):
    """One number."""

    value: int


@dataclass(frozen=True, kw_only=True)
class Quantity(Figure):
    """One measured number, in the unit that its field names."""

    value: float

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.value < 0:
            raise ValueError(f"energies and times are not negative, found {self.value}")
        if not self.value <= MOST_QUANTITY:
            raise ValueError(f"energies and times end at {MOST_QUANTITY:g}, found {self.value}")


@dataclass(frozen=True, kw_only=True)
class Widths(Figure):
    """The widths that a field can have, in bits."""

    values: tuple[int, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.values or min(self.values) < 1:
            raise ValueError(f"widths are at least one positive number, found {self.values}")
        if max(self.values) > MOST_BITS:
            raise ValueError(f"widths are at most {MOST_BITS} bits, found {max(self.values)}")

    def holding(self, bits: int) -> int:
        """The smallest width that holds ``bits``; the largest one when none does."""
        return min((width for width in self.values if width >= bits), default=max(self.values))


@dataclass(frozen=True, kw_only=True)
class Ability(Figure):
    """Something a chip can or cannot do."""

    value: bool


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
        _check_ranges(self, dict.fromkeys(names, (1, MOST_CORES)))


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
        _check_ranges(self, dict.fromkeys(names, (1, MOST_HELD)))


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
        _check_ranges(self, {**ranges, "word_bits": (1, 4096), "row_entries": (1, MOST_HELD)})


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
        _check_ranges(self, {"weight_bits": (1, 8), **shifts, "delay_max": (0, 2**16)})
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
        _check_ranges(
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
        _check_ranges(self, {"payload_bits": (0, 32)})


@dataclass(frozen=True)
class Energy:
    """Dynamic energy of one event, in pJ.

    Attributes:
        synaptic_op: one entry of a synaptic row, read and added.
        update_active, update_inactive: one step of a neuron that has something to do, or has not.
        spike_in_tile: one spike from a core to a core of the same tile.
        hop_along_row, hop_along_column: one spike from a tile to the next one.
        synaptic_update: one synapse changed by the learning engine.
    """

    synaptic_op: Quantity
    update_active: Quantity
    update_inactive: Quantity
    spike_in_tile: Quantity
    hop_along_row: Quantity
    hop_along_column: Quantity
    synaptic_update: Quantity


@dataclass(frozen=True)
class Duration:
    """Time of one event on a core, in ns; a core does one after the other.

    Attributes:
        synaptic_op, update_active, update_inactive: as in ``Energy``.
        barrier_one_tile, barrier_all_tiles: until the cores in use agree that a step is over.
    """

    synaptic_op: Quantity
    update_active: Quantity
    update_inactive: Quantity
    barrier_one_tile: Quantity
    barrier_all_tiles: Quantity


@dataclass(frozen=True)
class Target:
    """A chip or a system of chips; ``energy`` and ``duration`` where figures of them exist."""

    name: str
    description: str
    chip: Chip
    core: Core
    synapse: Synapse
    neuron: NeuronLimits
    spike: SpikeLimits
    energy: Energy | None = None
    duration: Duration | None = None


def builtin_targets() -> dict[str, Target]:
    """All targets that ship with the package, by name."""
    return {name: load_target(name) for name in builtin_names(PACKAGE)}


def load_target(source: str | Path) -> Target:
    """Read a target by built-in name or path.

    Raises:
        InputError: no such target, malformed TOML, unknown key or bad value.
    """
    path = find_toml(source, PACKAGE, "target")
    table = _read(path, ())
    table.setdefault("name", path.stem)
    return build(Target, table, path.name)


def _read(path: Path, extending: tuple[Path, ...]) -> dict[str, Any]:
    """The table of a target, on top of that of the target it ``extends``.

    Raises:
        InputError: targets extend each other in a circle.
    """
    if path in extending:
        circle = " -> ".join(found.name for found in (*extending, path))
        raise InputError(f"{path.name}: targets extend each other in a circle ({circle})")
    table = read_toml(path)
    base = table.pop("extends", None)
    if base is None:
        return table
    if not isinstance(base, str):
        raise InputError(f"{path.name}: extends names a target, found {base!r}")
    beside = path.parent / base
    found = find_toml(beside if base.endswith(".toml") else base, PACKAGE, "target")
    below = _read(found, (*extending, path))
    # A base's name and description are its own.
    below = {key: value for key, value in below.items() if key not in ("name", "description")}
    return _merged(below, table)


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Tables joined key by key, ``above`` winning; a figure is replaced whole, source and all."""
    result = dict(below)
    for key, value in above.items():
        base = below.get(key)
        if isinstance(base, dict) and isinstance(value, dict):
            figure = "value" in base or "values" in base
            result[key] = value if figure else _merged(base, value)
        else:
            result[key] = value
    return result
