"""Weights of projections on their way to integers, alone or as two of one sign, and what is lost.

With the scale S of the target population (activation units per unit of the float network) and an
exponent e, a weight w becomes q = clip(round(w r / step)) step with the ratio r = S / 2^e.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from neurodeploy.errors import UnsupportedError
from neurodeploy.ir.convolution import Convolution
from neurodeploy.ir.fixed_point import WeightFormat
from neurodeploy.ir.models import FloatModel
from neurodeploy.ir.network import Network, Population, Projection
from neurodeploy.ir.operators import Operator
from neurodeploy.ir.quantized import QuantizedNetwork, QuantizedPopulation, QuantizedProjection
from neurodeploy.target import Target

GRID_NOISE = 1e-5
"""Share of the largest weight by which weights may miss a grid that they are said to lie on."""


@dataclass(frozen=True, eq=False)
class Weights:
    """The weights of a projection and what their scale depends on.

    Attributes:
        weights: per unit of the source's integers.
        weight_format: which integers they may become.
        payload: largest integer a source spike carries.
        rows: neurons with weights of their own: one per output, or per channel of a convolution.
        bound: largest activation per unit of scale.
    """

    weights: np.ndarray
    weight_format: WeightFormat
    payload: int
    rows: int
    bound: float

    @property
    def full_ratio(self) -> float:
        """The ratio at which the largest weight just fills its format; infinite for all zeros."""
        return self.ratio_for(
            float(self.weights.max(initial=0)), float(self.weights.min(initial=0))
        )

    def ratio_for(self, highest: float, lowest: float) -> float:
        """The largest ratio at which neither of these weights is clipped."""
        up = self.weight_format.maximum / highest if highest > 0 else math.inf
        down = self.weight_format.minimum / lowest if lowest < 0 else math.inf
        return min(up, down)

    @property
    def largest(self) -> float:
        """The largest magnitude of a weight."""
        return float(np.abs(self.weights).max(initial=0))

    def lossless_ratio(self) -> float | None:
        """The ratio at which all weights are integers of the format, if there is one.

        Only weights that take few values can be on a grid; its step is looked for among their
        differences. float32 noise is allowed.
        """
        most = (self.weight_format.maximum - self.weight_format.minimum) // self.weight_format.step
        values = np.unique(np.append(self.weights, 0.0))
        gaps = np.diff(values)
        gaps = gaps[gaps > GRID_NOISE * self.largest]
        if not 0 < gaps.size <= 2 * most:
            return None
        ratio = self.weight_format.step / float(gaps.min())
        # The smallest gap carries the most noise: take the step that fits all weights best.
        whole = np.rint(values * ratio / self.weight_format.step)
        ratio = self.weight_format.step * float(whole @ whole) / float(whole @ values)
        exact, clipped = self.rounded(values, ratio)
        off = np.abs(exact - values * ratio).max() > GRID_NOISE * 256
        return None if off or (exact != clipped).any() else ratio

    def spare_bits(self, target: Target) -> int:
        """Right shifts of the accumulated activation that cost less than a weight's last bit.

        Graded spikes multiply weights by up to ``payload``, so that many low bits say nothing.
        """
        return min(int(math.log2(self.payload)), max(-target.synapse.weight_exponent_min.value, 0))

    def exponent_at(self, scale: float, ratio: float, target: Target) -> int:
        """The smallest exponent at which the weights are multiplied by no more than ``ratio``.

        It is negative where graded input pays for that, and where thresholds keep the scale so low
        that the weights would not fill their format.
        """
        if not math.isfinite(ratio):
            return 0
        shift = math.log2(scale) - math.log2(ratio)
        return max(target.synapse.weight_exponent_min.value, math.ceil(shift - 1e-9))

    def rounded(self, weights: np.ndarray, ratio: float) -> tuple[np.ndarray, np.ndarray]:
        """Integers nearest to ``weights`` times ``ratio``, before and after clipping."""
        step = self.weight_format.step
        exact = np.rint(weights * (ratio / step)) * step
        return exact, np.clip(exact, self.weight_format.minimum, self.weight_format.maximum)


SPLIT = "split"
ONE_SIGN = {"excitatory": np.maximum, "inhibitory": np.minimum}


def halves(name: str) -> tuple[str, str]:
    """Names of the one-bit projections that a projection of both signs becomes."""
    return f"{name}.excitatory", f"{name}.inhibitory"


def payload_of(network: Network, population: Population) -> int:
    """Largest integer that a spike of an input or of leaky neurons carries."""
    return network.contract.input_code.payload if population.neuron is None else 1


@dataclass(frozen=True)
class Sent:
    """What a population sends, in integers.

    Attributes:
        unit: what 1 of the float network is.
        largest: the largest magnitude.
        graded: whether neurons send it, and more than spikes.
    """

    unit: float
    largest: int
    graded: bool = False

    @staticmethod
    def by(network: Network, name: str, known: Mapping[str, QuantizedPopulation]) -> Sent:
        """What a population of that name sends.

        Args:
            known: populations that have their integers.

        Raises:
            UnsupportedError: it sends graded values and has no integers yet.
        """
        population = network.population(name)
        if not isinstance(population.neuron, FloatModel) or not population.neuron.message.graded:
            payload = payload_of(network, population)
            return Sent(float(payload), payload)
        if name not in known:
            raise UnsupportedError(
                f"population {name!r}: sends graded values back within a loop, for which no scale "
                "can be chosen"
            )
        found = known[name]
        assert found.neuron is not None
        return Sent(found.message_unit, found.neuron.largest_message, graded=True)


@dataclass(frozen=True, eq=False)
class Incoming(Weights):
    """A projection with what its quantisation needs.

    Attributes:
        projection: the float one.
        name: of the projection in integers.
    """

    projection: Projection
    name: str
    sent: Sent

    @property
    def graded(self) -> bool:
        """Whether neurons send graded values through it."""
        return self.sent.graded

    @staticmethod
    def of(
        projection: Projection,
        network: Network,
        bits: int,
        known: Mapping[str, QuantizedPopulation] = MappingProxyType({}),
    ) -> list[Incoming]:
        """The projection in the format that its weights' signs ask for.

        One bit with a sign holds -256 and 0, never a positive weight. Weights of both signs are
        then ``split``.

        Args:
            known: populations that have their integers, for the units of what they send.
        """
        form = WeightFormat.fitting(projection.operator.weights, bits)
        sign = form.sign if form.maximum or form.sign != "mixed" else SPLIT
        return Incoming.of_sign(projection, network, bits, sign, known)

    @staticmethod
    def of_sign(
        projection: Projection,
        network: Network,
        bits: int,
        sign: str,
        known: Mapping[str, QuantizedPopulation] = MappingProxyType({}),
    ) -> list[Incoming]:
        """The projection with a given sign mode.

        ``split`` gives two projections, one per sign, whose sum is the one: of one bit each they
        hold -128, 0 and 128 together.
        """
        sent, operator = Sent.by(network, projection.source, known), projection.operator
        outputs = operator.output_shape
        rows = outputs[0] if isinstance(operator, Convolution) else math.prod(outputs)

        def part(weights: np.ndarray, sign: str, name: str) -> Incoming:
            bound = operator.with_weights(weights).absolute_row_bound()
            bound *= sent.largest / sent.unit
            form = WeightFormat(bits, sign)
            return Incoming(
                weights / sent.unit, form, sent.largest, rows, bound, projection, name, sent
            )

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
    source = quantized.population(projection.source).message_unit
    found = sum(_values(part.operator) * (2.0**part.exponent * source / scale) for part in parts)
    difference = np.asarray(found - exact, np.float64)
    # Weights trained on the grid are off by what a float64 division rounds, which nobody lost.
    difference[np.abs(difference) <= 2 * np.finfo(np.float64).eps * np.abs(exact)] = 0
    # In the largest weight, whose own square may leave the floats.
    unit = float(np.abs(exact).max(initial=0)) or 1.0
    signal, noise = (float(np.square(part / unit).sum()) for part in (exact, difference))
    return ProjectionError(
        projection=projection.name,
        source=projection.source,
        target=projection.target,
        bits=parts[0].weight_format.bits,
        exponent=max(part.exponent for part in parts),
        scale=scale,
        weights=exact.size,
        rms_error=unit * math.sqrt(noise / exact.size) if exact.size else 0.0,
        sqnr_db=10 * math.log10(signal / noise) if signal and noise else None,
        clipped=sum(part.clipped for part in parts),
    )


def _values(operator: Operator) -> np.ndarray:
    return np.asarray(operator.weights, np.float64)
