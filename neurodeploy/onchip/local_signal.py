"""Errors that a hidden population makes of its own spikes: the learning signal of rule ``local``.

TESS (Apolinario, Roy and Frenkel 2025, "TESS: a scalable temporally and spatially local learning
rule for spiking neural networks", arXiv 2502.01837) generates one for each layer,

    m_l[t] = B_l (softmax(g B_l^T s_l[t]) - onehot)

with a fixed matrix B_l of +1 and -1, whose columns are square waves, one for each class. That is
-dL/ds of the layer's own loss, the cross-entropy of g B_l^T s_l[t], over g. Errors of neurons are
m_l[t] times the surrogate, and weights change by these times the spikes of the same step: TESS with
traces of one step, lambda = 0 and alpha_post = 0, as local in time as SLTT.

In integers B^T s is a sum of spikes with signs, softmax and one-hot are those of the read-out
(``ReadoutError``), and B times the error is a sum of as many terms as there are classes. Nothing
comes from the layer above, and nothing has to be remembered but the spikes of one step.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from neurodeploy.onchip.arithmetic import ReadoutError, random_bits

BLOCKS = 4
"""Along each axis a map of a convolution is cut into so many parts, whose neurons share a sign."""

_PHASE_BITS = 16
_SLOWEST = 1 << (_PHASE_BITS - 4)
"""Phase that a square wave goes on by from neuron to neuron, at least: 16 neurons a period."""

_KEY = 0x10CA1
"""Separates these draws from those of updates."""


@dataclass(frozen=True, eq=False)
class LocalSignal:
    """What a population sends to its own neurons.

    Attributes:
        signs: B, (neurons, classes) int32 of +1 and -1.
        gain_shift: g is 2^-gain_shift.
        error: softmax minus one-hot of sums of signed spikes.
    """

    signs: np.ndarray
    gain_shift: int
    error: ReadoutError

    @staticmethod
    def of(shape: tuple[int, ...], classes: int, index: int, seed: int, bits: int) -> LocalSignal:
        """The signal of a population.

        Args:
            shape: of the population.
            index: of the projection to it.
            seed: of the learning run.
            bits: behind the point of errors.
        """
        # g B^T s of as many spikes as there are silent neurons is about as large as 1.
        shift = round(math.log2(math.prod(shape)) / 2)
        return LocalSignal(
            square_waves(shape, classes, index, seed),
            shift,
            ReadoutError.of_scale(2.0**shift, bits),
        )

    def votes(self, spikes: np.ndarray) -> np.ndarray:
        """B^T s: (T, neurons) spikes to (T, classes) int64."""
        return spikes.astype(np.int64) @ self.signs

    def __call__(self, spikes: np.ndarray, label: int) -> np.ndarray:
        """m of each step: (T, neurons) spikes to (T, neurons) int64."""
        return self.error(self.votes(spikes), label) @ self.signs.T


def square_waves(shape: tuple[int, ...], classes: int, index: int, seed: int) -> np.ndarray:
    """+1 and -1 by neuron and class, which a chip can count instead of keep.

    Each class has a phase that goes on from neuron to neuron by its own number, drawn once, and the
    sign is whether it is in its first half: period 2 to 16 neurons. Of a convolution's population
    the neurons of a channel that lie in the same of ``BLOCKS`` x ``BLOCKS`` parts of its map count
    as one.

    Returns:
        (neurons, classes) int32.
    """
    drawn = np.asarray(random_bits(seed ^ _KEY, 0, index, classes, _PHASE_BITS - 1))
    steps = _SLOWEST + drawn * ((1 << (_PHASE_BITS - 1)) - _SLOWEST) // (1 << (_PHASE_BITS - 1))
    phase = _places(shape)[:, None] * steps & ((1 << _PHASE_BITS) - 1)
    return np.where(phase < 1 << (_PHASE_BITS - 1), 1, -1).astype(np.int32)


def _places(shape: tuple[int, ...]) -> np.ndarray:
    """The number that each neuron counts as, flat."""
    place = np.arange(shape[0])
    for size in shape[1:]:
        parts = min(BLOCKS, size)
        place = place[..., None] * parts + np.arange(size) * parts // size
    return place.ravel()
