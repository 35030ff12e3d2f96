"""Surrogate derivatives of s = H(u - Vth), whose true derivative is zero almost everywhere.

Each is a function of the distance u - Vth and of gamma, and returns ds/du with the shape of the
distance. Meng et al. 2023 (SLTT), section 3, use gamma = Vth. A new one is a function and one line
in ``SURROGATES``.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor

Surrogate = Callable[[Tensor, float], Tensor]
"""(u - Vth, gamma) -> ds/du."""


def triangle(distance: Tensor, gamma: float) -> Tensor:
    """ds/du = max(0, gamma - |u - Vth|) / gamma^2 (Meng et al. 2023, eq. 6)."""
    return (gamma - distance.abs()).clamp_min(0.0) / gamma**2


def rectangle(distance: Tensor, gamma: float) -> Tensor:
    """ds/du = 1 / gamma where |u - Vth| < gamma / 2, else 0 (Meng et al. 2023, eq. 5)."""
    return (distance.abs() < gamma / 2).to(distance.dtype) / gamma


def sigmoid(distance: Tensor, gamma: float) -> Tensor:
    """ds/du = alpha p (1 - p), p = 1 / (1 + exp(-alpha (u - Vth))), alpha = 4.

    The derivative of a logistic function, as Xiao et al. 2022 (OTTT; their a1 = 1/alpha = 0.25)
    and Yu et al. 2024 (rate-based) use it. Their width does not follow the threshold: gamma plays
    no part.
    """
    p = (4.0 * distance).sigmoid()
    return 4.0 * p * (1 - p)


def atan(distance: Tensor, gamma: float) -> Tensor:
    """ds/du = 1 / (1 + (pi (u - Vth))^2), the derivative of arctan(pi (u - Vth)) / pi.

    Fang et al. 2021 ("Incorporating learnable membrane time constant", PLIF). gamma plays no part.
    """
    return 1 / (1 + (math.pi * distance) ** 2)


SURROGATES: dict[str, Surrogate] = {
    "triangle": triangle,
    "rectangle": rectangle,
    "sigmoid": sigmoid,
    "atan": atan,
}
