"""What each population takes of a sample's energy and of a step's time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from neurodeploy.mapping.mapping import CoreMapping
from neurodeploy.mapping.placement import coordinates
from neurodeploy.mapping.ranges import Range
from neurodeploy.mapping.step import CoreEvents, core_times
from neurodeploy.target import Energy, Target


@dataclass(frozen=True)
class PopulationCost:
    """One population's share of an estimate, per sample in the mean.

    Attributes:
        cores: that hold a part of it.
        synaptic_ops: entries of synaptic rows read on its cores, for spikes that arrive there.
        neuron_updates: its neurons times steps.
        messages: that its neurons send, those that stay on their core included.
        energy_nj: of these three; None where the target has no figures.
        step_ns: time of the mean step on its slowest core, all neurons active, without the
            barrier; likewise.
    """

    population: str
    cores: int
    synaptic_ops: float
    neuron_updates: float
    messages: float
    energy_nj: Range | None = None
    step_ns: float | None = None


def population_costs(
    target: Target,
    mapping: CoreMapping,
    events: CoreEvents,
    sent: sparse.csr_matrix,
    positions: np.ndarray,
    steps: int,
) -> tuple[PopulationCost, ...]:
    """Costs of all populations, in the order of their cores. Their energies add up to the sample's.

    Args:
        events: of the mean step, by core.
        sent: messages per sample from core to core, as from ``placement.messages``.
        positions: (cores,) counted over all chips.
        steps: of a sample, guard steps included.
    """
    ops = sum(events.synaptic_ops.values(), np.zeros(len(positions))) * steps
    updates = events.neurons * float(steps)
    times = target.duration and core_times(events, target.duration)
    on_the_way = target.energy and _message_energy(target, target.energy, sent, positions)
    parts: dict[str, list[int]] = {}
    for number, placement in enumerate(mapping.placements):
        parts.setdefault(placement.population, []).append(number)
    found = []
    for name, own in parts.items():
        energy = None
        if target.energy is not None and on_the_way is not None:
            figures = target.energy
            other = float(ops[own].sum()) * figures.synaptic_op.value
            other += float(on_the_way[own].sum())
            energy = Range(*(
                (other + float(updates[own].sum()) * update.value) / 1000
                for update in (figures.update_inactive, figures.update_active)
            ))  # fmt: skip
        found.append(
            PopulationCost(
                population=name,
                cores=len(own),
                synaptic_ops=float(ops[own].sum()),
                neuron_updates=float(updates[own].sum()),
                messages=float(sent[own].sum()),
                energy_nj=energy,
                step_ns=None if times is None else float(times[own].max()),
            )
        )
    return tuple(found)


def _message_energy(
    target: Target, figures: Energy, sent: sparse.csr_matrix, positions: np.ndarray
) -> np.ndarray:
    """Energy of the messages that each core sends, in pJ, as ``placement.traffic`` counts them."""
    at = coordinates(positions, target.chip)
    entries = sent.tocoo()
    source, goal = at[entries.row], at[entries.col]
    distance = np.abs(source - goal)[:, 1:]
    each = distance[:, 1] * figures.hop_along_row.value
    each = each + distance[:, 0] * figures.hop_along_column.value
    each += (distance.sum(axis=1) == 0) * figures.spike_in_tile.value
    each *= source[:, 0] == goal[:, 0]
    return np.bincount(entries.row, entries.data * each, minlength=len(positions))
