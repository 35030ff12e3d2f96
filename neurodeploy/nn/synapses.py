"""Linear operators as torch layers whose weights learn.

An operator that was composed of several is taken apart again where that is possible, so that a
weight behind a pooling stays one weight: pooling becomes a fixed ``AvgPool2d``, and its factor
stands in the weights behind it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from neurodeploy.errors import UnsupportedError
from neurodeploy.ir.composition import one_to_one
from neurodeploy.ir.convolution import Convolution
from neurodeploy.ir.operators import (
    Dense,
    Operator,
    Shape,
    SparseMatrix,
    diagonal,
    parts_of,
)
from neurodeploy.nn.layers import Factors, SparseLinear

MOST_ENTRIES = 2**27
"""Entries of the matrix of a sparse map, zeros included, with which torch multiplies."""


@dataclass(frozen=True)
class Pooling:
    """Average pooling, zeros of the padding included.

    Attributes:
        input_shape, output_shape: (channels, height, width).
    """

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    input_shape: Shape
    output_shape: Shape


Part = Operator | Pooling
"""What becomes one layer, beside layers that only change the shape."""


def parts_to_train(operator: Operator) -> list[Part]:
    """The parts of an operator, one after the other, up to their arrays' shapes.

    Only poolings have no weights. Factors of 1 are left out.
    """
    found: list[Part] = []
    parts = _joined(_all_parts(operator))
    for number, part in enumerate(parts):
        pooling = _as_pooling(part) if number + 1 < len(parts) else None
        if pooling is not None:
            pool, factor = pooling
            behind = parts[number + 1]
            parts[number + 1] = behind.with_weights(behind.weights * factor)
            found.append(pool)
            continue
        found += _taken_apart(part)
    return found


def as_layer(part: Part, bias: np.ndarray | None) -> list[nn.Module]:
    """The layers of one part; the last with parameters, if it has any.

    They take (N, *input_shape), a Linear flattened, and give (N, *output_shape), a Linear flat.

    Args:
        bias: of the outputs, which ``takes_bias`` said that the part takes; None for none.

    Raises:
        UnsupportedError: a sparse map is too large.
    """
    if isinstance(part, Pooling):
        return [nn.AvgPool2d(part.kernel, part.stride, part.padding)]
    if isinstance(part, Dense):
        linear = nn.Linear(part.weights.shape[1], len(part.weights), bias is not None)
        return [_filled(linear, part.weights, bias)]
    if isinstance(part, Convolution):
        return _convolution(part, bias)
    factors = _factors(part)
    if factors is not None:
        return [Factors(_shared(factors))]
    assert isinstance(part, SparseMatrix), "there is no other operator"
    return [_sparse(part)]


def whole_layer(operator: Operator) -> list[nn.Module]:
    """The layers of an operator that is not taken apart; one has its weights, as it stores them.

    They take (N, *input_shape) and give (N, *output_shape).

    Raises:
        UnsupportedError: a sparse map is too large.
    """
    if isinstance(operator, SparseMatrix):
        return [_sparse(operator)]
    layers = as_layer(operator, None)
    if not isinstance(operator, Dense):
        return layers
    shape = operator.output_shape
    return [nn.Flatten(), *layers, *([nn.Unflatten(1, shape)] if len(shape) > 1 else [])]


def takes_bias(part: Part, bias: np.ndarray) -> bool:
    """Whether a part's layer can carry this bias of its outputs, of any shape of that size."""
    if isinstance(part, Convolution):
        by_channel = bias.reshape(part.output_shape[0], -1)
        return bool((by_channel == by_channel[:, :1]).all())
    return isinstance(part, Dense)


def as_tensor(values: np.ndarray) -> Tensor:
    """A float64 copy."""
    return torch.from_numpy(np.array(values, np.float64, order="C"))


def _all_parts(operator: Operator) -> list[Operator]:
    """The operators that one was composed of, as far as that is known."""
    found: list[Operator] = []
    for part in parts_of(operator):
        found += part.parts if isinstance(part, Convolution) and part.parts else [part]
    return found


def _joined(parts: list[Operator]) -> list[Operator]:
    """Factors taken into the weights beside them where these stay what they are."""
    found: list[Operator] = []
    for part in parts:
        factors = _factors(part)
        if factors is not None and (factors == 1).all():
            continue
        before = found[-1] if found else None
        if factors is not None and before is not None and takes_bias(before, factors):
            found[-1] = before.scaled(factors.reshape(before.output_shape))
            continue
        found.append(part if factors is None else diagonal(factors))
    return found


def _factors(part: Operator) -> np.ndarray | None:
    """The factor of each value where the shapes differ at most in their axes; else None."""
    if math.prod(part.input_shape) != math.prod(part.output_shape):
        return None
    if not isinstance(part, SparseMatrix):
        return None
    flat = SparseMatrix(
        part.weights, part.indices, part.indptr, part.output_shape, part.output_shape
    )
    return one_to_one(flat)


def _as_pooling(part: Operator) -> tuple[Pooling, float] | None:
    """A map that adds up windows of each channel with one factor; and the factor of their mean."""
    if not isinstance(part, Convolution) or len(part.kernel) != 2:
        return None
    channels = part.input_shape[0]
    if not part.groups == channels == len(part.weights) or set(part.dilation) != {1}:
        return None
    factor = float(part.weights.flat[0])
    fits = all(
        before == after <= kernel // 2
        for (before, after), kernel in zip(part.padding, part.kernel, strict=True)
    )
    if not fits or factor == 0 or (part.weights != factor).any():
        return None
    padding: Any = tuple(before for before, _ in part.padding)
    kernel: Any = part.kernel
    stride: Any = part.stride
    pooling = Pooling(kernel, stride, padding, part.input_shape, part.output_shape)
    return pooling, factor * math.prod(part.kernel)


