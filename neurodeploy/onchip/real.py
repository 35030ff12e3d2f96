"""The real-number network that a deployment's integers mean: where learning in floats starts."""

from __future__ import annotations

import numpy as np

from neurodeploy.ir.fixed_point import ACTIVATION_SHIFT, DECAY_ONE
from neurodeploy.ir.network import Network, Neuron, Population, Projection
from neurodeploy.ir.quantized import QuantizedNetwork, QuantizedPopulation, QuantizedProjection


def real_network(network: QuantizedNetwork) -> Network:
    """Integers divided by their scales; input of payload P means 1, as in the float engine."""
    return Network(
        network.name,
        tuple(Population(p.name, p.shape, _neuron(p)) for p in network.populations),
        tuple(real_projection(p, network) for p in network.projections),
        network.output,
        network.contract,
    )


def real_projection(projection: QuantizedProjection, network: QuantizedNetwork) -> Projection:
    """W = w 2^exponent payload / S of the target."""
    p, scale = projection, network.population(projection.target).scale
    weights = p.operator.weights * (2.0**p.exponent * p.payload / scale)
    return Projection(p.name, p.source, p.target, p.operator.with_weights(weights), p.delay)


def _neuron(population: QuantizedPopulation) -> Neuron | None:
    neuron = population.neuron
    if neuron is None:
        return None
    bias = neuron.bias_mantissa.astype(np.float64) * 2.0**neuron.bias_exponent
    threshold = neuron.threshold
    return Neuron(
        kind=neuron.kind,
        u_keep=(DECAY_ONE - neuron.u_decay) / DECAY_ONE,
        v_keep=(DECAY_ONE - neuron.v_decay) / DECAY_ONE,
        bias=bias / (population.scale * 2**ACTIVATION_SHIFT),
        v_threshold=None if threshold is None else threshold / population.scale,
        reset=neuron.reset,
        comparison=neuron.comparison,
    )
