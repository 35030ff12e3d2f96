"""The layers of a ``.net`` in words."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from neurodeploy.interchange.netx.layers import (
    ConvLayer,
    DenseLayer,
    FlattenLayer,
    InputLayer,
    NetLayer,
    NetNeuron,
)


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
