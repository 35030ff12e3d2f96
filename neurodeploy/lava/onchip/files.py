"""What learning processes read and write, in arrays shared with the program that started them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from neurodeploy.lava.shared import SharedArrays
from neurodeploy.onchip.trajectory import StreamChunk, Trajectory


class LearningFiles:
    """Input, labels and records of one chunk of samples.

    Args:
        folder: where the files are; must outlive the network.
        drive: (T, inputs), or (1, inputs) when every step of a sample is the same.
        sizes: weights of each projection that learns.
        updates: per sample.
        classes: outputs of the read-out.
        capacity: most samples in a chunk.
        number: dtype of records: integers for the fixed-point form.
    """

    def __init__(
        self,
        folder: Path,
        drive: tuple[int, int],
        sizes: dict[str, int],
        updates: int,
        classes: int,
        capacity: int,
        number: Any = np.int32,
    ) -> None:
        self.inputs, self.capacity, self.sizes = drive[1], capacity, sizes
        layout: dict[str, tuple[tuple[int, ...], Any]] = {
            "clock": ((2,), np.int64),
            "drive": ((capacity, *drive), np.int32),
            "label": ((capacity,), np.int64),
            "scores": ((capacity, classes), np.float64),
        }
        for name, size in sizes.items():
            layout[f"{name}.state"] = ((capacity, updates, size), number)
        self.arrays = SharedArrays(folder, layout)

    def load(self, chunk: StreamChunk, start: int) -> None:
        """Make a chunk the one that runs from time step ``start`` + 1 on."""
        self.arrays["drive"][: len(chunk)] = chunk.values
        self.arrays["label"][: len(chunk)] = chunk.labels
        self.arrays["clock"][:] = (start, len(chunk))

    @property
    def start(self) -> int:
        """Time steps that had passed when the chunk was loaded."""
        return int(self.arrays["clock"][0])

    @property
    def samples(self) -> int:
        """Samples in the chunk."""
        return int(self.arrays["clock"][1])

    def frame(self, sample: int, step: int) -> np.ndarray:
        """(inputs,) int32 of one step."""
        drive = self.arrays["drive"]
        return drive[sample, min(step, drive.shape[1] - 1)]

    def label(self, sample: int) -> int:
        """Class of a sample."""
        return int(self.arrays["label"][sample])

    def record(self, projection: str, sample: int, number: int, state: np.ndarray) -> None:
        """Keep what a projection's synapses are after an update."""
        self.arrays[f"{projection}.state"][sample, number] = state

    def record_scores(self, sample: int, scores: np.ndarray) -> None:
        """Keep v of the read-out after the last step."""
        self.arrays["scores"][sample] = scores

    def trajectory(self, samples: int) -> Trajectory:
        """All that was recorded of the chunk."""
        states = {name: self.arrays[f"{name}.state"][:samples].copy() for name in self.sizes}
        return Trajectory(states, self.arrays["scores"][:samples].copy())
