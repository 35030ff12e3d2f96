"""The fewest cores that a network can take, known before it is cut into parts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from neurodeploy.ir.models import IntegerModel
from neurodeploy.ir.quantized import QuantizedNetwork, QuantizedPopulation
from neurodeploy.mapping.mapping import Violation, check_fits
from neurodeploy.mapping.memory import SynapseRows
from neurodeploy.target import Target

MAPPED_BEYOND = 4096
"""Cores up to which a network that needs more than there are is mapped all the same, to tell all
that it breaks: about half a minute's work."""


def slots(population: QuantizedPopulation) -> int:
    """How many leaky neurons' room a neuron of the population takes."""
    return population.neuron.slots if isinstance(population.neuron, IntegerModel) else 1


def least_cores(
    network: QuantizedNetwork, target: Target, onto: Mapping[str, Sequence[SynapseRows]]
) -> int:
    """Cores that are not enough for any fewer: by neurons, and by synapses that lie on one core.

    Limits of which a target publishes nothing bound nothing.

    Args:
        onto: synapses by the population they lead to, as from ``memory.incoming``.
    """
    core, total = target.core, 0
    words = [limit.value for limit in (core.synapse_words, core.fill_words) if limit is not None]
    bits = min(words) * target.synapse.memory.word_bits.value if words else None
    for population in network.populations:
        if population.neuron is None:
            continue
        taken = math.prod(population.shape) * slots(population)
        least = math.ceil(taken / core.neurons.value)
        if bits is not None:
            stored = sum(item.least_bits() for item in onto[population.name])
            least = max(least, math.ceil(stored / bits))
        total += least
    return total


def refuse_beyond(cores: int, network: QuantizedNetwork, target: Target) -> None:
    """Refuse a network that takes more cores than there are, and too many to be mapped for that.

    Args:
        cores: that it takes at least.

    Raises:
        CheckFailedError: saying how many that are.
    """
    available = target.chip.cores.value * target.chip.chips.value
    if cores <= max(available, MAPPED_BEYOND):
        return
    beyond = Violation(
        "cores",
        f"network {network.name!r}",
        f"at least {cores:,} cores",
        f"{target.name} has {available:,}",
        "use smaller layers or a target with more chips",
    )
    check_fits([beyond], network.name, target.name)
