"""Random integers of neuron models beside the leaky one, and networks that have some of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from neurodeploy.ir.contract import Contract, InputCode, Semantics
from neurodeploy.ir.models import IntegerModel
from neurodeploy.ir.operators import Dense, Operator, Shape
from neurodeploy.ir.quantized import QuantizedNetwork, QuantizedPopulation, QuantizedProjection
from neurodeploy.neurons.adaptive import QuantizedAdaptive
from neurodeploy.neurons.readout import QuantizedReadout
from neurodeploy.neurons.relay import QuantizedRelay
from neurodeploy.neurons.resonators import QuantizedResonator
from neurodeploy.neurons.sigma_delta import QuantizedDelta, QuantizedSigma, QuantizedSigmaDelta
from support.random_networks import (
    NEURONS,
    OPERATORS,
    SPIKING,
    random_neuron,
    random_operator,
    random_projection,
)

AT_THE_END = ("Readout",)
"""Models whose messages are too wide to go through weights: no sum may leave 32 bits."""

Maker = Callable[[np.random.Generator, Shape], IntegerModel]


def random_relay(rng: np.random.Generator, shape: Shape) -> QuantizedRelay:
    """Of few bits, so that messages saturate and no sum of a projection leaves 32 bits."""
    reach = int(rng.choice([0, 100, 10_000, 2**31 - 1]))
    bias = rng.integers(-reach, reach + 1, shape if rng.random() < 0.5 else (1,) * len(shape))
    return QuantizedRelay(
        np.broadcast_to(bias, shape).astype(np.int64),
        most=int(rng.integers(1, 2**12)),
        shift=int(rng.integers(0, 9)),
    )


def random_adaptive(rng: np.random.Generator, shape: Shape) -> QuantizedAdaptive:
    """Some with thresholds so low that they fire often, and biases that saturate v."""
    decays = [int(rng.choice([0, 4095, int(rng.integers(0, 4096))])) for _ in range(4)]
    per_neuron = shape if rng.random() < 0.5 else (1,) * len(shape)
    mantissa = rng.integers(-4096, 4096, per_neuron) * int(rng.random() < 0.5)
    return QuantizedAdaptive(
        *decays,
        theta_0=int(rng.choice([0, 3, 100, 2000])),
        theta_step=int(rng.choice([0, 1, 50, 4095])),
        bias_mantissa=np.broadcast_to(mantissa, shape).astype(np.int64),
        bias_exponent=np.broadcast_to(rng.integers(0, 8), shape).astype(np.int64),
    )


def random_resonators(rng: np.random.Generator, shape: Shape) -> QuantizedResonator:
    """Of short periods, so that they fire within a sample; an odd first axis gets none."""
    per_neuron = shape if rng.random() < 0.5 else (1,) * len(shape)
    angle = np.asarray(2 * np.pi / rng.uniform(2, 9, per_neuron))
    length = 4096 * float(rng.choice([1.0, 0.9, 0.5]))
    return QuantizedResonator(
        (length * np.sin(angle)).astype(np.int64),
        (length * np.cos(angle)).astype(np.int64),
        threshold=int(rng.choice([1, 20, 300])),
        firing="phase" if rng.random() < 0.5 else "izhikevich",
    )


def random_changes(rng: np.random.Generator, shape: Shape) -> dict[str, Any]:
    """What Delta and SigmaDelta have in common; wide enough that some states leave 24 bits."""
    return {
        "threshold": int(rng.integers(0, 2 ** int(rng.integers(1, 18)))),
        "bias": rng.integers(-3000, 3001, shape) * int(rng.integers(0, 2)),
        "exponent": int(rng.integers(4, 8)),
        "cumulative": bool(rng.integers(0, 2)),
        "bits": int(rng.integers(8, 13)),
    }


def random_sigma(rng: np.random.Generator, shape: Shape) -> QuantizedSigma:
    """Without parameters but its width."""
    return QuantizedSigma(int(rng.integers(8, 13)))


def random_delta(rng: np.random.Generator, shape: Shape) -> QuantizedDelta:
    """With any shift of its input that leaves it within 32 bits."""
    return QuantizedDelta(**random_changes(rng, shape), input_exponent=int(rng.integers(0, 5)))


def random_sigma_delta(rng: np.random.Generator, shape: Shape) -> QuantizedSigmaDelta:
    """With and without rectification."""
    return QuantizedSigmaDelta(**random_changes(rng, shape), rectified=bool(rng.integers(0, 2)))


def random_readout(rng: np.random.Generator, shape: Shape) -> QuantizedReadout:
    """Over the whole range, as leaky neurons are drawn; it sends at a step of the five."""
    drawn = random_neuron(rng, "CubaLI", shape)
    parts = (drawn.u_decay, drawn.v_decay, drawn.bias_mantissa, drawn.bias_exponent)
    return QuantizedReadout(*parts, steps=int(rng.integers(1, 6)))


MAKERS: dict[str, Maker] = {
    "ATRLIF": random_adaptive,
    "Relay": random_relay,
    "Readout": random_readout,
    "Resonator": random_resonators,
    "Sigma": random_sigma,
    "Delta": random_delta,
    "SigmaDelta": random_sigma_delta,
}
"""A maker for every model that is registered."""


def random_model_network(seed: int, kinds: tuple[str, str, str], graph: str) -> QuantizedNetwork:
    """input -> a -> b -> out, with what ``graph`` adds; leaky neurons and other models mixed.

    Args:
        kinds: of a, b and out: keys of ``MAKERS`` or kinds of leaky neurons.
        graph: ``chain``; ``skip`` adds a -> out; ``delayed`` delays a -> b; ``loop`` adds b -> a
            one step later; ``own`` adds a -> a.
    """
    rng = np.random.default_rng(seed)
    payload = int(rng.choice([1, 16, 255]))
    shape: Shape = (int(rng.integers(1, 3)), 4, 4)
    kinds_of_maps = [kind for kind in OPERATORS if kind != "conv1d"]
    first = random_operator(rng, str(rng.choice(kinds_of_maps)), shape)
    small = min(first.output_shape[1:]) < 2
    second = random_operator(
        rng, "dense" if small else str(rng.choice(kinds_of_maps)), first.output_shape
    )
    last = Dense(np.zeros((4, math.prod(second.output_shape))), second.output_shape, (4,))
    populations = {"input": QuantizedPopulation("input", shape, None, float(payload))}
    shapes = (first.output_shape, second.output_shape, (4,))
    for name, kind, size in zip(("a", "b", "out"), kinds, shapes, strict=True):
        if kind == "Resonator" and size[0] % 2:
            kind = "LIF"
        made = MAKERS[kind](rng, size) if kind in MAKERS else random_neuron(rng, kind, size)
        populations[name] = QuantizedPopulation(name, size, made, 1.0)

    def link(source: str, target: str, operator: Operator, delay: int = 0) -> QuantizedProjection:
        neuron = populations[source].neuron
        carried = payload if neuron is None else neuron.largest_message
        name, start = f"{source}_{target}_{delay}", populations[source]
        found = random_projection(rng, name, start, target, operator, carried, delay)
        # Left shifts of large messages would only wrap.
        return replace(found, exponent=min(found.exponent, 2)) if carried > 1 else found

    def dense(source: str, target: str) -> Dense:
        sizes = populations[source].shape, populations[target].shape
        return Dense(np.zeros((math.prod(sizes[1]), math.prod(sizes[0]))), *sizes)

    inner = {"delayed": int(rng.integers(1, 4)), "loop": 1}.get(graph, 0)
    projections = [link("input", "a", first), link("a", "b", second, inner), link("b", "out", last)]
    if graph == "skip":
        projections.append(link("a", "out", dense("a", "out")))
    if graph == "loop":
        projections.append(link("b", "a", dense("b", "a"), 1))
    if graph == "own":
        projections.append(link("a", "a", dense("a", "a"), int(rng.integers(1, 3))))
    decode = "spike_count" if kinds[2] in SPIKING else "last_v"
    contract = Contract(Semantics(1e-4, "zero", ">"), InputCode("direct", payload), 5, decode)
    return QuantizedNetwork(
        "models", tuple(populations.values()), tuple(projections), "out", contract
    )


def drawn_kinds(rng: np.random.Generator, model: str) -> tuple[str, str, str]:
    """Kinds of three populations, at least one of which is ``model``; a and b send something."""
    inside = [kind for kind in MAKERS if kind not in AT_THE_END]
    kinds = [str(rng.choice([*SPIKING, *inside])) for _ in range(2)]
    kinds.append(str(rng.choice([*NEURONS, *MAKERS])))
    kinds[2 if model in AT_THE_END else int(rng.integers(0, 3))] = model
    return kinds[0], kinds[1], kinds[2]
