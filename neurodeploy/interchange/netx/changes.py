"""Sigma-delta neurons of a ``.net`` in integers: its numbers in units of Lava's states."""

from __future__ import annotations

import math

import numpy as np

from neurodeploy.errors import Setting, Text, UnsupportedError
from neurodeploy.interchange.netx.layers import (
    MESSAGE_EXPONENT,
    STATE_EXPONENT,
    InputLayer,
    NetChanges,
)
from neurodeploy.ir.contract import InputCode
from neurodeploy.ir.fixed_point import INT32_EXACT, STATE_LIMIT
from neurodeploy.ir.models import IntegerModel
from neurodeploy.ir.quantized import QuantizedNetwork
from neurodeploy.neurons.sigma_delta import QuantizedDelta, QuantizedSigma, QuantizedSigmaDelta


def changes(
    neuron: NetChanges, bias: np.ndarray, message_exponent: int, where: str, *, encodes: bool
) -> IntegerModel:
    """Sigma, Delta or SigmaDelta, as lava-dl makes them.

    Args:
        bias: numbers of the file, of full shape.
        message_exponent: lava-dl's ``spike_exp``.
        where: begins messages.
        encodes: whether it is an input layer.

    Raises:
        UnsupportedError: states would leave 32 bits before anything is sent.
    """
    fineness = message_exponent + STATE_EXPONENT
    largest = max(neuron.threshold, int(np.abs(bias).max(initial=0)))
    if largest << fineness >= INT32_EXACT:
        raise UnsupportedError(
            f"{where}: a threshold or bias of {largest:,}, which times 2^{fineness} leaves the 32 "
            "bits of Lava's states"
        )
    threshold, finer = neuron.threshold << fineness, bias << fineness
    if neuron.sums:
        return QuantizedSigma()
    if encodes:
        return QuantizedDelta(threshold, finer, STATE_EXPONENT, input_exponent=fineness)
    return QuantizedSigmaDelta(threshold, finer, STATE_EXPONENT)


def check_changes(code: InputCode, where: str) -> None:
    """Whether samples can be what sigma-delta neurons behind the input add up.

    Raises:
        UnsupportedError: the same values would be there at every step, and be added up.
    """
    if code.encoder != "events":
        raise UnsupportedError(
            f"{where}: adds up what it is sent, and nothing in the file makes changes of the "
            "values of a sample",
            fix=Text("state ", Setting("encoder", "events"), ", and give samples of changes"),
        )


def check_drive(layer: InputLayer, levels: int, message_exponent: int, where: str) -> None:
    """Whether what an input layer is given stays within the 24 bits that Lava declares for it.

    Raises:
        UnsupportedError: it does not.
    """
    reach = max(abs(layer.bias), abs(layer.weight * levels + layer.bias))
    fineness = message_exponent + STATE_EXPONENT
    if reach << fineness >= STATE_LIMIT:
        raise UnsupportedError(
            f"{where}: input up to {levels} times {layer.weight} plus {layer.bias} makes values up "
            f"to {reach:,}; {STATE_LIMIT - 1 >> fineness:,} fit a state {fineness} bits finer",
            fix=Text("lower ", Setting("levels")),
        )


def message_exponent(network: QuantizedNetwork) -> int:
    """lava-dl's ``spike_exp`` of a network that ``network_in`` made, its default where none is."""
    for population in network.populations:
        if isinstance(population.neuron, QuantizedSigma | QuantizedDelta | QuantizedSigmaDelta):
            return round(math.log2(population.scale)) - STATE_EXPONENT
    return MESSAGE_EXPONENT
