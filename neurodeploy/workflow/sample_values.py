"""Arrays of samples as the input of a network takes them: axes, integers, biases that drive it."""

from __future__ import annotations

import numpy as np

from neurodeploy.data.values import question
from neurodeploy.errors import InputError, Setting, Text
from neurodeploy.ir.contract import Contract, InputCode
from neurodeploy.ir.network import Network
from neurodeploy.ir.operators import Shape
from neurodeploy.ir.quantized import QuantizedNetwork

AnyNetwork = Network | QuantizedNetwork


def input_shape(network: AnyNetwork) -> Shape:
    """Shape of a sample at one step."""
    (source,) = network.inputs
    return source.shape


def with_channel(x: np.ndarray, network: AnyNetwork) -> tuple[np.ndarray, bool]:
    """Samples with the channel axis of 1 that they may lack, and whether they are over time.

    Those that do not fit stay as they are, for ``array_samples`` to refuse.
    """
    steps, shape = network.contract.steps, input_shape(network)
    only_over_time = network.contract.input_code.encoder == "events"
    for over_time in (True,) if only_over_time else (False, True):
        lead, frame = (x.shape[:2], x.shape[2:]) if over_time else (x.shape[:1], x.shape[1:])
        if over_time and x.shape[1:2] != (steps,):
            continue
        if frame == shape or (len(frame) == 2 and shape == (1, *frame)):
            return x.reshape(*lead, *shape), over_time
    return x, False


def largest_value(contract: Contract, over_time: bool) -> int:
    """Largest integer of an input: what a spike carries, or what the encoder takes."""
    return contract.input_code.payload if over_time else contract.input_code.levels


def check_values(x: np.ndarray, largest: int, where: str) -> str | None:
    """Refuse values that the input does not take; what to ask of those that it hardly notices.

    Args:
        largest: that it takes, from 0.

    Raises:
        InputError: there are no samples, no integers, or values out of range.
    """
    if len(x) == 0:
        raise InputError(f"{where}: x holds no samples")
    if not (np.issubdtype(x.dtype, np.integer) or x.dtype == bool):
        scaled = x.dtype.kind == "f" and x.min() >= 0 and x.max() <= 1
        raise InputError(
            f"{where}: x is {x.dtype}; spikes and graded inputs are integers",
            fix=Text(
                f"this network's input takes 0 to {largest}; for floats from 0 to 1, give "
                + (f"np.rint({largest} * x).astype(int)" if largest > 1 else "x.astype(int)")
                + ", or have those of a file multiplied and rounded with ",
                Setting("scale_floats"),
            )
            if scaled
            else None,
        )
    top = int(x.max())
    if x.min() < 0 or top > largest:
        raise InputError(
            f"{where}: x holds values from {x.min()} to {top}; this network's input takes "
            f"0 to {largest}",
            fix="scale them to that range as the training samples were"
            if largest > 1
            else "give spikes, 0 or 1",
        )
    times = f"multiply them by {largest // max(top, 1)}, or as far as they should go"
    return question(top, largest, f"if the values end there, {times}")


def driving_values(x: np.ndarray, code: InputCode, where: str) -> np.ndarray:
    """Biases of an input layer as what the network takes, from 0; see ``InputCode``.

    Raises:
        InputError: floats beyond 0 and 1, or integers beyond the biases that these make.
    """
    lowest, highest = code.offset, code.offset + code.levels
    if x.dtype.kind not in "fiub" or x.size == 0:
        return x  # which no input takes
    if x.dtype.kind == "f":
        if not (x.min() >= 0 and x.max() <= 1):
            raise InputError(
                f"{where}: x holds floats from {x.min():g} to {x.max():g}; real values that drive "
                "biases are from 0 to 1"
            )
        weight = code.levels // 2
        # In lava-dl's order, in which these floats round.
        x = np.trunc(2 * weight * x.astype(np.float64) - weight + (lowest + weight))
    elif int(x.min()) < lowest or int(x.max()) > highest:
        raise InputError(
            f"{where}: x holds values from {x.min()} to {x.max()}; biases of this input layer are "
            f"integers from {lowest} to {highest}, or floats from 0 to 1 that make these"
        )
    return x.astype(np.int64) - lowest
