"""What a sample costs on the chip: events counted in a simulation times published figures.

Energy of a sample, in events e and figures p of the target (``target.Energy``):

    synapses  e_syn p_syn      entries of synaptic rows that spikes made a core read
    updates   e_upd p_upd      every neuron at every step, all of them inactive to all active
    spikes    e_tile p_tile + e_row p_row + e_col p_col     messages in a tile, hops between tiles

and the time of a step, on the core that needs longest in the mean:

    t = e_syn t_syn + neurons t_upd + barrier

These are dynamic figures of the cores alone: no leakage, no x86 cores, no input and output, no way
between chips. They are a lower bound, and for Loihi 2 they are those of Loihi 1.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from neurodeploy.ir.quantized import QuantizedNetwork
from neurodeploy.ir.schedule import depths, guard_steps
from neurodeploy.mapping.mapping import CoreMapping, Traffic
from neurodeploy.mapping.memory import incoming
from neurodeploy.mapping.placement import Activity, messages, traffic
from neurodeploy.target import Duration, Energy, Target

MAC_PJ = 4.6
"""A 32-bit floating-point multiply-accumulate in 45 nm CMOS (Horowitz, ISSCC 2014)."""

MAC_SOURCE = "4.6 pJ per 32-bit multiply-accumulate, 45 nm CMOS (Horowitz, ISSCC 2014)"


@dataclass(frozen=True)
class Range:
    """Between which two numbers something lies."""

    low: float
    high: float

    def __add__(self, other: Range) -> Range:
        return Range(self.low + other.low, self.high + other.high)


@dataclass(frozen=True)
class EnergyEstimate:
    """Dynamic energy of one sample, in nJ."""

    synapses: float
    updates: Range
    spikes: float

    @property
    def total(self) -> Range:
        """All of it."""
        other = self.synapses + self.spikes
        return self.updates + Range(other, other)


@dataclass(frozen=True)
class Estimate:
    """Events of one sample in the mean, and what they cost.

    Attributes:
        steps: chip steps a sample takes of the pipeline, guard steps included.
        latency_steps: steps from a sample's first input to its last output.
        spikes: of all populations with neurons.
        input_spikes: that arrive from outside.
        synaptic_ops: entries of synaptic rows read.
        neuron_updates: neurons times steps.
        traffic: messages between the cores.
        energy: None where the target has no figures.
        step_ns: time of one step, likewise.
        macs: multiply-accumulates of the same network as an ANN, one for each synapse.
        sources: of the figures used, each with how well it is known.
    """

    steps: int
    latency_steps: int
    spikes: float
    input_spikes: float
    synaptic_ops: float
    neuron_updates: float
    traffic: Traffic
    energy: EnergyEstimate | None
    step_ns: Range | None
    macs: int
    sources: tuple[str, ...]

    @property
    def ann_nj(self) -> float:
        """Energy of the ANN's multiply-accumulates, in nJ."""
        return self.macs * MAC_PJ / 1000

    @property
    def sample_us(self) -> Range | None:
        """Time between two samples, in microseconds."""
        return self._of_steps(self.steps)

    @property
    def latency_us(self) -> Range | None:
        """Time from a sample's first input to its last output, in microseconds."""
        return self._of_steps(self.latency_steps)

    def _of_steps(self, steps: int) -> Range | None:
        if self.step_ns is None:
            return None
        return Range(self.step_ns.low * steps / 1000, self.step_ns.high * steps / 1000)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, with what follows from them, as JSON can hold them."""
        derived: dict[str, Any] = {"ann_nj": self.ann_nj}
        for name, value in (("sample_us", self.sample_us), ("latency_us", self.latency_us)):
            derived[name] = value and dataclasses.asdict(value)
        if self.energy is not None:
            derived["energy_nj"] = dataclasses.asdict(self.energy.total)
        return {**dataclasses.asdict(self), **derived}


def estimate(
    network: QuantizedNetwork, target: Target, mapping: CoreMapping, activity: Activity
) -> Estimate:
    """Count what a sample makes the cores do.

    Args:
        mapping: of this network onto this target.
        activity: mean spikes per sample of every neuron, inputs too, by population.
    """
    depth = depths(network)
    names = {p.name for p in network.populations}
    onto = incoming(network, target)
    ops = np.zeros(len(mapping.placements))
    macs = 0
    for number, part in enumerate(mapping.placements):
        for item in onto[part.population]:
            sources, entries = item.entries(part.ranges)
            ops[number] += float(entries @ activity[item.source].ravel()[sources])
            macs += int(entries.sum())
    steps = network.contract.steps + guard_steps(network)
    neurons = np.array([use.neurons for use in mapping.uses])
    sent = messages(network, onto, mapping.placements, activity)
    per_chip = target.chip.cores.value
    positions = np.array([p.chip * per_chip + p.core for p in mapping.placements])
    found = traffic(sent, positions, target.chip, measured=True)
    inputs = {p.name for p in network.inputs}
    return Estimate(
        steps=steps,
        latency_steps=network.contract.steps + depth[network.output],
        spikes=_sum(activity, names - inputs),
        input_spikes=_sum(activity, inputs),
        synaptic_ops=float(ops.sum()),
        neuron_updates=float(neurons.sum() * steps),
        traffic=found,
        energy=target.energy and _energy(target.energy, ops.sum(), neurons.sum() * steps, found),
        step_ns=target.duration and _step(target.duration, ops / steps, neurons),
        macs=macs,
        sources=_sources(target),
    )


def _sum(activity: Activity, names: set[str]) -> float:
    return float(sum(activity[name].sum() for name in names))


def _energy(figures: Energy, ops: float, updates: int, found: Traffic) -> EnergyEstimate:
    spikes = found.in_tile * figures.spike_in_tile.value
    spikes += found.hops_along_rows * figures.hop_along_row.value
    spikes += found.hops_along_columns * figures.hop_along_column.value
    low, high = figures.update_inactive.value, figures.update_active.value
    return EnergyEstimate(
        synapses=ops * figures.synaptic_op.value / 1000,
        updates=Range(updates * low / 1000, updates * high / 1000),
        spikes=spikes / 1000,
    )


def _step(figures: Duration, ops: np.ndarray, neurons: np.ndarray) -> Range:
    """The slowest core's mean step, and the barrier that all cores wait at."""
    reading = ops * figures.synaptic_op.value
    fast = reading + neurons * figures.update_inactive.value
    slow = reading + neurons * figures.update_active.value
    return Range(
        float(fast.max(initial=0)) + figures.barrier_one_tile.value,
        float(slow.max(initial=0)) + figures.barrier_all_tiles.value,
    )


def _sources(target: Target) -> tuple[str, ...]:
    """Every source of energies and times once; nothing learns here."""
    found: dict[str, None] = {}
    for kind, table in (("energy", target.energy), ("time", target.duration)):
        for figure in dataclasses.fields(table) if table else ():
            if figure.name == "synaptic_update":
                continue
            value = getattr(table, figure.name)
            known = value.quality + (f" for {target.name}" if value.quality == "assumed" else "")
            found[f"{kind}: {value.source} ({known})"] = None
    return *found, f"ANN: {MAC_SOURCE}"
