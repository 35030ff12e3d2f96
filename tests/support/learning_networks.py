"""Small chains that learn, and the rule once more, in plain integers and written-out matrices.

``learn_slowly`` follows docs/learning.md line by line: no shared code but the random bits, no
batching, no pipeline.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np

from neurodeploy.ir.composition import compose, reading
from neurodeploy.ir.contract import Contract, InputCode, Semantics
from neurodeploy.ir.convolution import Convolution, pool
from neurodeploy.ir.network import Network, Neuron, Population, Projection
from neurodeploy.ir.operators import Dense, Operator
from neurodeploy.ir.quantized import QuantizedNetwork
from neurodeploy.onchip.arithmetic import random_bits
from neurodeploy.onchip.learner import LearningOptions, StreamChunk
from neurodeploy.onchip.plan import LearningPlan
from neurodeploy.quantization.post_training import quantize
from neurodeploy.target import load_target

CLASSES = 4


def operators(kind: str, rng: np.random.Generator) -> list[Operator]:
    """Layers of a small network; ``conv`` has strides, padding, groups, dilation and pooling."""
    if kind == "dense":
        shapes = [(7,), (6,), (5,), (CLASSES,)]
        return [
            Dense(rng.normal(0, 1.6 / math.sqrt(i[0]), (o[0], i[0])), i, o)
            for i, o in itertools.pairwise(shapes)
        ]
    first = Convolution(
        rng.normal(0, 0.7, (4, 2, 3, 3)), (2, 6, 6), (1, 1), ((1, 1), (1, 0)), (1, 1)
    )
    second = Convolution(
        rng.normal(0, 0.7, (4, 2, 2, 2)), first.output_shape, (2, 1), ((0, 0), (1, 1)), (1, 2), 2
    )
    pooled = pool(second.output_shape, (1, 2), (1, 2), (0, 0))
    inputs = math.prod(pooled.output_shape)
    last = Dense(rng.normal(0, 1 / math.sqrt(inputs), (CLASSES, inputs)), (inputs,), (CLASSES,))
    return [first, second, compose(pooled, reading(last, pooled.output_shape))]


def float_chain(
    kind: str = "dense",
    *,
    steps: int = 3,
    payload: int = 1,
    reset: Any = "subtract",
    comparison: Any = ">=",
    seed: int = 0,
) -> Network:
    """A chain of LIF layers and an integrating read-out, with random weights and biases."""
    rng = np.random.default_rng(seed)
    layers = operators(kind, rng)
    code = InputCode("direct" if payload > 1 else "events", payload)
    populations = [Population("input", layers[0].input_shape, None)]
    projections = []
    for number, operator in enumerate(layers, start=1):
        last = number == len(layers)
        name = "readout" if last else f"hidden{number}"
        bias = rng.normal(0.1, 0.2, operator.output_shape)
        neuron = Neuron(
            kind="I" if last else "LIF",
            u_keep=np.zeros(1),
            v_keep=np.ones(1) if last else np.full(1, 0.5),
            bias=bias,
            v_threshold=None if last else np.ones(1),
            reset=reset,
            comparison=comparison,
        )
        populations.append(Population(name, operator.output_shape, neuron))
        projections.append(Projection(f"w{number}", populations[-2].name, name, operator))
    semantics = Semantics(1e-4, reset, comparison)
    contract = Contract(semantics, code, steps, "last_v")
    return Network(kind, tuple(populations), tuple(projections), "readout", contract)


def small_chain(kind: str = "dense", *, bits: int = 8, **options: Any) -> QuantizedNetwork:
    """The same in integers."""
    return quantize(float_chain(kind, **options), load_target("loihi2"), bits)


def small_chunk(network: Any, samples: int, seed: int = 1) -> StreamChunk:
    """Random input; of a graded network the same at every step."""
    rng = np.random.default_rng(seed)
    source = next(p for p in network.populations if p.neuron is None)
    payload = network.contract.input_code.payload
    steps = 1 if payload > 1 else network.contract.steps
    values = rng.integers(0, payload + 1, (samples, steps, math.prod(source.shape)))
    return StreamChunk(values.astype(np.int32), rng.integers(0, CLASSES, samples))


def ending(chunk: StreamChunk, steps: int) -> StreamChunk:
    """The same samples with ends of their own, from 1 to T, all of which occur."""
    return replace(chunk, lengths=1 + np.arange(len(chunk)) % steps)


def random_tags(network: QuantizedNetwork) -> dict[str, np.ndarray]:
    """Any tags at all."""
    rng = np.random.default_rng(9)
    weights = {p.name: p.operator.weights for p in network.projections}
    return {name: rng.integers(-128, 128, found.size) for name, found in weights.items()}


def learn_slowly(plan: LearningPlan, chunk: StreamChunk) -> dict[str, np.ndarray]:
    """X of every synapse after every update, by projection: (samples, updates, synapses)."""
    layers = [_SlowLayer(layer) for layer in plan.layers]
    options: LearningOptions = plan.options
    updates = 0
    found: dict[str, list[list[np.ndarray]]] = {layer.name: [] for layer in layers}
    lasts = chunk.lasts(plan.steps)
    for sample, label, last in zip(chunk.values, chunk.labels, lasts, strict=True):
        for layer in layers:
            layer.v[:] = 0
            found[layer.name].append([])
        for t in range(plan.steps):
            spikes = sample[t % len(sample)].astype(np.int64)
            for layer in layers:
                spikes = layer.step(spikes)
            error = _error(layers[-1].added, int(label), plan.readout) * (t < last)
            for number in reversed(range(len(layers))):
                layer = layers[number]
                error = np.clip(error, -32767, 32767)
                layer.gradient += [
                    sum(
                        int(error[row]) * int(layer.met[column])
                        for row, column in layer.places[weight]
                    )
                    for weight in range(len(layer.x))
                ]
                if number:
                    below = layers[number - 1]
                    back = (
                        _own_signal(below, layer.met, int(label), plan)
                        if options.rule == "local"
                        else layer.feedback.T @ error
                    )
                    back = back * (t < last)
                    error = _rounded(back * below.slope, below.plan.neurons.error_shift)
            if options.update == "step" or t == plan.steps - 1:
                for layer in layers:
                    layer.update(options.seed, updates)
                    found[layer.name][-1].append(layer.x.copy())
                updates += 1
    return {name: np.array(states) for name, states in found.items()}


class _SlowLayer:
    def __init__(self, plan: Any) -> None:
        self.plan, self.synapses = plan, plan.synapses
        projection, neuron = plan.synapses.projection, plan.population.neuron
        self.name, self.exponent = projection.name, projection.exponent
        self.operator = projection.operator
        size = math.prod(plan.population.shape)
        count = self.operator.weights.size
        numbered = self.operator.with_weights(
            np.arange(1, count + 1).reshape(self.operator.weights.shape)
        )
        numbers = numbered.matrix().toarray().astype(np.int64)
        self.places = [list(zip(*np.nonzero(numbers == n + 1), strict=True)) for n in range(count)]
        self.numbers = numbers
        self.x = (self.operator.weights.ravel().astype(np.int64) // self.synapses.step) * 256
        self.x += self.synapses.tags
        self.gradient = np.zeros(count, np.int64)
        self.v = np.zeros(size, np.int64)
        self.keep = 4096 - np.broadcast_to(neuron.v_decay, plan.population.shape).ravel()
        bias = neuron.bias_mantissa << neuron.bias_exponent
        self.bias = np.broadcast_to(bias, plan.population.shape).ravel()
        self.neuron = neuron

    def dense(self, weights: np.ndarray) -> np.ndarray:
        padded = np.concatenate([[0], weights.ravel()])
        return padded[self.numbers]

    @property
    def weights(self) -> np.ndarray:
        return (self.x + 128) // 256 * self.synapses.step

    @property
    def feedback(self) -> np.ndarray:
        chosen = self.synapses.feedback
        return self.dense(self.weights if chosen is None else chosen)

    def step(self, spikes: np.ndarray) -> np.ndarray:
        self.met = spikes
        a = self.dense(self.weights) @ spikes
        a = a * 2**self.exponent if self.exponent >= 0 else a // 2**-self.exponent
        u = a * 64
        assert np.abs(u).max() < 2**23, "small networks do not wrap"
        self.added = u + self.bias
        self.v = np.sign(self.v) * (np.abs(self.v) * self.keep // 4096) + self.added
        if self.neuron.threshold is None:
            return np.zeros_like(self.v)
        theta = int(self.neuron.threshold.flat[0]) * 64
        self.slope = np.maximum(theta - np.abs(self.v - theta), 0)
        self.slope //= 2 ** (theta.bit_length() - 8)
        fires = self.v >= theta if self.neuron.comparison == ">=" else self.v > theta
        self.v = np.where(fires, self.v - theta if self.neuron.reset == "subtract" else 0, self.v)
        return fires.astype(np.int64)

    def update(self, seed: int, number: int) -> None:
        shift = self.synapses.rate_shift
        for halved in self.synapses.halvings:
            shift += 1 if number >= halved else 0
        bits = random_bits(seed, number, self.synapses.index, len(self.x), max(shift, 0))
        change = (-self.gradient + bits) // 2**shift if shift > 0 else -self.gradient * 2**-shift
        x = self.x + np.clip(change, -32767, 32767)
        form = self.synapses.projection.weight_format
        lowest, highest = form.minimum // form.step, form.maximum // form.step
        self.x = np.clip(x, lowest * 256 - 128, highest * 256 + 127)
        self.gradient[:] = 0


def _own_signal(layer: Any, spikes: np.ndarray, label: int, plan: LearningPlan) -> np.ndarray:
    """What a population makes of its spikes: square waves through a softmax and back."""
    signal, index = layer.plan.neurons.signal, layer.synapses.index
    drawn = random_bits(plan.options.seed ^ 0x10CA1, 0, index, CLASSES, 15)
    assert isinstance(drawn, np.ndarray)
    shape = layer.plan.population.shape
    signs = []
    for place in np.ndindex(*shape):
        count = place[0]
        for at, size in zip(place[1:], shape[1:], strict=True):
            count = count * min(4, size) + at * min(4, size) // size
        phases = [count * (4096 + int(d) * 28672 // 32768) % 65536 for d in drawn]
        signs.append([1 if phase < 32768 else -1 for phase in phases])
    matrix = np.array(signs)
    return matrix @ _error(spikes @ matrix, label, signal.error)


def _error(outputs: np.ndarray, label: int, error: Any) -> np.ndarray:
    """Softmax minus one-hot in 1/1024, one output after the other, in whole numbers of Python."""
    terms = []
    for output in outputs.tolist():
        z = (max(outputs.tolist()) - output) * error.multiplier // 2**error.shift
        terms.append(round(2 ** (15 - z % 16 / 16)) >> (z // 16))
    found = [math.floor(Fraction(term * 2048 // sum(terms) + 1, 2)) for term in terms]
    found[label] -= 1024
    return np.array(found, np.int64)


def _rounded(values: np.ndarray, shift: int) -> np.ndarray:
    return (values + 2 ** (shift - 1)) // 2**shift if shift else values
