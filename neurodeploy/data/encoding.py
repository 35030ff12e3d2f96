"""From integer samples to integer input over time, the same for every engine."""

from __future__ import annotations

from typing import Any

import numpy as np

from neurodeploy.ir.contract import InputCode


def encode(
    samples: np.ndarray, code: InputCode, steps: int, seed: int = 0, first: int = 0
) -> np.ndarray:
    """Input of each step, for an integer x of a sample, 0 <= x <= L = levels:

    direct     x at every step
    rate       a spike at each step with probability x/L, drawn independently
    latency    one spike, at step floor(T (L - x)/L); none for x = 0, whose step would be T
    events     what the sample holds for that step

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
    if code.encoder in ("direct", "events"):
        return samples
    spikes = np.empty((samples.shape[0], steps, *samples.shape[1:]), np.uint8)
    if code.encoder == "latency":
        when = spike_step(samples.astype(np.int64), code.levels, steps)
        for t in range(steps):
            spikes[:, t] = when == t
        return spikes
    for index, sample in enumerate(samples):
        draws = np.random.default_rng((seed, first + index)).random(spikes.shape[1:])
        spikes[index] = draws * code.levels < sample
    return spikes


def spike_step(x: Any, levels: int, steps: int) -> Any:
    """Step of the one spike of ``latency``, floor(T (L - x)/L): T equal ranges of values.

    The largest value fires at step 0. Zero would fire at step T, after the end, so never. The
    linear form of time-to-first-spike coding (Thorpe, Delorme and Van Rullen 2001), in integers.

    Args:
        x: integers 0..levels, signed and wide enough for T levels; a numpy array or torch tensor.
    """
    return steps * (levels - x) // levels
