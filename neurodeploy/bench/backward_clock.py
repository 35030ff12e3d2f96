"""How long a training spends inside backward passes."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any
from unittest.mock import patch

import torch

ENTRIES = ("backward", "grad")
"""Functions of torch's differentiation, one of which every backward pass goes through."""


class BackwardClock:
    """While entered, adds up the time of backward passes; a device is never waited for.

    What runs inside of another backward pass counts once. On a GPU the time is that between two
    marks in its own queue, which leaves the order of work as it is.

    Attributes:
        passes: how many there were.
    """

    def __init__(self, device: torch.device) -> None:
        self.passes = 0
        self._marks: list[tuple[Any, Any]] = []
        self._on_gpu = device.type == "cuda"
        self._inside = False
        self._patches = ExitStack()

    def __enter__(self) -> BackwardClock:
        # Replaced by name: nothing is differentiated here, only timed.
        functions = importlib.import_module("torch.autograd")
        for name in ENTRIES:
            timed = self._timed(vars(functions)[name])
            self._patches.enter_context(patch.object(functions, name, timed))
        return self

    def __exit__(self, *_: object) -> None:
        self._patches.close()

    def seconds(self) -> float:
        """Time of all passes so far; waits for those that a GPU still works on."""
        if not self._on_gpu:
            return sum(end - start for start, end in self._marks)
        torch.cuda.synchronize()
        return sum(start.elapsed_time(end) for start, end in self._marks) / 1000

    def _timed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **options: Any) -> Any:
            if self._inside:
                return function(*arguments, **options)
            self._inside = True
            start = self._mark()
            try:
                return function(*arguments, **options)
            finally:
                self._marks.append((start, self._mark()))
                self._inside = False
                self.passes += 1

        return run

    def _mark(self) -> Any:
        if not self._on_gpu:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event