def _taken_apart(part: Operator) -> list[Part]:
    """A pooling, and the weights behind it, where that is what an operator was composed of."""
    shape = part.input_shape
    if len(shape) != 3 or not np.any(part.weights):
        return [part]
    if isinstance(part, Dense):
        rows = part.weights.reshape(-1, *shape)
        limits = shape[1:]
    elif isinstance(part, Convolution) and set(part.dilation) == {1}:
        rows = part.weights
        divided = (part.kernel, part.stride, *zip(*part.padding, strict=True), shape[1:])
        limits = tuple(math.gcd(*numbers) for numbers in zip(*divided, strict=True))
    else:
        return [part]
    kernel = _largest_window(rows, limits, isinstance(part, Dense))
    if kernel == (1, 1):
        return [part]
    size = shape[1] // kernel[0], shape[2] // kernel[1]
    pooled = (shape[0], *size)
    pool = Pooling(kernel, kernel, (0, 0), shape, pooled)
    small = rows[..., :: kernel[0], :: kernel[1]] * math.prod(kernel)
    if isinstance(part, Dense):
        small = small[..., : size[0], : size[1]].reshape(len(part.weights), -1)
        return [pool, Dense(small, pooled, part.output_shape)]
    assert isinstance(part, Convolution), "nothing else was let through"
    padding = tuple(
        (before // n, after // n) for (before, after), n in zip(part.padding, kernel, strict=True)
    )
    stride = tuple(step // n for step, n in zip(part.stride, kernel, strict=True))
    return [pool, Convolution(small, pooled, stride, padding, part.dilation, part.groups)]


def _largest_window(rows: np.ndarray, limits: Shape, remainders: bool) -> tuple[int, int]:
    """The largest windows within which all weights, (..., height, width), are the same.

    Args:
        limits: windows divide these, or with ``remainders`` they are no larger.
        remainders: whether weights of 0 may stand beyond the last whole window.
    """
    height, width = rows.shape[-2:]
    sides = ([n for n in range(1, limit + 1) if remainders or limit % n == 0] for limit in limits)
    down, across = sides
    windows = sorted(((a, b) for a in down for b in across), key=lambda w: -w[0] * w[1])
    for a, b in windows:
        inside = rows[..., : height // a * a, : width // b * b]
        if remainders and inside.shape != rows.shape:
            rest = np.any(rows[..., inside.shape[-2] :, :]) or np.any(rows[..., inside.shape[-1] :])
            if rest:
                continue
        blocks = inside.reshape(*rows.shape[:-2], height // a, a, width // b, b)
        if (blocks == blocks[..., :, :1, :, :1]).all():
            return a, b
    return 1, 1


def _convolution(part: Convolution, bias: np.ndarray | None) -> list[nn.Module]:
    axes = len(part.kernel)
    layers: list[nn.Module] = []
    padding: Any = tuple(before for before, _ in part.padding)
    if any(before != after for before, after in part.padding):
        # Not torch's padding="same", which warns of the copy that it makes.
        ends: Any = tuple(end for pair in reversed(part.padding) for end in pair)
        layers.append(nn.ZeroPad2d(ends) if axes == 2 else nn.ConstantPad1d(ends, 0.0))
        padding = 0
    make: Any = nn.Conv2d if axes == 2 else nn.Conv1d
    conv = make(
        part.input_shape[0],
        len(part.weights),
        part.kernel,
        part.stride,
        padding,
        part.dilation,
        part.groups,
        bias is not None,
    )
    by_channel = None if bias is None else bias.reshape(len(part.weights), -1)[:, 0]
    return [*layers, _filled(conv, part.weights, by_channel)]


def _sparse(part: SparseMatrix) -> SparseLinear:
    if math.prod(part.output_shape) * math.prod(part.input_shape) > MOST_ENTRIES:
        raise UnsupportedError(
            f"a map from {part.input_shape} to {part.output_shape} that is known as a matrix only "
            f"has more than {MOST_ENTRIES:,} entries, zeros included; it cannot be trained"
        )
    rows = np.repeat(np.arange(len(part.indptr) - 1), np.diff(part.indptr)).astype(np.int64)
    columns = np.asarray(part.indices, np.int64).copy()
    places = torch.from_numpy(rows), torch.from_numpy(columns)
    return SparseLinear(as_tensor(part.weights), *places, part.input_shape, part.output_shape)


def _shared(factors: np.ndarray) -> Tensor:
    """Factors as few numbers as they are: one, one per channel, or one for each value."""
    for kept in range(min(2, factors.ndim)):
        first = factors[(slice(None),) * kept + (slice(1),) * (factors.ndim - kept)]
        if (factors == first).all():
            return as_tensor(first)
    return as_tensor(factors)


def _filled(layer: Any, weights: np.ndarray, bias: np.ndarray | None) -> nn.Module:
    """A layer with these parameters, in float64."""
    layer.weight = nn.Parameter(as_tensor(weights))
    if bias is not None:
        layer.bias = nn.Parameter(as_tensor(bias.ravel()))
    return layer
