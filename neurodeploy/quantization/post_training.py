"""Post-training quantisation: one scale per population, largest weights fill the format.

A population with activation scale S holds currents and thresholds in units of 1/S; a projection
from a source whose integers mean 1/scale brings weights W S / scale. S is as large as the weights,
the threshold and the bias allow; beyond that a power of two goes into the weight exponent, as far
as no 24-bit state overflows, which costs nothing and makes thresholds and leaks finer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from neurodeploy.errors import UnsupportedError
from neurodeploy.fixed_point import (
    ACTIVATION_SHIFT,
    DECAY_ONE,
    STATE_LIMIT,
    WeightFormat,
    split_bias,
)
from neurodeploy.network import Network, Neuron, Population, Projection
from neurodeploy.quantized import (
    QuantizedNetwork,
    QuantizedNeuron,
    QuantizedPopulation,
    QuantizedProjection,
)
from neurodeploy.target import Target

SILENT_SHARE = 0.95
"""Of the worst case that saturates v, how much a read-out on a fixed neuron may use: weights that
round up must not take v past the highest threshold."""

ACTIVATION_LIMIT = (STATE_LIMIT - 1) >> ACTIVATION_SHIFT
"""Largest activation that cannot wrap u on its own."""


def quantize(
    network: Network,
    target: Target,
    weight_bits: int | None = None,
    bias_exponent_min: int = 0,
) -> QuantizedNetwork:
    """Round a network to the integers of a target.

    Args:
        weight_bits: width of all weights; the target's when None.
        bias_exponent_min: biases are multiples of 2 to this.

    Raises:
        UnsupportedError: weights of both signs in a width that has no positive ones.
    """
    bits = target.synapse.weight_bits.value if weight_bits is None else weight_bits
    scales = {p.name: float(_payload(network, p)) for p in network.populations if p.neuron is None}
    populations: dict[str, QuantizedPopulation] = {}
    projections: dict[Projection, QuantizedProjection] = {}
    notes: dict[str, str] = {}
    for population in network.populations:
        if population.neuron is None:
            populations[population.name] = QuantizedPopulation(
                population.name, population.shape, None, scales[population.name]
            )
            continue
        incoming = [
            _Incoming.of(p, network, bits)
            for p in network.projections
            if p.target == population.name
        ]
        scale, exponents = _choose_scale(
            population.neuron, incoming, target, network.contract.steps
        )
        for item, exponent in zip(incoming, exponents, strict=True):
            quantized = item.quantized(scale, exponent)
            projections[item.projection] = quantized
            if quantized.clipped:
                notes[quantized.name] = f"{quantized.clipped} weights clipped to the format"
        neuron, clipped = _quantize_neuron(population.neuron, scale, target, bias_exponent_min)
        if clipped:
            notes[population.name] = clipped
        populations[population.name] = QuantizedPopulation(
            population.name, population.shape, neuron, scale
        )
    return QuantizedNetwork(
        network.name,
        tuple(populations[p.name] for p in network.populations),
        tuple(projections[p] for p in network.projections),
        network.output,
        network.contract,
        notes,
    )


def _payload(network: Network, population: Population) -> int:
    return network.contract.input_code.payload if population.neuron is None else 1


@dataclass(frozen=True, eq=False)
class _Incoming:
    """A projection with what its quantisation needs.

    Attributes:
        weights: per unit of the source's integers.
        payload: largest integer a source spike carries.
    """

    projection: Projection
    weights: np.ndarray
    weight_format: WeightFormat
    payload: int

    @staticmethod
    def of(projection: Projection, network: Network, bits: int) -> _Incoming:
        payload = _payload(network, network.population(projection.source))
        weights = projection.operator.weights / payload
        form = WeightFormat.fitting(weights, bits)
        if form.sign == "mixed" and not form.maximum:
            raise UnsupportedError(
                f"projection {projection.name!r}: {bits}-bit weights of both signs would be -256 "
                "or 0 and never positive; give it at least 2 bits"
            )
        return _Incoming(projection, weights, form, payload)

    @property
    def full_scale(self) -> float:
        """The scale at which the largest weight just fills its format; infinite for all zeros."""
        highest, lowest = float(self.weights.max(initial=0)), float(self.weights.min(initial=0))
        up = self.weight_format.maximum / highest if highest > 0 else math.inf
        down = self.weight_format.minimum / lowest if lowest < 0 else math.inf
        return min(up, down)

    @property
    def bound(self) -> float:
        """Largest activation per unit of scale."""
        return self.projection.operator.absolute_row_bound()

    def spare_bits(self, target: Target) -> int:
        """Right shifts of the accumulated activation that cost less than a weight's last bit.

        Graded spikes multiply weights by up to ``payload``, so that many low bits say nothing.
        """
        return min(int(math.log2(self.payload)), max(-target.synapse.weight_exponent_min.value, 0))

    def exponent_at(self, scale: float, target: Target) -> int:
        """The exponent at which the weights fill their format without leaving it."""
        if not math.isfinite(self.full_scale):
            return 0
        shift = math.log2(scale) - math.log2(self.full_scale)
        return max(-self.spare_bits(target), math.ceil(shift - 1e-9))

    def quantized(self, scale: float, exponent: int) -> QuantizedProjection:
        step = self.weight_format.step
        exact = np.rint(self.weights * (scale / 2.0**exponent / step)).astype(np.int64) * step
        integers = np.clip(exact, self.weight_format.minimum, self.weight_format.maximum)
        p = self.projection
        return QuantizedProjection(
            name=p.name,
            source=p.source,
            target=p.target,
            operator=p.operator.with_weights(integers),
            weight_format=self.weight_format,
            exponent=exponent,
            payload=self.payload,
            delay=p.delay,
            clipped=int((exact != integers).sum()),
        )


def _choose_scale(
    neuron: Neuron, incoming: list[_Incoming], target: Target, steps: int
) -> tuple[float, list[int]]:
    """Scale of a population and the weight exponent of each projection into it.

    The projection of the smallest weights fills its format; the others shift theirs left. From
    there the scale goes up by powers of two while exponents and overflow allow, or down as far as
    graded input pays for it.
    """
    highest = max(target.synapse.weight_exponent_max.value, 0)
    full = [item.full_scale for item in incoming if math.isfinite(item.full_scale)] or [1.0]
    upper = min(full) * 2**highest
    lowest = [item.full_scale / 2 ** item.spare_bits(target) for item in incoming]
    lower = max((scale for scale in lowest if math.isfinite(scale)), default=1.0)
    anchor = min(max(full), upper)
    fits = min(_threshold_limit(neuron, target), _bias_limit(neuron, target))
    roomy = _overflow_limit(neuron, incoming, steps)
    if neuron.v_threshold is None and not target.neuron.programmable.value:
        # Without a neuron that never spikes, v has to stay below the highest threshold.
        fits = min(fits, SILENT_SHARE * roomy)
    wanted = max(lower, min(roomy, upper, fits))
    doublings = math.floor(math.log2(wanted / anchor) + 1e-9)
    if anchor * 2.0**doublings < lower * (1 - 1e-9):
        doublings += 1
    scale = min(anchor * 2.0**doublings, upper, fits)
    return scale, [item.exponent_at(scale, target) for item in incoming]


def _threshold_limit(neuron: Neuron, target: Target) -> float:
    """Scale beyond which the threshold leaves its width."""
    highest = 0.0 if neuron.v_threshold is None else float(np.abs(neuron.v_threshold).max())
    width = target.neuron.threshold_bits.value
    return (2**width - 1) / highest if highest > 0 else math.inf


def _bias_limit(neuron: Neuron, target: Target) -> float:
    """Scale beyond which the bias leaves its mantissa and exponent."""
    highest = float(np.abs(neuron.bias).max())
    mantissa = 2 ** (target.neuron.bias_mantissa_bits.value - 1) - 1
    most = mantissa << target.neuron.bias_exponent_max.value
    return most / (highest * 2**ACTIVATION_SHIFT) if highest > 0 else math.inf


def _overflow_limit(neuron: Neuron, incoming: list[_Incoming], steps: int) -> float:
    """Scale up to which not even the worst input can wrap u or saturate v.

    Real input stays far below the worst one, so this limits only the exponent, which is free
    precision, never the weights themselves; overflow is counted in every simulation.
    """
    worst = sum(item.bound for item in incoming) * _added_up(neuron.u_keep, steps)
    worst = (worst + float(np.abs(neuron.bias).max())) * _added_up(neuron.v_keep, steps)
    return ACTIVATION_LIMIT / worst if worst > 0 else math.inf


def _added_up(keep: np.ndarray, steps: int) -> float:
    """Largest multiple of a constant input that a leaky sum reaches within a sample."""
    most = float(np.max(keep))
    return min(steps, 1 / (1 - most)) if most < 1 else steps


def _quantize_neuron(
    neuron: Neuron, scale: float, target: Target, bias_exponent_min: int
) -> tuple[QuantizedNeuron, str]:
    """Integer parameters at a scale, and a note on anything that had to be clipped."""
    decay_max = 2**target.neuron.decay_bits.value - 1
    u_decay = np.clip(np.rint(DECAY_ONE * (1 - neuron.u_keep)), 1, decay_max + 1)
    v_decay = np.clip(np.rint(DECAY_ONE * (1 - neuron.v_keep)), 0, decay_max)
    wanted = np.rint(neuron.bias * scale * 2**ACTIVATION_SHIFT).astype(np.int64)
    split = {
        int(bias): split_bias(
            int(bias),
            target.neuron.bias_mantissa_bits.value,
            target.neuron.bias_exponent_max.value,
            bias_exponent_min,
        )
        for bias in np.unique(wanted)
    }
    pairs = np.array([split[int(bias)] for bias in wanted.ravel()], np.int64).reshape(-1, 2)
    mantissa, exponent = (pairs[:, i].reshape(wanted.shape) for i in range(2))
    notes = []
    far = np.abs(mantissa * 2**exponent - wanted) * 2 > 2**exponent
    if far.any():
        notes.append(f"{int(far.sum())} biases clipped")
    threshold = None
    if neuron.v_threshold is not None:
        exact = np.rint(neuron.v_threshold * scale).astype(np.int64)
        threshold = np.clip(exact, 0, 2**target.neuron.threshold_bits.value - 1)
        if (threshold != exact).any():
            notes.append(f"{int((threshold != exact).sum())} thresholds clipped")
    quantized = QuantizedNeuron(
        kind=neuron.kind,
        u_decay=u_decay.astype(np.int64),
        v_decay=v_decay.astype(np.int64),
        bias_mantissa=mantissa,
        bias_exponent=exponent,
        threshold=threshold,
        reset=neuron.reset,
        comparison=neuron.comparison,
    )
    return quantized, ", ".join(notes)
