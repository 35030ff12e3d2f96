"""How values lie in memory: as convolutions compute fastest with them."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from neurodeploy.nn.network import INPUT, SpikingNetwork
from neurodeploy.recipe import Precision

HEAVY = 4
"""Weights per value of a batch from which on a convolution is faster with its channels first.

Measured on CPUs: with channels last, the gradient of large kernels takes longer to write.
"""


def lay_out(model: SpikingNetwork, samples: int, precision: Precision) -> SpikingNetwork:
    """Let feature maps and the weights of convolutions have their channels last where it is faster.

    The numbers stay the same; sums are taken in another order. Nothing changes in ``fp64``, where
    torch has no such kernels, nor in full precision on a GPU.

    Args:
        samples: N, samples that are computed at once.

    Returns:
        ``model``.
    """
    device = next(model.parameters()).device
    if not faster_with_channels_last(device, precision):
        return model
    for name, layer in model.layers.items():
        if not isinstance(layer, nn.Conv2d):
            continue
        shapes = {source: model.shapes[source] for source in model.sources[name] if source != INPUT}
        values = samples * math.prod(next(iter(shapes.values()), model.sample_shape))
        if device.type == "cpu" and layer.weight.numel() > HEAVY * values:
            layer.register_forward_pre_hook(_channels_first)
        else:
            layer.weight.data = layer.weight.data.contiguous(memory_format=torch.channels_last)
    return model


def faster_with_channels_last(device: torch.device, precision: Precision) -> bool:
    """Whether most convolutions are."""
    return precision != "fp64" if device.type == "cpu" else precision in ("bf16", "fp16")


def laid_out_as(value: Tensor, model: Tensor) -> Tensor:
    """A tensor in the memory layout of another one of the same shape."""
    if value.shape != model.shape or value.stride() == model.stride():
        return value
    return torch.empty_like(model, dtype=value.dtype, device=value.device).copy_(value)


def _channels_first(layer: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(x.contiguous() for x in given)
