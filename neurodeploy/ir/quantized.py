"""A network in integers: exactly what is deployed, whoever simulates it.

Each step, in Lava's arithmetic (``fixed_point``), with trz(x, d) = sign(x) (|x| (4096 - d) >> 12):

    a    = sum over projections of (W s) << exponent      (arithmetic right shift when negative)
    u    = trz(u, u_decay) + (a << 6), wrapped once into 24 bits
    v    = clip(trz(v, v_decay) + u + (bias_mantissa << bias_exponent), +-(2^23 - 1))
    s    = v > threshold << 6   (or >=; never, when threshold is None)
    v    = 0 where s, or v - (threshold << 6)
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from neurodeploy.ir.contract import Comparison, Contract, Reset
from neurodeploy.ir.fixed_point import WeightFormat
from neurodeploy.ir.operators import Operator, Shape


@dataclass(frozen=True, eq=False)
class QuantizedNeuron:
    """Integer parameters; int64 arrays that broadcast to the population's shape.

    Attributes:
        kind: name of the NIR primitive it came from.
        u_decay: 1..4096 in 1/4096; 4096 keeps no current (Lava's ``du`` is u_decay - 1).
        v_decay: 0..4095 in 1/4096 (Lava's ``dv``).
        bias_mantissa, bias_exponent: bias of v in state units is mantissa << exponent.
        threshold: 0..131071, compared with v after << 6; None for a population without spikes.
    """

    kind: str
    u_decay: np.ndarray
    v_decay: np.ndarray
    bias_mantissa: np.ndarray
    bias_exponent: np.ndarray
    threshold: np.ndarray | None
    reset: Reset
    comparison: Comparison


@dataclass(frozen=True, eq=False)
class QuantizedPopulation:
    """Neurons in an array of ``shape``; an input has no ``neuron``.

    Attributes:
        scale: integer activation units per unit of the float network (state units are 64 times
            finer), and for an input its ``levels``.
    """

    name: str
    shape: Shape
    neuron: QuantizedNeuron | None
    scale: float


@dataclass(frozen=True, eq=False)
class QuantizedProjection:
    """Integer weights of one projection.

    Attributes:
        operator: with integer weights inside ``weight_format``.
        exponent: left shift of the accumulated activation.
        payload: largest integer a spike carries; 1 for binary spikes.
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
        return next(population for population in self.populations if population.name == name)

    @property
    def inputs(self) -> tuple[QuantizedPopulation, ...]:
        """Populations without neurons."""
        return tuple(p for p in self.populations if p.neuron is None)
