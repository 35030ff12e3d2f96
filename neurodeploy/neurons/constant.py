"""A constant source: one neuron that fires at every step, for biases that no membrane can hold.

Loihi adds a bias b to the membrane, at every step. One into a synaptic current that keeps u_keep of
itself makes that current grow from step to step,

    u[t] = u_keep u[t-1] + ... + b = ... + b (1 + u_keep + ... + u_keep^t),

and one behind a delay starts late. Both are exact as synapses of weight b from a neuron that fires
at every step from the first on. One neuron serves the whole network.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from neurodeploy.ir.network import Neuron, Population, Projection
from neurodeploy.ir.operators import Dense

CONSTANT = "constant"
"""Name of the population where none has it, and the kind of its neuron."""


def constant_source(name: str) -> Population:
    """One neuron without input whose v is 1, above its threshold of 0, at every step."""
    zero, one = np.zeros(1), np.ones(1)
    return Population(name, (1,), Neuron(CONSTANT, zero, zero, one, zero, "zero", ">"))


def is_constant(population: Any) -> bool:
    """Whether a population, in floats or integers, is a constant source."""
    return population.neuron is not None and population.neuron.kind == CONSTANT


def bias_name(target: str, delay: int) -> str:
    """Name of the synapses that bring a bias to ``target`` from the step ``delay`` on."""
    return f"{target}_bias_{delay}" if delay else f"{target}_bias"


def from_constant(bias: np.ndarray) -> Dense:
    """The synapses from a constant source whose weights are a bias."""
    return Dense(bias.reshape(-1, 1), (1,), bias.shape)


def split_bias(
    neuron: Neuron, gain: np.ndarray, biases: Mapping[int, np.ndarray]
) -> tuple[Neuron, dict[int, np.ndarray]]:
    """The part of what is added to the input of neurons that is a constant of their membrane.

    Args:
        neuron, gain: parameters and gain of the input, of full shape.
        biases: by the step from which they are added.

    Returns:
        The neuron with that part in its bias, and the rest times the gain.
    """
    entering = {delay: gain * bias for delay, bias in biases.items() if np.any(bias)}
    if 0 in entering and not np.any(neuron.u_keep):
        neuron = replace(neuron, bias=neuron.bias + entering.pop(0))
    return neuron, entering


def joined_biases(
    incoming: Iterable[Projection], constants: Collection[str]
) -> tuple[list[Projection], dict[int, np.ndarray]]:
    """The projections into a population, but for those from constant sources, and what these add.

    Args:
        constants: names of the constant sources.

    Returns:
        The others, and arrays of the population's shape by the step from which they are added.
    """
    others: list[Projection] = []
    biases: dict[int, np.ndarray] = {}
    for p in incoming:
        if p.source in constants:
            biases[p.delay] = biases.get(p.delay, 0) + p.operator(np.ones((1, 1)))[0]
        else:
            others.append(p)
    return others, biases
