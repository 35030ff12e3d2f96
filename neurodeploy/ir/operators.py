"""Linear operators: what one projection computes, written once, usable in two ways.

Each operator maps arrays of ``input_shape`` to arrays of ``output_shape``. ``compile`` gives a fast
function on torch batches; ``matrix`` writes the same map out as a sparse matrix, which is what a
synapse table holds. Tests keep the two equal. Weights are numpy arrays, floats or integers alike.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

if TYPE_CHECKING:
    import torch

    TorchMap = Callable[[torch.Tensor], torch.Tensor]

Shape = tuple[int, ...]

MOST_SYNAPSES = 2**23
"""Connections of one map that may be written out one by one when maps are composed."""


class TooLargeError(ValueError):
    """A map that would fill the memory.

    Attributes:
        found: what was found and the limit, without what to do.
    """

    def __init__(self, found: str, advice: str) -> None:
        super().__init__(f"{found}; {advice}")
        self.found = found


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
    def compile(self, dtype: torch.dtype, device: torch.device | None = None) -> TorchMap:
        """A function from a batch (N, *input_shape) to (N, *output_shape), both of ``dtype``.

        Args:
            device: where it computes, with torch alone; None for the CPU with whatever is best.
        """

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


def tensor_of(
    values: np.ndarray, dtype: torch.dtype, device: torch.device | None = None
) -> torch.Tensor:
    """Weights as a tensor of that dtype; None for the CPU."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(values)).to(dtype).to(device or "cpu")


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
        return self.with_weights(self.weights * per_output(gain, self.output_shape).reshape(-1, 1))

    def compile(self, dtype: torch.dtype, device: torch.device | None = None) -> TorchMap:
        transposed = tensor_of(self.weights, dtype, device).T.contiguous()
        return lambda x: (x.flatten(1) @ transposed).unflatten(1, self.output_shape)

    def matrix(self) -> sparse.csr_matrix:
        return sparse.csr_matrix(self.weights)

    def absolute_row_bound(self) -> float:
        return float(np.abs(self.weights).sum(axis=1, dtype=np.float64).max(initial=0))


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
        factors = per_output(gain, self.output_shape)
        if (factors == 1).all():
            return self
        rows = np.repeat(np.arange(len(self.indptr) - 1), np.diff(self.indptr))
        scaled = self.with_weights(self.weights * factors.ravel()[rows])
        return replace(scaled, parts=self.parts and (*self.parts, diagonal(factors)))

    def compile(self, dtype: torch.dtype, device: torch.device | None = None) -> TorchMap:
        import torch

        if device is not None:
            return self._compile_on(device, dtype)
        # scipy rather than torch: its sparse product is plain, exact in order and warns of nothing.
        matrix = self.matrix().astype(torch.zeros((), dtype=dtype).numpy().dtype)

        def apply(x: torch.Tensor) -> torch.Tensor:
            columns = np.ascontiguousarray(x.flatten(1).numpy().T)
            product = np.ascontiguousarray((matrix @ columns).T)
            return torch.from_numpy(product).unflatten(1, self.output_shape)

        return apply

    def _compile_on(self, device: torch.device, dtype: torch.dtype) -> TorchMap:
        import torch

        entries = self.matrix().tocoo()
        places = np.stack([entries.row, entries.col]).astype(np.int64)
        # torch warns of its CSR matrices, not of these.
        matrix = torch.sparse_coo_tensor(
            torch.from_numpy(places),
            tensor_of(entries.data, dtype),
            entries.shape,
            check_invariants=False,
        )
        matrix = matrix.to(device).coalesce()

        def apply(x: torch.Tensor) -> torch.Tensor:
            product = torch.sparse.mm(matrix, x.flatten(1).T)
            return product.T.contiguous().unflatten(1, self.output_shape)

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


def per_output(gain: np.ndarray, shape: Shape) -> np.ndarray:
    """A factor per output; per-channel vectors must already carry their trailing axes."""
    return np.broadcast_to(np.asarray(gain).reshape(np.shape(gain) or (1,)), shape)


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
        TooLargeError: more than ``MOST_SYNAPSES``.
    """
    if operator.connections > MOST_SYNAPSES:
        raise TooLargeError(
            f"this map would have to be written out as {operator.connections:,} single "
            f"connections, at most {MOST_SYNAPSES:,} are",
            "put neurons between it and the map that follows, or give all neurons of a channel the "
            "same parameters",
        )


def parts_of(operator: Operator) -> tuple[Operator, ...]:
    """The operators that give this one when applied one after the other."""
    if isinstance(operator, SparseMatrix) and operator.parts:
        return operator.parts
    return (operator,)
