"""How much memory the engines of this machine take, from shapes, before anything is computed."""

from __future__ import annotations

import math
import sys

from neurodeploy.ir.convolution import Convolution
from neurodeploy.ir.network import Network
from neurodeploy.ir.quantized import QuantizedNetwork

TORCH = 130 * 2**20
"""Bytes that torch takes when it is loaded and multiplies for the first time."""


def sizes_of(network: Network | QuantizedNetwork) -> dict[str, int]:
    """Neurons of each population that has some."""
    return {p.name: math.prod(p.shape) for p in network.populations if p.neuron}


def recorded(
    network: Network | QuantizedNetwork, steps: int, *, state: bool, number: int = 4
) -> dict[str, int]:
    """Bytes that the record of one sample takes, by population.

    Args:
        state: whether all that neurons keep is recorded; without, v of a read-out that is read
            from it.
        number: bytes of u, of v, and of a graded message.
    """
    decoded = network.output if network.contract.decode != "spike_count" else None
    found = {}
    for p in network.populations:
        if p.neuron is not None:
            sent = number if p.neuron.message.graded else 1
            kept = number * len(p.neuron.states) * (state or p.name == decoded)
            found[p.name] = steps * math.prod(p.shape) * (sent + kept)
    return found


def layerwise_bytes(
    network: Network | QuantizedNetwork, samples: int, *, state: bool, number: int
) -> int:
    """Bytes that ``reference`` or ``float`` takes for batches of so many samples.

    A layer is computed for all steps at once: its input, the product and the sum are there
    together.

    Args:
        number: bytes of what it multiplies in, 4 or 8.
    """
    steps = network.contract.steps
    weights = number * sum(p.operator.weights.size for p in network.projections)
    records = 2 * samples * sum(recorded(network, steps, state=state, number=number).values())
    layers = {p.name: 0 for p in network.populations}
    for projection in network.projections:
        operator = projection.operator
        values = math.prod(operator.input_shape) + 3 * math.prod(operator.output_shape)
        if isinstance(operator, Convolution):
            # oneDNN orders both ends of a convolution as suits its kernels.
            values += math.prod(operator.input_shape) + math.prod(operator.output_shape)
        layers[projection.target] += values
    running = records + number * samples * steps * max(layers.values())
    loaded = 0 if "torch" in sys.modules else TORCH
    return loaded + weights + max(running, _made_ready(network))


def _made_ready(network: Network | QuantizedNetwork) -> int:
    """Bytes while weights are made ready: bounds and widths are found of copies in 64 bits."""
    return 3 * 8 * max((p.operator.weights.size for p in network.projections), default=0)
