"""Scales, exponents and widths that a network is made for; its integers follow from them.

A network trained on a target's integer grid carries them in one metadata key of its NIR graph, as
does one written from its integers (``quantization.grid``), so that its export takes them as they
are. See ``quantization.planned``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from neurodeploy.errors import InputError
from neurodeploy.ir.contract import plain
from neurodeploy.ir.fixed_point import WEIGHT_BITS
from neurodeploy.support.schema import build

METADATA_KEY = "neurodeploy_quantization"
FORMAT = 1
"""Version of the metadata layout."""


@dataclass(frozen=True)
class ProjectionPlan:
    """Integers of one projection.

    Attributes:
        bits: width of a weight.
        sign: of its weight format; ``split`` has one projection per sign, see
            ``quantization.incoming``.
        exponent: shift of the accumulated activation.
    """

    bits: int
    sign: Literal["mixed", "excitatory", "inhibitory", "split"]
    exponent: int

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= WEIGHT_BITS:
            raise ValueError(f"bits must be 1..{WEIGHT_BITS}, found {self.bits}")


@dataclass(frozen=True)
class PopulationPlan:
    """Integers of one population.

    Attributes:
        scale: activation units per unit of the float network.
        incoming: by the name of the graph's node that holds the weights.
    """

    scale: float
    incoming: dict[str, ProjectionPlan]

    def __post_init__(self) -> None:
        if not self.scale > 0:
            raise ValueError(f"scale must be positive, found {self.scale}")


@dataclass(frozen=True)
class QuantizationPlan:
    """Integers of a network, for the target that it was trained for.

    Attributes:
        populations: all but the inputs, by name.
    """

    target: str
    populations: dict[str, PopulationPlan]

    def to_metadata(self) -> dict[str, Any]:
        """Nested dict of scalars and strings, as NIR metadata can hold it."""
        return {"format": FORMAT, **asdict(self)}

    @staticmethod
    def within(metadata: Mapping[str, Any], where: str) -> QuantizationPlan | None:
        """The plan in a graph's metadata, or None when it carries none.

        Raises:
            InputError: as ``from_metadata``.
        """
        found = metadata.get(METADATA_KEY)
        return None if found is None else QuantizationPlan.from_metadata(found, where)

    @staticmethod
    def from_metadata(metadata: Mapping[str, Any], where: str) -> QuantizationPlan:
        """Read back what ``to_metadata`` wrote.

        Raises:
            InputError: another layout, unknown or missing keys, or values of the wrong type.
        """
        table = plain(metadata)
        found = table.pop("format", None) if isinstance(table, dict) else None
        if found != FORMAT:
            raise InputError(f"{where}: format {found!r}; this version reads format {FORMAT}")
        return build(QuantizationPlan, table, where)
