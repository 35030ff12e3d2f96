"""How many synapses a spike of each neuron reaches."""

from __future__ import annotations

import math

import numpy as np

from neurodeploy.ir.convolution import Convolution
from neurodeploy.ir.network import Network
from neurodeploy.ir.operators import Dense, Operator
from neurodeploy.ir.quantized import QuantizedNetwork
from neurodeploy.mapping.receptive_field import ReceptiveField


def fan_out(network: Network | QuantizedNetwork) -> dict[str, np.ndarray]:
    """Synapses behind each neuron, int64 in the shape of its population, by population.

    A spike makes a chip read so many entries of synaptic rows, where rows list their synapses. They
    are those that a projection has once it is written out: fewer at the borders of a convolution,
    none where a weight is zero. Synapses of several projections add up.
    """
    found = {p.name: np.zeros(math.prod(p.shape), np.int64) for p in network.populations}
    for projection in network.projections:
        found[projection.source] += synapses_behind(projection.operator)
    return {p.name: found[p.name].reshape(p.shape) for p in network.populations}


def synapses_behind(operator: Operator) -> np.ndarray:
    """Connections that each input of a map has, weights of zero left out; (inputs,) int64."""
    count = math.prod(operator.input_shape)
    if isinstance(operator, Dense):
        return np.count_nonzero(operator.weights, axis=0).astype(np.int64)
    if not isinstance(operator, Convolution):
        return np.bincount(operator.matrix().indices, minlength=count).astype(np.int64)
    whole = tuple((0, size) for size in operator.output_shape)
    inputs, entries = ReceptiveField(operator).synapses(whole)
    found = np.zeros(count, np.int64)
    found[inputs] = entries
    return found
