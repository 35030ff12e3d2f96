"""Layers of lava-dl's network exchange format (netx, ``.net``), as plain values and in words.

A ``.net`` is a chain: each layer reads the one before it. Arrays are in torch's order, (channels,
height, width), as lava-dl's slayer writes them. Not every integer weight survives lava-dl and Lava:
see ``refused_by_lava_dl``. Source: lava-dl 0.6.0, ``netx/hdf5.py``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from neurodeploy.ir.fixed_point import WEIGHT_BITS, WeightFormat
from neurodeploy.ir.operators import Shape

BIAS_EXPONENT = 6
"""lava-dl shifts every bias left by this."""

NEVER_SPIKES = 1 << 17
"""The least vThMant that no v exceeds: 2^17 << 6 is 2^23, and v saturates at 2^23 - 1."""

SILENT = (1 << 18) - 1
"""What slayer writes as vThMant of a layer without spikes (``slayer/block/base.py``, Affine)."""

LAVA_INT8 = 127
"""Lava's Conv keeps stride, padding, dilation, kernel size and groups in signed 8 bits."""

CONV_LIMIT = 2**23
"""Lava's Conv wraps its sums into 24 bits with their sign; no other layer does."""

LARGEST_SHIFT = 7
"""Loihi's weight exponent goes down to -7."""

STATE_EXPONENT = 6
"""By how many bits lava-dl makes states of sigma-delta neurons finer than their messages."""

MESSAGE_EXPONENT = 6
"""By how many bits it makes messages finer than the numbers in the file, unless told otherwise."""


@dataclass(frozen=True, eq=False)
class NetNeuron:
    """Lava's fixed-point LIF: fires at v > threshold << 6, then v = 0.

    Attributes:
        i_decay: 1..4096 in 1/4096, one number or one per channel; Lava's ``du`` plus 1.
        v_decay: 0..4095 in 1/4096, one number or one per channel; Lava's ``dv``.
        threshold: ``vThMant``; from ``NEVER_SPIKES`` on the layer never spikes.
    """

    i_decay: np.ndarray
    v_decay: np.ndarray
    threshold: int

    @property
    def spikes(self) -> bool:
        """Whether the threshold can be exceeded at all."""
        return self.threshold < NEVER_SPIKES


@dataclass(frozen=True, eq=False)
class NetChanges:
    """Lava's sigma-delta neurons with ReLU; as an input layer, Delta.

    Attributes:
        threshold: ``vThMant``.
        sums: whether they are Sigma instead, which sends the sum of what it is sent: an output.
    """

    threshold: int
    sums: bool = False

    @property
    def spikes(self) -> bool:
        """Whether messages count: those of a sum are no events."""
        return not self.sums


@dataclass(frozen=True, eq=False)
class InputLayer:
    """The shape of the input, or with a ``neuron`` a block that values are fed to.

    Attributes:
        shape: (neurons,) or (channels, height, width).
        weight, bias: value * weight + bias is the block's bias mantissa, of sigma-delta neurons
            what they send the changes of.
    """

    shape: Shape
    neuron: NetNeuron | NetChanges | None = None
    weight: int = 64
    bias: int = 0


@dataclass(frozen=True, eq=False)
class FlattenLayer:
    """(channels, height, width) to one axis, in that order."""


@dataclass(frozen=True, eq=False)
class DenseLayer:
    """Every input to every neuron, and with ``recurrent`` every neuron to every neuron.

    Attributes:
        weight: (neurons, inputs) int64.
        recurrent: (neurons, neurons) int64 from the spikes of the step before, or None.
        bias: (neurons,) int64 mantissas, or None.
        delay: (neurons, inputs) int64 steps, or None.
    """

    neuron: NetNeuron | NetChanges
    weight: np.ndarray
    recurrent: np.ndarray | None = None
    bias: np.ndarray | None = None
    delay: np.ndarray | None = None

    @property
    def shape(self) -> Shape:
        """Shape of the neurons."""
        return self.weight.shape[:1]


@dataclass(frozen=True, eq=False)
class ConvLayer:
    """A convolution over two axes, in the cross-correlation convention of torch.

    Attributes:
        shape: (channels, height, width) of the neurons.
        weight: (channels, input channels // groups, height, width) int64.
        stride, padding, dilation: (height, width).
        bias: (channels,) or (channels, height, width) int64 mantissas, or None.
    """

    shape: Shape
    neuron: NetNeuron | NetChanges
    weight: np.ndarray
    stride: Shape = (1, 1)
    padding: Shape = (0, 0)
    dilation: Shape = (1, 1)
    groups: int = 1
    bias: np.ndarray | None = None


NetLayer = InputLayer | FlattenLayer | DenseLayer | ConvLayer


def image_shape(shape: Shape) -> Shape:
    """A shape that a ``.net`` has, of as many neurons: (neurons,) or (channels, height, width)."""
    if len(shape) == 2:
        return shape[0], 1, shape[1]
    return shape if len(shape) in (1, 3) else (math.prod(shape),)


def layer_lines(layers: list[NetLayer]) -> Iterator[str]:
    """One line for each layer: kind, shape, weights, neurons."""
    for index, layer in enumerate(layers):
        yield f"  {index:<3} " + ", ".join(_facts(layer))


