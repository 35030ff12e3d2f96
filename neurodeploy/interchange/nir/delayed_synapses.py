"""Synapses of one connection that differ in their delays, as lists instead of whole matrices.

NIR says them as one Affine behind each Delay, mostly zeros: where no two of these have a weight in
the same place, they are the synapses of one matrix with a delay for each, and a chip stores every
one once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from neurodeploy.ir.network import Projection
from neurodeploy.ir.operators import Dense, SparseMatrix


def listed_by_delay(projections: Iterable[Projection]) -> list[Projection]:
    """The projections into one population, those matrices with the synapses that they have."""
    given = list(projections)
    between: dict[str, list[Projection]] = defaultdict(list)
    for projection in given:
        if isinstance(projection.operator, Dense):
            between[projection.source].append(projection)
    shared = {p.name for found in between.values() if _differ_in_delay(found) for p in found}
    return [
        replace(p, operator=SparseMatrix.of(p.operator)) if p.name in shared else p for p in given
    ]


def _differ_in_delay(found: list[Projection]) -> bool:
    """Whether these are one matrix whose synapses have several delays."""
    if len({projection.delay for projection in found}) < len(found) or len(found) < 2:
        return False
    present = np.stack([p.operator.weights != 0 for p in found])
    return bool((present.sum(axis=0) <= 1).all())
