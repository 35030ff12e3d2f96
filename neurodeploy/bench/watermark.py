"""The highest memory that tensors take between two moments, on the CPU or a GPU."""

from __future__ import annotations

import torch

from neurodeploy.bench.memory import forget_high_water, high_water_mb, resident_mb

MB = 1 << 20


class Watermark:
    """Notes what is in use when it is made; ``above_mb`` says how much more there was since.

    On the CPU this is resident memory, and what it holds depends on ``allocate_exactly``. On a GPU
    it is what torch's allocator has given to tensors (``exact``), or has taken from the device.
    """

    def __init__(self, device: torch.device, exact: bool) -> None:
        self._gpu = device if device.type == "cuda" else None
        self._exact = exact
        if self._gpu is None:
            self._base = resident_mb()
            forget_high_water()
            return
        torch.cuda.synchronize(self._gpu)
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(self._gpu)
        self._base = self._peak_mb()

    def above_mb(self) -> float:
        """The peak since then, in MiB above what was in use then."""
        return (high_water_mb() if self._gpu is None else self._peak_mb()) - self._base

    def _peak_mb(self) -> float:
        peak = torch.cuda.max_memory_allocated if self._exact else torch.cuda.max_memory_reserved
        return peak(self._gpu) / MB
