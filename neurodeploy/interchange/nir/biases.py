"""Biases in a written NIR graph: which node takes each of them."""

from __future__ import annotations

import numpy as np

from neurodeploy.errors import UnsupportedError
from neurodeploy.interchange.nir.linear import takes_bias
from neurodeploy.ir.network import Neuron, Projection
from neurodeploy.ir.operators import Operator
from neurodeploy.neurons.constant import bias_name
from neurodeploy.neurons.kinds import LEAKY, kind_of


def carriers(
    name: str,
    biases: dict[int, np.ndarray],
    incoming: list[Projection],
    chains: dict[str, list[Operator]],
) -> dict[str, tuple[int, np.ndarray]]:
    """By projection, the bias that its last node takes and the steps by which that is late.

    Args:
        name: of the population.
        biases: what constant sources add, by the step from which they do.
        incoming: the other projections into it.
        chains: the operators to be written, by projection.

    Raises:
        UnsupportedError: no projection can take one of them.
    """
    carried: dict[str, tuple[int, np.ndarray]] = {}
    for delay, bias in sorted(biases.items(), reverse=True):
        found = (
            p.name
            for p in incoming
            if p.name not in carried
            and delay in (0, p.delay)
            and chains[p.name]
            and takes_bias(chains[p.name][-1], bias)
        )
        carrier = next(found, None)
        if carrier is None:
            raise UnsupportedError(
                f"population {name!r}: NIR has no node for the bias "
                f"{bias_name(name, delay)!r}, which can stand in an Affine, or in a "
                "convolution as one number per channel"
            )
        carried[carrier] = delay, bias
    return carried


def membrane_carrier(name: str, neuron: Neuron, chains: dict[str, list[Operator]]) -> str | None:
    """The projection whose last node takes a neuron's bias; None for v_leak, or without a bias.

    Args:
        name: of the population.
        chains: the operators to be written, by projection, of those that carry no bias yet.

    Raises:
        UnsupportedError: neither a projection nor v_leak can take it.
    """
    if not np.any(neuron.bias):
        return None
    if not np.any(neuron.u_keep):
        for projection, chain in chains.items():
            if chain and takes_bias(chain[-1], neuron.bias):
                return projection
    if kind_of(neuron) in LEAKY and np.all(neuron.v_keep < 1):
        return None
    raise UnsupportedError(
        f"population {name!r}: NIR has no node for its bias, which can stand in an Affine, in "
        "a convolution as one number per channel, or in a neuron that leaks"
    )
