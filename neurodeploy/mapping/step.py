"""What a step waits for: the core that takes longest, and what takes its time.

A core reads the synapses of the spikes that arrive and updates its neurons, one after the other;
its own spikes leave while it does so. All cores then agree at a barrier:

    t = max over cores of max(e_syn t_syn + neurons t_upd, e_msg t_msg) + barrier

with the events of the mean step. A maximum of terms is also how Loihi 2's makers bound its time
from below (Timcheck, Pierro and Shrestha 2026, arXiv 2601.10035).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from neurodeploy.mapping.mapping import CoreMapping
from neurodeploy.mapping.ranges import Range
from neurodeploy.target import Duration

Term = Literal["synapses", "neurons", "messages", "barrier"]


@dataclass(frozen=True)
class StepLimit:
    """Where a step spends its time.

    Attributes:
        what: takes most of it.
        population, chip, core: of the core that all others wait for.
        source: the population whose spikes make it read most; None where it reads nothing.
        synapses_ns, neurons_ns, messages_ns, barrier_ns: of the mean step, on this core, every
            neuron counted as active.
        advice: what would help, in words.
    """

    what: Term
    population: str
    chip: int
    core: int
    source: str | None
    synapses_ns: float
    neurons_ns: float
    messages_ns: float
    barrier_ns: float
    advice: str


@dataclass(frozen=True)
class CoreEvents:
    """What every core does in the mean step; arrays of one entry per core.

    Attributes:
        synaptic_ops: by population that the spikes come from.
        neurons: updated.
        messages: sent.
    """

    synaptic_ops: dict[str, np.ndarray]
    neurons: np.ndarray
    messages: np.ndarray


def step_time(events: CoreEvents, figures: Duration) -> Range:
    """The step of the slowest core and the barrier, all neurons inactive to all active, in ns."""
    reading, sending = _reading(events, figures), _sending(events, figures)
    ends = []
    for update, barrier in (
        (figures.update_inactive, figures.barrier_one_tile),
        (figures.update_active, figures.barrier_all_tiles),
    ):
        busy = np.maximum(reading + events.neurons * update.value, sending)
        ends.append(float(busy.max(initial=0)) + barrier.value)
    return Range(*ends)


def step_limit(events: CoreEvents, figures: Duration, mapping: CoreMapping) -> StepLimit | None:
    """What a step waits for; None without cores."""
    if not mapping.placements:
        return None
    reading, sending = _reading(events, figures), _sending(events, figures)
    updating = events.neurons * figures.update_active.value
    slowest = int(core_times(events, figures).argmax())
    part = mapping.placements[slowest]
    times: dict[Term, float] = {
        "synapses": float(reading[slowest]),
        "neurons": float(updating[slowest]),
        "messages": float(sending[slowest]),
        "barrier": figures.barrier_all_tiles.value,
    }
    # Messages leave beside the work, so they limit only where they take longer than all of it.
    competing = dict(times)
    if times["messages"] <= times["synapses"] + times["neurons"]:
        del competing["messages"]
    what = max(competing, key=lambda term: competing[term])
    by_source = {name: float(ops[slowest]) for name, ops in events.synaptic_ops.items()}
    source = max(by_source, key=lambda name: by_source[name], default=None)
    if source is not None and not by_source[source]:
        source = None
    return StepLimit(
        what=what,
        population=part.population,
        chip=part.chip,
        core=part.core,
        source=source,
        synapses_ns=times["synapses"],
        neurons_ns=times["neurons"],
        messages_ns=times["messages"],
        barrier_ns=times["barrier"],
        advice=_advice(what, part.population, source),
    )


def core_times(events: CoreEvents, figures: Duration) -> np.ndarray:
    """What every core takes of the mean step, all neurons active, without the barrier, in ns."""
    updating = events.neurons * figures.update_active.value
    return np.maximum(_reading(events, figures) + updating, _sending(events, figures))


def _reading(events: CoreEvents, figures: Duration) -> np.ndarray:
    total = sum(events.synaptic_ops.values(), np.zeros(len(events.neurons)))
    return total * figures.synaptic_op.value


def _sending(events: CoreEvents, figures: Duration) -> np.ndarray:
    return events.messages * (figures.message.value if figures.message else 0)


def _advice(what: Term, population: str, source: str | None) -> str:
    if what == "synapses":
        return (
            f"split {population!r} over more cores, prune its synapses from {source!r}, or make "
            f"{source!r} spike less"
        )
    if what == "neurons":
        return f"split {population!r} over more cores"
    if what == "messages":
        return f"make {population!r} spike less, or keep its targets on fewer cores"
    return "the cores are hardly busy: only fewer steps per sample would help"
