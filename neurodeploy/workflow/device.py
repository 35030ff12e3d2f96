"""Which device the exact engine computes on, chosen before any work is done."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from neurodeploy.errors import InputError, Setting, Text
from neurodeploy.ir.models import IntegerModel
from neurodeploy.ir.quantized import QuantizedNetwork
from neurodeploy.support.log import LOG

if TYPE_CHECKING:
    import torch

CPU, AUTO = "cpu", "auto"

ON_DEVICES = "reference"
"""The engine that computes elsewhere than on the CPU."""


def engine_device(
    name: str,
    engines: Collection[str],
    *,
    workers: int | None = None,
    scheduler: str | None = None,
) -> torch.device | None:
    """The device of that name for the ``reference``, None for the CPU.

    Args:
        name: as torch names it; ``auto`` for a GPU where there is one.
        engines: that were named; none where the caller leaves the choice open.
        workers, scheduler: processes that share the work, as the caller asked for them.

    Raises:
        InputError: there is no such device, the ``reference`` is not among the engines, or workers
            share the work, who have no device.
    """
    if name == CPU:
        return None
    asked = Setting("device", name)
    if ON_DEVICES not in engines:
        found = f"found {', '.join(engines)}" if engines else "and no engine was named"
        raise InputError(
            Text(asked, f": only engine {ON_DEVICES} can use it, {found}"),
            fix=Text(f"choose engine {ON_DEVICES}, or leave ", Setting("device"), " out"),
        )
    if workers is not None or scheduler is not None:
        shared = Setting("scheduler") if workers is None else Setting("workers", str(workers))
        raise InputError(
            Text(asked, ": one process computes on a device, not ", shared),
            fix="leave one of the two out",
        )
    from neurodeploy.simulation.device import best_device, usable_device

    found = usable_device(best_device() if name == AUTO else name)
    return None if found.type == CPU else found


def named_device(device: torch.device | None) -> str:
    """The device, None being the CPU, as results name it."""
    return CPU if device is None else str(device)


def tell_device(network: QuantizedNetwork, device: torch.device) -> None:
    """Log where a network is computed, and what of it stays on the CPU."""
    LOG.info(f"Computing on {device}, whose integers are first compared with the CPU's")
    left = [
        f"{population.name!r} ({population.neuron.kind})"
        for population in network.populations
        if isinstance(population.neuron, IntegerModel)
    ]
    if left:
        LOG.info(f"Computed on the CPU, step by step: population {', '.join(left)}")
