"""Integer formats and the arithmetic that Lava's fixed-point models compute with.

Source: ``PyLifModelBitAcc`` and ``PyDenseModelBitAcc`` of lava-nc 0.10.0, which follow Loihi:
24-bit state, 12-bit decays, activations and thresholds shifted left by 6 bits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

STATE_LIMIT = 2**23
"""u wraps once when it leaves (-2^23, 2^23]; v saturates at +-(2^23 - 1)."""

DECAY_BITS = 12
DECAY_ONE = 2**DECAY_BITS
"""Decays are in 1/4096: a decay d keeps (4096 - d)/4096 of the state per step."""

ACTIVATION_SHIFT = 6
"""Synaptic input and thresholds are shifted left by 6 bits against the state."""

FLOAT32_EXACT = 2**24
FLOAT64_EXACT = 2**53
INT32_EXACT = 2**31
"""Sums of integers below these are exact in that type, whatever their order."""

WEIGHT_BITS = 8
"""Width of a weight with its sign; fewer bits drop the lowest ones (``weight_step``)."""


@dataclass(frozen=True)
class WeightFormat:
    """Which integers a projection's weights can be.

    Attributes:
        bits: width, 1..8.
        sign: ``mixed`` spends one bit on the sign; the others hold magnitudes of one sign.
    """

    bits: int
    sign: str

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= WEIGHT_BITS:
            raise ValueError(f"weight bits must be 1..{WEIGHT_BITS}, found {self.bits}")
        if self.sign not in ("mixed", "excitatory", "inhibitory"):
            raise ValueError(f"unknown sign mode {self.sign!r}")

    @property
    def step(self) -> int:
        """Weights are multiples of this: 2 for mixed 8-bit weights."""
        return 1 << (WEIGHT_BITS - self.bits + (self.sign == "mixed"))

    @property
    def minimum(self) -> int:
        """Smallest weight."""
        return {"mixed": -256, "excitatory": 0, "inhibitory": self.step - 256}[self.sign]

    @property
    def maximum(self) -> int:
        """Largest weight: the largest multiple of ``step`` below 256."""
        return 0 if self.sign == "inhibitory" else 256 - self.step

    @staticmethod
    def fitting(weights: np.ndarray, bits: int) -> WeightFormat:
        """The format for weights of these signs (Lava's own rule, excitatory when all are 0)."""
        if (weights >= 0).all():
            return WeightFormat(bits, "excitatory")
        return WeightFormat(bits, "inhibitory" if (weights <= 0).all() else "mixed")


def nearest_decay(keep: np.ndarray | float) -> np.ndarray:
    """Decay in 1/4096 nearest to keeping the share ``keep`` per step; int64, 0..4096.

    Not yet clipped to what a chip can hold: v decays by 0..4095, u by 1..4096.
    """
    return np.rint(DECAY_ONE * (1 - np.asarray(keep, np.float64))).astype(np.int64)


def split_biases(
    biases: np.ndarray, mantissa_bits: int, exponent_max: int, exponent_min: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """``split_bias`` of each element: mantissas and exponents, int64, of the same shape."""
    split = {
        int(bias): split_bias(int(bias), mantissa_bits, exponent_max, exponent_min)
        for bias in np.unique(biases)
    }
    pairs = np.array([split[int(bias)] for bias in biases.ravel()], np.int64).reshape(-1, 2)
    return pairs[:, 0].reshape(biases.shape), pairs[:, 1].reshape(biases.shape)


def split_bias(
    bias: int, mantissa_bits: int, exponent_max: int, exponent_min: int = 0
) -> tuple[int, int]:
    """Nearest ``mantissa << exponent`` to an integer bias, with the smallest exponent that fits.

    Returns:
        mantissa in [-2^(bits-1), 2^(bits-1) - 1] and exponent in [exponent_min, exponent_max]; a
        bias beyond the largest one is clipped (the caller sees it from the difference).
    """
    low, high = -(2 ** (mantissa_bits - 1)), 2 ** (mantissa_bits - 1) - 1
    for exponent in range(exponent_min, exponent_max + 1):
        mantissa = round(bias / 2**exponent)
        if low <= mantissa <= high:
            return mantissa, exponent
    return (high if bias > 0 else low), exponent_max
