"""Networks of any number of neurons, in integers, as large as a system of many chips holds."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from neurodeploy.ir.contract import Contract, InputCode, Semantics
from neurodeploy.ir.convolution import Convolution
from neurodeploy.ir.fixed_point import WeightFormat
from neurodeploy.ir.operators import Operator, Shape, SparseMatrix
from neurodeploy.ir.quantized import (
    QuantizedNetwork,
    QuantizedNeuron,
    QuantizedPopulation,
    QuantizedProjection,
)

LAYERS = 4
"""Convolutions, and as many sparse layers behind them, all of about the same number of neurons."""

CHANNELS, KERNEL = 16, 3

FAN_IN, REACH = 8, 2048
"""Synapses onto each neuron of a sparse layer, and how far from its own place they may begin."""

FEWEST = 1000
"""Neurons of a network at least, for every layer to have some."""

SEED = 0


def large_network(neurons: int) -> QuantizedNetwork:
    """Four convolutions of 16 channels and 3x3 kernels, then four sparse layers.

    Every neuron of a sparse layer has 8 synapses, from neurons drawn at random within 2,048 of the
    same place in the layer before. Its synapses are kept in five bytes each, all other parameters
    once per layer.

    Args:
        neurons: about how many, those of all layers together; at least ``FEWEST``.
    """
    rng = np.random.default_rng(SEED)
    side = max(2, math.isqrt(neurons // (2 * LAYERS * CHANNELS)))
    flat = neurons // (2 * LAYERS)
    populations = [QuantizedPopulation("input", (1, side, side), None, 1.0)]
    projections = []
    for number, operator in enumerate(_operators(rng, (1, side, side), flat), start=1):
        source, name = populations[-1].name, f"lif{number}"
        populations.append(QuantizedPopulation(name, operator.output_shape, _neuron(), 64.0))
        weights = WeightFormat(8, "mixed")
        projections.append(QuantizedProjection(f"w{number}", source, name, operator, weights, 0, 1))
    contract = Contract(Semantics(1e-3, "zero", ">"), InputCode("events"), 16, decode="spike_count")
    last = populations[-1].name
    name = f"{neurons:,} neurons"
    return QuantizedNetwork(name, tuple(populations), tuple(projections), last, contract)


def _operators(rng: np.random.Generator, shape: Shape, flat: int) -> Iterator[Operator]:
    for _ in range(LAYERS):
        weights = 2 * rng.integers(-64, 64, (CHANNELS, shape[0], KERNEL, KERNEL), np.int16)
        yield (convolution := Convolution(weights, shape, (1, 1), ((1, 1),) * 2, (1, 1)))
        shape = convolution.output_shape
    for _ in range(LAYERS):
        yield _nearby(rng, shape, flat)
        shape = (flat,)


def _nearby(rng: np.random.Generator, source: Shape, count: int) -> SparseMatrix:
    """``FAN_IN`` synapses onto each neuron from different ones near its own place."""
    inputs = math.prod(source)
    width = min(2 * REACH, inputs)
    begin = np.clip(np.arange(count) * inputs // count - REACH, 0, inputs - width)
    # One from each eighth of the window: all different, and sorted.
    part = width // FAN_IN
    indices = rng.integers(0, part, (count, FAN_IN), np.int32)
    indices += np.arange(FAN_IN, dtype=np.int32) * part
    indices += begin[:, None].astype(np.int32)
    # Mixed weights of 8 bits are even; half of them, without 0, in units of their step.
    weights = rng.integers(1, 64, (count, FAN_IN), np.int8)
    weights *= rng.choice(np.array([-2, 2], np.int8), (count, FAN_IN))
    indptr = np.arange(count + 1, dtype=np.int32) * FAN_IN
    return SparseMatrix(weights.ravel(), indices.ravel(), indptr, source, (count,))


def _neuron() -> QuantizedNeuron:
    return QuantizedNeuron(
        kind="LIF",
        u_decay=np.array(4096),
        v_decay=np.array(2048),
        bias_mantissa=np.array(0),
        bias_exponent=np.array(0),
        threshold=np.array(64),
        reset="zero",
        comparison=">",
    )
