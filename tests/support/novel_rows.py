"""Prototypes with rows for what is new, of networks whose samples have nothing of their classes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from neurodeploy.onchip.novelty import Novelty
from neurodeploy.onchip.prototype_plan import PrototypePlan


def with_spare_rows(plan: PrototypePlan, counts: np.ndarray, spare: int) -> PrototypePlan:
    """The plan with rows behind its own, and a limit that half of these samples exceed."""
    centred, norms = plan.features.centred(counts), plan.features.norms(counts)
    agreement = (centred @ (plan.rows[: len(plan.base)] - 128).T / norms).max(axis=1)
    rows = np.concatenate([plan.rows, np.zeros((spare, plan.rows.shape[1]), np.int64)])
    novelty = Novelty(spare, int(256 * np.median(agreement)))
    return replace(plan, rows=rows, novelty=novelty)
