"""Sigma-delta networks to integers: how fine states and messages are, from what samples reach.

A population with scale S holds its state in units of 1/S; its messages are 2^exponent coarser. The
synapses of a projection whose source's messages mean 1/m become W S / (m 2^e), rounded, with a
shift e of the sum. S is the finest for which the largest state on samples keeps ``HEADROOM`` below
24 bits and the exponent, at most 7, brings the largest message below ``MESSAGE_BITS``.

No threshold is below one unit of a message: of smaller changes Lava would lose those above 0 and
send those below as -1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from neurodeploy.errors import UnsupportedError
from neurodeploy.ir.fixed_point import STATE_LIMIT, WeightFormat
from neurodeploy.ir.models import IntegerModel
from neurodeploy.ir.network import Network, Population, Projection
from neurodeploy.ir.quantized import QuantizedNetwork, QuantizedPopulation, QuantizedProjection
from neurodeploy.ir.schedule import step_order
from neurodeploy.neurons.sigma_delta import (
    MOST_EXPONENT,
    Delta,
    QuantizedDelta,
    QuantizedSigma,
    QuantizedSigmaDelta,
    Sigma,
    SigmaDelta,
)
from neurodeploy.quantization.scales import mse_ratios
from neurodeploy.quantization.weights import Incoming
from neurodeploy.simulation.engines import FloatEngine
from neurodeploy.simulation.trace import Samples
from neurodeploy.target import Target

HEADROOM = 2
"""How much further than on samples states and messages may go before they leave their width."""

MESSAGE_BITS = 16
"""Width that the largest message on samples is brought to, its sign among it."""


BATCH = 16
"""Samples simulated at a time."""


@dataclass(frozen=True)
class Reach:
    """The largest magnitudes of a population on samples, in units of the float network.

    Attributes:
        state: of everything that it keeps.
        value: of v, what it stands for.
    """

    state: float
    value: float


Parts = list[tuple[Projection, QuantizedProjection]]
"""Integers with the projection in floats that they are of."""


def reach_on(network: Network, samples: Samples) -> dict[str, Reach]:
    """What every population reaches on samples."""
    found = {p.name: Reach(0.0, 0.0) for p in network.populations if p.neuron is not None}
    for _, trace in FloatEngine(network).run(samples.batches(BATCH), state=True):
        for name, before in found.items():
            record = trace.populations[name]
            state = max(float(np.abs(values).max()) for values in record.state.values())
            value = 0.0 if record.v is None else float(np.abs(record.v).max())
            found[name] = Reach(max(before.state, state), max(before.value, value))
    return found


def is_sigma_delta(network: Network) -> bool:
    """Whether all neurons of a network are Sigma, Delta or SigmaDelta."""
    neurons = [p.neuron for p in network.populations if p.neuron is not None]
    return all(isinstance(neuron, Sigma | Delta | SigmaDelta) for neuron in neurons)


def quantize_sigma_delta(
    network: Network, target: Target, reach: Mapping[str, Reach], weight_bits: int | None = None
) -> QuantizedNetwork:
    """Round a sigma-delta network to the integers of a target.

    Args:
        reach: of every population with neurons.
        weight_bits: width of all weights; the target's when None.

    Raises:
        UnsupportedError: a target without programmable neurons, or what cannot be rounded.
    """
    if not target.neuron.programmable.value:
        raise UnsupportedError(
            f"{target.name}: its neurons are fixed, and sigma-delta neurons are a program"
        )
    bits = target.synapse.weight_bits.value if weight_bits is None else weight_bits
    done: dict[str, QuantizedPopulation] = {
        p.name: QuantizedPopulation(
            p.name, p.shape, None, float(network.contract.input_code.payload)
        )
        for p in network.inputs
    }
    projections: dict[Projection, list[QuantizedProjection]] = {}
    notes: dict[str, str] = {}
    for name in step_order(network):
        population = network.population(name)
        if population.neuron is None:
            continue
        into = [p for p in network.projections if p.target == name]
        found = _Layer(population, into, done, network, target, bits)
        done[name], parts = found.at(reach[name])
        for projection, part in parts:
            projections.setdefault(projection, []).append(part)
            notes |= {part.name: f"{part.clipped:,} weights clipped"} if part.clipped else {}
    return QuantizedNetwork(
        network.name,
        tuple(done[p.name] for p in network.populations),
        tuple(part for p in network.projections for part in projections[p]),
        network.output,
        network.contract,
        notes,
    )


@dataclass(frozen=True, eq=False)
class _Layer:
    """A population, what leads into it, and the sources that are integers already."""

    population: Population
    into: list[Projection]
    done: Mapping[str, QuantizedPopulation]
    network: Network
    target: Target
    bits: int

    def at(self, reach: Reach) -> tuple[QuantizedPopulation, Parts]:
        """The integers at the finest scale that samples leave room for."""
        population, neuron = self.population, self.population.neuron
        if isinstance(neuron, Delta):
            return self._encoder(neuron)
        incoming = [
            part for p in self.into for part in Incoming.of(p, self.network, self.bits, self.done)
        ]
        scale, exponents = self._scale(mse_ratios(incoming), reach)
        parts = [
            (item.projection, item.quantized(scale, exponent))
            for item, exponent in zip(incoming, exponents, strict=True)
        ]
        model: IntegerModel = QuantizedSigma()
        if isinstance(neuron, SigmaDelta):
            exponent = _message_exponent(scale * reach.value)
            model = QuantizedSigmaDelta(
                _threshold(neuron.threshold, scale, exponent),
                np.rint(neuron.bias * scale).astype(np.int64),
                exponent,
                neuron.cumulative,
                rectified=neuron.rectified,
            )
        return QuantizedPopulation(population.name, population.shape, model, scale), parts

    def _encoder(self, neuron: Delta) -> tuple[QuantizedPopulation, Parts]:
        """An input's integers are what it sends the changes of."""
        (projection,) = self.into
        levels = self.network.contract.input_code.payload
        weights = projection.operator.weights
        if np.any(weights != 1) or np.any(neuron.bias):
            raise UnsupportedError(
                f"population {self.population.name!r}: Delta takes the input as it is"
            )
        integers = QuantizedDelta(
            _threshold(neuron.threshold, levels, 0),
            np.zeros_like(neuron.bias, np.int64),
            cumulative=neuron.cumulative,
        )
        part = QuantizedProjection(
            projection.name,
            projection.source,
            projection.target,
            projection.operator.with_weights(weights.astype(np.int64)),
            WeightFormat(8, "excitatory"),
            0,
            levels,
            projection.delay,
        )
        name, shape = self.population.name, self.population.shape
        return QuantizedPopulation(name, shape, integers, float(levels)), [(projection, part)]

    def _scale(self, ratios: list[float], reach: Reach) -> tuple[float, list[int]]:
        """States in a unit of the float network, and the shift of each projection.

        The first projection gets its ratio exactly, unless its shift would be too long; the others
        a smaller one, at most halved.
        """
        widest = 2.0 ** (MESSAGE_BITS - 1 + MOST_EXPONENT)
        room = [(STATE_LIMIT, reach.state), (widest, reach.value)]
        finest = min(limit / HEADROOM / most if most else math.inf for limit, most in room)
        anchor = next((ratio for ratio in ratios if math.isfinite(ratio)), 1.0)
        # Finer than the weights make it, a state would only be further from their sum's units.
        shift = min(math.floor(math.log2(finest / anchor)), 0) if math.isfinite(finest) else 0
        scale = math.ldexp(anchor, shift)
        lowest = self.target.synapse.weight_exponent_min.value
        return scale, [
            max(lowest, math.ceil(math.log2(scale / ratio) - 1e-9)) if math.isfinite(ratio) else 0
            for ratio in ratios
        ]


def _message_exponent(largest: float) -> int:
    """By how much messages of the largest value have to be coarser than it."""
    wanted = math.log2(max(largest * HEADROOM, 1.0) / 2 ** (MESSAGE_BITS - 1))
    return min(max(0, math.ceil(wanted - 1e-9)), MOST_EXPONENT)


def _threshold(threshold: float, scale: float, exponent: int) -> int:
    """In units of the state, at least one unit of a message."""
    return max(round(threshold * scale), 1 << exponent)
