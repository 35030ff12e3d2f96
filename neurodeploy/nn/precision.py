"""In what number format a network is trained."""

from __future__ import annotations

import torch

from neurodeploy.errors import InputError, Setting, Text
from neurodeploy.recipe import Precision
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
        name: as torch names it; None for the launcher's choice, or the CPU without a launcher.

    Raises:
        InputError: it is not, or it does not; or a device is named beside the launcher's.
    """
    if name and processes.device:
        raise InputError(
            f"device {name!r}: the launcher has given this process {processes.device}",
            fix=Text("leave ", Setting("device"), " out"),
        )
    name = name or processes.device or "cpu"
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"device {name!r} cannot be used: {reason}; 'cpu' always can") from None
    try:
        square = torch.ones((2, 2), dtype=parameter_dtype(precision), device=device)
        with autocast(precision, device):
            (square @ square).sum().item()
    except (RuntimeError, TypeError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"device {name!r} cannot compute in {precision}: {reason}") from None
    return device
