"""What work on a chip costs: energy and time of single events, and what whole networks took."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from neurodeploy.target.figures import MOST_QUANTITY, Quantity


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
        message: one spike on its way out of a core, while the core goes on; None where nothing was
            published.
    """

    synaptic_op: Quantity
    update_active: Quantity
    update_inactive: Quantity
    barrier_one_tile: Quantity
    barrier_all_tiles: Quantity
    message: Quantity | None = None


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What a chip took for a sample of a whole network, as its own instruments read it.

    Attributes:
        network: its name.
        steps: of a sample.
        step_us: mean time of a step.
        dynamic_uj: energy of a sample beyond what the chip takes at rest; ``parts`` says of what.
        parts: ``cores`` where those of neurons were read alone, ``chip`` where x86 cores are in it.
        total_uj: energy of a sample in all; None where that was not published.
        static_mw: power at rest, likewise; ``static_of`` the whole chip, or the network's share.
        estimated_step_us, estimated_uj: what we estimate for it, from the lowest to the highest, so
            that every estimate can say how far off these were; None before it was estimated.
        known: ``network`` where the estimate is of its weights and input, ``sizes`` where it is of
            its sizes alone, with the spikes between a low and a high rate.
        source: where the reading stands.
    """

    network: str
    steps: int
    step_us: float
    dynamic_uj: float
    parts: Literal["cores", "chip"]
    source: str
    known: Literal["network", "sizes"]
    total_uj: float | None = None
    static_mw: float | None = None
    static_of: Literal["chip", "network"] = "chip"
    estimated_step_us: tuple[float, float] | None = None
    estimated_uj: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if not self.network.strip() or not self.source.strip():
            raise ValueError("a reading names its network and its source, found an empty one")
        if self.steps < 1:
            raise ValueError(f"a reading is of at least 1 step, found {self.steps}")
        readings = (self.step_us, self.dynamic_uj, self.total_uj, self.static_mw)
        ends = (*(self.estimated_step_us or ()), *(self.estimated_uj or ()))
        for value in (*(value for value in readings if value is not None), *ends):
            if not 0 < value <= MOST_QUANTITY:
                raise ValueError(
                    f"readings are above 0 and end at {MOST_QUANTITY:g}, found {value}"
                )
        for pair in (self.estimated_step_us, self.estimated_uj):
            if pair is not None and (len(pair) != 2 or pair[0] > pair[1]):
                raise ValueError(f"an estimate is a low and a high number, found {[*pair]}")
