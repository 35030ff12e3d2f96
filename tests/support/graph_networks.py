"""Small networks that learn and are no chains: loops, shortcuts, delays, leaky read-outs."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from neurodeploy.ir.contract import Contract, Decode, InputCode, Semantics
from neurodeploy.ir.convolution import Convolution
from neurodeploy.ir.network import Network, Neuron, Population, Projection
from neurodeploy.ir.operators import Dense
from neurodeploy.ir.quantized import QuantizedNetwork
from neurodeploy.neurons.constant import constant_source, from_constant
from neurodeploy.onchip.learner import StreamChunk
from neurodeploy.quantization.post_training import quantize
from neurodeploy.target import load_target

CLASSES, INPUTS, STEPS = 4, 7, 9


class Shape(NamedTuple):
    """What a network is made of.

    Attributes:
        hidden: neurons of each hidden population.
        arrows: source, target and delay of each projection; populations are "in", 1, 2 ... and 0
            for the read-out.
        u, v: what currents and membranes of hidden neurons keep; per neuron where ``uneven``.
        readout: what current and membrane of the read-out keep.
        biased: the population whose bias goes into the current.
        thresholds: lowest and highest of spiking neurons.
        rest: steps that these rest for after a spike.
    """

    hidden: tuple[int, ...]
    arrows: tuple[tuple[Any, Any, int], ...]
    u: float = 0.0
    v: float = 0.5
    readout: tuple[float, float] = (0.0, 1.0)
    decode: Decode = "last_v"
    uneven: bool = False
    biased: int = 0
    thresholds: tuple[float, float] = (1.0, 1.0)
    rest: int = 0


NETWORKS = {
    "recurrent": Shape(
        (8,), (("in", 1, 0), (1, 1, 1), (1, 0, 0)), u=0.5, v=0.75, uneven=True, biased=1
    ),
    "deep": Shape(
        (6, 5),
        (("in", 1, 0), (1, 1, 1), (1, 2, 0), (2, 2, 2), (2, 0, 0)),
        u=0.4,
        v=0.6,
        readout=(0.3, 0.8),
        decode="sum_v",
    ),
    "leaky": Shape(
        (6,), (("in", 1, 0), (1, 1, 1), (1, 0, 0)), v=0.8, readout=(0.0, 0.7), decode="last_v"
    ),
    "counted": Shape((6,), (("in", 1, 0), (1, 1, 2), (1, 0, 0)), v=0.7, decode="spike_count"),
    "shortcut": Shape((6, 5), (("in", 1, 0), (1, 2, 0), (1, 0, 0), (2, 0, 0), ("in", 2, 0))),
    "late": Shape(
        (6, 5), (("in", 1, 1), ("in", 1, 0), (1, 2, 0), (1, 2, 2), (2, 0, 0), (2, 1, 3)), u=0.5
    ),
    "thresholds": Shape(
        (7, 6), (("in", 1, 0), (1, 1, 1), (1, 2, 0), (2, 0, 0)), v=0.8, thresholds=(0.4, 1.4)
    ),
    "resting": Shape(
        (7, 6),
        (("in", 1, 0), (1, 2, 0), (2, 1, 1), (2, 0, 0)),
        v=0.8,
        decode="spike_count",
        thresholds=(0.5, 0.8),
        rest=2,
    ),
}


def float_graph(kind: str, *, reset: Any = "subtract", payload: int = 1, seed: int = 0) -> Network:
    """A network of ``NETWORKS`` with random weights."""
    rng = np.random.default_rng(seed)
    shape = NETWORKS[kind]
    sizes: dict[Any, int] = {"in": INPUTS, **dict(enumerate(shape.hidden, 1)), 0: CLASSES}
    names = {"in": "input", 0: "readout", **{n: f"hidden{n}" for n in sizes if n not in ("in", 0)}}
    populations = [Population("input", (INPUTS,), None)]
    if shape.biased:
        populations.append(constant_source("constant"))
    for number, size in [(n, s) for n, s in sizes.items() if n not in ("in", 0)] + [(0, CLASSES)]:
        spikes = number != 0 or shape.decode == "spike_count"
        u, v = (shape.u, shape.v) if spikes else shape.readout
        scatter = rng.uniform(0.7, 1.1, size) if shape.uneven and number else np.ones(1)
        kept = [np.minimum(np.full(1, share) * scatter, 1.0) for share in (u, v)]
        bias = rng.normal(0.05, 0.1, size) if number != shape.biased else np.zeros(1)
        lowest, highest = shape.thresholds
        even = np.ones(1) * lowest
        scattered = even if lowest == highest else rng.uniform(lowest, highest, size)
        threshold = scattered if spikes else None
        kind_of = "CubaLIF" if u else "LIF"
        rest = shape.rest if spikes else 0
        neuron = Neuron(kind_of, kept[0], kept[1], bias, threshold, reset, ">=", rest)
        populations.append(Population(names[number], (size,), neuron))
    projections = []
    for place, (source, target, delay) in enumerate(shape.arrows):
        ends = (sizes[target], sizes[source])
        gain = 1.4 * (1 - shape.u) / math.sqrt(sizes[source])
        operator = Dense(rng.normal(0.1, gain, ends), ends[1:], ends[:1])
        name = f"w{place}"
        projections.append(Projection(name, names[source], names[target], operator, delay))
    if shape.biased:
        bias = from_constant(rng.normal(0.05, 0.1, sizes[shape.biased]))
        projections.append(Projection("bias", "constant", names[shape.biased], bias))
    contract = Contract(
        Semantics(1e-4, reset, ">="),
        InputCode("direct" if payload > 1 else "events", payload),
        STEPS,
        shape.decode,
    )
    return Network(kind, tuple(populations), tuple(projections), "readout", contract)


def residual_graph(*, seed: int = 0) -> Network:
    """Convolutions with a shortcut around the second of them, binary input."""
    rng = np.random.default_rng(seed)

    def conv(inputs: int, outputs: int, side: int) -> Convolution:
        pad = side // 2, side // 2
        weights = rng.normal(0.1, 0.5 / side, (outputs, inputs, side, side))
        return Convolution(weights, (inputs, 5, 5), (1, 1), (pad, pad), (1, 1))

    one = np.ones(1)
    lif = Neuron("LIF", 0 * one, one / 2, 0 * one, one, "subtract", ">=")
    integrator = Neuron("I", 0 * one, one, 0 * one, None, "subtract", ">=")
    last = Dense(rng.normal(0, 0.3, (CLASSES, 75)), (3, 5, 5), (CLASSES,))
    return Network(
        "residual",
        (
            Population("input", (2, 5, 5), None),
            Population("hidden1", (3, 5, 5), lif),
            Population("hidden2", (3, 5, 5), lif),
            Population("readout", (CLASSES,), integrator),
        ),
        (
            Projection("w0", "input", "hidden1", conv(2, 3, 3)),
            Projection("w1", "hidden1", "hidden2", conv(3, 3, 3)),
            Projection("short", "input", "hidden2", conv(2, 3, 1)),
            Projection("w2", "hidden2", "readout", last),
            Projection("around", "hidden1", "readout", last),
        ),
        "readout",
        Contract(Semantics(1e-4, "subtract", ">="), InputCode("events", 1), 4, "last_v"),
    )


def small_graph(kind: str, *, bits: int = 8, **options: Any) -> QuantizedNetwork:
    """The same in integers."""
    network = residual_graph(**options) if kind == "residual" else float_graph(kind, **options)
    return quantize(network, load_target("loihi2"), bits)


def graph_chunk(network: Any, samples: int, seed: int = 1) -> StreamChunk:
    """Random spikes; of a graded network the same integers at every step."""
    rng = np.random.default_rng(seed)
    (source,) = network.inputs
    payload, steps = network.contract.input_code.payload, network.contract.steps
    size = (samples, 1 if payload > 1 else steps, math.prod(source.shape))
    values = rng.integers(0, payload + 1, size) * (rng.random(size) < 0.6)
    return StreamChunk(values.astype(np.int32), rng.integers(0, CLASSES, samples))
