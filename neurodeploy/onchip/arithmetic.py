"""Integer arithmetic that learning adds to a chip: errors, surrogate, feedback and rounding."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from neurodeploy.ir.fixed_point import WeightFormat
from neurodeploy.ir.quantized import QuantizedProjection

TABLE_BITS = 4
TABLE = np.array([round(2 ** (15 - f / 16)) for f in range(16)], np.int64)
"""2^15 2^(-f/16), the largest term being 2^15."""

_MULTIPLIER_BITS = 12
_LOWEST = 16 << TABLE_BITS
"""z from which a term is 0."""


@dataclass(frozen=True)
class ReadoutError:
    """The error of the read-out in integers, softmax of its outputs minus the label.

    SLTT's error of the last layer, e = (softmax(o[t]) - onehot(y)) / T for cross-entropy, is held
    in units of 2^-fraction / T. The softmax takes powers of two from a table of sixteenths, after
    the largest output has been subtracted:

        z_i = (max(o) - o_i) multiplier >> shift                 in sixteenths of a power of two
        E_i = table[z_i mod 16] >> (z_i div 16)
        p_i = (E_i << fraction) / sum(E), to the nearest integer
        e_i = p_i - (2^fraction where i is the label)

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
        errors = self.probabilities(outputs)
        errors[:, label] -= 1 << self.fraction
        return errors

    def probabilities(self, outputs: np.ndarray) -> np.ndarray:
        """p of (T, classes) integers: int64 in [0, 2^fraction]."""
        outputs = outputs.astype(np.int64)
        distance = outputs.max(axis=1, keepdims=True) - outputs
        # Beyond this every term is 0; without it the product could leave 64 bits.
        furthest = (_LOWEST << self.shift) // self.multiplier + 1
        z = np.minimum(distance, furthest) * self.multiplier >> self.shift
        z = np.minimum(z, _LOWEST)
        terms = TABLE[z & ((1 << TABLE_BITS) - 1)] >> (z >> TABLE_BITS)
        doubled = (terms << (self.fraction + 1)) // terms.sum(axis=1, keepdims=True)
        return (doubled + 1) >> 1


SURROGATE_BITS = 8


def surrogate_shift(threshold: int) -> int:
    """The shift that leaves 8 bits of a threshold in state units.

    Raises:
        ValueError: the threshold is below 2^7, and has no 8 bits.
    """
    if threshold < 1 << (SURROGATE_BITS - 1):
        raise ValueError(f"a threshold of {threshold} state units leaves no room for a surrogate")
    return threshold.bit_length() - SURROGATE_BITS


GAIN_BITS = 16
"""Bits behind the point of the gains of surrogates, where thresholds differ."""


def integer_triangle(
    v: np.ndarray, threshold: int | np.ndarray, shift: int, gains: np.ndarray | None = None
) -> np.ndarray:
    """The surrogate derivative of a spike: max(0, threshold - |v - threshold|) >> shift.

    The triangle of Meng et al. 2023, eq. 6, ds/du = max(0, gamma - |u - Vth|) / gamma^2 with
    gamma = Vth: 0 at u = 0 and u = 2 Vth, largest at the threshold.

    Args:
        v: membrane before the reset, in state units.
        threshold: in state units; one for all, or (n,) of the neurons.
        shift: of ``surrogate_shift``, of the lowest threshold.
        gains: (n,) int64 in 2^-16, the square of the lowest threshold over each neuron's own, which
            brings the triangles to one unit; None where all have the same threshold.

    Returns:
        int64 of the shape of ``v``, 0..255; at the threshold between 128 and 255.
    """
    distance = np.abs(v.astype(np.int64) - threshold)
    found = np.maximum(threshold - distance, 0) >> shift
    return found if gains is None else found * gains >> GAIN_BITS


_KEY = 0xFEEDBAC4
"""Separates these draws from all others of the same seed."""


