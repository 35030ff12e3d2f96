"""A quantised network on the cores of a target.

Populations are split from the last to the first, so that the cores a neuron reaches, and with them
its output axons, are known when it is its turn; a projection back to an earlier population counts
only in the result. Each part has a core of its own, like the layers of Intel's partitioner;
``placement`` says which. Inputs come from outside and take no core.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from neurodeploy.ir.quantized import QuantizedNetwork, QuantizedPopulation
from neurodeploy.ir.schedule import depths, step_order
from neurodeploy.mapping import memory
from neurodeploy.mapping.constraints import check
from neurodeploy.mapping.mapping import RESOURCES, Box, CoreMapping, CoreUse, Placement, box_indices
from neurodeploy.mapping.memory import SynapseRows
from neurodeploy.mapping.placement import STRATEGIES
from neurodeploy.mapping.split import Need, split
from neurodeploy.mapping.traffic import Activity, messages, traffic
from neurodeploy.target import Core, Target


def map_network(
    network: QuantizedNetwork,
    target: Target,
    activity: Activity | None = None,
    strategy: str = "traffic",
) -> CoreMapping:
    """Place a network and check every limit of the target.

    Equal arguments give equal mappings. A network that breaks limits is mapped all the same, with
    its ``violations``.

    Args:
        activity: mean spikes per sample of every neuron, by population, for parts that talk to be
            placed near each other; None takes each neuron to spike once.
        strategy: a key of ``placement.STRATEGIES``.

    Raises:
        UnsupportedError: a cycle has fewer steps of delay than projections.
    """
    depth = depths(network)
    turn = {name: index for index, name in enumerate(step_order(network))}
    pipeline = sorted(
        (p for p in network.populations if p.neuron is not None),
        key=lambda p: (depth[p.name], turn[p.name]),
    )
    incoming = memory.incoming(network, target)
    limits = core_limits(target.core)
    reached = {p.name: np.zeros(math.prod(p.shape), np.int64) for p in network.populations}
    parts: dict[str, list[Box]] = {}
    for population in reversed(pipeline):
        onto = incoming[population.name]
        parts[population.name] = _split(population, onto, reached[population.name], target)
        for box in parts[population.name]:
            _count_reached(onto, box, reached)
    parts_in_order = [(p, box) for p in pipeline for box in parts[p.name]]
    unplaced = [Placement(population.name, box, 0, 0) for population, box in parts_in_order]
    sent = messages(network, incoming, unplaced, activity)
    # Beyond the last core there is nothing to choose: that is a violation.
    cores = target.chip.cores.value * target.chip.chips.value
    place = STRATEGIES[strategy if len(unplaced) <= cores else "first-fit"]
    positions = place(sent, target.chip)
    placements, uses = [], []
    for (population, box), position in zip(parts_in_order, positions.tolist(), strict=True):
        chip, core = divmod(position, target.chip.cores.value)
        placements.append(Placement(population.name, box, chip, core))
        need = _need(population, incoming[population.name], reached[population.name], box)
        uses.append(CoreUse(chip, core, **{name: need[name] for name in RESOURCES}))
    mapping = CoreMapping(
        target=target.name,
        cores=cores,
        limits=limits,
        placements=tuple(placements),
        uses=tuple(uses),
        violations=(),
        unchecked=tuple(text for name, text in RESOURCES.items() if name not in limits),
        strategy=strategy,
        traffic=traffic(sent, positions, target.chip, activity is not None),
    )
    return replace(mapping, violations=check(network, target, mapping))


def core_limits(core: Core) -> dict[str, int]:
    """Resource to limit, for those with a published one."""
    limits = {name: getattr(core, name) for name in RESOURCES}
    return {name: limit.value for name, limit in limits.items() if limit is not None}


def _split(
    population: QuantizedPopulation, onto: list[SynapseRows], reached: np.ndarray, target: Target
) -> list[Box]:
    """Parts of a population, a core each."""
    limits = core_limits(target.core)
    if target.core.fill_words is not None:
        limits["fill_words"] = target.core.fill_words.value
    return split(
        population.shape,
        lambda box: _need(population, onto, reached, box),
        limits,
        shared=any(item.shared for item in onto),
    )


def _need(
    population: QuantizedPopulation, onto: list[SynapseRows], reached: np.ndarray, box: Box
) -> Need:
    """What a part of a population takes of a core; ``fill_words`` leaves shared kernels out."""
    costs = [(item.shared, *item.cost(box)) for item in onto]
    neurons = box_indices(box, population.shape)
    return {
        "neurons": len(neurons),
        "input_axons": sum(axons for _, axons, _ in costs),
        "output_axons": int(reached[neurons].sum()),
        "synapse_words": sum(words for _, _, words in costs),
        "fill_words": sum(words for shared, _, words in costs if not shared),
    }


def _count_reached(onto: list[SynapseRows], box: Box, reached: dict[str, np.ndarray]) -> None:
    """Add one core to what the sources of a part reach."""
    by_source: dict[str, list[np.ndarray]] = {}
    for item in onto:
        by_source.setdefault(item.source, []).append(item.sources(box))
    for source, found in by_source.items():
        # A neuron that is found twice still counts once: numpy adds to each index a single time.
        reached[source][np.concatenate(found)] += 1
