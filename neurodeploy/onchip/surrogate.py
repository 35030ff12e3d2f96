"""The surrogate derivative of a spike, in integers of 8 bits.

The triangle of Meng et al. 2023, eq. 6, ds/du = max(0, gamma - |u - Vth|) / gamma^2 with gamma =
Vth: 0 at u = 0 and u = 2 Vth, largest at the threshold.
"""

from __future__ import annotations

import numpy as np

SURROGATE_BITS = 8


def surrogate_shift(threshold: int) -> int:
    """The shift that leaves 8 bits of a threshold in state units.

    Raises:
        ValueError: the threshold is below 2^7, and has no 8 bits.
    """
    if threshold < 1 << (SURROGATE_BITS - 1):
        raise ValueError(f"a threshold of {threshold} state units leaves no room for a surrogate")
    return threshold.bit_length() - SURROGATE_BITS


def integer_triangle(v: np.ndarray, threshold: int, shift: int) -> np.ndarray:
    """max(0, threshold - |v - threshold|) >> shift.

    Args:
        v: membrane before the reset, in state units.
        threshold: in state units.
        shift: of ``surrogate_shift``.

    Returns:
        int64 of the shape of ``v``, 0..255; at the threshold between 128 and 255.
    """
    distance = np.abs(v.astype(np.int64) - threshold)
    return np.maximum(threshold - distance, 0) >> shift
