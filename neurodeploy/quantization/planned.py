"""The integers of a network that was trained for them: scales and exponents as its plan says.

Weights, biases and thresholds must already lie on the plan's grid. Whatever does not means that the
network is not the one that the plan was made for, and is refused.
"""

from __future__ import annotations

import numpy as np

from neurodeploy.errors import UnsupportedError
from neurodeploy.ir.fixed_point import ACTIVATION_SHIFT
from neurodeploy.ir.network import Network, Population, Projection
from neurodeploy.ir.plan import PopulationPlan, QuantizationPlan
from neurodeploy.ir.quantized import QuantizedNetwork, QuantizedPopulation, QuantizedProjection
from neurodeploy.quantization.incoming import Incoming, payload_of
from neurodeploy.quantization.post_training import quantized_neuron
from neurodeploy.target import Target

OFF_GRID = 1e-3
"""Share of a step by which a weight or bias may miss its integer: float noise is far below."""

REMEDY = "export it with --scale METHOD to quantise it anew"


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
        if population.neuron is not None:
            planned = _planned(plan, population)
            neuron, found = quantized_neuron(population.neuron, planned.scale, target)
            scale = planned.scale
            if any("clipped" in note for note in found):
                raise UnsupportedError(
                    f"population {population.name!r}: {', '.join(found)}: {target.name} cannot "
                    f"hold the integers that the network was trained for; {REMEDY}"
                )
            if found:
                notes[population.name] = ", ".join(found)
            _check_biases(population, neuron.bias_mantissa << neuron.bias_exponent, scale)
        populations.append(QuantizedPopulation(population.name, population.shape, neuron, scale))
    for projection in network.projections:
        planned = plan.populations[projection.target]
        projections += _integers(projection, network, planned)
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
            f"name it; {REMEDY}"
        )
    return plan.populations[population.name]


def _check_biases(population: Population, found: np.ndarray, scale: float) -> None:
    """Refuse biases that had to be rounded or clipped."""
    if population.neuron is None:
        raise ValueError(f"population {population.name!r} is an input")
    wanted = population.neuron.bias * scale * 2**ACTIVATION_SHIFT
    off = float(np.abs(found - wanted).max(initial=0))
    if off > OFF_GRID:
        raise UnsupportedError(
            f"population {population.name!r}: a bias is {off:.3g} state units off the integers "
            f"that the file's metadata names, so the network changed since; {REMEDY}"
        )


def _integers(
    projection: Projection, network: Network, population: PopulationPlan
) -> list[QuantizedProjection]:
    """One projection in integers, or its two one-bit halves."""
    # A projection is called by the nodes it was made from: "pool+conv", or "conv (a to b)"; a node
    # written from integers has the name of the whole projection.
    nodes = [projection.name, *projection.name.split(" (")[0].split("+")]
    named = [node for node in dict.fromkeys(nodes) if node in population.incoming]
    if len(named) != 1:
        raise UnsupportedError(
            f"projection {projection.name!r}: the quantisation in the file's metadata does not "
            f"name its weights; {REMEDY}"
        )
    planned = population.incoming[named[0]]
    parts = Incoming.of_sign(projection, network, planned.bits, planned.sign)
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
                f"the network changed since it was trained; {REMEDY}"
            )
        found.append(quantized)
    return found
