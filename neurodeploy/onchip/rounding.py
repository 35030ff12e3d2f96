"""Stochastic rounding with one random number per synapse that everyone can draw again.

A synapse's bits depend on the seed, the number of the update, the projection and the synapse, and
on nothing else: neither on the order in which layers are computed nor on who computes them. On a
chip they would come from a pseudo-random generator on each core.
"""

from __future__ import annotations

import numpy as np

GOLDEN = 0x9E3779B9
_MASK = 2**64 - 1

MOST_BITS = 31


def random_bits(
    seed: int, update: int, projection: int, synapses: int, bits: int
) -> np.ndarray | int:
    """Uniform integers of ``bits`` bits, one per synapse.

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
    key = _split_mix(_split_mix(_split_mix(seed) ^ update) ^ projection)
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
