"""Operators as NIR's linear primitives: ``linear_nodes`` backwards."""

from __future__ import annotations

import math
from typing import Any

import nir
import numpy as np

from neurodeploy.errors import UnsupportedError
from neurodeploy.ir.composition import one_to_one, reshaped
from neurodeploy.ir.operators import (
    Convolution,
    Dense,
    Operator,
    Shape,
    SparseMatrix,
    diagonal,
    parts_of,
)

MOST_ENTRIES = 2**26
"""Entries of a connectivity that is written out as a dense matrix: half a gigabyte."""


def chain_between(operator: Operator, source: Shape, target: Shape) -> list[Operator] | None:
    """The operators, each one node of NIR, that bring ``source`` to ``target``.

    Nodes between them may flatten. None where NIR has no such nodes.
    """
    chain = []
    shape = source
    for part in map(_simplest, parts_of(operator)):
        if part is None:
            continue
        if isinstance(part, SparseMatrix) and one_to_one(part) is None:
            return None
        if isinstance(part, Dense) and len(part.output_shape) > 1:
            return None
        if not _reaches(shape, input_shape_of(part)):
            return None
        chain.append(part)
        shape = part.output_shape
    return chain if _reaches(shape, target) else None


def written_out(operator: Operator, where: str) -> Dense:
    """Any operator as a dense one between flat arrays.

    Raises:
        UnsupportedError: it has too many entries.
    """
    rows, columns = math.prod(operator.output_shape), math.prod(operator.input_shape)
    if rows * columns > MOST_ENTRIES:
        raise UnsupportedError(
            f"{where}: NIR has no sparse matrix, and as a dense one it has {rows} x {columns} "
            f"entries; at most {MOST_ENTRIES:,} are written"
        )
    return Dense(np.asarray(operator.matrix().toarray(), np.float64), (columns,), (rows,))


def input_shape_of(operator: Operator) -> Shape:
    """Shape that the operator's node takes; NIR's Affine takes one axis."""
    if isinstance(operator, Dense):
        return (math.prod(operator.input_shape),)
    return operator.input_shape


def takes_bias(operator: Operator, bias: np.ndarray) -> bool:
    """Whether the operator's node can carry a bias of its outputs, flattened or not."""
    if math.prod(operator.output_shape) != bias.size:
        return False
    if isinstance(operator, Convolution):
        by_channel = bias.reshape(operator.output_shape[0], -1)
        return bool((by_channel == by_channel[:, :1]).all())
    return isinstance(operator, Dense)


def linear_node(operator: Operator, bias: np.ndarray | None) -> Any:
    """The node of one operator of a chain; its arrays in float64, its bias explicit."""
    if isinstance(operator, Convolution):
        return _convolution(operator, bias)
    if isinstance(operator, Dense):
        weight = np.array(operator.weights, np.float64)
        return nir.Affine(weight, np.zeros(len(weight)) if bias is None else bias.ravel().copy())
    return nir.Scale(np.array(one_to_one(operator), np.float64))


def flatten_node(shape: Shape, target: Shape) -> nir.Flatten | None:
    """The Flatten that brings an array to ``target``; None where flattening cannot.

    Some consecutive axes become one, the others stay.
    """
    merged = len(shape) - len(target) + 1
    for start in range(len(target)) if merged > 0 else ():
        end = start + merged
        if (*shape[:start], math.prod(shape[start:end]), *shape[end:]) == target:
            # -1, because importers that count the batch axis as one of NIR's need it.
            last = -1 if end == len(shape) else end - 1
            return nir.Flatten({"input": np.array(shape)}, start_dim=start, end_dim=last)
    return None


def _reaches(shape: Shape, target: Shape) -> bool:
    return shape == target or flatten_node(shape, target) is not None


def _simplest(operator: Operator) -> Operator | None:
    """One-to-one connections with their factors in the input's shape; None if all are 1."""
    if not isinstance(operator, SparseMatrix):
        return operator
    if math.prod(operator.input_shape) != math.prod(operator.output_shape):
        return operator
    factors = one_to_one(reshaped(operator, operator.input_shape))
    if factors is None:
        return operator
    return diagonal(factors) if (factors != 1).any() else None


def _convolution(operator: Convolution, bias: np.ndarray | None) -> Any:
    axes = len(operator.kernel)
    weight, padding, dilation = _paddable(operator)
    per_channel = np.zeros(len(weight)) if bias is None else bias.reshape(len(weight), -1)[:, 0]

    def numbers(values: Any) -> Any:
        """NIR's Conv1d takes numbers, Conv2d pairs."""
        return values if axes == 2 or isinstance(values, str) else values[0]

    node = (nir.Conv2d if axes == 2 else nir.Conv1d)(
        input_shape=numbers(operator.input_shape[1:]),
        weight=weight,
        stride=numbers(operator.stride),
        padding=numbers(padding),
        dilation=numbers(dilation),
        groups=operator.groups,
        bias=per_channel.copy(),
    )
    # NIR's own inference is wrong for groups and for kernels that are not square.
    node.input_type = {"input": np.array(operator.input_shape)}
    node.output_type = {"output": np.array(operator.output_shape)}
    return node


def _paddable(operator: Convolution) -> tuple[np.ndarray, Shape | str, Shape]:
    """Weights, padding and dilation in NIR's terms, where padding is symmetric or 'same'.

    Other padding goes into zeros of the kernel, which then has no dilation: at its near end they
    move the weights away from padding that is too wide before, at its far end they keep it from
    reaching padding that is too wide after.
    """
    weight = np.array(operator.weights, np.float64)
    padding, dilation = operator.padding, operator.dilation
    if all(before == after for before, after in padding):
        return weight, tuple(before for before, _ in padding), dilation
    reach = [d * (k - 1) for d, k in zip(dilation, operator.kernel, strict=True)]
    same = tuple((total // 2, total - total // 2) for total in reach)
    if padding == same and set(operator.stride) == {1}:
        return weight, "same", dilation
    spread = np.zeros((*weight.shape[:2], *(total + 1 for total in reach)))
    spread[(..., *(slice(None, None, d) for d in dilation))] = weight
    grown = [(max(after - before, 0), max(before - after, 0)) for before, after in padding]
    weight = np.pad(spread, [(0, 0), (0, 0), *grown])
    return weight, tuple(max(pair) for pair in padding), (1,) * len(dilation)
