"""What rounding did to the weights of each projection."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from neurodeploy.ir.network import Network, Projection
from neurodeploy.ir.operators import Operator
from neurodeploy.ir.quantized import QuantizedNetwork, QuantizedProjection
from neurodeploy.quantization.weights import halves


@dataclass(frozen=True)
class ProjectionError:
    """Weights of one projection against those that it stands for.

    Attributes:
        projection, source, target: names in the float network.
        bits: width of the weights.
        exponent: shift of the accumulated activation, the largest one of a pair of one-bit halves.
        scale: activation units per unit of the float network, as the target's.
        weights: how many.
        rms_error: root of the mean squared difference, in units of the float network.
        sqnr_db: 10 log10(sum w^2 / sum difference^2); None where nothing was lost, or no weight is
            other than 0.
        clipped: weights outside the format.
    """

    projection: str
    source: str
    target: str
    bits: int
    exponent: int
    scale: float
    weights: int
    rms_error: float
    sqnr_db: float | None
    clipped: int


def projection_errors(network: Network, quantized: QuantizedNetwork) -> tuple[ProjectionError, ...]:
    """The error of every projection, from the float network and its integers alone.

    One-bit halves of one projection (``Incoming.of_sign``) count as the one that they are together.
    A projection that has no integers of its name is left out.
    """
    found = ((p, _parts(p, quantized)) for p in network.projections)
    return tuple(_error(p, parts, quantized) for p, parts in found if parts)


def _parts(projection: Projection, quantized: QuantizedNetwork) -> list[QuantizedProjection]:
    """What became of a projection: one in integers, or two halves."""
    place = (projection.source, projection.target, projection.delay)
    names = (projection.name, *halves(projection.name))
    return [
        part
        for part in quantized.projections
        if part.name in names and (part.source, part.target, part.delay) == place
    ]


def _error(
    projection: Projection, parts: list[QuantizedProjection], quantized: QuantizedNetwork
) -> ProjectionError:
    scale = quantized.population(projection.target).scale
    exact = _values(projection.operator)
    found = sum(_values(part.operator) * _unit(part, scale) for part in parts)
    difference = np.asarray(found - exact, np.float64)
    # Weights trained on the grid are off by what a float64 division rounds, which nobody lost.
    difference[np.abs(difference) <= 2 * np.finfo(np.float64).eps * np.abs(exact)] = 0
    signal, noise = float(np.square(exact).sum()), float(np.square(difference).sum())
    return ProjectionError(
        projection=projection.name,
        source=projection.source,
        target=projection.target,
        bits=parts[0].weight_format.bits,
        exponent=max(part.exponent for part in parts),
        scale=scale,
        weights=exact.size,
        rms_error=math.sqrt(noise / exact.size) if exact.size else 0.0,
        sqnr_db=10 * math.log10(signal / noise) if signal and noise else None,
        clipped=sum(part.clipped for part in parts),
    )


def _unit(part: QuantizedProjection, scale: float) -> float:
    """What an integer weight of 1 means to the float network, whose spikes are at most 1."""
    return 2.0**part.exponent * part.payload / scale


def _values(operator: Operator) -> np.ndarray:
    return np.asarray(operator.weights, np.float64)