def _facts(layer: NetLayer) -> Iterator[str]:
    if isinstance(layer, FlattenLayer):
        yield "flatten"
        return
    if isinstance(layer, InputLayer):
        yield f"input    {layer.shape}"
        if layer.neuron is not None:
            driven = "biases" if isinstance(layer.neuron, NetNeuron) else "changes"
            yield f"driven by {driven} of value * {layer.weight} + {layer.bias}"
    elif isinstance(layer, DenseLayer):
        yield f"dense    {layer.shape}"
        yield _weights(layer.weight)
        if layer.recurrent is not None:
            yield f"recurrent {_weights(layer.recurrent)}"
        if layer.delay is not None:
            yield f"delays {_range(layer.delay)}"
    elif isinstance(layer, ConvLayer):
        yield f"conv     {layer.shape}"
        yield _weights(layer.weight)
        yield f"stride {layer.stride}, padding {layer.padding}, dilation {layer.dilation}"
        if layer.groups > 1:
            yield f"{layer.groups} groups"
    if isinstance(layer, DenseLayer | ConvLayer) and layer.bias is not None:
        yield f"biases {_range(layer.bias)}"
    if layer.neuron is not None:
        yield _neuron(layer.neuron)


def _neuron(neuron: NetNeuron | NetChanges) -> str:
    if isinstance(neuron, NetChanges):
        return "SDNN sums" if neuron.sums else f"SDNN threshold {neuron.threshold:,}"
    fires = f"threshold {neuron.threshold:,}" if neuron.spikes else "never spikes"
    return f"CUBA iDecay {_range(neuron.i_decay)}, vDecay {_range(neuron.v_decay)}, {fires}"


def _weights(weights: np.ndarray) -> str:
    return f"{weights.size:,} weights {_range(weights)}"


def _range(values: np.ndarray) -> str:
    low, high = int(values.min()), int(values.max())
    return f"{low}" if low == high else f"{low} to {high}"


def refused_by_lava_dl(*parts: np.ndarray) -> str:
    """Why lava-dl would not run exactly these dense weights; empty when it does.

    lava-dl shifts dense weights left until they fill Loihi's 8 bits, drops the lowest bits that are
    zero in all of them, and shifts the sum back. Lava then clips and truncates to that format. Both
    disagree about the sign of a layer without positive weights, so not every integer survives.
    Source: lava-dl 0.6.0 ``netx/utils.py``, lava-nc 0.10.0 ``utils/weightutils.py``.

    Args:
        parts: int64 matrices that share one format: the weights of a layer, and its recurrent
            ones.
    """
    joint = np.concatenate([part.ravel() for part in parts])
    if not joint.any():
        return "all weights are 0, on which lava-dl fails"
    highest, lowest = int(joint.max()), int(joint.min())
    # Here lava-dl counts a sign bit also when the highest weight is 0; Lava itself does not.
    signed = lowest < 0 <= highest
    left = math.floor(math.log2(_room(highest, lowest))) + signed
    bits = WEIGHT_BITS - left - (_low_zeros(joint) - signed)
    if left < 0 or bits > WEIGHT_BITS:
        return (
            f"weights from {lowest} to {highest} do not fit 8 bits with their sign; of both signs "
            "they are even, from -256 to 254"
        )
    changed = sum(int((_as_run(part << left, bits) != part << left).sum()) for part in parts)
    if changed:
        return (
            f"lava-dl would run {changed} of {joint.size} weights as other numbers, because of the "
            f"sign it infers from weights of {lowest} to {highest}; one positive weight avoids it"
        )
    return ""


def packing(*parts: np.ndarray) -> tuple[int, WeightFormat] | None:
    """The fewest bits that hold weights, as lava-dl finds them: shifted left as far as they go.

    Returns:
        how far to shift, for the weight exponent to shift back, and the format of the shifted
        weights; None when 8 bits do not hold them.
    """
    joint = np.concatenate([part.ravel() for part in parts])
    zeros = _low_zeros(joint)
    for sign in dict.fromkeys([WeightFormat.fitting(joint, WEIGHT_BITS).sign, "mixed"]):
        for left in range(LARGEST_SHIFT, -1, -1):
            bits = WEIGHT_BITS + (sign == "mixed") - zeros - left
            if bits > WEIGHT_BITS:
                break
            form, shifted = WeightFormat(max(bits, 1), sign), joint << left
            if form.minimum <= shifted.min(initial=0) and shifted.max(initial=0) <= form.maximum:
                return left, form
    return None


def _room(highest: int, lowest: int) -> float:
    """How many times larger lava-dl takes the weights to be allowed to be."""
    if lowest >= 0:
        return 255 / highest
    if highest < 0:
        return 256 / -lowest
    return min(127 / highest if highest else math.inf, 128 / -lowest)


def _low_zeros(weights: np.ndarray) -> int:
    """Lowest bits that are zero in every weight, at most 8."""
    joined = int(np.bitwise_or.reduce(weights, axis=None)) | 1 << WEIGHT_BITS
    return (joined & -joined).bit_length() - 1


def _as_run(weights: np.ndarray, bits: int) -> np.ndarray:
    """What Lava's Dense clips and truncates shifted weights to."""
    form = WeightFormat.fitting(weights, WEIGHT_BITS)
    mixed, negative = form.sign == "mixed", form.sign == "inhibitory"
    magnitude = -weights if negative else weights
    magnitude = np.clip(magnitude, -256 if mixed else 0, 255)
    drop = WEIGHT_BITS - bits + mixed
    magnitude = (magnitude >> drop) << drop
    return -magnitude if negative else magnitude
