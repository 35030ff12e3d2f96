"""What work on a chip costs: energy and time of single events, and what whole networks took."""

from __future__ import annotations

from dataclasses import dataclass

from neurodeploy.target.figures import Quantity


@dataclass(frozen=True)
class Energy:
    """Dynamic energy of one event, in pJ.

    Attributes:
        synaptic_op: one entry of a synaptic row, read and added.
        update_active, update_inactive: one step of a neuron that has something to do, or has not.
        spike_in_tile: one spike from a core to a core of the same tile.
        hop_along_row, hop_along_column: one spike from a tile to the next one.
        synaptic_update: one synapse changed by the learning engine.
    """

    synaptic_op: Quantity
    update_active: Quantity
    update_inactive: Quantity
    spike_in_tile: Quantity
    hop_along_row: Quantity
    hop_along_column: Quantity
    synaptic_update: Quantity


@dataclass(frozen=True)
class Duration:
    """Time of one event on a core, in ns; a core does one after the other.

    Attributes:
        synaptic_op, update_active, update_inactive: as in ``Energy``.
        barrier_one_tile, barrier_all_tiles: until the cores in use agree that a step is over.
    """

    synaptic_op: Quantity
    update_active: Quantity
    update_inactive: Quantity
    barrier_one_tile: Quantity
    barrier_all_tiles: Quantity
