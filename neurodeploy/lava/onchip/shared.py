"""What learning processes share with the program that started them: arrays, and timetables."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neurodeploy.lava.shared import SharedArrays
from neurodeploy.onchip.learner import Changes, StreamChunk, Trajectory, UpdateTime
from neurodeploy.onchip.loihi_rule import EPOCH, DeltaPlan

_ALL = np.iinfo(np.int64).max
"""Length of a sample that lasts all T steps."""


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
        changes: whether records are of what changes, and not of all weights after every update.
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
        changes: bool = False,
    ) -> None:
        self.inputs, self.capacity, self.sizes = drive[1], capacity, sizes
        self.changes, self.static = changes, drive[0] == 1
        layout: dict[str, tuple[tuple[int, ...], Any]] = {
            "clock": ((2,), np.int64),
            "drive": ((capacity, *drive), np.int32),
            "label": ((capacity,), np.int64),
            "length": ((capacity,), np.int64),
            "scores": ((capacity, classes), np.float64),
        }
        for name, size in sizes.items():
            if changes:
                layout[f"{name}.ends"] = ((capacity, updates), np.int64)
                layout |= {f"{name}.{end}": ((size,), number) for end in ("first", "last")}
                most = (capacity * updates * size,)
                layout |= {f"{name}.{what}": (most, number) for what in ("numbers", "values")}
            else:
                layout[f"{name}.state"] = ((capacity, updates, size), number)
        self.arrays = SharedArrays(folder, layout)

    def load(self, chunk: StreamChunk, start: int) -> None:
        """Make a chunk the one that runs from time step ``start`` + 1 on."""
        self.arrays["drive"][: len(chunk)] = chunk.values
        self.arrays["label"][: len(chunk)] = chunk.labels
        self.arrays["length"][: len(chunk)] = _ALL if chunk.lengths is None else chunk.lengths
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

    def lasts(self, sample: int, steps: int) -> int:
        """Steps of a sample, where T is ``steps``."""
        return min(int(self.arrays["length"][sample]), steps)

    def record(self, projection: str, sample: int, number: int, state: np.ndarray) -> None:
        """Keep what a projection's synapses are after an update."""
        self.arrays[f"{projection}.state"][sample, number] = state

    def record_end(self, projection: str, end: str, state: np.ndarray) -> None:
        """Keep what a projection's synapses are ``first`` or ``last`` in a chunk."""
        self.arrays[f"{projection}.{end}"][:] = state

    def record_changes(
        self, projection: str, sample: int, number: int, numbers: np.ndarray, values: np.ndarray
    ) -> None:
        """Keep which synapses an update changed, behind those of the update before."""
        ends = self.arrays[f"{projection}.ends"].reshape(-1)
        place = sample * self.arrays[f"{projection}.ends"].shape[1] + number
        start = int(ends[place - 1]) if place else 0
        end = ends[place] = start + len(numbers)
        self.arrays[f"{projection}.numbers"][start:end] = numbers
        self.arrays[f"{projection}.values"][start:end] = values

    def record_scores(self, sample: int, scores: np.ndarray) -> None:
        """Keep v of the read-out after the last step."""
        self.arrays["scores"][sample] = scores

    def trajectory(self, samples: int) -> Trajectory:
        """All that was recorded of the chunk."""
        record = self._changes if self.changes else self._states
        records = {name: record(name, samples) for name in self.sizes}
        return Trajectory(records, self.arrays["scores"][:samples].copy())

    def _states(self, name: str, samples: int) -> np.ndarray:
        return self.arrays[f"{name}.state"][:samples].copy()

    def _changes(self, name: str, samples: int) -> Changes:
        ends = self.arrays[f"{name}.ends"][:samples].copy()
        parts = {"first": None, "last": None, "numbers": ends[-1, -1], "values": ends[-1, -1]}
        found = {what: self.arrays[f"{name}.{what}"][:end].copy() for what, end in parts.items()}
        return Changes(ends=ends, **found)


