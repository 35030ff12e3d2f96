"""Integers as the floats they stand for: a quantised network on its own grid.

Everything counts in units of the activation's last bit, so that the scale of every population is 1:

    weight     W 2^exponent, and behind graded input, whose floats are integer/levels, times levels
    threshold  as it is
    bias       (mantissa << exponent) / 64, since states are 64 times finer than activations
    u_keep     (4096 - u_decay) / 4096, likewise v_keep

These are exact in float64. The float network on them computes what the integers do wherever these
neither wrap, saturate nor round: a leak that keeps a fraction of a state unit, and a right shift.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from neurodeploy.ir.contract import EXPORT_DT, Contract
from neurodeploy.ir.fixed_point import ACTIVATION_SHIFT, DECAY_ONE
from neurodeploy.ir.network import Network, Neuron, Population, Projection
from neurodeploy.ir.plan import PopulationPlan, ProjectionPlan, QuantizationPlan
from neurodeploy.ir.quantized import QuantizedNetwork, QuantizedNeuron, QuantizedProjection

SCALE = 1.0
"""Activation units per unit of a network on the grid."""


def on_grid(network: QuantizedNetwork) -> Network:
    """The float network whose numbers are the deployed integers."""
    populations = tuple(
        Population(p.name, p.shape, None if p.neuron is None else _neuron(p.neuron))
        for p in network.populations
    )
    projections = tuple(_projection(p) for p in network.projections)
    contract = _contract(network.contract)
    return Network(network.name, populations, projections, network.output, contract)


def plan_of(network: QuantizedNetwork, target: str) -> QuantizationPlan:
    """The formats by which ``planned`` finds the same integers again."""
    incoming: dict[str, dict[str, ProjectionPlan]] = {
        p.name: {} for p in network.populations if p.neuron is not None
    }
    for p in network.projections:
        sign: Any = p.weight_format.sign
        incoming[p.target][p.name] = ProjectionPlan(p.weight_format.bits, sign, p.exponent)
    return QuantizationPlan(
        target, {name: PopulationPlan(SCALE, plans) for name, plans in incoming.items()}
    )


def _contract(contract: Contract) -> Contract:
    """Leaks are exact as Euler steps of a dt that other tools assume."""
    semantics = replace(contract.semantics, dt=EXPORT_DT, integrator="euler")
    return replace(contract, semantics=semantics)


def _neuron(neuron: QuantizedNeuron) -> Neuron:
    bias = neuron.bias_mantissa << neuron.bias_exponent
    return Neuron(
        kind=neuron.kind,
        u_keep=1 - neuron.u_decay / DECAY_ONE,
        v_keep=1 - neuron.v_decay / DECAY_ONE,
        bias=bias / 2.0**ACTIVATION_SHIFT,
        v_threshold=None if neuron.threshold is None else neuron.threshold.astype(np.float64),
        reset=neuron.reset,
        comparison=neuron.comparison,
    )


def _projection(projection: QuantizedProjection) -> Projection:
    weights = projection.operator.weights * (2.0**projection.exponent * projection.payload)
    operator = projection.operator.with_weights(weights)
    return Projection(
        projection.name, projection.source, projection.target, operator, projection.delay
    )
