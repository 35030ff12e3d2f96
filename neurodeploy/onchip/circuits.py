"""Circuits that learning would need on a chip, and the network with all of them in it.

Learning adds an error population for each layer, the synapses between them (the transposed or
random weights), and the state of plastic synapses. That network can be mapped like any other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from neurodeploy.ir.convolution import Convolution
from neurodeploy.ir.fixed_point import WEIGHT_BITS, WeightFormat
from neurodeploy.ir.operators import Dense, Operator, SparseMatrix
from neurodeploy.ir.quantized import (
    QuantizedNetwork,
    QuantizedNeuron,
    QuantizedPopulation,
    QuantizedProjection,
)
from neurodeploy.onchip.arithmetic import SURROGATE_BITS
from neurodeploy.onchip.loihi_rule import DeltaPlan
from neurodeploy.onchip.plan import ERROR_BITS, TAG_BITS, LearningPlan, SynapsePlan
from neurodeploy.onchip.prototype_plan import PrototypePlan

STOCK = "stock Loihi rule"
MICROCODE = "microcode"
EMBEDDED = "microcode or embedded processor"

TAG_OF_LOIHI = 8
"""Bits of the tag that Loihi's synapses can have."""


@dataclass(frozen=True)
class Circuit:
    """One thing that learning adds, and by what means a chip could do it."""

    what: str
    means: str
    detail: str


@dataclass(frozen=True, eq=False)
class WithLearning:
    """A network with what learning adds to it.

    Attributes:
        error_neurons: how many neurons carry errors.
        history_bits: for what neurons and synapses remember until an error comes back.
        circuits: what is added.
    """

    network: QuantizedNetwork
    error_neurons: int
    history_bits: int
    circuits: tuple[Circuit, ...]


def with_learning(plan: LearningPlan | DeltaPlan | PrototypePlan) -> WithLearning:
    """The network of a plan with all that its rule needs on a chip; see also ``graph_circuits``."""
    if isinstance(plan, PrototypePlan):
        return _prototypes(plan)
    return _delta(plan) if isinstance(plan, DeltaPlan) else _everywhere(plan)


def synapses_of(operator: Operator) -> int:
    """Synapses of a projection, zeros included."""
    return operator.with_weights(np.ones(operator.weights.shape)).matrix().nnz


def _delta(plan: DeltaPlan) -> WithLearning:
    """The output layer in 8 bits, with Loihi's tag where it adds up; errors in the read-out."""
    name, summed = plan.link.projection.name, plan.decimation is not None
    bits = TAG_OF_LOIHI if summed else 0

    def learning(p: QuantizedProjection) -> QuantizedProjection:
        form = WeightFormat(WEIGHT_BITS, plan.sign)
        return replace(p, weight_format=form, learning_bits=bits) if p.name == name else p

    network = replace(plan.network, projections=tuple(map(learning, plan.network.projections)))
    rules = ", ".join(f"{left} = {right}" for left, right in plan.rules.items())
    classes = math.prod(plan.link.population.shape)
    circuits = (
        Circuit(f"synapses {name}", STOCK, f"{rules}; 8-bit weights" + ", 8-bit tags" * summed),
        softmax(plan.link.population.name, classes),
    )
    return WithLearning(network, classes, 0, circuits)


def _prototypes(plan: PrototypePlan) -> WithLearning:
    """The output layer in 8 bits without tags; what makes features of spikes, and compares rows."""
    projection, features = plan.link.projection, plan.features

    def learning(p: QuantizedProjection) -> QuantizedProjection:
        form = WeightFormat(WEIGHT_BITS, "excitatory")
        return replace(p, weight_format=form, learning_bits=0) if p is projection else p

    network = replace(plan.network, projections=tuple(map(learning, plan.network.projections)))
    directions, inputs = features.down.shape
    name = plan.link.population.name
    circuits = (
        Circuit(f"synapses {projection.name}", STOCK, f"dw = {plan.rule}; 8-bit weights"),
        Circuit(
            f"features of {projection.source}",
            EMBEDDED,
            f"{inputs:,} counts of spikes through {2 * directions * inputs:,} fixed weights of "
            "8 bits, and as many divisions by one root of a sum of squares",
        ),
        Circuit(f"winner of {name}", MICROCODE, f"the largest of {len(plan.rows)} outputs"),
        Circuit(
            f"prototypes of {name}",
            "embedded processor",
            "which is allocated next, the label of each, how many samples each has learnt from",
        ),
    )
    return WithLearning(network, 0, 0, circuits)


