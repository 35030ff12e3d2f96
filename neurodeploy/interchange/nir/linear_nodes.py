"""NIR's linear primitives as operators, each with its bias, and the shapes they lead to."""

from __future__ import annotations

import math
from typing import Any

import nir
import numpy as np

from neurodeploy.errors import UnsupportedError
from neurodeploy.ir.operators import Convolution, Dense, Operator, Shape, diagonal, pool

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
        operator = _operator(node, shape, where)
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


def _operator(node: Any, shape: Shape, where: str) -> Operator:
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
        return _convolution(node, shape, where)
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


def _convolution(node: Any, shape: Shape, where: str) -> Convolution:
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
