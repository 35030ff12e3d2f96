"""How many steps of a batch run at once: more are faster, and need more memory."""

from __future__ import annotations

from collections.abc import Iterator

from neurodeploy.nn.network import SpikingNetwork
from neurodeploy.rules.any_module import Model

BUDGET = 16 << 20
"""Bytes of one chunk's activations below which an automatic choice stays, if it can."""


def parts(steps: int, at_once: int) -> Iterator[int]:
    """``steps`` cut into parts of ``at_once``; the last one may be smaller."""
    for first in range(0, steps, at_once):
        yield min(at_once, steps - first)


def steps_at_once(model: Model, samples: int, steps: int, wanted: int = 0) -> int:
    """How many of ``steps`` steps to run at once.

    Args:
        samples: N, samples in a batch.
        wanted: ``training.time_chunk``: this many, or as suits the budget when 0.
    """
    if not isinstance(model, SpikingNetwork) or model.fed_back:
        return 1
    if wanted:
        return min(wanted, steps)
    value = next(model.parameters()).element_size()
    return max(1, min(steps, BUDGET // (samples * model.values_per_step * value)))