def random_feedback(projection: QuantizedProjection, index: int, seed: int) -> np.ndarray:
    """Fixed weights for errors to go back through, in place of the transposed ones.

    Feedback alignment (Lillicrap et al. 2016, "Random synaptic feedback weights support error
    backpropagation for deep learning"): a chip whose cores cannot read each other's weights would
    have to send every change of a weight to a copy of it; random weights need no copy. They are
    normal, as large in the mean as the projection's own, as wide, of both signs.

    Args:
        index: of the projection in the network.
        seed: of the learning run.

    Returns:
        int64 of the shape of the projection's weights.
    """
    weights = projection.operator.weights.astype(np.float64)
    form = WeightFormat(max(projection.weight_format.bits, 2), "mixed")
    size = np.sqrt((weights**2).mean()) / form.step
    drawn = np.random.default_rng((seed, _KEY, index)).normal(0.0, size, weights.shape)
    lowest, highest = form.minimum // form.step, form.maximum // form.step
    return np.clip(np.rint(drawn), lowest, highest).astype(np.int64) * form.step


GOLDEN = 0x9E3779B9
_MASK = 2**64 - 1

MOST_BITS = 31


def random_bits(
    seed: int, update: int, projection: int, synapses: int, bits: int
) -> np.ndarray | int:
    """Uniform integers of ``bits`` bits, one per synapse, that everyone can draw again.

    A synapse's bits depend on the seed, the number of the update, the projection and the synapse,
    and on nothing else: neither on the order in which layers are computed nor on who computes
    them. On a chip they would come from a pseudo-random generator on each core.

    A hash of the counter: SplitMix64 (Steele, Lea and Flood 2014) of seed, update and projection
    gives a key, and an integer hash of 32 bits (Wellons 2018, "lowbias32") mixes it with the
    synapse's number.

    Args:
        seed: from 0 to 2^32 - 1.
        update: counted from 0 over all samples.
        projection: counted from 0.
        synapses: how many.
        bits: 0 to 31; with 0 the result is 0.

    Returns:
        (synapses,) int64 in [0, 2^bits).
    """
    if bits == 0:
        return 0
    if not 0 < bits <= MOST_BITS:
        raise ValueError(f"random bits from 0 to {MOST_BITS}, asked for {bits}")
    key = random_key(seed, update, projection)
    x = np.arange(synapses, dtype=np.uint32)
    x *= np.uint32(GOLDEN)
    x += np.uint32(key & 0xFFFFFFFF)
    x ^= x >> np.uint32(16)
    x *= np.uint32(0x7FEB352D)
    x ^= np.uint32(key >> 32)
    x ^= x >> np.uint32(15)
    x *= np.uint32(0x846CA68B)
    x ^= x >> np.uint32(16)
    return (x >> np.uint32(32 - bits)).astype(np.int64)


def random_key(seed: int, update: int, projection: int) -> int:
    """The 64 bits that ``random_bits`` mixes the numbers of an update's synapses with."""
    return _split_mix(_split_mix(_split_mix(seed) ^ update) ^ projection)


def _split_mix(x: int) -> int:
    x = (x + 0x9E3779B97F4A7C15) & _MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _MASK
    return x ^ (x >> 31)


def shifted_stochastically(values: np.ndarray, shift: int, bits: np.ndarray | int) -> np.ndarray:
    """``values`` / 2^shift, rounded up or down so that the mean is exact.

    Args:
        values: int64.
        shift: from -16 to 31; a negative one shifts left and rounds nothing.
        bits: of ``random_bits`` with ``max(shift, 0)`` bits.
    """
    return values << -shift if shift <= 0 else (values + bits) >> shift


def shifted_to_nearest(values: np.ndarray, shift: int) -> np.ndarray:
    """``values`` / 2^shift, rounded to the nearest integer, halves up."""
    return values << -shift if shift <= 0 else (values + (1 << (shift - 1))) >> shift
