"""From integer samples to integer input over time, the same for every engine."""

from __future__ import annotations

import numpy as np

from neurodeploy.contract import InputCode


def encode(
    samples: np.ndarray, code: InputCode, steps: int, seed: int = 0, first: int = 0
) -> np.ndarray:
    """Input of each step.

    Args:
        samples: (N, *sample) integers 0..levels, or (N, T, *sample) for ``events``.
        code: encoder and levels.
        steps: T.
        seed: of the Bernoulli draws of ``rate``; every sample has its own stream, so that the
            draws do not depend on how samples are batched.
        first: index of the first sample in its data set.

    Returns:
        (N, *sample) when the input is the same at every step (``direct``), else (N, T, *sample).
    """
    if code.encoder != "rate":
        return samples
    spikes = np.empty((samples.shape[0], steps, *samples.shape[1:]), np.uint8)
    for index, sample in enumerate(samples):
        draws = np.random.default_rng((seed, first + index)).random(spikes.shape[1:])
        spikes[index] = draws * code.levels < sample
    return spikes