@dataclass(frozen=True)
class LearningTimetable:
    """Lava steps, which start at 1, of samples that learn in a pipeline of layers.

    With L layers, model step t of a sample that starts at Lava step b:

        b + t + l          population l integrates and spikes            l = 0 is the input
        b + t + L          the read-out makes its error
        b + t + 2L - l     the error of population l arrives at the synapses in front of it

    Every synaptic process spends a step on what passes through it, forwards and backwards. So
    synapses l, which met the spikes of step t at b + t + l - 1, have to remember them for
    2L - 2l + 1 steps, and neurons l their surrogate derivative for 2L - 2l.

    Where populations make their own errors, these leave together with the spikes:

        b + t + l          population l sends its error to the synapses in front of it

    so that synapses remember spikes for a step, and neurons nothing.

    Attributes:
        steps: T.
        layers: L.
        update: with ``step`` the next model step waits for the update of the one before.
        local: whether populations make their own errors.
    """

    steps: int
    layers: int
    update: UpdateTime
    local: bool = False

    @property
    def round_trip(self) -> int:
        """Steps from a model step's input to the last error that it causes, both included."""
        return self.layers + 1 if self.local else 2 * self.layers

    @property
    def stride(self) -> int:
        """Lava steps from one model step to the next."""
        return 1 if self.update == "sample" else self.round_trip

    @property
    def interval(self) -> int:
        """Lava steps from one sample's start to the next: the pipeline runs empty in between."""
        return (self.steps - 1) * self.stride + self.round_trip

    def spike_delay(self, layer: int) -> int:
        """Steps for which synapses 1..L remember a spike."""
        return 1 if self.local else 2 * (self.layers - layer) + 1

    def slope_delay(self, layer: int) -> int:
        """Steps for which neurons 1..L-1 remember their surrogate derivative."""
        return 0 if self.local else 2 * (self.layers - layer)

    def model_step(self, time_step: int, depth: int) -> tuple[int, int] | None:
        """The sample and model step that population ``depth`` computes, None while it waits."""
        since = time_step - 1 - depth
        if since < 0:
            return None
        sample, position = divmod(since, self.interval)
        step, idle = divmod(position, self.stride)
        return None if idle or step >= self.steps else (sample, step)

    def update_after(self, time_step: int) -> tuple[int, int] | None:
        """The sample and the number within it of the update that ends a time step, or None."""
        sample, position = divmod(time_step - 1, self.interval)
        if self.update == "sample":
            return (sample, 0) if position == self.interval - 1 else None
        step, place = divmod(position, self.stride)
        return (sample, step) if place == self.stride - 1 else None


@dataclass(frozen=True)
class DeltaTimetable:
    """Lava steps, which start at 1, of rule ``delta`` in Lava's own learning process.

    ``LearningDense`` sends the activation of a spike one step after it, so an error answers the
    spikes of the step before. With epochs of two steps both fall into the same epoch:

        step 2n + 1    the spikes of a model step arrive at LearningDense
        step 2n + 2    their activation reaches the read-out, which sends y1 at once; learning

    Attributes:
        steps: T.
        epochs: from one sample's start to the next.
        by_sample: whether weights change in the last of these epochs only.
    """

    steps: int
    epochs: int
    by_sample: bool

    @staticmethod
    def of(plan: DeltaPlan) -> DeltaTimetable:
        """The times of a plan."""
        return DeltaTimetable(plan.steps, plan.epochs, plan.decimation is not None)

    @property
    def interval(self) -> int:
        """Lava steps from one sample's start to the next."""
        return EPOCH * self.epochs

    def spikes_at(self, time_step: int) -> tuple[int, int] | None:
        """The sample and model step whose spikes are sent, or None."""
        return self._at(time_step, 1)

    def error_at(self, time_step: int) -> tuple[int, int] | None:
        """The sample and model step whose error is made, or None."""
        return self._at(time_step, 2)

    def update_after(self, time_step: int) -> tuple[int, int] | None:
        """The sample and the number within it of the update that ends a time step, or None."""
        sample, position = divmod(time_step - 1, self.interval)
        epoch, place = divmod(position, EPOCH)
        if place != EPOCH - 1:
            return None
        if self.by_sample:
            return (sample, 0) if epoch == self.epochs - 1 else None
        return sample, epoch

    def _at(self, time_step: int, place: int) -> tuple[int, int] | None:
        sample, position = divmod(time_step - 1, self.interval)
        step, found = divmod(position, EPOCH)
        return (sample, step) if found == place - 1 and step < self.steps else None
