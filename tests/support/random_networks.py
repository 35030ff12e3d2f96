"""Random quantised networks of every neuron and operator kind that can be deployed.

Parameters are drawn over their whole integer range, so that wraps of u, saturations of v, clipped
and shifted weights all happen; nothing here knows how an engine computes.
"""

from __future__ import annotations

import math

import numpy as np

from neurodeploy.ir.composition import compose
from neurodeploy.ir.contract import Contract, InputCode, Semantics
from neurodeploy.ir.convolution import Convolution, pool
from neurodeploy.ir.fixed_point import WeightFormat
from neurodeploy.ir.operators import Dense, Operator, Shape, SparseMatrix
from neurodeploy.ir.quantized import (
    QuantizedNetwork,
    QuantizedNeuron,
    QuantizedPopulation,
    QuantizedProjection,
)
from neurodeploy.simulation.trace import Samples

NEURONS = ("LIF", "CubaLIF", "IF", "LI", "CubaLI", "I")
SPIKING = ("LIF", "CubaLIF", "IF")
OPERATORS = ("dense", "conv1d", "conv2d", "sum_pool", "scale", "composed")
GRAPHS = ("chain", "skip", "two_inputs", "delayed", "self_recurrent", "mutual")


def random_neuron(rng: np.random.Generator, kind: str, shape: Shape) -> QuantizedNeuron:
    """Integers over the whole range; per-neuron or shared at random."""

    def draw(low: int, high: int) -> np.ndarray:
        size = shape if rng.random() < 0.5 else (1,) * len(shape)
        return np.broadcast_to(rng.integers(low, high + 1, size), shape).copy()

    cuba = kind.startswith("Cuba")
    leaky = kind not in ("IF", "I")
    return QuantizedNeuron(
        kind=kind,
        u_decay=draw(1, 4096) if cuba else np.full(shape, 4096),
        v_decay=draw(0, 4095) if leaky else np.zeros(shape, np.int64),
        bias_mantissa=draw(-4096, 4095) * int(rng.integers(0, 2)),
        bias_exponent=draw(0, 7),
        threshold=draw(0, int(rng.choice([300, 3000, 131071]))) if kind in SPIKING else None,
        reset=str(rng.choice(["zero", "subtract"])),  # pyright: ignore[reportArgumentType]
        comparison=str(rng.choice([">", ">="])),  # pyright: ignore[reportArgumentType]
        refractory_period=int(rng.choice([0, 0, 1, 2])),
    )


