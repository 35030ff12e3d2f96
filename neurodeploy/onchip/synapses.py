"""Plastic synapses in numpy: activation, errors back through them, and the gradient of the weights.

Arrays are (size, T): a flattened population by the steps computed at once. All values are integers
in floats, whose sums are exact in any order: float32 below 2^24, float64 below 2^53. A convolution
gathers what each kernel position reads into the rows of a matrix; activation and gradient are then
products with that matrix.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from scipy import sparse

from neurodeploy.ir.convolution import Convolution
from neurodeploy.ir.fixed_point import FLOAT32_EXACT, WEIGHT_BITS
from neurodeploy.ir.operators import Dense, Operator, SparseMatrix
from neurodeploy.ir.quantized import QuantizedProjection


def exact(bound: float) -> Any:
    """The float type in which integers up to ``bound`` are exact."""
    return np.float32 if bound < FLOAT32_EXACT else np.float64


def largest_activation(projection: QuantizedProjection) -> float:
    """No weights that can be learnt bring a larger sum, before the exponent's shift."""
    extreme = np.full(projection.operator.weights.shape, 2.0**WEIGHT_BITS)
    return projection.operator.with_weights(extreme).absolute_row_bound() * projection.payload


class Synapses(ABC):
    """One operator whose weights change; ``weights`` are flat, in the operator's order."""

    @abstractmethod
    def gather(self, spikes: np.ndarray) -> np.ndarray:
        """What ``activate`` and ``gradient`` want of the spikes (inputs, T), in their dtype."""

    @abstractmethod
    def activate(self, weights: np.ndarray, gathered: np.ndarray) -> np.ndarray:
        """Sum over inputs of weight times spike: (outputs, T)."""

    @abstractmethod
    def carry_back(self, weights: np.ndarray, errors: np.ndarray) -> np.ndarray:
        """Sum over outputs of weight times error (outputs, T): (inputs, T)."""

    @abstractmethod
    def gradient(self, errors: np.ndarray, gathered: np.ndarray) -> np.ndarray:
        """Sum over steps, and positions that share a weight, of error times spike, flat."""


class DenseSynapses(Synapses):
    """Every input to every output."""

    def __init__(self, operator: Dense) -> None:
        self.shape = operator.weights.shape

    def gather(self, spikes: np.ndarray) -> np.ndarray:
        return spikes

    def activate(self, weights: np.ndarray, gathered: np.ndarray) -> np.ndarray:
        return weights.reshape(self.shape) @ gathered

    def carry_back(self, weights: np.ndarray, errors: np.ndarray) -> np.ndarray:
        return weights.reshape(self.shape).T @ errors

    def gradient(self, errors: np.ndarray, gathered: np.ndarray) -> np.ndarray:
        return (errors @ gathered.T).ravel()


class ConvSynapses(Synapses):
    """A shared kernel; gathered are (groups, inputs of a group times kernel, positions times T)."""

    def __init__(self, operator: Convolution) -> None:
        self.groups = operator.groups
        self.kernel = (
            self.groups,
            operator.weights.shape[0] // self.groups,
            operator.weights[0].size,
        )
        self.positions = math.prod(operator.output_shape[1:])
        inputs = math.prod(operator.input_shape)
        # One more input than there are, always 0: what the padding reads.
        self.sources = read_inputs(operator, nothing=inputs)
        self.readers = _inverse(self.sources.ravel(), inputs)

    def gather(self, spikes: np.ndarray) -> np.ndarray:
        padded = np.zeros((len(spikes) + 1, spikes.shape[1]), spikes.dtype)
        padded[:-1] = spikes
        return padded.take(self.sources, axis=0).reshape(*self.sources.shape[:2], -1)

    def activate(self, weights: np.ndarray, gathered: np.ndarray) -> np.ndarray:
        outputs = weights.reshape(self.kernel) @ gathered
        return outputs.reshape(self.groups * self.kernel[1] * self.positions, -1)

    def carry_back(self, weights: np.ndarray, errors: np.ndarray) -> np.ndarray:
        steps = errors.shape[1]
        # What each kernel position sends back, and a last row of zeros for the padding to read.
        sent = np.zeros((self.sources.size + 1, steps), errors.dtype)
        np.matmul(
            weights.reshape(self.kernel).transpose(0, 2, 1),
            self._by_channel(errors),
            out=sent[:-1].reshape(self.groups, self.kernel[2], -1),
        )
        return sent.take(self.readers, axis=0).sum(axis=0)

    def gradient(self, errors: np.ndarray, gathered: np.ndarray) -> np.ndarray:
        return (self._by_channel(errors) @ gathered.transpose(0, 2, 1)).ravel()

    def _by_channel(self, values: np.ndarray) -> np.ndarray:
        """(outputs, T) as (groups, channels, positions times T)."""
        return values.reshape(*self.kernel[:2], -1)


