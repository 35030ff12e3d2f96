"""Traces on disk: an ``.npz`` with one array per population and variable, (N, T, *population).

Arrays grow on disk batch by batch and are packed at the end, so memory does not follow N.
"""

from __future__ import annotations

import tempfile
import zipfile
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap

from neurodeploy.errors import InputError
from neurodeploy.simulation.trace import SpikeTrace
from neurodeploy.support.files import written_whole


class TraceFile:
    """Collects traces of all batches and writes ``NAME.s``, ``NAME.u`` and ``NAME.v``.

    Args:
        path: the ``.npz`` to write, whole or not at all.
        samples: N, over all batches.

    Raises:
        InputError: the folder of ``path`` does not exist.
    """

    def __init__(self, path: Path, samples: int) -> None:
        if not path.parent.is_dir():
            raise InputError(f"{path}: the folder {path.parent} does not exist")
        self.path = path
        self.samples = samples
        self._folder = tempfile.TemporaryDirectory(prefix="neurodeploy-")
        self._arrays: dict[str, np.memmap] = {}

    def add(self, trace: SpikeTrace) -> None:
        """Keep the arrays of one batch."""
        for name, record in trace.populations.items():
            for what in ("s", "u", "v"):
                values = getattr(record, what)
                if values is not None:
                    self._array(f"{name}.{what}", values)[trace.first :][: len(values)] = values

    def _array(self, key: str, values: np.ndarray) -> np.memmap:
        if key not in self._arrays:
            file = Path(self._folder.name) / f"{len(self._arrays)}.npy"
            shape = (self.samples, *values.shape[1:])
            self._arrays[key] = open_memmap(file, "w+", values.dtype, shape)
        return self._arrays[key]

    def finish(self) -> None:
        """Pack everything into the ``.npz``.

        Raises:
            InputError: it cannot be written.
        """
        with (
            written_whole(self.path) as temporary,
            zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive,
        ):
            for index, (key, array) in enumerate(self._arrays.items()):
                array.flush()
                archive.write(Path(self._folder.name) / f"{index}.npy", f"{key}.npy")

    def discard(self) -> None:
        """Remove the temporary files; harmless when done before."""
        self._arrays.clear()
        self._folder.cleanup()
