"""Elementwise layers taken into the weights beside them, in float64.

What is left of a network is what NIR can say: weighted layers, neurons, pooling, flattening, and
factors that found no weights to go into. The result computes what the network does in evaluation.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from neurodeploy.errors import UnsupportedError
from neurodeploy.nn.layers import Constant, Dropout, GridLinear, Scale, SkipInit, WSConv2d
from neurodeploy.nn.network import INPUT, SpikingNetwork

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
PASSING = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, Dropout)
"""Layers that pass on what they are given once training is over."""
PADS = (nn.ZeroPad2d, nn.ConstantPad1d)
"""Padding with zeros before a convolution, whose node says it."""


@dataclass
class Folded:
    """A network after folding.

    Attributes:
        weights: weight and bias of each weighted layer.
        factors: elementwise layers that remain; one factor, or one per channel.
        inputs: the layers that each remaining node reads, vanished ones included.
        carriers: what adds up to each layer's output: itself, or what it was folded into.
    """

    weights: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    factors: dict[str, np.ndarray] = field(default_factory=dict)
    inputs: dict[str, tuple[str, ...]] = field(default_factory=dict)
    carriers: dict[str, tuple[str, ...]] = field(default_factory=lambda: {INPUT: (INPUT,)})


def fold(model: SpikingNetwork) -> Folded:
    """Fold batch norm, constant and learned factors.

    An elementwise layer y = a x + b goes into the weighted layers that it alone reads: W' = a W,
    and b' = a b_W + b for one of them. Other sources of it, such as a shortcut, keep a as a node of
    its own. A single factor that reads none such goes into the weighted layers that read it alone.

    Raises:
        UnsupportedError: a batch norm has no weighted layer before it, or no statistics.
    """
    result = Folded()
    weights = result.weights
    for name, layer in model.layers.items():
        if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Linear):
            weights[name] = weight_and_bias(layer)
    for name, layer in model.layers.items():
        sources, readers = model.sources[name], model.readers[name]
        if isinstance(layer, (Constant, *PADS, *PASSING)):
            # What a constant adds goes into the neurons that read it.
            sources = () if isinstance(layer, Constant) else sources
            result.carriers[name] = sources
            continue
        result.carriers[name], result.inputs[name] = (name,), sources
        affine = _affine(name, layer)
        if affine is None:
            continue
        factor, offset = affine
        before = [s for s in sources if s in weights and model.readers[s] == (name,)]
        rest = tuple(s for s in sources if s not in before)
        for source in before:
            weight, bias = weights[source]
            by_output = factor.reshape(-1, *(1,) * (weight.ndim - 1))
            weights[source] = weight * by_output, bias * factor + offset
            offset = np.zeros(())
        if np.any(offset):
            raise UnsupportedError(
                f"layer {name!r}: a batch norm can only be exported behind a convolution or linear "
                "layer that nothing else reads"
            )
        alone = [r for r in readers if r in weights and model.sources[r] == (name,)]
        if not before and factor.ndim == 0 and readers and len(alone) == len(readers):
            for reader in readers:
                weight, bias = weights[reader]
                weights[reader] = weight * factor, bias
        elif rest and np.any(factor != 1):
            result.factors[name], result.inputs[name] = factor, rest
            result.carriers[name] = (*before, name)
            continue
        result.carriers[name] = sources
        del result.inputs[name]
    return result


def weight_and_bias(layer: nn.Conv1d | nn.Conv2d | nn.Linear) -> tuple[np.ndarray, np.ndarray]:
    """What the layer multiplies by and adds, in float64; weight standardisation is computed so."""
    if isinstance(layer, WSConv2d | GridLinear):
        weight = layer.effective_weight(torch.float64)
    else:
        weight = layer.weight
    return _array(weight), np.zeros(len(weight)) if layer.bias is None else _array(layer.bias)


def _affine(name: str, layer: nn.Module) -> tuple[np.ndarray, np.ndarray] | None:
    """Factor a and offset b of y = a x + b, single or per channel; None for any other layer.

    Batch norm with running mean and variance: a = gamma / sqrt(var + eps), b = beta - mean a.
    """
    if isinstance(layer, Scale):
        return np.array(layer.factor), np.zeros(())
    if isinstance(layer, SkipInit):
        return _array(layer.gain) * layer.alpha, np.zeros(())
    if not isinstance(layer, BATCH_NORMS):
        return None
    mean, variance = layer.running_mean, layer.running_var
    if mean is None or variance is None:
        raise UnsupportedError(
            f"layer {name!r}: batch norm without running statistics cannot be exported"
        )
    deviation = np.sqrt(_array(variance) + layer.eps)
    factor = (_array(layer.weight) if layer.affine else 1) / deviation
    offset = _array(layer.bias) if layer.affine else 0
    return factor, offset - _array(mean) * factor


def _array(values: Tensor) -> np.ndarray:
    """A float64 copy, which later training of the model does not change."""
    return values.detach().cpu().to(torch.float64, copy=True).numpy()
