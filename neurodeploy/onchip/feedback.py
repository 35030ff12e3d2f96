"""Fixed random weights for errors to go back through, in place of the transposed ones.

Feedback alignment (Lillicrap et al. 2016, "Random synaptic feedback weights support error
backpropagation for deep learning"): a chip whose cores cannot read each other's weights would have
to send every change of a weight to a copy of it; random weights need no copy.
"""

from __future__ import annotations

import numpy as np

from neurodeploy.ir.fixed_point import WeightFormat
from neurodeploy.ir.quantized import QuantizedProjection

_KEY = 0xFEEDBAC4
"""Separates these draws from all others of the same seed."""


def random_feedback(projection: QuantizedProjection, index: int, seed: int) -> np.ndarray:
    """Normal weights as large in the mean as the projection's own, as wide, of both signs.

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
