"""Where and in what form networks are trained: device, number format and layout in memory."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from neurodeploy.errors import InputError, Setting, Text
from neurodeploy.nn.network import INPUT, SpikingNetwork
from neurodeploy.recipe import Precision
from neurodeploy.simulation.device import best_device, usable_device
from neurodeploy.support.processes import Processes

LOW = {"bf16": torch.bfloat16, "fp16": torch.float16}


def parameter_dtype(precision: Precision) -> torch.dtype:
    """The dtype of parameters, inputs and checkpoints."""
    return torch.float64 if precision == "fp64" else torch.float32


def autocast(precision: Precision, device: torch.device) -> torch.autocast:
    """Forward and backward passes in ``bf16`` or ``fp16`` where torch holds it to be safe.

    Converted weights are not kept from one operation to the next: a rule may change the parameters
    while the context lasts, or run some steps without a graph.
    """
    return torch.autocast(
        device.type,
        dtype=LOW.get(precision, torch.bfloat16),
        enabled=precision in LOW,
        cache_enabled=False,
    )


def find_device(name: str | None, precision: Precision, processes: Processes) -> torch.device:
    """The torch device to train on, when it is there and computes in this precision.

    Args:
        name: as torch names it; ``auto`` for a GPU where there is one; None for the launcher's
            choice, or the CPU without a launcher.

    Raises:
        InputError: it is not, or it does not; or a device is named beside the launcher's.
    """
    if name == "auto":
        name = None if processes.device else best_device()
    if name and processes.device:
        raise InputError(
            f"device {name!r}: the launcher has given this process {processes.device}",
            fix=Text("leave ", Setting("device"), " out"),
        )
    name = name or processes.device or "cpu"
    device = usable_device(name)
    try:
        square = torch.ones((2, 2), dtype=parameter_dtype(precision), device=device)
        with autocast(precision, device):
            (square @ square).sum().item()
    except (RuntimeError, TypeError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"device {name!r} cannot compute in {precision}: {reason}") from None
    return device


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
