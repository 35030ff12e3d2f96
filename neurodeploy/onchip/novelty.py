"""What is new where no label says so: prototypes that nobody has named (rule ``prototypes``).

A sample whose features agree with no row as those of its class would is new. With a the largest
w d of the rows in use, and n the length of the sample's z (``prototype_plan``):

    familiar   where a > 128 sum(d) + (k n >> 8)

128 sum(d) is what the middle of the weights, 128, adds to every row; what is left of a, over n, is
the cosine between sample and row, in units of a row's length. k lies between what samples of the
base classes have of their own class and what they have of the best other one: where both are told
apart best, in the middle up to the next sample.

As in Continually Learning Prototypes (Hajizada et al. 2022 and 2024), a new sample without a label
gets a row of its own, which further samples without one move, until a label names it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neurodeploy.errors import InputError

MIDDLE = 128
"""Of the weights of a row."""

_BITS = 8
_FEWEST = 2


@dataclass(frozen=True)
class Novelty:
    """When a sample is new, and for how many of these there are rows.

    Attributes:
        rows: that samples without a label may take.
        factor: k.
    """

    rows: int
    factor: int

    def limits(self, centred: np.ndarray, norms: np.ndarray) -> np.ndarray:
        """What the best row has to exceed: (N,) int64, of d (N, F) and n (N, 1)."""
        return MIDDLE * centred.sum(axis=-1) + (self.factor * norms[..., 0] >> _BITS)

    @staticmethod
    def of(
        rows: int, means: np.ndarray, centred: np.ndarray, norms: np.ndarray, own: np.ndarray
    ) -> Novelty:
        """From samples of the base classes.

        Args:
            rows: that samples without a label may take.
            means: (classes, F) row of each of these classes.
            centred, norms: d (N, F) and n (N, 1) of the samples.
            own: (N,) place of each one's class among ``means``.

        Raises:
            InputError: fewer than two classes, which say nothing of others.
        """
        if len(means) < _FEWEST:
            raise InputError(
                "prototypes tell what is new by how known classes agree with each other's, and "
                f"there is {len(means)}; give samples of two classes or more"
            )
        agreement = centred @ (means - MIDDLE).T / norms
        there = np.arange(len(own))
        of_own = agreement[there, own]
        agreement[there, own] = -np.inf
        of_others = agreement.max(axis=1)
        limits = np.unique(np.concatenate([of_own, of_others]))
        missed = np.searchsorted(np.sort(of_own), limits, side="right") / len(own)
        taken = 1 - np.searchsorted(np.sort(of_others), limits, side="right") / len(own)
        best = int(np.argmin(missed + taken))
        middle = limits[best : best + 2].mean()
        return Novelty(rows, int(np.floor(middle * 2**_BITS)))
