"""Arrays that a running Lava network shares with the program that started it.

Lava hands Var values over one scalar at a time, which would take longer than the simulation. So
sources and recorders work on memory-mapped files in a temporary folder instead: a batch is written,
Lava runs, the records are read. Many samples run so without a rebuild between batches, and the
files' size depends on the batch, not on how many samples are simulated.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neurodeploy.ir.quantized import QuantizedNetwork
from neurodeploy.simulation.trace import SampleBatch
from neurodeploy.support.partial import reserve


class SharedArrays:
    """Named arrays in files; cheap to hand to another process, opened there on first use.

    Args:
        folder: where the files are; must outlive every user of the arrays.
        layout: name to (shape, dtype); the arrays start as zeros.

    Raises:
        InputError: there is no room for them.
    """

    def __init__(self, folder: Path, layout: Mapping[str, tuple[tuple[int, ...], Any]]) -> None:
        self.folder = folder
        self.layout = dict(layout)
        self._files = {name: f"{index}.bin" for index, name in enumerate(self.layout)}
        self._open: dict[str, np.ndarray] = {}
        for name, (shape, dtype) in self.layout.items():
            reserve(folder / self._files[name], math.prod(shape) * np.dtype(dtype).itemsize)

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_open": {}}

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._open:
            shape, dtype = self.layout[name]
            mapped = np.memmap(self.folder / self._files[name], dtype, "r+", shape=shape)
            # A plain array over the mapping: indexing a memmap makes a view object every time.
            self._open[name] = np.asarray(mapped)
        return self._open[name]


@dataclass(frozen=True)
class Timetable:
    """When a batch's samples run, in Lava's time steps, which start at 1.

    Attributes:
        steps: T, model steps per sample.
        guard: silent steps after each sample.
        depth: of each population, steps it lags behind.
    """

    steps: int
    guard: int
    depth: Mapping[str, int]

    @property
    def interval(self) -> int:
        """Time steps from one sample's start to the next."""
        return self.steps + self.guard

    def run_length(self, samples: int) -> int:
        """Time steps for a batch, and for the deepest population to finish it.

        A whole number of intervals, so that the next batch meets the same reset offsets.
        """
        flush = -(-max(self.depth.values(), default=0) // self.interval)
        return (samples + flush) * self.interval

    def reset_offset(self, population: str) -> int:
        """``time_step % interval`` at which a population starts its samples."""
        return (1 + self.depth[population]) % self.interval


def record_layout(
    network: QuantizedNetwork, lead: tuple[int, ...], state: Collection[str]
) -> dict[str, tuple[tuple[int, ...], Any]]:
    """Shape and type of every array that a network's populations are recorded in.

    ``NAME.s`` holds what is sent, and of the populations in ``state`` ``NAME.STATE`` everything
    that they keep.

    Args:
        lead: axes before the neurons.
    """
    layout: dict[str, tuple[tuple[int, ...], Any]] = {}
    for p in network.populations:
        if p.neuron is None:
            continue
        shape = (*lead, math.prod(p.shape))
        layout[f"{p.name}.s"] = (shape, np.int32 if p.neuron.message.graded else np.uint8)
        if p.name in state:
            layout |= {f"{p.name}.{what}": (shape, np.int32) for what in p.neuron.states}
    return layout


class SampleFiles:
    """What the processes of one network read and write.

    Args:
        folder: where the files are; must outlive the network.
        timetable: of the network.
        network: whose populations are recorded.
        capacity: most samples in a batch.
        static: whether a sample is the same at every step.
        state: populations of which all that they keep is recorded as well.
    """

    def __init__(
        self,
        folder: Path,
        timetable: Timetable,
        network: QuantizedNetwork,
        capacity: int,
        *,
        static: bool,
        state: Collection[str],
    ) -> None:
        self.timetable = timetable
        (source,) = network.inputs
        self.inputs = math.prod(source.shape)
        self.static = static
        self.state = frozenset(state)
        length = timetable.run_length(capacity)
        layout: dict[str, tuple[tuple[int, ...], Any]] = {
            "clock": ((2,), np.int64),
            "drive": ((capacity, 1 if static else timetable.steps, self.inputs), np.int32),
            **record_layout(network, (length,), self.state),
        }
        self.arrays = SharedArrays(folder, layout)

    def load(self, batch: SampleBatch, start: int) -> None:
        """Make a batch the one that runs from time step ``start`` + 1 on."""
        drive = batch.values.reshape(len(batch), 1 if self.static else -1, self.inputs)
        self.arrays["drive"][: len(batch)] = drive
        self.arrays["clock"][:] = (start, len(batch))

    def drive_at(self, time_step: int) -> np.ndarray:
        """(inputs,) int32 to send at a time step; zeros in guard steps and after the batch."""
        start, samples = self.arrays["clock"].tolist()
        sample, step = divmod(time_step - 1 - start, self.timetable.interval)
        if sample >= samples or step >= self.timetable.steps:
            return np.zeros(self.inputs, np.int32)
        return self.arrays["drive"][sample, 0 if self.static else step]

    def record(self, population: str, what: str, time_step: int, values: np.ndarray) -> None:
        """Keep the values of a population at a time step."""
        start = int(self.arrays["clock"][0])
        self.arrays[f"{population}.{what}"][time_step - 1 - start] = values

    def recorded(self, population: str, what: str, samples: int) -> np.ndarray:
        """(samples, T, size) in model time, the pipeline's delay taken out."""
        first = self.timetable.depth[population]
        length = samples * self.timetable.interval
        rows = self.arrays[f"{population}.{what}"][first : first + length]
        return rows.reshape(samples, self.timetable.interval, -1)[:, : self.timetable.steps].copy()
