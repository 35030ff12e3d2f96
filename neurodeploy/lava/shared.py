"""Arrays that a running Lava network shares with the program that started it.

Lava hands Var values over one scalar at a time, which would take longer than the simulation. So
sources and recorders work on memory-mapped files in a temporary folder instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np


class SharedArrays:
    """Named arrays in files; cheap to hand to another process, opened there on first use.

    Args:
        folder: where the files are; must outlive every user of the arrays.
        layout: name to (shape, dtype); the arrays start as zeros.
    """

    def __init__(self, folder: Path, layout: Mapping[str, tuple[tuple[int, ...], Any]]) -> None:
        self.folder = folder
        self.layout = dict(layout)
        self._files = {name: f"{index}.bin" for index, name in enumerate(self.layout)}
        self._open: dict[str, np.ndarray] = {}
        for name, (shape, dtype) in self.layout.items():
            np.memmap(folder / self._files[name], dtype, "w+", shape=shape).flush()

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_open": {}}

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._open:
            shape, dtype = self.layout[name]
            mapped = np.memmap(self.folder / self._files[name], dtype, "r+", shape=shape)
            # A plain array over the mapping: indexing a memmap makes a view object every time.
            self._open[name] = np.asarray(mapped)
        return self._open[name]
