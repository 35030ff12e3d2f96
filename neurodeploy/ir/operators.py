"""Linear operators: what one projection computes, written once, usable in two ways.

Each operator maps arrays of ``input_shape`` to arrays of ``output_shape``. ``compile`` gives a fast
function on torch batches; ``matrix`` writes the same map out as a sparse matrix, which is what a
synapse table holds. Tests keep the two equal. Weights are numpy arrays, floats or integers alike.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

if TYPE_CHECKING:
    import torch

    TorchMap = Callable[[torch.Tensor], torch.Tensor]

Shape = tuple[int, ...]

MOST_SYNAPSES = 2**23
"""Connections of one map that may be written out one by one when maps are composed."""


class Operator(ABC):
    """A linear map between arrays of fixed shapes.

    Attributes:
        kind: short name, as files hold it.
        weights: the stored values, each once however often it is used.
        input_shape, output_shape: shapes without batch axis.
    """

    kind: str
    weights: np.ndarray
    input_shape: Shape
    output_shape: Shape

    @abstractmethod
    def with_weights(self, weights: np.ndarray) -> Operator:
        """The same connectivity with other values of the same shape."""

    @abstractmethod
    def scaled(self, gain: np.ndarray) -> Operator:
        """The map followed by a factor per output; ``gain`` broadcasts to ``output_shape``."""

    @abstractmethod
    def compile(self, dtype: torch.dtype) -> TorchMap:
        """A function from a batch (N, *input_shape) to (N, *output_shape), both of ``dtype``."""

    @abstractmethod
    def matrix(self) -> sparse.csr_matrix:
        """The map as (outputs, inputs) over flattened arrays (C order), zeros left out."""

    @property
    def connections(self) -> int:
        """How many single connections the map has, zeros and those into padding included."""
        return self.weights.size

    @abstractmethod
    def absolute_row_bound(self) -> float:
        """An upper bound on sum over inputs of abs(weight), over all outputs."""

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        """Apply to a numpy batch in float64."""
        import torch

        # A copy, because torch warns of arrays that cannot be written to.
        values = torch.from_numpy(np.array(batch, np.float64, order="C"))
        return self.compile(torch.float64)(values).numpy()


def _tensor(values: np.ndarray, dtype: torch.dtype) -> torch.Tensor:
    import torch

    return torch.from_numpy(np.ascontiguousarray(values)).to(dtype)


@dataclass(frozen=True, eq=False)
class Dense(Operator):
    """Every input to every output; ``weights`` is (outputs, inputs) over flattened arrays."""

    weights: np.ndarray
    input_shape: Shape
    output_shape: Shape
    kind = "dense"

    def __post_init__(self) -> None:
        expected = (math.prod(self.output_shape), math.prod(self.input_shape))
        if self.weights.shape != expected:
            raise ValueError(f"dense weights are {self.weights.shape}, expected {expected}")

    def with_weights(self, weights: np.ndarray) -> Dense:
        return replace(self, weights=weights)

    def scaled(self, gain: np.ndarray) -> Operator:
        return self.with_weights(self.weights * _full(gain, self.output_shape).reshape(-1, 1))

    def compile(self, dtype: torch.dtype) -> TorchMap:
        transposed = _tensor(self.weights, dtype).T.contiguous()
        return lambda x: (x.flatten(1) @ transposed).unflatten(1, self.output_shape)

    def matrix(self) -> sparse.csr_matrix:
        return sparse.csr_matrix(self.weights)

    def absolute_row_bound(self) -> float:
        return float(np.abs(self.weights).sum(axis=1, dtype=np.float64).max(initial=0))


@dataclass(frozen=True, eq=False)
class Convolution(Operator):
    """Convolution over one or two axes, in the cross-correlation convention of torch.

    Attributes:
        weights: (outputs, inputs // groups, *kernel).
        input_shape: (inputs, *size).
        stride, dilation: one number per axis.
        padding: zeros before and after, one pair per axis.
    """

    weights: np.ndarray
    input_shape: Shape
    stride: Shape
    padding: tuple[tuple[int, int], ...]
    dilation: Shape
    groups: int = 1
    output_shape: Shape = field(init=False)
    kind = "conv"

    def __post_init__(self) -> None:
        axes = len(self.input_shape) - 1
        if axes not in (1, 2) or self.weights.ndim != axes + 2:
            raise ValueError(
                f"convolution of {self.input_shape} inputs with {self.weights.shape} weights: "
                "expected 1 or 2 axes beside the channels"
            )
        if min(*self.stride, *self.dilation, self.groups) < 1 or min(map(min, self.padding)) < 0:
            raise ValueError(
                f"convolution with stride {self.stride}, dilation {self.dilation}, {self.groups} "
                f"groups and padding {self.padding}: the first three are at least 1, the last 0"
            )
        channels = self.input_shape[0]
        if channels % self.groups or self.weights.shape[0] % self.groups:
            raise ValueError(f"{self.groups} groups do not divide the channels")
        if self.weights.shape[1] * self.groups != channels:
            raise ValueError(
                f"convolution weights are for {self.weights.shape[1] * self.groups} input "
                f"channels, the input has {channels}"
            )
        size = tuple(
            (n + sum(pad) - dilation * (kernel - 1) - 1) // stride + 1
            for n, kernel, stride, pad, dilation in zip(
                self.input_shape[1:],
                self.kernel,
                self.stride,
                self.padding,
                self.dilation,
                strict=True,
            )
        )
        object.__setattr__(self, "output_shape", (self.weights.shape[0], *size))
        if min(self.output_shape) < 1:
            raise ValueError(f"convolution kernel is larger than its input {self.input_shape}")

    @property
    def kernel(self) -> Shape:
        """Kernel size, one number per axis."""
        return self.weights.shape[2:]

    @property
    def connections(self) -> int:
        return self.weights.size * math.prod(self.output_shape[1:])

    def with_weights(self, weights: np.ndarray) -> Convolution:
        return replace(self, weights=weights)

    def scaled(self, gain: np.ndarray) -> Operator:
        by_channel = _full(gain, self.output_shape).reshape(self.output_shape[0], -1)
        if (by_channel == by_channel[:, :1]).all():
            factor = by_channel[:, 0].reshape(-1, *[1] * (self.weights.ndim - 1))
            return self.with_weights(self.weights * factor)
        return SparseMatrix.of(self).scaled(gain)

    def compile(self, dtype: torch.dtype) -> TorchMap:
        from torch.nn import functional

        weights = _tensor(self.weights, dtype)
        convolve = functional.conv1d if len(self.kernel) == 1 else functional.conv2d
        options: dict[str, Any] = {
            "stride": self.stride,
            "dilation": self.dilation,
            "groups": self.groups,
        }
        if all(before == after for before, after in self.padding):
            options["padding"] = tuple(before for before, _ in self.padding)
            return lambda x: convolve(x, weights, **options)
        ends = [end for pair in reversed(self.padding) for end in pair]
        return lambda x: convolve(functional.pad(x, ends), weights, **options)

    def matrix(self) -> sparse.csr_matrix:
        out_channels, in_per_group = self.weights.shape[:2]
        out_size, in_size = self.output_shape[1:], self.input_shape[1:]
        group = np.arange(out_channels) // (out_channels // self.groups)
        channel = group[:, None] * in_per_group + np.arange(in_per_group)
        rows, columns, values = [], [], []
        for offset in np.ndindex(*self.kernel):
            # Input coordinate that this kernel position reads, for every output coordinate.
            reads = [
                np.arange(n) * stride + at * dilation - pad[0]
                for n, stride, at, dilation, pad in zip(
                    out_size, self.stride, offset, self.dilation, self.padding, strict=True
                )
            ]
            inside = [
                np.flatnonzero((read >= 0) & (read < n))
                for read, n in zip(reads, in_size, strict=True)
            ]
            here = np.ravel_multi_index(np.ix_(*inside), out_size).ravel()
            there = np.ravel_multi_index(
                np.ix_(*[read[index] for read, index in zip(reads, inside, strict=True)]), in_size
            ).ravel()
            row = np.arange(out_channels)[:, None, None] * math.prod(out_size) + here
            column = channel[:, :, None] * math.prod(in_size) + there
            value = self.weights[(slice(None), slice(None), *offset)][:, :, None]
            for target, array in ((rows, row), (columns, column), (values, value)):
                target.append(np.broadcast_to(array, column.shape).ravel())
        shape = (math.prod(self.output_shape), math.prod(self.input_shape))
        index = (np.concatenate(rows), np.concatenate(columns))
        matrix = sparse.csr_matrix((np.concatenate(values), index), shape=shape)
        matrix.eliminate_zeros()
        return matrix

    def absolute_row_bound(self) -> float:
        axes = tuple(range(1, self.weights.ndim))
        return float(np.abs(self.weights).sum(axis=axes, dtype=np.float64).max(initial=0))


@dataclass(frozen=True, eq=False)
class SparseMatrix(Operator):
    """Any linear map, as the non-zero entries of its matrix.

    Attributes:
        weights: (non-zeros,) values.
        indices, indptr: column of each value and start of each row (CSR).
        parts: operators that give this map one after the other, up to their arrays' shapes, for
            files that know no sparse matrices; empty where it is known as a matrix only.
    """

    weights: np.ndarray
    indices: np.ndarray
    indptr: np.ndarray
    input_shape: Shape
    output_shape: Shape
    parts: tuple[Operator, ...] = ()
    kind = "sparse"

    @staticmethod
    def of(operator: Operator) -> SparseMatrix:
        """Write another operator out.

        Raises:
            ValueError: it has more than ``MOST_SYNAPSES`` connections.
        """
        check_writable(operator)
        written = SparseMatrix.from_matrix(
            operator.matrix(), operator.input_shape, operator.output_shape
        )
        return replace(written, parts=parts_of(operator))

    @staticmethod
    def from_matrix(matrix: Any, input_shape: Shape, output_shape: Shape) -> SparseMatrix:
        """Take a scipy matrix of shape (outputs, inputs)."""
        matrix = sparse.csr_matrix(matrix, copy=True)
        matrix.sum_duplicates()
        return SparseMatrix(matrix.data, matrix.indices, matrix.indptr, input_shape, output_shape)

    def with_weights(self, weights: np.ndarray) -> SparseMatrix:
        return replace(self, weights=weights, parts=())

    def scaled(self, gain: np.ndarray) -> Operator:
        factors = _full(gain, self.output_shape)
        if (factors == 1).all():
            return self
        rows = np.repeat(np.arange(len(self.indptr) - 1), np.diff(self.indptr))
        scaled = self.with_weights(self.weights * factors.ravel()[rows])
        return replace(scaled, parts=self.parts and (*self.parts, diagonal(factors)))

    def compile(self, dtype: torch.dtype) -> TorchMap:
        import torch

        # scipy rather than torch: its sparse product is plain, exact in order and warns of nothing.
        matrix = self.matrix().astype(torch.zeros((), dtype=dtype).numpy().dtype)

        def apply(x: torch.Tensor) -> torch.Tensor:
            columns = np.ascontiguousarray(x.flatten(1).numpy().T)
            product = np.ascontiguousarray((matrix @ columns).T)
            return torch.from_numpy(product).unflatten(1, self.output_shape)

        return apply

    def matrix(self) -> sparse.csr_matrix:
        shape = (math.prod(self.output_shape), math.prod(self.input_shape))
        # A copy, because leaving zeros out happens in place.
        stored = (self.weights, self.indices, self.indptr)
        matrix = sparse.csr_matrix(stored, shape=shape, copy=True)
        matrix.eliminate_zeros()
        return matrix

    def absolute_row_bound(self) -> float:
        rows = np.repeat(np.arange(len(self.indptr) - 1), np.diff(self.indptr))
        return float(np.bincount(rows, np.abs(self.weights)).max(initial=0))


def _full(gain: np.ndarray, shape: Shape) -> np.ndarray:
    """A factor per output; per-channel vectors must already carry their trailing axes."""
    return np.broadcast_to(np.asarray(gain).reshape(np.shape(gain) or (1,)), shape)


def pool(
    input_shape: Shape, kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int]
) -> Convolution:
    """Sum pooling over the trailing axes, as a convolution with ones in a group per channel."""
    channels = input_shape[0]
    return Convolution(
        np.ones((channels, 1, *kernel)),
        input_shape,
        tuple(stride),
        tuple((pad, pad) for pad in padding),
        (1,) * len(kernel),
        groups=channels,
    )


def diagonal(factors: np.ndarray) -> SparseMatrix:
    """One-to-one connections, each multiplying by its factor; zeros are kept."""
    index = np.arange(factors.size + 1)
    return SparseMatrix(factors.ravel(), index[:-1], index, factors.shape, factors.shape)


def identity(shape: Shape) -> SparseMatrix:
    """One-to-one connections of weight 1."""
    return SparseMatrix.from_matrix(sparse.identity(math.prod(shape), format="csr"), shape, shape)


def check_writable(operator: Operator) -> None:
    """Refuse to write out a map whose connections would fill the memory.

    Raises:
        ValueError: more than ``MOST_SYNAPSES``.
    """
    if operator.connections > MOST_SYNAPSES:
        raise ValueError(
            f"this map would have to be written out as {operator.connections:,} single "
            f"connections, at most {MOST_SYNAPSES:,} are; put neurons between it and the map that "
            "follows, or give all neurons of a channel the same parameters"
        )


def parts_of(operator: Operator) -> tuple[Operator, ...]:
    """The operators that give this one when applied one after the other."""
    if isinstance(operator, SparseMatrix) and operator.parts:
        return operator.parts
    return (operator,)
