"""What simulations leave on disk: traces, and how often each neuron spiked."""

from __future__ import annotations

import io
import math
import os
import zipfile
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap
from safetensors.numpy import save

from neurodeploy.artifacts.deployment import read_deployment
from neurodeploy.artifacts.names import ACTIVITY, SUMMARY
from neurodeploy.artifacts.results import read_results
from neurodeploy.errors import InputError, Setting, Step, Text
from neurodeploy.ir.operators import Shape
from neurodeploy.simulation.reading import AnyPredictions
from neurodeploy.simulation.trace import SpikeTrace
from neurodeploy.support.files import check_writable, written_whole
from neurodeploy.support.partial import reserve, temporary_folder
from neurodeploy.support.reading import check_file
from neurodeploy.support.tensors import read_arrays

PREDICTED, SPIKES = "predicted.npy", ".s.npy"
"""What every trace holds: a file of that name, and some that end so."""


MOST_SPIKES = 2**40
"""Of a neuron in a sample: more than it can have steps."""


class TraceFile:
    """Collects traces of all batches and writes ``NAME.s``, ``NAME.u`` and ``NAME.v``.

    Neurons of models other than the leaky one keep other things, which go by their own names.

    One array per population and variable, (N, T, *population): ``s`` is spikes, of a graded input
    or population the values. They grow on disk batch by batch and are packed at the end, so memory
    does not follow N. Beside them stand ``predicted`` and, where known, ``labels``, both (N,), or
    (N, K) of values.

    Args:
        path: the ``.npz`` to write, whole or not at all.
        samples: N, over all batches.

    Raises:
        InputError: the folder of ``path`` does not exist or takes no file, or ``path`` is there
            already and is no trace.
    """

    def __init__(self, path: Path, samples: int) -> None:
        if not path.parent.is_dir():
            raise InputError(f"{path}: the folder {path.parent} does not exist")
        check_writable(path)
        _check_replaceable(path)
        self.path = path
        self.samples = samples
        self._held = ExitStack()
        self._folder = self._held.enter_context(temporary_folder())
        self._arrays: dict[str, np.memmap] = {}

    def add(self, trace: SpikeTrace) -> None:
        """Keep the arrays of one batch.

        Raises:
            InputError: with the first batch: there is no room for those of all samples.
        """
        for name, record in trace.populations.items():
            for what, values in record.arrays.items():
                self._array(f"{name}.{what}", values)[trace.first :][: len(values)] = values

    def _array(self, key: str, values: np.ndarray) -> np.memmap:
        if key not in self._arrays:
            file = self._folder / f"{len(self._arrays)}.npy"
            shape, header = (self.samples, *values.shape[1:]), io.BytesIO()
            descr = np.lib.format.dtype_to_descr(values.dtype)
            np.lib.format.write_array_header_1_0(
                header, {"descr": descr, "fortran_order": False, "shape": shape}
            )
            reserve(file, header.tell() + math.prod(shape) * values.itemsize)
            with file.open("r+b") as opened:
                opened.write(header.getvalue())
            self._arrays[key] = open_memmap(file, "r+")
        return self._arrays[key]

    def finish(self, predictions: AnyPredictions) -> None:
        """Pack everything into the ``.npz``.

        Raises:
            InputError: it cannot be written.
        """
        self._array("predicted", predictions.predicted)[:] = predictions.predicted
        if predictions.labels is not None:
            self._array("labels", predictions.labels)[:] = predictions.labels
        with (
            written_whole(self.path) as temporary,
            zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive,
        ):
            for index, (key, array) in enumerate(self._arrays.items()):
                array.flush()
                archive.write(self._folder / f"{index}.npy", f"{key}.npy")

    def discard(self) -> None:
        """Remove the temporary files; harmless when done before."""
        self._arrays.clear()
        self._held.close()


def _check_replaceable(path: Path) -> None:
    """Refuse to write a trace over anything but a trace.

    Raises:
        InputError: something else is there.
    """
    if not os.path.lexists(path):
        return
    try:
        check_file(path)
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
    except (InputError, OSError, zipfile.BadZipFile):
        names = set()
    if PREDICTED not in names or not any(name.endswith(SPIKES) for name in names):
        raise InputError(
            f"{path}: already exists and is not a trace, so it is not overwritten",
            fix=Text("name another file with ", Setting("trace")),
        )


class ActivityCount:
    """Spikes of every neuron, added up over batches; a graded spike counts once."""

    def __init__(self) -> None:
        self.samples = 0
        self._spikes: dict[str, np.ndarray] = {}

    def add(self, trace: SpikeTrace) -> dict[str, np.ndarray]:
        """Count a batch; returns its own spikes of every neuron."""
        found = {name: record.events_of_each() for name, record in trace.populations.items()}
        for name, spikes in found.items():
            self._spikes[name] = self._spikes.get(name, 0) + spikes
        self.samples += len(next(iter(trace.populations.values())).s)
        return found

    @property
    def spikes(self) -> dict[str, np.ndarray]:
        """Population to spikes of all samples, integers of its shape."""
        return dict(self._spikes)

    @staticmethod
    def of(samples: int, spikes: dict[str, np.ndarray]) -> ActivityCount:
        """What has counted so many samples."""
        found = ActivityCount()
        found.samples, found._spikes = samples, dict(spikes)
        return found

    def join(self, other: ActivityCount) -> None:
        """Count what another one has counted."""
        for name, spikes in other._spikes.items():
            self._spikes[name] = self._spikes.get(name, 0) + spikes
        self.samples += other.samples

    def mean(self) -> dict[str, np.ndarray]:
        """Population to spikes per sample, float64 of its shape."""
        return {name: spikes / self.samples for name, spikes in self._spikes.items()}


def write_activity(path: Path, activity: dict[str, np.ndarray]) -> None:
    """Write what ``read_activity`` reads."""
    with written_whole(path) as temporary:
        content = save({name: np.ascontiguousarray(a) for name, a in activity.items()})
        temporary.write_bytes(content)


def read_activity(deployment: Path, shapes: dict[str, Shape]) -> dict[str, np.ndarray]:
    """Mean spikes per sample from the newest simulation of a deployment.

    Args:
        shapes: of the populations that are to be mapped.

    Raises:
        InputError: not a deployment, never simulated, or of another network.
    """
    results, ignored = read_results(read_deployment(deployment), SUMMARY)
    files = [file for result in results if (file := result.beside(ACTIVITY))]
    if not files:
        raise InputError(
            f"{deployment}: no simulation has counted spikes here"
            + "".join(f"; {reason}" for reason in ignored),
            fix=Text("run ", Step("simulate", str(deployment))),
        )
    activity = read_arrays(files[0])
    for name, shape in shapes.items():
        found = activity.get(name)
        if found is None or found.shape != shape:
            raise InputError(
                f"{deployment}: its population {name!r} has shape "
                f"{None if found is None else found.shape}, but the network to map has {shape}",
                fix=Text(Setting("activity"), " needs a deployment of the same network"),
            )
        # As floats, in which nothing that can be counted is lost.
        spikes = found.astype(np.float64) if found.dtype.kind in "iuf" else np.array(np.nan)
        if not (np.isfinite(spikes).all() and spikes.min() >= 0 and spikes.max() <= MOST_SPIKES):
            raise InputError(
                f"{files[0]}: {name!r} is {found.dtype} and holds other values than spikes per "
                f"sample, which go from 0 to {MOST_SPIKES:,}; simulate again"
            )
        activity[name] = spikes
    return activity
