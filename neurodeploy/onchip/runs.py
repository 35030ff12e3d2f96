"""Synapses that share weights, several at a time: from an input to all channels at a place."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from neurodeploy.ir.convolution import Convolution
from neurodeploy.ir.operators import SparseMatrix
from neurodeploy.onchip.synapses import read_inputs


@dataclass(frozen=True, eq=False)
class SharedRuns:
    """The synapses of a convolution or of a sparse matrix, by input.

    A run leads from one input to the ``width`` channels of a group at one place, by a row of as
    many weights; of a sparse matrix it is a single synapse.

    Attributes:
        starts: (inputs + 1,) where the runs of each input begin.
        places: (runs,) to which row of the sums, which are (places, width).
        rows: (runs,) by which row of the weights, which are (rows, width).
        names: (rows, width) int32 number of each weight in the operator's order.
        targets: (places, width) int32 neuron of each sum.
    """

    starts: np.ndarray
    places: np.ndarray
    rows: np.ndarray
    names: np.ndarray
    targets: np.ndarray

    @staticmethod
    def of(operator: Convolution | SparseMatrix) -> SharedRuns:
        """All runs, those of zeros too."""
        inputs, outputs = math.prod(operator.input_shape), math.prod(operator.output_shape)
        if isinstance(operator, SparseMatrix):
            sources = operator.indices.astype(np.int64)
            rows = np.arange(len(sources))
            places = np.repeat(np.arange(outputs), np.diff(operator.indptr))
            names, targets = rows[:, None], np.arange(outputs)[:, None]
        else:
            # (groups, reads, positions): the input that each kernel position reads, if any.
            read = read_inputs(operator, nothing=inputs)
            groups, reads, positions = read.shape
            width = operator.output_shape[0] // groups
            row, place = np.arange(groups * reads), np.arange(groups * positions)
            rows = np.broadcast_to(row.reshape(groups, reads, 1), read.shape)
            places = np.broadcast_to(place.reshape(groups, 1, positions), read.shape)
            inside = read < inputs
            sources, rows, places = read[inside], rows[inside], places[inside]
            names, targets = (
                np.arange(groups * width * count).reshape(groups, width, count).swapaxes(1, 2)
                for count in (reads, positions)
            )
        order = np.argsort(sources, kind="stable")
        starts = np.searchsorted(sources[order], np.arange(inputs + 1))
        width = names.shape[-1]

        def narrow(values: np.ndarray) -> np.ndarray:
            return np.ascontiguousarray(values, np.int32)

        return SharedRuns(
            starts=narrow(starts),
            places=narrow(places[order]),
            rows=narrow(rows[order]),
            names=narrow(names.reshape(-1, width)),
            targets=narrow(targets.reshape(-1, width)),
        )
