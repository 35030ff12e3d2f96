"""Surrogate derivatives of s = H(u - Vth), whose true derivative is zero almost everywhere.

Each is a function of the distance u - Vth and of gamma, and returns ds/du with the shape of the
distance, whose memory it may take for the result: a membrane has the size of a layer's activations,
and fresh memory for every operation costs more than the operation. Meng et al. 2023 (SLTT),
section 3, use gamma = Vth. A new one is a function and one line in ``SURROGATES``.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

Surrogate = Callable[[Tensor, "float | Tensor"], Tensor]
"""(u - Vth, gamma) -> ds/du; the first argument is the function's to overwrite.

gamma is one number, or a tensor that broadcasts to the membranes where thresholds differ.
"""


def triangle(distance: Tensor, gamma: float | Tensor) -> Tensor:
    """ds/du = max(0, gamma - |u - Vth|) / gamma^2 (Meng et al. 2023, eq. 6)."""
    if isinstance(gamma, Tensor):
        return torch.sub(1 / gamma, distance.abs_().div_(gamma**2)).clamp_min_(0.0)
    # 1/gamma - |distance| / gamma^2 in one pass over memory, which is what this costs.
    height = distance.new_tensor(1 / gamma)
    return torch.add(height, distance.abs_(), alpha=-1 / gamma**2, out=distance).clamp_min_(0.0)


def rectangle(distance: Tensor, gamma: float | Tensor) -> Tensor:
    """ds/du = 1 / gamma where |u - Vth| < gamma / 2, else 0 (Meng et al. 2023, eq. 5)."""
    return distance.abs_().lt_(gamma / 2).div_(gamma)


def sigmoid(distance: Tensor, gamma: float | Tensor) -> Tensor:
    """ds/du = alpha p (1 - p), p = 1 / (1 + exp(-alpha (u - Vth))), alpha = 4.

    The derivative of a logistic function, as Xiao et al. 2022 (OTTT; their a1 = 1/alpha = 0.25)
    and Yu et al. 2024 (rate-based) use it. Their width does not follow the threshold: gamma plays
    no part.
    """
    p = distance.mul_(4.0).sigmoid_()
    return (1 - p).mul_(p).mul_(4.0)


def atan(distance: Tensor, gamma: float | Tensor) -> Tensor:
    """ds/du = 1 / (1 + (pi (u - Vth))^2), the derivative of arctan(pi (u - Vth)) / pi.

    Fang et al. 2021 ("Incorporating learnable membrane time constant", PLIF). gamma plays no part.
    """
    return distance.mul_(math.pi).square_().add_(1).reciprocal_()


SURROGATES: dict[str, Surrogate] = {
    "triangle": triangle,
    "rectangle": rectangle,
    "sigmoid": sigmoid,
    "atan": atan,
}
