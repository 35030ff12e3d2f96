"""The error of the read-out in integers: softmax of its outputs minus the label.

SLTT's error of the last layer, e = (softmax(o[t]) - onehot(y)) / T for cross-entropy, is held in
units of 2^-fraction / T. The softmax takes powers of two from a table of sixteenths, after the
largest output has been subtracted:

    z_i = (max(o) - o_i) multiplier >> shift                 in sixteenths of a power of two
    E_i = table[z_i mod 16] >> (z_i div 16)
    p_i = (E_i << fraction) / sum(E), to the nearest integer
    e_i = p_i - (2^fraction where i is the label)
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

TABLE_BITS = 4
TABLE = np.array([round(2 ** (15 - f / 16)) for f in range(16)], np.int64)
"""2^15 2^(-f/16), the largest term being 2^15."""

_MULTIPLIER_BITS = 12
_LOWEST = 16 << TABLE_BITS
"""z from which a term is 0."""


@dataclass(frozen=True)
class ReadoutError:
    """Constants of the softmax for outputs of a known scale.

    Attributes:
        multiplier, shift: multiplier / 2^shift turns a difference of outputs into sixteenths of a
            power of two.
        fraction: bits behind the point of probabilities and errors.
    """

    multiplier: int
    shift: int
    fraction: int

    @staticmethod
    def of_scale(scale: float, fraction: int) -> ReadoutError:
        """For outputs of ``scale`` integers per unit of the float network's."""
        exact = math.log2(math.e) * 2**TABLE_BITS / scale
        shift = _MULTIPLIER_BITS - math.frexp(exact)[1]
        return ReadoutError(round(exact * 2.0**shift), shift, fraction)

    def __call__(self, outputs: np.ndarray, label: int) -> np.ndarray:
        """Errors of one sample.

        Args:
            outputs: (T, classes) integers, o of each step.
            label: the class that is wanted.

        Returns:
            (T, classes) int64 in [-2^fraction, 2^fraction].
        """
        outputs = outputs.astype(np.int64)
        distance = outputs.max(axis=1, keepdims=True) - outputs
        # Beyond this every term is 0; without it the product could leave 64 bits.
        furthest = (_LOWEST << self.shift) // self.multiplier + 1
        z = np.minimum(distance, furthest) * self.multiplier >> self.shift
        z = np.minimum(z, _LOWEST)
        terms = TABLE[z & ((1 << TABLE_BITS) - 1)] >> (z >> TABLE_BITS)
        doubled = (terms << (self.fraction + 1)) // terms.sum(axis=1, keepdims=True)
        errors = (doubled + 1) >> 1
        errors[:, label] -= 1 << self.fraction
        return errors
