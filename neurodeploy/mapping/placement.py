"""Placement of a network's parts on cores, and the messages between them that it is judged by.

A spike is sent once to every core on which its neuron has a synapse, whatever the number of
synapses there. How often each neuron spikes comes from a simulation; without one, every neuron is
taken to spike once.

``by_traffic`` is the strategy of ``map_network``: it takes as few chips as there must be and then
exchanges parts for as long as that makes messages travel less, first between chips, then along the
mesh. The two others are there to be compared with.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from neurodeploy.ir.quantized import QuantizedNetwork
from neurodeploy.mapping.mapping import CoreMapping, Placement, Traffic, box_indices
from neurodeploy.mapping.memory import SynapseRows, incoming
from neurodeploy.target import Chip, Target

Activity = Mapping[str, np.ndarray]
"""Population to the mean number of spikes of each of its neurons in one sample."""


def core_messages(
    network: QuantizedNetwork, target: Target, mapping: CoreMapping, activity: Activity | None
) -> sparse.csr_matrix:
    """``messages`` of a mapped network."""
    return messages(network, incoming(network, target), mapping.placements, activity)


def messages(
    network: QuantizedNetwork,
    onto: Mapping[str, Sequence[SynapseRows]],
    placements: Sequence[Placement],
    activity: Activity | None,
) -> sparse.csr_matrix:
    """Messages from every part of a network to every other, per sample.

    Args:
        onto: synapses by the population they lead to, as from ``incoming``.
        placements: the parts; where they lie plays no role.
        activity: spikes by population; None for one of each neuron.

    Returns:
        (parts, parts) float64, from row to column. Input from outside is not in it.
    """
    part_of: dict[str, np.ndarray] = {}
    for number, part in enumerate(placements):
        shape = network.population(part.population).shape
        if part.population not in part_of:
            part_of[part.population] = np.zeros(math.prod(shape), np.int64)
        part_of[part.population][box_indices(part.ranges, shape)] = number
    count = len(placements)
    rows, columns, values = [], [], []
    for number, part in enumerate(placements):
        found: dict[str, list[np.ndarray]] = {}
        for item in onto[part.population]:
            if item.source in part_of:
                found.setdefault(item.source, []).append(item.sources(part.ranges))
        for source, sources in found.items():
            reaching = np.unique(np.concatenate(sources))
            spikes = None if activity is None else activity[source].ravel()[reaching]
            # Counted from the first sender on: of many parts, each hears of few.
            owners = part_of[source][reaching]
            first = owners.min(initial=count)
            sent = np.bincount(owners - first, spikes)
            (senders,) = np.nonzero(sent)
            rows.append(senders + first)
            columns.append(np.full(len(senders), number))
            values.append(sent[senders].astype(np.float64))
    if not rows:
        return sparse.csr_matrix((count, count))
    at = np.concatenate(rows), np.concatenate(columns)
    return sparse.csr_matrix((np.concatenate(values), at), (count, count))


def coordinates(positions: np.ndarray, chip: Chip) -> np.ndarray:
    """Chip, tile row and tile column of cores counted over all chips: (n, 3) int64."""
    chips, cores = np.divmod(positions, chip.cores.value)
    row, column = np.divmod(cores // chip.tile_cores.value, chip.tile_columns.value)
    return np.stack([chips, row, column], axis=1)


def traffic(sent: sparse.csr_matrix, positions: np.ndarray, chip: Chip, measured: bool) -> Traffic:
    """What the messages of a network do on their way, with its parts at ``positions``.

    Args:
        sent: from ``messages``.
        positions: (parts,) cores counted over all chips.
        measured: whether ``sent`` comes from a simulation.
    """
    at = coordinates(positions, chip)
    entries = sent.tocoo()
    source, target, count = at[entries.row], at[entries.col], entries.data
    crossing = source[:, 0] != target[:, 0]
    distance = np.abs(source - target)
    within = count * ~crossing
    # What stays on its core costs as much as what stays in its tile.
    rows, columns = within * distance[:, 2], within * distance[:, 1]
    in_tile = within * (distance[:, 1:].sum(axis=1) == 0)
    apart = entries.row != entries.col
    return Traffic(
        measured=measured,
        messages=float(count.sum()),
        between_cores=float(count[apart].sum()),
        between_chips=float(count[crossing].sum()),
        in_tile=float(in_tile.sum()),
        hops_along_rows=float(rows.sum()),
        hops_along_columns=float(columns.sum()),
    )


@dataclass(frozen=True)
class Flow:
    """Messages from one population to another in one sample.

    Attributes:
        messages: all, those that stay on their core included.
        between_chips: those that leave their chip.
        hops: from tile to tile, the mean of those that stay on their chip; None without any.
    """

    source: str
    target: str
    messages: float
    between_chips: float
    hops: float | None


def flows(sent: sparse.csr_matrix, mapping: CoreMapping, chip: Chip) -> tuple[Flow, ...]:
    """The messages of a mapped network by the populations that they join.

    Args:
        sent: from ``core_messages``.
    """
    parts = mapping.placements
    at = coordinates(np.array([p.chip * chip.cores.value + p.core for p in parts]), chip)
    names = [*dict.fromkeys(p.population for p in parts)]
    number = np.array([names.index(p.population) for p in parts])
    entries = sent.tocoo()
    way = np.abs(at[entries.row] - at[entries.col])
    crossing = way[:, 0] > 0
    pairs, which = np.unique(
        np.stack([number[entries.row], number[entries.col]]), axis=1, return_inverse=True
    )
    which = which.ravel()

    def total(values: np.ndarray) -> np.ndarray:
        return np.bincount(which, entries.data * values, pairs.shape[1])

    messages, within = total(np.ones(len(which))), total(~crossing)
    hops = total(way[:, 1:].sum(axis=1) * ~crossing)
    return tuple(
        Flow(
            names[source],
            names[target],
            float(messages[i]),
            float(messages[i] - within[i]),
            float(hops[i] / within[i]) if within[i] else None,
        )
        for i, (source, target) in enumerate(pairs.T)
    )


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
