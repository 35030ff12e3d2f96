"""Convolutions and poolings as linear operators."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from neurodeploy.ir.operators import Operator, Shape, SparseMatrix, per_output, tensor_of

if TYPE_CHECKING:
    import torch

    from neurodeploy.ir.operators import TorchMap


@dataclass(frozen=True, eq=False)
class Convolution(Operator):
    """Convolution over one or two axes, in the cross-correlation convention of torch.

    Attributes:
        weights: (outputs, inputs // groups, *kernel).
        input_shape: (inputs, *size).
        stride, dilation: one number per axis.
        padding: zeros before and after, one pair per axis.
        parts: convolutions that give this one when applied one after the other, with the weights
            that they had, for whoever trains them; empty where it was made as it is.
    """

    weights: np.ndarray
    input_shape: Shape
    stride: Shape
    padding: tuple[tuple[int, int], ...]
    dilation: Shape
    groups: int = 1
    parts: tuple[Convolution, ...] = ()
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
        return replace(self, weights=weights, parts=())

    def scaled(self, gain: np.ndarray) -> Operator:
        by_channel = per_output(gain, self.output_shape).reshape(self.output_shape[0], -1)
        if (by_channel == by_channel[:, :1]).all():
            factor = by_channel[:, 0].reshape(-1, *[1] * (self.weights.ndim - 1))
            *before, last = self.parts or (self,)
            parts = (*before, last.with_weights(last.weights * factor)) if before else ()
            return replace(self, weights=self.weights * factor, parts=parts)
        return SparseMatrix.of(self).scaled(gain)

    def compile(self, dtype: torch.dtype, device: torch.device | None = None) -> TorchMap:
        from torch.nn import functional

        weights = tensor_of(self.weights, dtype, device)
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


def paddable(operator: Convolution) -> tuple[np.ndarray, Shape | str, Shape]:
    """Weights, padding and dilation where padding is symmetric or 'same'.

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
