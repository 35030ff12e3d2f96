"""Random networks that live in time: currents, recurrence, delays, and biases into the currents.

They are small, and leaks are slow, so that what happens early still tells 200 steps later.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from neurodeploy.ir.contract import Contract, InputCode, Semantics
from neurodeploy.ir.operators import Dense
from neurodeploy.ir.quantized import (
    QuantizedNetwork,
    QuantizedNeuron,
    QuantizedPopulation,
    QuantizedProjection,
)
from neurodeploy.neurons.constant import CONSTANT
from neurodeploy.simulation.trace import Samples
from support.random_networks import random_projection


def temporal_network(seed: int, steps: int, beside: int = 1) -> QuantizedNetwork:
    """input -> a (to itself, delayed) -> out, with a bias into the current of each or of one.

    Half of the networks read out spikes, the others a membrane that never fires.

    Args:
        beside: so many networks in one, which know nothing of each other but share the source of
            their biases: as many in Lava as one, for the time of one. Weights, decays, biases and
            thresholds are each one's own; sizes, delays, resets and formats are the same.
    """
    rng = np.random.default_rng(seed)
    inputs, hidden, outputs = (int(size) * beside for size in rng.integers(2, 7, 3))
    reads_spikes = rng.random() < 0.5
    sizes = {"input": inputs, "a": hidden, "out": outputs, CONSTANT: 1}
    neurons = {
        "input": None,
        "a": _with_current(rng, hidden, spikes=True),
        "out": _with_current(rng, outputs, spikes=bool(reads_spikes)),
        CONSTANT: _constant(),
    }
    populations = {
        name: QuantizedPopulation(name, (size,), neurons[name], 1.0) for name, size in sizes.items()
    }
    biased = [["a"], ["out"], ["a", "out"]][int(rng.integers(0, 3))]
    ends = [("input", "a", int(rng.integers(0, 4))), ("a", "a", int(rng.integers(1, 6)))]
    ends.append(("a", "out", int(rng.integers(0, 4))))
    ends += [(CONSTANT, name, 0) for name in biased]

    def link(source: str, target: str, delay: int) -> QuantizedProjection:
        shape = sizes[target], sizes[source]
        whole = Dense(np.zeros(shape), shape[1:], shape[:1])
        name = f"{source}_{target}"
        drawn = random_projection(rng, name, populations[source], target, whole, 1, delay)
        blocks = 1 if source == CONSTANT else beside
        own = np.kron(np.eye(blocks, dtype=np.int64), np.ones([n // blocks for n in shape], int))
        return replace(drawn, operator=whole.with_weights(drawn.operator.weights * own))

    projections = tuple(link(*end) for end in ends)
    contract = Contract(
        Semantics(1e-3, "zero", ">"),
        InputCode("events", 1),
        steps,
        "spike_count" if reads_spikes else "last_v",
    )
    kept = tuple(populations.values())
    return QuantizedNetwork("temporal", kept, projections, "out", contract)


def sparse_events(network: QuantizedNetwork, seed: int, count: int) -> Samples:
    """Spikes with a probability of a tenth in each step."""
    (source,) = network.inputs
    shape = (count, network.contract.steps, *source.shape)
    values = (np.random.default_rng(seed).random(shape) < 0.1).astype(np.int32)
    return Samples(count, lambda a, b: values[a:b], None, network.contract, "random", True)


def _with_current(rng: np.random.Generator, size: int, *, spikes: bool) -> QuantizedNeuron:
    """Decays of each neuron's own, from slow to none; thresholds of a few synapses."""
    return QuantizedNeuron(
        kind="CubaLIF" if spikes else "CubaLI",
        u_decay=rng.integers(20, 3000, size),
        v_decay=rng.integers(20, 2000, size),
        bias_mantissa=rng.integers(-50, 201, size) * int(rng.integers(0, 2)),
        bias_exponent=rng.integers(0, 4, size),
        threshold=rng.integers(10, 1_000, size) if spikes else None,
        reset="subtract" if rng.random() < 0.5 else "zero",
        comparison=">=" if rng.random() < 0.5 else ">",
        refractory_period=int(rng.choice([0, 0, 0, 3])),
    )


def _constant() -> QuantizedNeuron:
    """What fires at every step: one more than its threshold flows in each time, then it resets."""
    one, nothing = np.ones(1, np.int64), np.zeros(1, np.int64)
    return QuantizedNeuron(CONSTANT, 4096 * one, nothing, one, nothing, nothing, "zero", ">")