class SparseSynapses(Synapses):
    """Any map, every stored entry a weight of its own."""

    def __init__(self, operator: SparseMatrix) -> None:
        self.shape = math.prod(operator.output_shape), math.prod(operator.input_shape)
        self.indices, self.indptr = operator.indices, operator.indptr
        self.rows = np.repeat(np.arange(self.shape[0]), np.diff(operator.indptr))

    def _matrix(self, weights: np.ndarray) -> sparse.csr_matrix:
        return sparse.csr_matrix((weights, self.indices, self.indptr), shape=self.shape)

    def gather(self, spikes: np.ndarray) -> np.ndarray:
        return spikes

    def activate(self, weights: np.ndarray, gathered: np.ndarray) -> np.ndarray:
        return self._matrix(weights) @ gathered

    def carry_back(self, weights: np.ndarray, errors: np.ndarray) -> np.ndarray:
        return self._matrix(weights).T @ errors

    def gradient(self, errors: np.ndarray, gathered: np.ndarray) -> np.ndarray:
        return (errors[self.rows] * gathered[self.indices]).sum(axis=1)


def plastic(operator: Operator) -> Synapses:
    """The synapses of an operator."""
    if isinstance(operator, Dense):
        return DenseSynapses(operator)
    if isinstance(operator, Convolution):
        return ConvSynapses(operator)
    if isinstance(operator, SparseMatrix):
        return SparseSynapses(operator)
    raise TypeError(f"no plastic synapses for operator {operator.kind!r}")


def read_inputs(operator: Convolution, nothing: int) -> np.ndarray:
    """(groups, reads, positions): the input that each kernel position reads, or ``nothing``."""
    size, outputs = operator.input_shape[1:], operator.output_shape[1:]
    axes = len(size)
    inside = np.ones((*operator.kernel, *outputs), bool)
    at = np.zeros((*operator.kernel, *outputs), np.int64)
    for axis in range(axes):
        offset = np.arange(operator.kernel[axis]) * operator.dilation[axis]
        here = np.arange(outputs[axis]) * operator.stride[axis] - operator.padding[axis][0]
        shape = [1] * (2 * axes)
        shape[axis], shape[axes + axis] = operator.kernel[axis], outputs[axis]
        read = (offset[:, None] + here).reshape(shape)
        inside &= (read >= 0) & (read < size[axis])
        at = at * size[axis] + read
    positions, per_group = math.prod(outputs), operator.weights.shape[1]
    channel = np.arange(operator.input_shape[0]).reshape(operator.groups, per_group, 1, 1)
    read = channel * math.prod(size) + at.reshape(-1, positions)
    sources = np.where(inside.reshape(-1, positions), read, nothing)
    return sources.reshape(operator.groups, -1, positions)


def _inverse(sources: np.ndarray, inputs: int) -> np.ndarray:
    """(most, inputs): for every input the places that read it, padded with one beyond the last."""
    order = np.argsort(sources, kind="stable")
    counts = np.bincount(sources, minlength=inputs + 1)[:inputs]
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    row = np.arange(max(int(counts.max(initial=0)), 1))[:, None]
    places = np.minimum(starts + row, len(order) - 1)
    return np.where(row < counts, order[places], len(order))
