"""What a sample costs on the chip: events counted in a simulation times published figures.

Energy of a sample, in events e and figures p of the target (``target.Energy``):

    synapses  e_syn p_syn      entries of synaptic rows that spikes made a core read
    updates   e_upd p_upd      every neuron at every step, all of them inactive to all active
    spikes    e_tile p_tile + e_row p_row + e_col p_col     messages in a tile, hops between tiles

and the time of a step, on the core that needs longest in the mean, as ``step`` says.

These are dynamic figures of the cores alone: no leakage, no x86 cores, no input and output, no way
between chips. They are a lower bound, and for Loihi 2 they are mostly those of Loihi 1; how far off
they were on whole networks goes with them (``readings``). Power at rest stands beside them where
it was read.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from neurodeploy.ir.quantized import QuantizedNetwork
from neurodeploy.ir.schedule import depths, guard_steps
from neurodeploy.mapping.ann import MAC_8BIT_PJ, MAC_PJ, MAC_SOURCE, AnnCost, ann_costs
from neurodeploy.mapping.mapping import CoreMapping, Traffic
from neurodeploy.mapping.memory import incoming
from neurodeploy.mapping.placement import Activity, messages, traffic
from neurodeploy.mapping.population_costs import PopulationCost, population_costs
from neurodeploy.mapping.ranges import Range
from neurodeploy.mapping.readings import Check, checks, power_at_rest
from neurodeploy.mapping.step import CoreEvents, StepLimit, step_limit, step_time
from neurodeploy.target import Energy, Target


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
        graded: how many of these carry an integer. Each costs as a message here: nothing is
            published of what its width costs.
        input_spikes: events that arrive from outside, whatever they carry: a message each.
        synaptic_ops: entries of synaptic rows read.
        neuron_updates: neurons times steps.
        traffic: messages between the cores.
        energy: None where the target has no figures.
        step_ns: time of one step, likewise.
        limit: what a step waits for, likewise.
        static_mw: power at rest of the chips in use, as it was read on whole networks; None where
            it was not. Not in ``energy``.
        checks: how far off such estimates were on this chip.
        macs: multiply-accumulates of the same network as an ANN, one for each synapse.
        weight_bits: the widest weights of this network.
        sources: of the figures used, each with how well it is known.
        populations: what each population with neurons takes of all this.
    """

    steps: int
    latency_steps: int
    spikes: float
    graded: float
    input_spikes: float
    synaptic_ops: float
    neuron_updates: float
    traffic: Traffic
    energy: EnergyEstimate | None
    step_ns: Range | None
    limit: StepLimit | None
    static_mw: Range | None
    checks: tuple[Check, ...]
    macs: int
    weight_bits: int
    sources: tuple[str, ...]
    populations: tuple[PopulationCost, ...] = ()

    @property
    def ann_nj(self) -> float:
        """Energy of the ANN's multiply-accumulates in 32-bit floating point, in nJ."""
        return self.macs * MAC_PJ / 1000

    @property
    def ann_8bit_nj(self) -> float:
        """The same of 8-bit integers."""
        return self.macs * MAC_8BIT_PJ / 1000

    @property
    def ann(self) -> tuple[AnnCost, ...]:
        """The ANN on every kind of hardware that it is compared on."""
        return ann_costs(self.macs)

    @property
    def static_nj(self) -> Range | None:
        """What the chips take at rest in the time of a sample, in nJ."""
        if self.static_mw is None or self.sample_us is None:
            return None
        rest, time = self.static_mw, self.sample_us
        return Range(rest.low * time.low, rest.high * time.high)

    @property
    def sample_us(self) -> Range | None:
        """Time between two samples, in microseconds."""
        return self._of_steps(self.steps)

    @property
    def latency_us(self) -> Range | None:
        """Time from a sample's first input to its last output, in microseconds."""
        return self._of_steps(self.latency_steps)

    def _of_steps(self, steps: int) -> Range | None:
        return self.step_ns and self.step_ns.scaled(steps / 1000)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, with what follows from them, as JSON can hold them."""
        derived: dict[str, Any] = {
            "ann_nj": self.ann_nj,
            "ann_8bit_nj": self.ann_8bit_nj,
            "ann": [dataclasses.asdict(cost) for cost in self.ann],
            "checks": [check.to_dict() for check in self.checks],
        }
        for name in ("sample_us", "latency_us", "static_nj"):
            value = getattr(self, name)
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
    by_source: dict[str, np.ndarray] = {}
    macs = 0
    for number, part in enumerate(mapping.placements):
        for item in onto[part.population]:
            sources, entries = item.entries(part.ranges)
            ops = by_source.setdefault(item.source, np.zeros(len(mapping.placements)))
            ops[number] += float(entries @ activity[item.source].ravel()[sources])
            macs += int(entries.sum())
    steps = network.contract.steps + guard_steps(network)
    neurons = np.array([use.neurons for use in mapping.uses])
    sent = messages(network, onto, mapping.placements, activity)
    per_chip = target.chip.cores.value
    positions = np.array([p.chip * per_chip + p.core for p in mapping.placements])
    found = traffic(sent, positions, target.chip, measured=True)
    inputs = {p.name for p in network.inputs}
    synaptic_ops = float(sum(ops.sum() for ops in by_source.values()))
    events = CoreEvents(
        synaptic_ops={name: ops / steps for name, ops in by_source.items()},
        neurons=neurons,
        messages=np.asarray(sent.sum(axis=1)).ravel() / steps,
    )
    at_rest = power_at_rest(target)
    return Estimate(
        steps=steps,
        latency_steps=network.contract.steps + depth[network.output],
        spikes=_sum(activity, names - inputs),
        graded=_sum(
            activity,
            {p.name for p in network.populations if p.neuron and p.neuron.message.graded},
        ),
        input_spikes=_sum(activity, inputs),
        synaptic_ops=synaptic_ops,
        neuron_updates=float(neurons.sum() * steps),
        traffic=found,
        energy=target.energy
        and _energy(target.energy, synaptic_ops, int(neurons.sum()) * steps, found),
        step_ns=target.duration and step_time(events, target.duration),
        limit=target.duration and step_limit(events, target.duration, mapping),
        static_mw=at_rest and at_rest.scaled(mapping.chips),
        checks=checks(target),
        macs=macs,
        weight_bits=max((p.weight_format.bits for p in network.projections), default=0),
        sources=_sources(target),
        populations=population_costs(target, mapping, events, sent, positions, steps),
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


def _sources(target: Target) -> tuple[str, ...]:
    """Every source of energies and times once; nothing learns here."""
    found: dict[str, None] = {}
    for kind, table in (("energy", target.energy), ("time", target.duration)):
        for figure in dataclasses.fields(table) if table else ():
            if figure.name == "synaptic_update":
                continue
            value = getattr(table, figure.name)
            if value is None:
                continue
            known = value.quality + (f" for {target.name}" if value.quality == "assumed" else "")
            found[f"{kind}: {value.source} ({known})"] = None
    return *found, f"ANN: {MAC_SOURCE}"
