"""Rounding whose gradient is that of doing nothing (straight-through, Bengio et al. 2013)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class _Round(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.round()

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> Tensor:
        return grad_outputs[0]


class _Floor(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.floor()

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> Tensor:
        return grad_outputs[0]


class _ScaledGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        return grad_outputs[0] * ctx.factor, None


def rounded(x: Tensor) -> Tensor:
    """The nearest integers, halves to even; dy/dx = 1."""
    return _Round.apply(x)


def floored(x: Tensor) -> Tensor:
    """The next integers below; dy/dx = 1."""
    return _Floor.apply(x)


def gradient_scaled(x: Tensor, factor: float) -> Tensor:
    """``x`` itself with ``factor`` times its gradient."""
    return _ScaledGradient.apply(x, factor)
