"""Answers that are drawn where only rewards come, so that every class has its chance.

The class is drawn from the softmax that the network has: of its outputs' mean over the steps,

    pi(i) = softmax_i(1/T sum over t of o[t])

with which learning from the rewarded answer is the policy gradient of Williams (1992, "Simple
statistical gradient-following algorithms for connectionist reinforcement learning", REINFORCE):
reward times the gradient of log pi of the drawn answer, which rules take step by step, as of
labels. In integers it is the softmax of the read-out's error (``arithmetic.ReadoutError``).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neurodeploy.ir.fixed_point import ACTIVATION_SHIFT
from neurodeploy.ir.quantized import QuantizedNetwork
from neurodeploy.onchip.arithmetic import MOST_BITS, ReadoutError, random_bits

_FRACTION = 16
"""Bits behind the point of probabilities: what is below 2^-16 is never drawn."""

_KEY = 0xE4_91_0E
"""Separates these draws from those of updates."""

_WHETHER, _WHICH = range(2)


@dataclass(frozen=True)
class Exploration:
    """Who answers: the best class, or one that is drawn.

    Attributes:
        share: of the answers, that are drawn; from 0 to 1.
        seed: of the draws, which depend on it and on a sample's number alone.
        softmax: of what the class is read from.
    """

    share: float
    seed: int
    softmax: ReadoutError

    @staticmethod
    def of(network: QuantizedNetwork, share: float, seed: int) -> Exploration:
        """For a network whose scores add up what its steps put out."""
        contract, output = network.contract, network.population(network.output)
        unit = 1.0 if contract.decode == "spike_count" else output.scale * 2**ACTIVATION_SHIFT
        return Exploration(share, seed, ReadoutError.of_scale(unit * contract.steps, _FRACTION))

    def answer(self, scores: np.ndarray, number: int) -> int | None:
        """A class that is drawn for a sample, or None where the best one stands.

        Args:
            scores: (classes,) integers that the class is read from.
            number: of the sample, counted from 0.
        """
        if self._drawn(number, _WHETHER) >= self.share * 2**MOST_BITS:
            return None
        ends = self.softmax.probabilities(scores[None])[0].cumsum()
        at = self._drawn(number, _WHICH) * int(ends[-1]) >> MOST_BITS
        return int(np.searchsorted(ends, at, side="right"))

    def _drawn(self, number: int, what: int) -> int:
        """An integer of 31 bits."""
        return int(np.asarray(random_bits(self.seed ^ _KEY, number, what, 1, MOST_BITS))[0])