def softmax(name: str, classes: int) -> Circuit:
    """The error of a read-out."""
    return Circuit(
        f"error of {name}",
        EMBEDDED,
        f"softmax of {classes} outputs: a table of 16 powers of two, their sum, a division each",
    )


def _everywhere(plan: LearningPlan) -> WithLearning:
    """Tags, gradients, error populations and the synapses between these."""
    network, layers = plan.network, plan.layers
    steps = 1 if plan.block == 1 else plan.steps
    populations, projections = list(network.populations), []
    circuits, history, local = [], 0, plan.options.rule == "local"
    above = error_population(layers[-1].population)
    populations.append(above)
    readout, projection = layers[-1].population, layers[-1].synapses.projection
    classes = math.prod(readout.shape)
    circuits.append(softmax(readout.name, classes))
    projections.append(outputs_to_error(readout, above))
    neurons = classes
    for number in reversed(range(len(layers))):
        layer = layers[number]
        projection = layer.synapses.projection
        summed = 0 if plan.block == 1 else gradient_bits(projection, steps)
        projections.append(replace(projection, learning_bits=layer.synapses.tag + summed))
        # What makes its own errors has them at once.
        distance = 0 if local else len(layers) - 1 - number
        inputs = math.prod(projection.operator.input_shape)
        history += (2 * distance + 1) * inputs * projection.payload.bit_length()
        circuits.append(plastic_synapses(projection, summed))
        if number:
            below = layers[number - 1].population
            population = error_population(below)
            size = math.prod(below.shape)
            neurons += size
            populations.append(population)
            plan_below = layers[number - 1].neurons
            signal = None if plan_below is None else plan_below.signal
            if signal is not None:
                votes, *between = voting(below, population.name, signal.signs)
                neurons += classes
                populations.append(votes)
                projections += between
                circuits += own_signal(below.name, classes, size)
                continue
            history += 2 * (distance + 1) * size * SURROGATE_BITS
            projections.append(backwards(layer.synapses, above.name, population.name))
            circuits += errors_to(below.name, size, layer.synapses.feedback is not None, projection)
            above = population
    added = replace(network, populations=tuple(populations), projections=tuple(projections))
    return WithLearning(added, neurons, history, tuple(circuits))


def outputs_to_error(
    readout: QuantizedPopulation, errors: QuantizedPopulation
) -> QuantizedProjection:
    """Every error neuron needs the sum over all outputs."""
    classes = math.prod(readout.shape)
    return _graded(
        QuantizedProjection(
            name=f"outputs of {readout.name}",
            source=readout.name,
            target=errors.name,
            operator=Dense(np.full((classes, classes), 2), readout.shape, readout.shape),
            weight_format=WeightFormat(WEIGHT_BITS, "excitatory"),
            exponent=0,
            payload=1,
        )
    )


def plastic_synapses(projection: QuantizedProjection, summed: int) -> Circuit:
    """Synapses that learn, with gradients of so many bits, or none."""
    detail = f"{projection.weight_format.bits}-bit weights, {TAG_BITS}-bit tags below them"
    if summed:
        detail += f", {summed}-bit gradient"
    detail += ", a random number per synapse and update"
    if isinstance(projection.operator, Convolution):
        detail += "; cores that share a kernel add up their gradients"
    return Circuit(f"synapses {projection.name}", MICROCODE, detail)


def errors_to(
    name: str, size: int, random: bool, projection: QuantizedProjection
) -> tuple[Circuit, Circuit]:
    """Errors on their way back to neurons, and what these make of them."""
    weights = projection.operator.weights.size
    feedback = (
        f"{weights:,} fixed random weights"
        if random
        else f"{weights:,} transposed weights, a copy that follows every update"
    )
    return (
        Circuit(f"errors to {name}", "graded spikes", f"{ERROR_BITS} bits through {feedback}"),
        _error(name, size),
    )


def _error(name: str, size: int) -> Circuit:
    return Circuit(
        f"error of {name}",
        MICROCODE,
        f"{size:,} neurons: sum of arriving errors times an {SURROGATE_BITS}-bit surrogate",
    )


