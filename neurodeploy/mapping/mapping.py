"""Where every neuron goes, what each core holds, and which limits that breaks."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from neurodeploy.errors import CheckFailedError, InputError, Text, in_lines
from neurodeploy.ir.operators import Shape
from neurodeploy.support.reading import shown
from neurodeploy.support.schema import build

Box = tuple[tuple[int, int], ...]
"""A part of an array: [start, stop) on every axis."""

RESOURCES = {
    "neurons": "neurons",
    "input_axons": "input axons",
    "output_axons": "output axons",
    "synapse_words": "synapse words",
}
"""Limited resources of a core: fields of ``CoreUse``, and their names in text."""


def box_size(box: Box) -> int:
    """How many elements a box holds."""
    return math.prod(stop - start for start, stop in box)


def box_indices(box: Box, shape: Shape) -> np.ndarray:
    """The elements of a box in an array of ``shape``, as sorted indices of the flattened array."""
    axes = np.ix_(*[np.arange(start, stop) for start, stop in box])
    return np.ravel_multi_index(axes, shape).ravel()


@dataclass(frozen=True)
class Placement:
    """A part of a population on a core.

    Attributes:
        ranges: [start, stop) on every axis of the population's array, as a ``Box``.
        chip, core: counted from 0; ``core`` within the chip.
    """

    population: str
    ranges: tuple[tuple[int, int], ...]
    chip: int
    core: int

    def indices(self, shape: Shape) -> np.ndarray:
        """The neurons as indices of the flattened population of that shape."""
        return box_indices(self.ranges, shape)


@dataclass(frozen=True)
class CoreUse:
    """What one core holds.

    Attributes:
        neurons: compartments.
        input_axons: pairs of a projection and a source neuron with a synapse on this core; a
            convolution whose kernel is stored once takes one for all its sources.
        output_axons: pairs of a neuron of this core and a core it has a synapse on, this one
            included.
        synapse_words: words of synapse memory.
    """

    chip: int
    core: int
    neurons: int
    input_axons: int
    output_axons: int
    synapse_words: int


@dataclass(frozen=True)
class SynapseUse:
    """The synapse memory of one projection, on all cores together.

    Attributes:
        rows: how it is stored, ``dense``, ``sparse`` or ``kernel``; see ``mapping.memory``.
        words: of synapse memory.
        dense_words, sparse_words: what it would take with rows of that kind; None where it cannot
            have them.
    """

    projection: str
    rows: str
    words: int
    dense_words: int | None = None
    sparse_words: int | None = None


@dataclass(frozen=True)
class Traffic:
    """Messages on the chips in one sample, input from outside not counted.

    Attributes:
        measured: whether they come from a simulation's spikes; else every neuron spikes once.
        messages: one for each spike and each core on which its neuron has a synapse.
        between_cores: those that leave their core.
        between_chips: those that leave their chip.
        in_tile: those that stay in their tile.
        hops_along_rows, hops_along_columns: steps from tile to tile of those that stay on their
            chip.
    """

    measured: bool
    messages: float
    between_cores: float
    between_chips: float
    in_tile: float
    hops_along_rows: float
    hops_along_columns: float


@dataclass(frozen=True)
class Violation:
    """A limit that does not hold.

    Attributes:
        rule: name of the constraint.
        where: the population, projection or network at fault.
        used: what was found.
        limit: what the target allows.
        advice: what would help.
    """

    rule: str
    where: str
    used: str
    limit: str
    advice: str

    @property
    def text(self) -> Text:
        """All of it, for people to read."""
        return Text(f"{self.where}: {self.used}, {self.limit}; ", self.advice)

    def __str__(self) -> str:
        return str(self.text)


def check_fits(violations: Sequence[Violation], where: str, target: str) -> None:
    """Refuse a network that breaks limits of a target.

    Args:
        where: names the network.
        target: its name.

    Raises:
        CheckFailedError: listing every violation.
    """
    if violations:
        raise CheckFailedError(
            Text(
                f"{where} does not fit {target}:\n",
                in_lines(Text("  ", violation.text) for violation in violations),
            )
        )


@dataclass(frozen=True)
class CoreMapping:
    """A quantised network on the cores of a target.

    Each core holds one placement. Cores are counted on after the target's last one when the
    network needs more than there are; that is a violation.

    Attributes:
        target: name of the target.
        cores: cores of the target, all chips together.
        limits: resource of a core to its limit, for those with a published one.
        placements, uses: one of each per core, in the order of the cores.
        unchecked: limits of the target that nobody published.
        strategy: how cores were chosen; a key of ``placement.STRATEGIES``.
        traffic: what that choice is worth; None where the mapping was written without it.
        synapses: of each projection; empty where the mapping was written without them.
    """

    target: str
    cores: int
    limits: dict[str, int]
    placements: tuple[Placement, ...]
    uses: tuple[CoreUse, ...]
    violations: tuple[Violation, ...]
    unchecked: tuple[str, ...]
    strategy: str = "first-fit"
    traffic: Traffic | None = None
    synapses: tuple[SynapseUse, ...] = ()

    def __post_init__(self) -> None:
        if len(self.placements) != len(self.uses):
            raise ValueError(f"{len(self.placements)} placements and {len(self.uses)} uses")
        for placement, use in zip(self.placements, self.uses, strict=True):
            place = (placement.chip, placement.core)
            if place != (use.chip, use.core) or min(place) < 0:
                raise ValueError(f"chip and core are {place} and {(use.chip, use.core)}")
            if not all(len(ends) == 2 and 0 <= ends[0] < ends[1] for ends in placement.ranges):
                raise ValueError(f"{placement.population!r} has ranges {shown(placement.ranges)}")
            # One of some models takes the room of several.
            count = box_size(placement.ranges)
            if use.neurons < count or use.neurons % count:
                raise ValueError(
                    f"core {place} has {count:,} neurons of "
                    f"{placement.population!r} and uses {use.neurons:,}"
                )
        for name, limit in self.limits.items():
            if name not in RESOURCES or limit < 1:
                raise ValueError(f"a core has {limit} {name}")

    def check_holds(self, shapes: Mapping[str, Shape]) -> None:
        """Refuse to be taken for the mapping of other populations than those that it is of.

        Args:
            shapes: of the populations with neurons, by name.

        Raises:
            InputError: a population is missing, is another one, or has other neurons.
        """
        held = dict.fromkeys(shapes, 0)
        for placement in self.placements:
            name, shape = placement.population, shapes.get(placement.population, ())
            ends = [stop for _, stop in placement.ranges]
            if len(ends) != len(shape) or any(a > b for a, b in zip(ends, shape, strict=True)):
                raise InputError(
                    f"mapping: places {shown(placement.ranges)} of a population {name!r}, which "
                    f"has the shape {shapes.get(name)}; export the network again"
                )
            held[name] += box_size(placement.ranges)
        for name, count in held.items():
            if count != math.prod(shapes[name]):
                raise InputError(
                    f"mapping: places {count:,} of {math.prod(shapes[name]):,} neurons of "
                    f"population {name!r}; export the network again"
                )

    @property
    def chips(self) -> int:
        """How many chips have a part of the network."""
        return len({placement.chip for placement in self.placements})

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts, lists, numbers and strings, as JSON can hold them."""
        return _plain(dataclasses.asdict(self))

    @staticmethod
    def from_dict(table: Mapping[str, Any], where: str = "mapping") -> CoreMapping:
        """Read back what ``to_dict`` wrote.

        Raises:
            InputError: unknown or missing keys or values of the wrong type, named with ``where``.
        """
        return build(CoreMapping, table, where)

    def by_population(self) -> dict[str, list[CoreUse]]:
        """What each core of a population holds, populations in pipeline order."""
        groups: dict[str, list[CoreUse]] = {}
        for placement, use in zip(self.placements, self.uses, strict=True):
            groups.setdefault(placement.population, []).append(use)
        return groups

    def fullest(self, uses: list[CoreUse]) -> tuple[str, float]:
        """The resource of which one of ``uses`` takes the largest share, and that share."""
        shares = {
            resource: max((getattr(use, resource) for use in uses), default=0) / limit
            for resource, limit in self.limits.items()
        }
        resource = max(shares, key=lambda name: shares[name])
        return resource, shares[resource]

    def summary(self) -> str:
        """A few lines of text: cores, the fullest resource, a table of populations."""
        groups = self.by_population()
        resource, share = self.fullest(list(self.uses))
        where = next((n for n, uses in groups.items() if self.fullest(uses)[1] == share), "")
        rows = [("population", "neurons", "cores", "axons in", "synapse words", "fullest")]
        for name, uses in groups.items():
            most, of_core = self.fullest(uses)
            rows.append(
                (
                    name,
                    f"{sum(use.neurons for use in uses):,}",
                    f"{len(uses):,}",
                    f"{max(use.input_axons for use in uses):,}",
                    f"{max(use.synapse_words for use in uses):,}",
                    f"{of_core:.1%} {RESOURCES[most]}",
                )
            )
        lines = [
            f"{self.target}: {len(self.uses):,} of {self.cores:,} cores; fullest is "
            f"{share:.1%} of a core's {RESOURCES[resource]} ({where})",
            "per core at most:",
            *_table(rows),
        ]
        lines.extend(
            f"{use.projection}: rows list their synapses, {use.words:,} words where dense rows "
            f"take {use.dense_words:,}"
            for use in self.synapses
            if use.rows == "sparse" and use.dense_words is not None
        )
        lines.extend(self._travels())
        if self.unchecked:
            lines.append(f"not checked, no limit published: {', '.join(self.unchecked)}")
        lines.extend(f"violation: {violation}" for violation in self.violations)
        return "\n".join(lines)

    def _travels(self) -> list[str]:
        """A line on messages, where they were counted."""
        if self.traffic is None or not self.traffic.between_cores:
            return []
        found = self.traffic
        basis = "measured" if found.measured else "if every neuron spikes once"
        text = f"messages between cores per sample, {basis}: {found.between_cores:,.0f}"
        if self.chips > 1:
            text += f", {found.between_chips:,.0f} of them between {self.chips} chips"
        return [text]


def _table(rows: list[tuple[str, ...]]) -> list[str]:
    """Rows as aligned text: the first and last column to the left, the others to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if i in (0, len(row) - 1) else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
