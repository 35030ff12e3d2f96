"""NIR's linear nodes as PyTorch functions on batches, read straight from the node."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import nir
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from neurodeploy.errors import UnsupportedError

LinearFunction = Callable[[Tensor], Tensor]


def linear_function(node: Any, where: str) -> LinearFunction:
    """A function from (N, *input) to (N, *output), bias included, in float64.

    Args:
        where: the place to name in messages.

    Raises:
        UnsupportedError: it is none of NIR's linear nodes.
    """
    for kinds, make in LINEAR:
        if isinstance(node, kinds):
            return make(node)
    raise UnsupportedError(
        f"{where}: the Norse engine has no counterpart of it; --engine float runs what we deploy"
    )


def _matrix(node: Any) -> LinearFunction:
    weight = _tensor(node.weight)
    bias = _tensor(node.bias).expand(len(weight)) if isinstance(node, nir.Affine) else None
    # The last weights of an image may take all its pixels in a row, without a Flatten before.
    return lambda x: functional.linear(x.flatten(1), weight, bias)


def _scale(node: Any) -> LinearFunction:
    factor = _tensor(node.scale)
    return lambda x: x * factor


def _convolution(node: Any) -> LinearFunction:
    weight = _tensor(node.weight)
    axes = weight.ndim - 2
    bias = None if node.bias is None else _tensor(node.bias).expand(len(weight))
    convolve: Callable[..., Tensor] = functional.conv1d if axes == 1 else functional.conv2d
    padding = node.padding.decode() if isinstance(node.padding, bytes) else node.padding
    options: dict[str, Any] = {
        "stride": _numbers(node.stride, axes),
        "padding": padding if isinstance(padding, str) else _numbers(padding, axes),
        "dilation": _numbers(node.dilation, axes),
        "groups": _numbers(node.groups, 1)[0],
    }
    return lambda x: convolve(x, weight, bias, **options)


def _pool(node: Any) -> LinearFunction:
    kernel, stride, padding = (
        _numbers(value, 2) for value in (node.kernel_size, node.stride, node.padding)
    )
    # Zeros of the padding count as inputs; a sum is an average that is divided by 1.
    divisor = 1 if isinstance(node, nir.SumPool2d) else None
    return lambda x: functional.avg_pool2d(x, kernel, stride, padding, divisor_override=divisor)


def _flatten(node: Any) -> LinearFunction:
    # NIR does not count the batch axis.
    start, end = (int(d) + (int(d) >= 0) for d in (node.start_dim, node.end_dim))
    return lambda x: x.flatten(start, end)


def _tensor(values: Any) -> Tensor:
    return torch.from_numpy(np.array(values, np.float64))


def _numbers(value: Any, axes: int) -> tuple[int, ...]:
    flat = [int(item) for item in np.asarray(value).ravel()]
    return tuple(flat * axes if len(flat) == 1 else flat)


LINEAR: tuple[tuple[Any, Callable[[Any], LinearFunction]], ...] = (
    ((nir.Affine, nir.Linear), _matrix),
    (nir.Scale, _scale),
    ((nir.Conv1d, nir.Conv2d), _convolution),
    ((nir.SumPool2d, nir.AvgPool2d), _pool),
    (nir.Flatten, _flatten),
)
