"""Synapses of a convolution, counted without writing its matrix out."""

from __future__ import annotations

import numpy as np

from neurodeploy.ir.convolution import Convolution
from neurodeploy.mapping.mapping import Box


class ReceptiveField:
    """Counts synapses of a convolution onto boxes of its output (channels first).

    The matrix is not written out, since the number of synapses from input (i, y, x) onto a box of
    outputs separates over the axes:

        entries[i, y, x] = sum over kernel positions (k, l) of
                           nonzero[i, k, l] row[y, k] column[x, l]

    where nonzero counts the output channels of the box with a weight there, and row and column say
    whether an output of the box meets that input at that kernel position.
    """

    def __init__(self, operator: Convolution) -> None:
        self.operator = operator
        self._counts: dict[tuple[int, int], np.ndarray] = {}
        self._met: dict[tuple[int, int, int], tuple[int, np.ndarray]] = {}

    def kernel_counts(self, channels: tuple[int, int]) -> np.ndarray:
        """Output channels in [start, stop) with a non-zero weight: (inputs, *kernel) int64."""
        if channels not in self._counts:
            conv = self.operator
            group = np.arange(*channels) // (conv.weights.shape[0] // conv.groups)
            present, starts = np.unique(group, return_index=True)
            nonzero = (conv.weights[slice(*channels)] != 0).astype(np.int64)
            counts = np.zeros((conv.groups, *conv.weights.shape[1:]), np.int64)
            counts[present] = np.add.reduceat(nonzero, starts, axis=0)
            self._counts[channels] = counts.reshape(-1, *conv.kernel)
        return self._counts[channels]

    def kernel_rows(self, channels: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Per group: rows of the kernel that are not all zero, and output channels in each."""
        conv = self.operator
        counts = self.kernel_counts(channels).reshape(conv.groups, -1)
        group = np.arange(*channels) // (conv.weights.shape[0] // conv.groups)
        return (counts > 0).sum(axis=1), np.bincount(group, minlength=conv.groups)

    def entries(self, box: Box) -> tuple[np.ndarray, tuple[int, ...]]:
        """Synapses from each input of the receptive field onto a box of outputs.

        Returns:
            (inputs, *size) int64, and where that part of the input begins on each spatial axis.
        """
        counts = self.kernel_counts(box[0])
        begins = []
        for axis, (start, stop) in enumerate(box[1:]):
            begin, meets = self._meets(axis, start, stop)
            begins.append(begin)
            # The kernel axis in front gives way to one of input coordinates at the end.
            counts = np.moveaxis(counts, 1, -1) @ meets.T
        return counts, tuple(begins)

    def pattern(self, box: Box) -> tuple[object, ...]:
        """A key that is equal for boxes whose ``entries`` are."""
        spatial = [self._meets(axis, *limits)[1] for axis, limits in enumerate(box[1:])]
        return box[0], *[(meets.shape, meets.tobytes()) for meets in spatial]

    def synapses(self, box: Box) -> tuple[np.ndarray, np.ndarray]:
        """Inputs with a synapse onto a box, as flattened indices, and how many each has."""
        entries, begins = self.entries(box)
        channel, *spatial = found = np.nonzero(entries)
        at = [index + begin for index, begin in zip(spatial, begins, strict=True)]
        return np.ravel_multi_index((channel, *at), self.operator.input_shape), entries[found]

    def _meets(self, axis: int, start: int, stop: int) -> tuple[int, np.ndarray]:
        """Which inputs the outputs [start, stop) of one axis read, and at which kernel positions.

        Returns:
            The first input they can read, and (inputs from there on, kernel) bool.
        """
        if (axis, start, stop) in self._met:
            return self._met[axis, start, stop]
        conv = self.operator
        stride, dilation = conv.stride[axis], conv.dilation[axis]
        kernel, before = conv.kernel[axis], conv.padding[axis][0]
        first = start * stride - before
        last = (stop - 1) * stride + (kernel - 1) * dilation - before
        begin, end = max(first, 0), min(last + 1, conv.input_shape[axis + 1])
        reads = np.arange(begin, max(begin, end))[:, None] + before
        position = reads - np.arange(kernel) * dilation
        inside = (position >= start * stride) & (position < stop * stride)
        self._met[axis, start, stop] = begin, inside & (position % stride == 0)
        return self._met[axis, start, stop]