def random_operator(rng: np.random.Generator, kind: str, shape: Shape) -> Operator:
    """An operator of that kind on inputs of ``shape``: (channels, [height,] size)."""
    channels = shape[0]
    if kind == "dense":
        outputs = int(rng.integers(1, 9))
        ones = (1,) * (len(shape) - 1)
        return Dense(np.zeros((outputs, math.prod(shape))), shape, (outputs, *ones))
    if kind == "scale":
        index = np.arange(math.prod(shape) + 1)
        return SparseMatrix(np.zeros(math.prod(shape)), index[:-1], index, shape, shape)
    if kind == "sum_pool":
        return pool(shape, (2, 2), (int(rng.integers(1, 3)),) * 2, (int(rng.integers(0, 2)),) * 2)
    if kind == "composed":
        first = pool(shape, (2, 2), (1, 1), (0, 0))
        ones, padding = np.ones((2, channels, 2, 2)), ((0, 1), (1, 0))
        second = Convolution(ones, first.output_shape, (1, 1), padding, (1, 1))
        return compose(first, second)
    groups = int(rng.choice([g for g in (1, channels) if channels % g == 0]))
    outputs = groups * int(rng.integers(1, 4))
    if kind == "conv1d":
        flat = (channels, math.prod(shape[1:]))
        weights = np.ones((outputs, channels // groups, 3))
        stride, dilation = int(rng.integers(1, 3)), int(rng.integers(1, 3))
        padding = ((dilation, int(rng.integers(0, 2)) + dilation),)
        conv = Convolution(weights, flat, (stride,), padding, (dilation,), groups)
        if len(shape) == 2:
            return conv
        # Over the flattened rows of an image: the shared kernel is written out.
        size = conv.output_shape[1]
        return SparseMatrix.from_matrix(conv.matrix(), shape, (outputs, 1, size))
    kernel = (int(rng.integers(1, 3)), int(rng.integers(1, 3)))
    dilation = (int(rng.integers(1, 3)), 1)
    padding = tuple((int(rng.integers(0, 2)), int(rng.integers(0, 2))) for _ in range(2))
    stride = (int(rng.integers(1, 3)), int(rng.integers(1, 3)))
    # A kernel that reaches over the whole of a small map gets the padding that it lacks.
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    padding = tuple(
        (before + max(0, r - n - before - after), after)
        for (before, after), r, n in zip(padding, reach, shape[1:], strict=True)
    )
    weights = np.zeros((outputs, channels // groups, *kernel))
    return Convolution(weights, shape, stride, padding, dilation, groups)


def random_projection(
    rng: np.random.Generator,
    name: str,
    source: QuantizedPopulation,
    target: str,
    operator: Operator,
    payload: int,
    delay: int = 0,
) -> QuantizedProjection:
    """Random integer weights of a random format inside a given connectivity."""
    sign = str(rng.choice(["mixed", "mixed", "excitatory", "inhibitory"]))
    form = WeightFormat(int(rng.integers(1, 9)), sign)
    lowest, highest = form.minimum // form.step, form.maximum // form.step
    steps = rng.integers(lowest, highest + 1, operator.weights.shape)
    return QuantizedProjection(
        name=name,
        source=source.name,
        target=target,
        operator=operator.with_weights(steps * form.step),
        weight_format=form,
        exponent=int(rng.integers(-3, 8)),
        payload=payload,
        delay=delay,
    )


def random_network(
    seed: int, neurons: tuple[str, str, str], operators: tuple[str, str], graph: str, payload: int
) -> QuantizedNetwork:
    """input -> a -> b -> out, with what ``graph`` adds.

    Args:
        neurons: kinds of a, b and out; a and b spike.
        operators: of input -> a and a -> b; b -> out is dense.
        payload: largest input integer; 1 for binary spikes.
    """
    rng = np.random.default_rng(seed)
    flat = operators[0] == "conv1d" and rng.random() < 0.5
    shape = (int(rng.integers(1, 3)), 16) if flat else (int(rng.integers(1, 3)), 4, 4)
    first = random_operator(rng, operators[0], shape)
    kind = operators[1]
    if flat and kind in ("conv2d", "sum_pool", "composed"):
        kind = "conv1d"
    elif kind != "dense" and min(first.output_shape[1:]) < 2:
        kind = "scale"
    second = random_operator(rng, kind, first.output_shape)
    last = Dense(np.zeros((4, math.prod(second.output_shape))), second.output_shape, (4,))
    names = ("input", "a", "b", "out")
    shapes = (shape, first.output_shape, second.output_shape, (4,))
    populations = [QuantizedPopulation("input", shape, None, float(payload))]
    for name, neuron, size in zip(names[1:], neurons, shapes[1:], strict=True):
        populations.append(QuantizedPopulation(name, size, random_neuron(rng, neuron, size), 1.0))
    by_name: dict[str, QuantizedPopulation] = dict(zip(names, populations, strict=True))

    def link(source: str, target: str, operator: Operator, delay: int = 0) -> QuantizedProjection:
        carried = payload if source == "input" else 1
        name = f"{source}_{target}_{delay}"
        return random_projection(rng, name, by_name[source], target, operator, carried, delay)

    def dense(source: str, target: str) -> Dense:
        sizes = by_name[source].shape, by_name[target].shape
        return Dense(np.zeros((math.prod(sizes[1]), math.prod(sizes[0]))), *sizes)

    inner_delay = int(rng.integers(1, 4)) if graph == "delayed" else 0
    if graph == "mutual":
        inner_delay = 1
    projections = [
        link("input", "a", first),
        link("a", "b", second, inner_delay),
        link("b", "out", last),
    ]
    if graph == "skip":
        projections.append(link("input", "out", dense("input", "out")))
        projections.append(link("a", "out", dense("a", "out")))
    if graph == "two_inputs":
        projections.append(link("input", "b", dense("input", "b")))
    if graph == "self_recurrent":
        projections.append(link("a", "a", dense("a", "a"), int(rng.integers(1, 3))))
    if graph == "mutual":
        projections.append(link("b", "a", dense("b", "a"), 1))
    decode = "spike_count" if neurons[2] in SPIKING else "last_v"
    contract = Contract(
        Semantics(1e-4, "zero", ">"),
        InputCode("direct", payload),
        5,
        decode,
    )
    return QuantizedNetwork("random", tuple(populations), tuple(projections), "out", contract)


def random_input(network: QuantizedNetwork, seed: int, count: int, over_time: bool) -> Samples:
    """Input integers from 0 to the payload, half of them 0."""
    rng = np.random.default_rng(seed)
    (source,) = network.inputs
    shape = (count, network.contract.steps, *source.shape) if over_time else (count, *source.shape)
    largest = network.contract.input_code.payload
    values = rng.integers(0, largest + 1, shape) * (rng.random(shape) < 0.6)
    return Samples(count, lambda a, b: values[a:b], None, network.contract, "random", over_time)
