"""Two learners held against each other, update by update."""

from __future__ import annotations

import numpy as np

from neurodeploy.onchip.learner import Learner, StreamChunk


def assert_same(lava: Learner, reference: Learner, chunks: list[StreamChunk]) -> None:
    """Every synapse after every update, and the read-out after every sample."""
    try:
        for chunk in chunks:
            found, wanted = lava.learn(chunk), reference.learn(chunk)
            assert found.states.keys() == wanted.states.keys()
            for name, states in wanted.states.items():
                assert np.array_equal(found.states[name], states), name
            assert np.array_equal(found.scores, wanted.scores)
        for ours, theirs in zip(
            lava.learned().projections, reference.learned().projections, strict=True
        ):
            assert np.array_equal(ours.operator.weights, theirs.operator.weights)
            assert ours.weight_format == theirs.weight_format
    finally:
        lava.close()


def halves(chunk: StreamChunk) -> list[StreamChunk]:
    """Two chunks of unequal length."""
    cut = len(chunk) // 3
    parts = (slice(cut), slice(cut, None))
    lengths = np.array(chunk.lasts(chunk.values.shape[1]))
    return [
        StreamChunk(
            chunk.values[part],
            chunk.labels[part],
            None if chunk.lengths is None else lengths[part],
        )
        for part in parts
    ]
