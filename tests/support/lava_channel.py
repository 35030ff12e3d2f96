"""Channels of Lava's in memory of ours, without a runtime."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from neurodeploy.lava.channels import channel_class
from neurodeploy.lava.compat import require_lava
from neurodeploy.lava.memory import SharedMemory


def channel(slots: int = 1) -> tuple[Any, Any]:
    """Both ends of a channel for messages of two numbers, started."""
    require_lava()
    from lava.magma.compiler.channels.watchdog import NoOPWatchdog

    dogs = [NoOPWatchdog(None)] * 4
    memory = SimpleNamespace(smm=SharedMemory())
    made = channel_class()(memory, "from", "to", (2,), np.int32, slots, *dogs)
    ends = made.src_port, made.dst_port
    for end in ends:
        end.start()
    return ends


def message(*values: int) -> np.ndarray:
    """What such a channel takes."""
    return np.array(values, np.int32)
