"""Networks that are a chain of layers with an integrating read-out; others learn as graphs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neurodeploy.errors import UnsupportedError
from neurodeploy.ir.fixed_point import ACTIVATION_SHIFT, DECAY_ONE
from neurodeploy.ir.quantized import (
    QuantizedNetwork,
    QuantizedNeuron,
    QuantizedPopulation,
    QuantizedProjection,
)
from neurodeploy.onchip.arithmetic import SURROGATE_BITS

MOST_SPREAD = 16
"""By so much thresholds of a population may differ: surrogates fall as their squares, and those of
the highest keep 4 bits."""


@dataclass(frozen=True, eq=False)
class Link:
    """A projection and the population it leads to."""

    projection: QuantizedProjection
    population: QuantizedPopulation


def chain(network: QuantizedNetwork) -> list[Link]:
    """The layers from the input to the read-out.

    Raises:
        UnsupportedError: not a chain without delays, hidden neurons that do not spike, that rest or
            whose thresholds differ, or a read-out other than one that integrates and is decoded by
            its last v, so that o[t] is what it adds at step t.
    """
    (source,) = network.inputs
    links: list[Link] = []
    name = source.name
    while name != network.output:
        found = [p for p in network.projections if p.source == name]
        if len(found) != 1 or found[0].delay:
            readers = ", ".join(p.target for p in found) or "nothing"
            raise UnsupportedError(
                f"population {name!r} feeds {readers}{' with a delay' if len(found) == 1 else ''}; "
                "a chain of layers has no shortcuts, recurrence or delays"
            )
        links.append(Link(found[0], network.population(found[0].target)))
        name = found[0].target
        if len(links) > len(network.projections):
            raise UnsupportedError("its layers form a cycle, not a chain")
    if len(links) != len(network.projections):
        raise UnsupportedError("it has layers besides those of a chain")
    for link in links[:-1]:
        check_hidden(link.population)
        _check_alike(link.population)
    _check_readout(network)
    return links


def check_hidden(population: QuantizedPopulation) -> None:
    """Refuse hidden neurons that no error passes.

    Raises:
        UnsupportedError: they do not spike, or no surrogate derivative of 8 bits could be made of
            their thresholds.
    """
    neuron = population.leaky
    if neuron.threshold is None:
        raise UnsupportedError(f"hidden population {population.name!r} does not spike")
    lowest, highest = int(neuron.threshold.min()), int(neuron.threshold.max())
    if lowest << ACTIVATION_SHIFT < 1 << SURROGATE_BITS:
        raise UnsupportedError(
            f"population {population.name!r} has a threshold of {lowest}, too small for a "
            "surrogate derivative of 8 bits; export with more weight bits"
        )
    if highest > MOST_SPREAD * lowest:
        raise UnsupportedError(
            f"population {population.name!r} has thresholds from {lowest} to {highest}, more than "
            f"{MOST_SPREAD} times as large: of a surrogate derivative of 8 bits too little is left "
            "for neurons with the highest, which would hardly learn"
        )


def _check_alike(population: QuantizedPopulation) -> None:
    """Refuse what the arithmetic of chains has no place for: neurons of one kind, at every step."""
    neuron = population.leaky
    if neuron.refractory_period:
        raise UnsupportedError(
            f"population {population.name!r} rests for {neuron.refractory_period} steps after a "
            "spike"
        )
    assert neuron.threshold is not None
    lowest, highest = int(neuron.threshold.min()), int(neuron.threshold.max())
    if lowest != highest:
        raise UnsupportedError(
            f"population {population.name!r} has thresholds from {lowest} to {highest}"
        )


def _check_readout(network: QuantizedNetwork) -> None:
    readout, decode = network.population(network.output), network.contract.decode
    neuron = readout.neuron
    integrates = (
        isinstance(neuron, QuantizedNeuron)
        and neuron.threshold is None
        and np.all(neuron.u_decay == DECAY_ONE)
        and np.all(neuron.v_decay == 0)
    )
    if not integrates or decode != "last_v":
        kind = "input" if neuron is None else neuron.kind
        raise UnsupportedError(
            f"read-out {readout.name!r} is a {kind} decoded by {decode}: learning needs NIR's "
            "integrator I decoded by last_v, as networks trained here have it"
        )