def own_signal(name: str, classes: int, size: int) -> tuple[Circuit, Circuit]:
    """Errors that neurons get from their own spikes, and what these make of them."""
    signal = Circuit(
        f"signal of {name}",
        EMBEDDED,
        f"{classes} sums of its spikes with fixed signs, their softmax, and back to each neuron",
    )
    return signal, _error(name, size)


def voting(
    population: QuantizedPopulation, error: str, signs: np.ndarray
) -> tuple[QuantizedPopulation, QuantizedProjection, QuantizedProjection]:
    """What makes the signal of a population, and the signs to it and from it."""
    form = WeightFormat(2, "mixed")
    votes = error_population(replace(population, shape=signs.shape[1:]))
    votes = replace(votes, name=votes_of(population.name))
    forth = Dense(signs.T * form.step, population.shape, votes.shape)
    shared: dict[str, Any] = {"weight_format": form, "exponent": 0, "payload": 1}
    to = QuantizedProjection(
        f"signs of {population.name}", population.name, votes.name, forth, **shared
    )
    back = QuantizedProjection(f"signs to {error}", votes.name, error, transposed(forth), **shared)
    return votes, to, _graded(back)


def gradient_bits(projection: QuantizedProjection, steps: int) -> int:
    """Width of a gradient that no errors overflow: their sum over steps and shared positions."""
    shared = synapses_of(projection.operator) / max(projection.operator.weights.size, 1)
    return ERROR_BITS + math.ceil(math.log2(max(steps * shared * projection.payload, 1)))


def error_population(population: QuantizedPopulation) -> QuantizedPopulation:
    """Neurons without memory that never spike by themselves."""
    ones = (1,) * len(population.shape)
    neuron = QuantizedNeuron(
        kind="error",
        u_decay=np.full(ones, 4096),
        v_decay=np.full(ones, 4095),
        bias_mantissa=np.zeros(ones, np.int64),
        bias_exponent=np.zeros(ones, np.int64),
        threshold=None,
        reset="subtract",
        comparison=">=",
    )
    name = error_of(population.name)
    return QuantizedPopulation(name, population.shape, neuron, population.scale)


def votes_of(population: str) -> str:
    """Name of the population in which another adds up its spikes for each class."""
    return f"votes of {population}"


def error_of(population: str) -> str:
    """Name of the population that carries the errors of another."""
    return f"error of {population}"


def _graded(projection: QuantizedProjection) -> QuantizedProjection:
    return replace(projection, payload=2 ** (ERROR_BITS - 1) - 1)


def backwards(synapses: SynapsePlan, source: str, target: str) -> QuantizedProjection:
    """Errors from one layer to the one below, through transposed or random weights."""
    projection, weights = synapses.projection, synapses.feedback
    operator, form = projection.operator, projection.weight_format
    if weights is not None:
        operator = operator.with_weights(weights)
        form = WeightFormat(max(form.bits, 2), "mixed")
    return _graded(
        QuantizedProjection(
            name=f"errors through {projection.name}",
            source=source,
            target=target,
            operator=transposed(operator),
            weight_format=form,
            exponent=projection.exponent,
            payload=1,
        )
    )


def transposed(operator: Operator) -> Operator:
    """The map from outputs to inputs with the same weights; a kernel stays one at stride 1."""
    if isinstance(operator, Dense):
        return Dense(operator.weights.T.copy(), operator.output_shape, operator.input_shape)
    if isinstance(operator, Convolution) and set(operator.stride) == {1}:
        reach = [d * (k - 1) for d, k in zip(operator.dilation, operator.kernel, strict=True)]
        padding = tuple(
            (r - before, r - after)
            for r, (before, after) in zip(reach, operator.padding, strict=True)
        )
        if min(min(pair) for pair in padding) >= 0:
            kernel = operator.kernel
            split = operator.weights.reshape(
                operator.groups, -1, operator.weights.shape[1], *kernel
            )
            swapped = np.swapaxes(split, 1, 2).reshape(operator.input_shape[0], -1, *kernel)
            axes = tuple(range(2, 2 + len(kernel)))
            return Convolution(
                np.flip(swapped, axes).copy(),
                operator.output_shape,
                operator.stride,
                padding,
                operator.dilation,
                operator.groups,
            )
    return SparseMatrix.from_matrix(
        operator.matrix().T, operator.output_shape, operator.input_shape
    )
