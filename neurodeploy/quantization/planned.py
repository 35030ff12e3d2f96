"""Integers that a network's plan fixes, and the plan and the floats of given integers.

Weights, biases and thresholds must already lie on the plan's grid. Whatever does not means that the
network is not the one that the plan was made for, and is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from neurodeploy.errors import Setting, Text, UnsupportedError
from neurodeploy.ir.contract import EXPORT_DT, Contract
from neurodeploy.ir.fixed_point import ACTIVATION_SHIFT, DECAY_ONE
from neurodeploy.ir.models import IntegerModel
from neurodeploy.ir.network import Network, Neuron, Population, Projection
from neurodeploy.ir.quantized import (
    PopulationPlan,
    ProjectionPlan,
    QuantizationPlan,
    QuantizedNetwork,
    QuantizedNeuron,
    QuantizedPopulation,
    QuantizedProjection,
)
from neurodeploy.neurons.relay import QuantizedRelay, Relay
from neurodeploy.quantization.post_training import quantized_neuron
from neurodeploy.quantization.weights import Incoming, payload_of
from neurodeploy.target import Target

OFF_GRID = 1e-3
"""Share of a step by which a weight or bias may miss its integer: float noise is far below."""

REMEDY = Text("export it with ", Setting("scale", "METHOD"), " to quantise it again")


def quantize_as_planned(
    network: Network, target: Target, plan: QuantizationPlan
) -> QuantizedNetwork:
    """The integers that the network was trained with.

    Raises:
        UnsupportedError: something is not on the plan's grid or does not fit the target.
    """
    populations: list[QuantizedPopulation] = []
    projections: list[QuantizedProjection] = []
    notes: dict[str, str] = {}
    for population in network.populations:
        neuron, scale = None, float(payload_of(network, population))
        if isinstance(population.neuron, Relay):
            planned = _planned(plan, population)
            neuron, scale = _relays(population, population.neuron, planned), planned.scale
        elif population.neuron is not None:
            planned = _planned(plan, population)
            neuron, found = quantized_neuron(population.leaky, planned.scale, target)
            scale = planned.scale
            if any("clipped" in note for note in found):
                raise UnsupportedError(
                    f"population {population.name!r}: {', '.join(found)}: {target.name} cannot "
                    "hold the integers that the network was trained for",
                    fix=REMEDY,
                )
            if found:
                notes[population.name] = ", ".join(found)
            _check_biases(population, neuron.bias_mantissa << neuron.bias_exponent, scale)
        populations.append(QuantizedPopulation(population.name, population.shape, neuron, scale))
    known = {p.name: p for p in populations}
    for projection in network.projections:
        planned = plan.populations[projection.target]
        projections += _integers(projection, network, planned, known)
    return QuantizedNetwork(
        network.name,
        tuple(populations),
        tuple(projections),
        network.output,
        network.contract,
        notes,
    )


def _planned(plan: QuantizationPlan, population: Population) -> PopulationPlan:
    if population.name not in plan.populations:
        raise UnsupportedError(
            f"population {population.name!r}: the quantisation in the file's metadata does not "
            "name it",
            fix=REMEDY,
        )
    return plan.populations[population.name]


def _relays(population: Population, neuron: Relay, planned: PopulationPlan) -> QuantizedRelay:
    """Relays as the plan has them."""
    wanted = neuron.bias * planned.scale
    bias = np.rint(wanted).astype(np.int64)
    if planned.sends.keys() != {"most", "shift"} or np.abs(bias - wanted).max(initial=0) > OFF_GRID:
        raise UnsupportedError(
            f"population {population.name!r}: the quantisation in the file's metadata is not that "
            "of its relays",
            fix=REMEDY,
        )
    return QuantizedRelay(bias, most=planned.sends["most"], shift=planned.sends["shift"])


def _check_biases(population: Population, found: np.ndarray, scale: float) -> None:
    """Refuse biases that had to be rounded or clipped."""
    wanted = population.leaky.bias * scale * 2**ACTIVATION_SHIFT
    off = float(np.abs(found - wanted).max(initial=0))
    if off > OFF_GRID:
        raise UnsupportedError(
            f"population {population.name!r}: a bias is {off:.3g} state units off the integers "
            "that the file's metadata names, so the network changed since",
            fix=REMEDY,
        )


def _integers(
    projection: Projection,
    network: Network,
    population: PopulationPlan,
    known: Mapping[str, QuantizedPopulation],
) -> list[QuantizedProjection]:
    """One projection in integers, or its two one-bit halves."""
    # A projection is called by the nodes it was made from: "pool+conv", or "conv (a to b)"; a node
    # written from integers has the name of the whole projection.
    nodes = [projection.name, *projection.name.split(" (")[0].split("+")]
    named = [node for node in dict.fromkeys(nodes) if node in population.incoming]
    named = nodes[:1] if nodes[0] in named else named
    if len(named) != 1:
        raise UnsupportedError(
            f"projection {projection.name!r}: the quantisation in the file's metadata does not "
            "name its weights",
            fix=REMEDY,
        )
    planned = population.incoming[named[0]]
    parts = Incoming.of_sign(projection, network, planned.bits, planned.sign, known)
    found = []
    for part in parts:
        ratio = population.scale / 2.0**planned.exponent
        exact, _ = part.rounded(part.weights, ratio)
        off = np.abs(part.weights * ratio - exact).max(initial=0) / part.weight_format.step
        quantized = part.quantized(population.scale, planned.exponent)
        if off > OFF_GRID or quantized.clipped:
            raise UnsupportedError(
                f"projection {projection.name!r}: weights are not on the grid that the file's "
                f"metadata names ({off:.3g} of a step off, {quantized.clipped} beyond its end), so "
                "the network changed since it was trained",
                fix=REMEDY,
            )
        found.append(quantized)
    return found


SCALE = 1.0
"""Activation units per unit of a network on the grid."""


def on_grid(network: QuantizedNetwork) -> Network:
    """The float network whose numbers are the deployed integers.

    Everything counts in units of the activation's last bit, so that the scale of every population
    is 1:

        weight     W 2^exponent, and behind graded input, whose floats are integer/levels, times
                   levels; behind relays over 2^shift
        threshold  as it is
        bias       (mantissa << exponent) / 64, since states are 64 times finer than activations
        u_keep     (4096 - u_decay) / 4096, likewise v_keep

    These are exact in float64. The float network on them computes what the integers do wherever
    these neither wrap, saturate nor round: a leak that keeps a fraction of a state unit, and a
    right shift.
    """
    return _in_floats(network, lambda population: SCALE, _exact_contract(network.contract))


def real_network(network: QuantizedNetwork) -> Network:
    """The same in the units of the float network: integers over the scale S of their population.

        weight     W 2^exponent payload / S of the target
        threshold  over S
        bias       (mantissa << exponent) / (64 S)

    Of integers that learnt, this is the float network that they are: none was rounded to them. S is
    no power of two, so a potential that lies exactly on its threshold in integers may lie on either
    side of it in floats.
    """
    return _in_floats(network, lambda population: population.scale, network.contract)


def _in_floats(
    network: QuantizedNetwork,
    scale_of: Callable[[QuantizedPopulation], float],
    contract: Contract,
) -> Network:
    scales = {p.name: scale_of(p) for p in network.populations}
    populations = tuple(
        Population(p.name, p.shape, None if p.neuron is None else _real_neuron(p, scales[p.name]))
        for p in network.populations
    )
    projections = tuple(
        _projection(p, _unit(network.population(p.source), scales[p.source]), scales[p.target])
        for p in network.projections
    )
    return Network(network.name, populations, projections, network.output, contract)


def plan_of(network: QuantizedNetwork, target: str) -> QuantizationPlan:
    """The formats by which ``quantize_as_planned`` finds the same integers again."""
    incoming: dict[str, dict[str, ProjectionPlan]] = {
        p.name: {} for p in network.populations if p.neuron is not None
    }
    for p in network.projections:
        sign: Any = p.weight_format.sign
        incoming[p.target][p.name] = ProjectionPlan(p.weight_format.bits, sign, p.exponent)
    sends = {
        p.name: p.neuron.table() for p in network.populations if isinstance(p.neuron, IntegerModel)
    }
    return QuantizationPlan(
        target,
        {n: PopulationPlan(SCALE, plans, sends.get(n, {})) for n, plans in incoming.items()},
    )


def _exact_contract(contract: Contract) -> Contract:
    """Leaks are exact as Euler steps of a dt that other tools assume."""
    semantics = replace(contract.semantics, dt=EXPORT_DT, integrator="euler")
    return replace(contract, semantics=semantics)


def _real_neuron(population: QuantizedPopulation, scale: float) -> Neuron | Relay:
    if isinstance(population.neuron, QuantizedRelay):
        return Relay(population.neuron.bias / scale)
    return _neuron(population.leaky, scale)


def _unit(population: QuantizedPopulation, scale: float) -> float:
    """What 1 of a float message is in integers, at a scale of the population that sends it."""
    if isinstance(population.neuron, IntegerModel):
        return population.neuron.message_unit(scale)
    return population.message_unit


def _neuron(neuron: QuantizedNeuron, scale: float) -> Neuron:
    bias = neuron.bias_mantissa << neuron.bias_exponent
    threshold = neuron.threshold
    return Neuron(
        kind=neuron.kind,
        u_keep=1 - neuron.u_decay / DECAY_ONE,
        v_keep=1 - neuron.v_decay / DECAY_ONE,
        bias=bias / (scale * 2.0**ACTIVATION_SHIFT),
        v_threshold=None if threshold is None else threshold / scale,
        reset=neuron.reset,
        comparison=neuron.comparison,
        refractory_period=neuron.refractory_period,
    )


def _projection(projection: QuantizedProjection, unit: float, scale: float) -> Projection:
    p = projection
    weights = p.operator.weights * (2.0**p.exponent * unit / scale)
    return Projection(p.name, p.source, p.target, p.operator.with_weights(weights), p.delay)
