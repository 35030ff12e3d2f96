"""Messages between cores: what spikes cost the network on the chip.

A spike is sent once to every core on which its neuron has a synapse, whatever the number of
synapses there. How often each neuron spikes comes from a simulation; without one, every neuron is
taken to spike once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
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
        owners = part_of.setdefault(part.population, np.zeros(math.prod(shape), np.int64))
        owners[box_indices(part.ranges, shape)] = number
    rows, columns, values = [], [], []
    for number, part in enumerate(placements):
        found: dict[str, list[np.ndarray]] = {}
        for item in onto[part.population]:
            if item.source in part_of:
                found.setdefault(item.source, []).append(item.sources(part.ranges))
        for source, sources in found.items():
            reaching = np.unique(np.concatenate(sources))
            spikes = None if activity is None else activity[source].ravel()[reaching]
            sent = np.bincount(part_of[source][reaching], spikes)
            (senders,) = np.nonzero(sent)
            rows.append(senders)
            columns.append(np.full(len(senders), number))
            values.append(sent[senders].astype(np.float64))
    count = len(placements)
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
