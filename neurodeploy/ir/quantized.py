"""Networks in integers: exactly what is deployed, whoever simulates it, and plans to come to them.

Each step of leaky neurons, in Lava's arithmetic (``fixed_point``), with
trz(x, d) = sign(x) (|x| (4096 - d) >> 12):

    a    = sum over projections of (W s) << exponent      (arithmetic right shift when negative)
    u    = trz(u, u_decay) + (a << 6), wrapped once into 24 bits
    v    = clip(trz(v, v_decay) + u + (bias_mantissa << bias_exponent), +-(2^23 - 1))
    s    = v > threshold << 6   (or >=; never, when threshold is None)
    v    = 0 where s, or v - (threshold << 6)

For ``refractory_period`` steps after a spike v stays as the reset left it and s is 0, as in Lava's
LIFRefractory. What neurons of other models compute stands in their files (``models``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np

from neurodeploy.errors import InputError
from neurodeploy.ir.contract import Comparison, Contract, Reset, plain
from neurodeploy.ir.fixed_point import ACTIVATION_SHIFT, INT32_EXACT, WEIGHT_BITS, WeightFormat
from neurodeploy.ir.models import AnyNeuron, IntegerModel, not_leaky
from neurodeploy.ir.operators import Operator, Shape
from neurodeploy.support.schema import build

PLAN_KEY = "neurodeploy_quantization"
PLAN_FORMAT = 1
"""Version of the layout of a plan in a NIR graph's metadata."""


@dataclass(frozen=True, eq=False)
class QuantizedNeuron(AnyNeuron):
    """Integer parameters of leaky neurons; int64 arrays that broadcast to the population's shape.

    Attributes:
        kind: name of the NIR primitive it came from.
        u_decay: 1..4096 in 1/4096; 4096 keeps no current (Lava's ``du`` is u_decay - 1).
        v_decay: 0..4095 in 1/4096 (Lava's ``dv``).
        bias_mantissa, bias_exponent: bias of v in state units is mantissa << exponent.
        threshold: 0..131071, compared with v after << 6; None for a population without spikes.
        refractory_period: steps after a spike in which v is held.
    """

    kind: str
    u_decay: np.ndarray
    v_decay: np.ndarray
    bias_mantissa: np.ndarray
    bias_exponent: np.ndarray
    threshold: np.ndarray | None
    reset: Reset
    comparison: Comparison
    refractory_period: int = 0

    @property
    def spiking(self) -> bool:
        """Whether there is a threshold."""
        return self.threshold is not None


@dataclass(frozen=True, eq=False)
class QuantizedPopulation:
    """Neurons in an array of ``shape``; an input has no ``neuron``.

    Attributes:
        scale: integer activation units per unit of the float network (state units are 64 times
            finer), and for an input its ``levels``.
    """

    name: str
    shape: Shape
    neuron: QuantizedNeuron | IntegerModel | None
    scale: float

    @property
    def state_unit(self) -> float:
        """State units, in which v is held, in a unit of the float network."""
        shift = ACTIVATION_SHIFT if self.neuron is None else self.neuron.state_shift
        return self.scale * 2**shift

    @property
    def leaky(self) -> QuantizedNeuron:
        """Its leaky neurons, for what takes no others.

        Raises:
            UnsupportedError: they are of another model.
            ValueError: it is an input.
        """
        if isinstance(self.neuron, QuantizedNeuron):
            return self.neuron
        raise not_leaky(self.name, self.neuron)

    @property
    def message_unit(self) -> float:
        """What 1 of the float network's messages is in integers."""
        if self.neuron is None:
            return self.scale
        if isinstance(self.neuron, IntegerModel):
            return self.neuron.message_unit(self.scale)
        return 1.0


