"""Layers of lava-dl's network exchange format (netx, ``.net``), as plain values and in words.

A ``.net`` is a chain: each layer reads the one before it. Arrays are in torch's order, (channels,
height, width), as lava-dl's slayer writes them. Source: lava-dl 0.6.0, ``netx/hdf5.py``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

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
class InputLayer:
    """The shape of the input, or with a ``neuron`` a block driven through its bias.

    Attributes:
        shape: (neurons,) or (channels, height, width).
        weight, bias: the block's bias mantissa is value * weight + bias.
    """

    shape: Shape
    neuron: NetNeuron | None = None
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

    neuron: NetNeuron
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
    neuron: NetNeuron
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
            yield f"driven by biases of value * {layer.weight} + {layer.bias}"
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


def _neuron(neuron: NetNeuron) -> str:
    fires = f"threshold {neuron.threshold:,}" if neuron.spikes else "never spikes"
    return f"CUBA iDecay {_range(neuron.i_decay)}, vDecay {_range(neuron.v_decay)}, {fires}"


def _weights(weights: np.ndarray) -> str:
    return f"{weights.size:,} weights {_range(weights)}"


def _range(values: np.ndarray) -> str:
    low, high = int(values.min()), int(values.max())
    return f"{low}" if low == high else f"{low} to {high}"
