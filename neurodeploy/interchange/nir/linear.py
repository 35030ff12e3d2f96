"""NIR's linear primitives as operators with their biases, and operators as these primitives."""

from __future__ import annotations

import math
from typing import Any

import nir
import numpy as np

from neurodeploy.errors import UnsupportedError
from neurodeploy.ir.composition import one_to_one, reshaped
from neurodeploy.ir.convolution import Convolution, paddable, pool
from neurodeploy.ir.operators import Dense, Operator, Shape, SparseMatrix, diagonal, parts_of

LINEAR_NODES = (
    nir.Affine,
    nir.Linear,
    nir.Scale,
    nir.Conv1d,
    nir.Conv2d,
    nir.SumPool2d,
    nir.AvgPool2d,
    nir.Flatten,
    nir.Delay,
)

MOST_NEURONS = 2**22
"""Elements of one array between nodes, far beyond any target: a camera of 2 x 1080 x 1920 fits."""


def to_operator(node: Any, shape: Shape, where: str) -> tuple[Operator, np.ndarray | None]:
    """Operator and bias of one node.

    Args:
        node: any of ``LINEAR_NODES`` but Flatten and Delay, which are not operators.
        shape: of the array that reaches the node.
        where: the place to name in messages.

    Returns:
        The operator, and the bias broadcast to its output shape, or None without one.

    Raises:
        UnsupportedError: the shapes do not fit.
    """
    try:
        operator = _to_operator(node, shape, where)
        checked_shape(operator.output_shape, where)
        bias = _bias(node, operator)
    except ValueError as error:
        raise UnsupportedError(f"{where}: {error}") from None
    for values in (operator.weights, bias):
        if values is not None and not np.isfinite(values).all():
            raise UnsupportedError(f"{where}: a weight or bias is infinite or not a number")
    return operator, bias


def flattened(node: Any, shape: Shape, where: str) -> Shape:
    """Shape behind a Flatten node; its axes do not count the batch.

    Raises:
        UnsupportedError: it names an axis that the array does not have, or a shape of its input
            that is not the one that reaches it.
    """
    declared = (node.input_type or {}).get("input")
    if declared is not None and tuple(np.ravel(declared)) != shape:
        raise UnsupportedError(
            f"{where}: says that it takes {tuple(np.ravel(declared).tolist())}, {shape} reaches it"
        )
    start, end = (int(np.ravel(value)[0]) for value in (node.start_dim, node.end_dim))
    axes = len(shape)
    if not (-axes <= start < axes and -axes <= end < axes and start % axes <= end % axes):
        raise UnsupportedError(
            f"{where}: flattens axes {start} to {end} of an array of shape {shape}"
        )
    start, end = start % axes, end % axes
    return (*shape[:start], math.prod(shape[start : end + 1]), *shape[end + 1 :])


def checked_shape(shape: Shape, where: str) -> Shape:
    """A shape that arrays may have.

    Raises:
        UnsupportedError: no axes, an axis without elements, or too many elements.
    """
    if not shape or min(shape) < 1:
        raise UnsupportedError(f"{where}: has shape {shape}; every axis needs an element")
    if math.prod(shape) > MOST_NEURONS:
        raise UnsupportedError(
            f"{where}: has shape {shape}, {math.prod(shape):,} elements; at most "
            f"{MOST_NEURONS:,} are deployed"
        )
    return shape


def _bias(node: Any, operator: Operator) -> np.ndarray | None:
    bias = getattr(node, "bias", None)
    if bias is None or not np.any(np.asarray(bias)):
        return None
    bias = np.asarray(bias, np.float64)
    if isinstance(operator, Convolution):
        if bias.size not in (1, len(operator.weights)):
            raise ValueError(f"{bias.size} biases for {len(operator.weights)} channels")
        bias = bias.reshape(-1, *[1] * (len(operator.output_shape) - 1))
    return np.broadcast_to(bias, operator.output_shape)


def _to_operator(node: Any, shape: Shape, where: str) -> Operator:
    if isinstance(node, nir.Affine | nir.Linear):
        weights = np.asarray(node.weight, np.float64)
        if weights.ndim != 2:
            raise UnsupportedError(f"{where}: weights have {weights.ndim} axes, 2 are supported")
        if weights.shape[1] != math.prod(shape):
            raise UnsupportedError(
                f"{where}: weights take {weights.shape[1]} inputs, {math.prod(shape)} reach it"
            )
        return Dense(weights, shape, (weights.shape[0],))
    if isinstance(node, nir.Scale):
        return diagonal(np.broadcast_to(np.asarray(node.scale, np.float64), shape))
    if isinstance(node, nir.Conv1d | nir.Conv2d):
        return _to_convolution(node, shape, where)
    if len(shape) != 3:
        raise UnsupportedError(f"{where}: pools (channels, height, width), found shape {shape}")
    kernel, stride, padding = (
        _numbers(value, 2) for value in (node.kernel_size, node.stride, node.padding)
    )
    if min(kernel) < 1 or math.prod(kernel) * shape[0] > MOST_NEURONS:
        raise UnsupportedError(f"{where}: has a kernel of {kernel}")
    operator = pool(shape, kernel, stride, padding)
    if isinstance(node, nir.AvgPool2d):
        operator = operator.with_weights(operator.weights / math.prod(kernel))
    return operator


def _to_convolution(node: Any, shape: Shape, where: str) -> Convolution:
    weights = np.asarray(node.weight, np.float64)
    axes = weights.ndim - 2
    if axes not in (1, 2) or len(shape) != axes + 1:
        raise UnsupportedError(f"{where}: convolves {axes} axes, found shape {shape}")
    declared = shape[1:] if node.input_shape is None else _numbers(node.input_shape, axes)
    if declared != shape[1:]:
        raise UnsupportedError(f"{where}: says that it takes {declared}, {shape[1:]} reaches it")
    stride, dilation = (_numbers(value, axes) for value in (node.stride, node.dilation))
    reach = [d * (k - 1) for d, k in zip(dilation, weights.shape[2:], strict=True)]
    padding = node.padding.decode() if isinstance(node.padding, bytes) else node.padding
    if isinstance(padding, str):
        if padding == "valid":
            pads = [(0, 0)] * axes
        elif padding == "same" and set(stride) == {1}:
            pads = [(total // 2, total - total // 2) for total in reach]
        else:
            raise UnsupportedError(
                f"{where}: padding {padding!r} with stride {stride} has no agreed meaning; "
                "write the padding as numbers"
            )
    else:
        pads = [(pad, pad) for pad in _numbers(padding, axes)]
    return Convolution(weights, shape, stride, tuple(pads), dilation, _numbers(node.groups, 1)[0])


def _numbers(value: Any, axes: int) -> tuple[int, ...]:
    flat = [int(item) for item in np.asarray(value).ravel()]
    if len(flat) not in (1, axes):
        raise ValueError(f"{flat} for an array of {axes} axes")
    return tuple(flat * axes if len(flat) == 1 else flat)


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
        return _convolution_node(operator, bias)
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


def _convolution_node(operator: Convolution, bias: np.ndarray | None) -> Any:
    axes = len(operator.kernel)
    weight, padding, dilation = paddable(operator)
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
