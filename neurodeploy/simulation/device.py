"""The devices that torch computes on: found by name, refused by name, and full."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from neurodeploy.errors import InputError, Setting, SimulationError, Text

ON_THE_CPU = Text("simulate on the CPU: ", Setting("device", "cpu"))
"""What helps where a device does not compute as the CPU does, or at all."""


def best_device() -> str:
    """The name of the GPU that torch takes first, else the CPU's."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def usable_device(name: str) -> torch.device:
    """The device that torch calls so, once it has held a number.

    Raises:
        InputError: torch knows none of that name, or it is not there.
    """
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"device {name!r} cannot be used: {reason}; 'cpu' always can") from None
    return device


@contextmanager
def memory_on(device: torch.device | None) -> Iterator[None]:
    """Say whose memory was full, and what helps; None for the CPU, where nothing is done.

    Raises:
        SimulationError: that of ``device`` was.
    """
    try:
        yield
    except torch.cuda.OutOfMemoryError as error:
        if device is None:
            raise
        reason = str(error).splitlines()[0]
        raise SimulationError(
            f"device {str(device)!r}: its memory is full ({reason})",
            fix=ON_THE_CPU,
        ) from None
