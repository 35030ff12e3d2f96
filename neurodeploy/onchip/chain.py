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


@dataclass(frozen=True, eq=False)
class Link:
    """A projection and the population it leads to."""

    projection: QuantizedProjection
    population: QuantizedPopulation


def chain(network: QuantizedNetwork) -> list[Link]:
    """The layers from the input to the read-out.

    Raises:
        UnsupportedError: not a chain without delays, hidden neurons that do not spike or whose
            thresholds differ, or a read-out other than one that integrates and is decoded by its
            last v, so that o[t] is what it adds at step t.
    """
    (source,) = network.inputs
    links: list[Link] = []
    name = source.name
    while name != network.output:
        found = [p for p in network.projections if p.source == name]
        if len(found) != 1 or found[0].delay:
            readers = ", ".join(p.target for p in found) or "nothing"
            raise UnsupportedError(
                f"population {name!r} feeds {readers}{' with a delay' if len(found) == 1 else ''}: "
                "learning goes back along a chain of layers, without shortcuts, recurrence or "
                "delays"
            )
        links.append(Link(found[0], network.population(found[0].target)))
        name = found[0].target
        if len(links) > len(network.projections):
            raise UnsupportedError("learning goes back along a chain of layers, not a cycle")
    if len(links) != len(network.projections):
        raise UnsupportedError(
            "learning goes back along a chain of layers, and this network has others beside it"
        )
    for link in links[:-1]:
        check_hidden(link.population)
    _check_readout(network)
    return links


def check_hidden(population: QuantizedPopulation) -> None:
    """Refuse hidden neurons that no error passes.

    Raises:
        UnsupportedError: they do not spike, they rest, or they have no threshold in common that a
            surrogate derivative of 8 bits could be made of.
    """
    neuron = population.leaky
    if neuron.threshold is None:
        raise UnsupportedError(f"hidden population {population.name!r} does not spike")
    if neuron.refractory_period:
        raise UnsupportedError(
            f"population {population.name!r} rests for {neuron.refractory_period} steps after a "
            "spike; learning does not support a refractory period"
        )
    lowest, highest = int(neuron.threshold.min()), int(neuron.threshold.max())
    if lowest != highest:
        raise UnsupportedError(
            f"population {population.name!r} has thresholds from {lowest} to {highest}; the "
            "surrogate derivative needs one for all its neurons"
        )
    if lowest << ACTIVATION_SHIFT < 1 << SURROGATE_BITS:
        raise UnsupportedError(
            f"population {population.name!r} has a threshold of {lowest}, too small for a "
            "surrogate derivative of 8 bits; export with more weight bits"
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