@dataclass(frozen=True, eq=False)
class QuantizedProjection:
    """Integer weights of one projection.

    Attributes:
        operator: with integer weights inside ``weight_format``.
        exponent: left shift of the accumulated activation.
        payload: largest magnitude that a message of the source carries; 1 for binary spikes.
        clipped: how many weights were outside the format and clipped when quantised.
        learning_bits: state of each synapse beside its weight when it learns; None when it does
            not.
    """

    name: str
    source: str
    target: str
    operator: Operator
    weight_format: WeightFormat
    exponent: int
    payload: int
    delay: int = 0
    clipped: int = 0
    learning_bits: int | None = None

    @property
    def may_wrap(self) -> bool:
        """Whether a sum may leave 32 bits before it is shifted to the right.

        A left shift may go before or after, since bits that are lost above stay lost.
        """
        bound = self.operator.absolute_row_bound() * self.payload
        return self.exponent < 0 and bound >= INT32_EXACT


@dataclass(frozen=True, eq=False)
class QuantizedNetwork:
    """The deployed integers and the contract they run under.

    Attributes:
        notes: counts and choices of quantisation worth reading, per population or projection.
    """

    name: str
    populations: tuple[QuantizedPopulation, ...]
    projections: tuple[QuantizedProjection, ...]
    output: str
    contract: Contract
    notes: dict[str, str] = field(default_factory=dict)

    def population(self, name: str) -> QuantizedPopulation:
        """The population of that name."""
        return self._by_name[name]

    @cached_property
    def _by_name(self) -> dict[str, QuantizedPopulation]:
        return {population.name: population for population in self.populations}

    @property
    def inputs(self) -> tuple[QuantizedPopulation, ...]:
        """Populations without neurons."""
        return tuple(p for p in self.populations if p.neuron is None)

    @property
    def classes(self) -> int:
        """Classes that it tells apart: its outputs, of which the largest names the class."""
        return math.prod(self.population(self.output).shape)


@dataclass(frozen=True)
class ProjectionPlan:
    """Integers of one projection.

    Attributes:
        bits: width of a weight.
        sign: of its weight format; ``split`` has one projection per sign, see
            ``quantization.weights``.
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
        sends: integers by which neurons of another model make messages; empty for leaky ones.
    """

    scale: float
    incoming: dict[str, ProjectionPlan]
    sends: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.scale > 0:
            raise ValueError(f"scale must be positive, found {self.scale}")


@dataclass(frozen=True)
class QuantizationPlan:
    """Scales, exponents and widths that a network is made for; its integers follow from them.

    A network trained on a target's integer grid carries them in one metadata key of its NIR graph,
    as does one written from its integers (``quantization.planned.plan_of``), so that its export
    takes them as they are.

    Attributes:
        target: that the network was trained for.
        populations: all but the inputs, by name.
    """

    target: str
    populations: dict[str, PopulationPlan]

    def to_metadata(self) -> dict[str, Any]:
        """Nested dict of scalars and strings, as NIR metadata can hold it."""
        table = {"format": PLAN_FORMAT, **asdict(self)}
        for population in table["populations"].values():
            if not population["sends"]:
                del population["sends"]
        return table

    @staticmethod
    def within(metadata: Mapping[str, Any], where: str) -> QuantizationPlan | None:
        """The plan in a graph's metadata, or None when it carries none.

        Raises:
            InputError: as ``from_metadata``.
        """
        found = metadata.get(PLAN_KEY)
        return None if found is None else QuantizationPlan.from_metadata(found, where)

    @staticmethod
    def from_metadata(metadata: Mapping[str, Any], where: str) -> QuantizationPlan:
        """Read back what ``to_metadata`` wrote.

        Raises:
            InputError: another layout, unknown or missing keys, or values of the wrong type.
        """
        table = plain(metadata)
        found = table.pop("format", None) if isinstance(table, dict) else None
        if found != PLAN_FORMAT:
            raise InputError(f"{where}: format {found!r}; this version reads format {PLAN_FORMAT}")
        return build(QuantizationPlan, table, where)
