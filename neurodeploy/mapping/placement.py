"""Which core each part of a network takes.

``traffic`` is the one that ``map_network`` uses: it takes as few chips as there must be and then
exchanges parts for as long as that makes messages travel less, first between chips, then along the
mesh. The two others are there to be compared with.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import sparse

from neurodeploy.mapping.traffic import coordinates
from neurodeploy.target import Chip

CROSSING = 100
"""Hops that a message between two chips counts as: more than any way on a chip has."""

WINDOW = 2048
"""Cores among which parts are exchanged at once; beyond, window by window of whole chips."""

SWEEPS = 50
"""At most so many rounds of exchanges, which end long before when nothing gets better."""

Place = Callable[[sparse.csr_matrix, Chip], np.ndarray]
"""(messages between parts, chip) -> (parts,) cores counted over all chips, all different."""


def by_traffic(sent: sparse.csr_matrix, chip: Chip) -> np.ndarray:
    """Parts in the order of the pipeline, then exchanged until no exchange helps.

    Deterministic: exchanges are tried in order and the best partner of a part is taken, the first
    of equals.
    """
    count = _parts(sent)
    positions = first_fit(sent, chip)
    both = (sent + sent.T).tocsr()
    per_chip = chip.cores.value
    size = max(WINDOW // per_chip, 1) * per_chip
    for start in range(0, count, size):
        stop = min(start + size, count)
        cores = np.arange(start, -(-stop // per_chip) * per_chip)
        inside = both[start:stop, start:stop].toarray()
        positions[start:stop] = _exchanged(inside, _distances(cores, chip)) + start
    return positions


def first_fit(sent: sparse.csr_matrix, chip: Chip) -> np.ndarray:
    """Each part takes the first free core, in the order of the pipeline."""
    return np.arange(_parts(sent))


def round_robin(sent: sparse.csr_matrix, chip: Chip) -> np.ndarray:
    """Chips take parts in turn, as few chips as hold them all; within a chip tiles do."""
    count, per_chip = _parts(sent), chip.cores.value
    chips = max(-(-count // per_chip), 1)
    index = np.arange(count)
    turn = index // chips
    tiles = max(per_chip // chip.tile_cores.value, 1)
    # Cores left over by whole tiles come last.
    order = np.arange(tiles * chip.tile_cores.value).reshape(tiles, -1).T.ravel()
    order = np.concatenate([order, np.arange(len(order), per_chip)])
    return index % chips * per_chip + order[turn]


STRATEGIES: dict[str, Place] = {
    "traffic": by_traffic,
    "first-fit": first_fit,
    "round-robin": round_robin,
}


def _parts(sent: sparse.csr_matrix) -> int:
    return len(sent.indptr) - 1


def _distances(cores: np.ndarray, chip: Chip) -> np.ndarray:
    """Hops between any two cores, ``CROSSING`` between chips: (n, n) float64."""
    at = coordinates(cores, chip)
    apart = np.abs(at[:, None] - at[None])
    hops = apart[:, :, 1:].sum(axis=2)
    return np.where(apart[:, :, 0] > 0, CROSSING, hops).astype(np.float64)


def _exchanged(sent: np.ndarray, distance: np.ndarray) -> np.ndarray:
    """Local search on sum over a, b of sent[a, b] distance[at[a], at[b]].

    Exchanging a and b changes the sum by twice

        cost[a, at[b]] - cost[a, at[a]] + cost[b, at[a]] - cost[b, at[b]]
            + 2 sent[a, b] distance[at[a], at[b]],

        cost[a, q] = sum over c of sent[a, c] distance[q, at[c]]

    Args:
        sent: (parts, parts), symmetric.
        distance: (cores, cores), symmetric, at least as many cores as parts.

    Returns:
        (parts,) a core for each.
    """
    parts, cores = len(sent), len(distance)
    # Free cores hold parts that send nothing.
    full = np.zeros((cores, cores))
    full[:parts, :parts] = sent
    np.fill_diagonal(full, 0)
    at = np.arange(cores)
    cost = full @ distance
    everyone = np.arange(cores)
    tolerance = 1e-9 * max(float((full * distance).sum()), 1)
    for _ in range(SWEEPS):
        better = False
        for a in range(parts):
            here = at[a]
            change = cost[a, at] - cost[a, here] + cost[:, here] - cost[everyone, at]
            change += 2 * full[a] * distance[here, at]
            change[a] = 0
            b = int(change.argmin())
            if change[b] >= -tolerance:
                continue
            there = at[b]
            moved = full[:, a] - full[:, b]
            (touched,) = np.nonzero(moved)
            cost[touched] += moved[touched, None] * (distance[there] - distance[here])
            at[a], at[b] = there, here
            better = True
        if not better:
            break
    return at[:parts]
