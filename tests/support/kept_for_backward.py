"""How much autograd keeps for backward at any one time: tensors, and their bytes."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor


class Kept(NamedTuple):
    """The most that was kept at any one time.

    Attributes:
        tensors: how many of them.
        bytes: of all together.
    """

    tensors: int
    bytes: int


class _Held:
    """One tensor kept for backward."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


def peak_kept(run: Callable[[], object]) -> Kept:
    """Call ``run`` and count what autograd packs and has not let go."""
    now = peak = Kept(0, 0)

    def change(tensors: int, size: int) -> None:
        nonlocal now, peak
        now = Kept(now.tensors + tensors, now.bytes + size)
        peak = Kept(max(peak.tensors, now.tensors), max(peak.bytes, now.bytes))

    def pack(tensor: Tensor) -> _Held:
        held, size = _Held(tensor), tensor.numel() * tensor.element_size()
        weakref.finalize(held, change, -1, -size)
        change(1, size)
        return held

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda held: held.tensor):
        run()
    return peak
