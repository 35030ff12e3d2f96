"""Surrogate derivatives of s = H(u - Vth), whose true derivative is zero almost everywhere.

Each is a function of the distance u - Vth and of gamma, and returns ds/du with the shape of the
distance. Meng et al. 2023 (SLTT), section 3, use gamma = Vth. A new one is a function and one line
in ``SURROGATES``.
"""

from __future__ import annotations

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


SURROGATES: dict[str, Surrogate] = {
    "triangle": triangle,
    "rectangle": rectangle,
}
