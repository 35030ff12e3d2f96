"""Projections on their way to integers, each alone or as two of one sign."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from neurodeploy.ir.fixed_point import WeightFormat
from neurodeploy.ir.network import Network, Population, Projection
from neurodeploy.ir.operators import Convolution
from neurodeploy.ir.quantized import QuantizedProjection
from neurodeploy.quantization.weights import Weights

SPLIT = "split"
ONE_SIGN = {"excitatory": np.maximum, "inhibitory": np.minimum}


def halves(name: str) -> tuple[str, str]:
    """Names of the one-bit projections that a projection of both signs becomes."""
    return f"{name}.excitatory", f"{name}.inhibitory"


def payload_of(network: Network, population: Population) -> int:
    """Largest integer that a spike of the population carries."""
    return network.contract.input_code.payload if population.neuron is None else 1


@dataclass(frozen=True, eq=False)
class Incoming(Weights):
    """A projection with what its quantisation needs.

    Attributes:
        projection: the float one.
        name: of the projection in integers.
    """

    projection: Projection
    name: str

    @staticmethod
    def of(projection: Projection, network: Network, bits: int) -> list[Incoming]:
        """The projection in the format that its weights' signs ask for.

        One bit with a sign holds -256 and 0, never a positive weight. Weights of both signs are
        then ``split``.
        """
        form = WeightFormat.fitting(projection.operator.weights, bits)
        sign = form.sign if form.maximum or form.sign != "mixed" else SPLIT
        return Incoming.of_sign(projection, network, bits, sign)

    @staticmethod
    def of_sign(projection: Projection, network: Network, bits: int, sign: str) -> list[Incoming]:
        """The projection with a given sign mode.

        ``split`` gives two projections, one per sign, whose sum is the one: of one bit each they
        hold -128, 0 and 128 together.
        """
        payload = payload_of(network, network.population(projection.source))
        operator = projection.operator
        outputs = operator.output_shape
        rows = outputs[0] if isinstance(operator, Convolution) else math.prod(outputs)

        def part(weights: np.ndarray, sign: str, name: str) -> Incoming:
            bound = operator.with_weights(weights).absolute_row_bound()
            form = WeightFormat(bits, sign)
            return Incoming(weights / payload, form, payload, rows, bound, projection, name)

        if sign != SPLIT:
            return [part(operator.weights, sign, projection.name)]
        return [
            part(keep(operator.weights, 0.0), one, name)
            for (one, keep), name in zip(ONE_SIGN.items(), halves(projection.name), strict=True)
        ]

    def quantized(self, scale: float, exponent: int) -> QuantizedProjection:
        """The projection in integers."""
        exact, integers = self.rounded(self.weights, scale / 2.0**exponent)
        p = self.projection
        return QuantizedProjection(
            name=self.name,
            source=p.source,
            target=p.target,
            operator=p.operator.with_weights(integers.astype(np.int64)),
            weight_format=self.weight_format,
            exponent=exponent,
            payload=self.payload,
            delay=p.delay,
            clipped=int((exact != integers).sum()),
        )
