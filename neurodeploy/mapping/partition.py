"""Quantised networks on the cores of a target: each population cut into parts, a core for each.

Populations are cut from the last to the first, so that the cores a neuron reaches, and with them
its output axons, are known when it is its turn; a projection back to an earlier population counts
only in the result. Each part has a core of its own, like the layers of Intel's partitioner;
``placement`` says which. Inputs come from outside and take no core.

A population is cut into as few parts as its cores allow. One in one axis is cut into runs, each as
long as fits. One in several axes (channels first) is cut into equal boxes: channels and rows into
halves, quarters and so on, the last axis into powers of two.

Those are the shapes that Intel's partitioner prints for Loihi 2. Where kernels are shared it takes
all channels together as far as the kernel fits, and counts a box as full even where it sticks out
of the layer; with the same habits the boxes are as many as its cores in each of the 15
convolutions of lava-dl's notebooks (``targets/loihi2.toml`` names them).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np

from neurodeploy.ir.operators import Shape
from neurodeploy.ir.quantized import QuantizedNetwork, QuantizedPopulation
from neurodeploy.ir.schedule import depths, step_order
from neurodeploy.mapping import memory
from neurodeploy.mapping.balance import BoxTimes, Cut, balanced, box_times
from neurodeploy.mapping.constraints import check
from neurodeploy.mapping.least import least_cores, refuse_beyond, slots
from neurodeploy.mapping.mapping import (
    RESOURCES,
    Box,
    CoreMapping,
    CoreUse,
    Placement,
    SynapseUse,
    box_indices,
)
from neurodeploy.mapping.memory import SynapseRows
from neurodeploy.mapping.placement import STRATEGIES, Activity, messages, traffic
from neurodeploy.target import Core, Target

Need = dict[str, int]
"""Resource to the amount that a part of a population takes."""

Measure = Callable[[Box], Need]


def map_network(
    network: QuantizedNetwork,
    target: Target,
    activity: Activity | None = None,
    strategy: str = "traffic",
    *,
    balance: bool = False,
) -> CoreMapping:
    """Place a network and check every limit of the target.

    Equal arguments give equal mappings. A network that breaks limits is mapped all the same, with
    its ``violations``.

    Args:
        activity: mean spikes per sample of every neuron, by population, for parts that talk to be
            placed near each other; None takes each neuron to spike once.
        strategy: a key of ``placement.STRATEGIES``.
        balance: cut populations further, onto cores that are left of the chips in use, so that the
            slowest core takes as little as can be; needs ``activity`` and times of the target.

    Raises:
        InputError: ``balance`` without one of these.
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
    refuse_beyond(least_cores(network, target, incoming), network, target)

    def cut_all(times: BoxTimes | None, picoseconds: int | None) -> Cut:
        reached = {p.name: np.zeros(math.prod(p.shape), np.int64) for p in network.populations}
        parts: dict[str, list[Box]] = {}
        for population in reversed(pipeline):
            refuse_beyond(sum(map(len, parts.values())), network, target)
            onto, mine = incoming[population.name], reached[population.name]
            parts[population.name] = _cut(population, onto, mine, target, times, picoseconds)
            for box in parts[population.name]:
                _count_reached(onto, box, reached)
        return Cut(parts, reached)

    if balance:
        times = box_times(network, target, incoming, activity)
        found = balanced(partial(cut_all, times), times, target.chip.cores.value)
    else:
        found = cut_all(None, None)
    parts, reached = found.parts, found.reached
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
        synapses=tuple(
            _synapse_use(item, parts[population.name])
            for population in pipeline
            for item in incoming[population.name]
        ),
    )
    return replace(mapping, violations=check(network, target, mapping))


def _synapse_use(item: SynapseRows, boxes: list[Box]) -> SynapseUse:
    """Words of a projection on the cores of its target population."""
    found: dict[str, int] = {}
    for box in boxes:
        for kind, words in item.words(box).items():
            found[kind] = found.get(kind, 0) + words
    return SynapseUse(
        item.name, item.kind, found[item.kind], found.get("dense"), found.get("sparse")
    )


def core_limits(core: Core) -> dict[str, int]:
    """Resource to limit, for those with a published one."""
    limits = {name: getattr(core, name) for name in RESOURCES}
    return {name: limit.value for name, limit in limits.items() if limit is not None}


def _cut(
    population: QuantizedPopulation,
    onto: list[SynapseRows],
    reached: np.ndarray,
    target: Target,
    times: BoxTimes | None,
    picoseconds: int | None,
) -> list[Box]:
    """Parts of a population, a core each, that take no longer than a bound where there is one."""
    limits = core_limits(target.core)
    if target.core.fill_words is not None:
        limits["fill_words"] = target.core.fill_words.value
    if picoseconds is not None:
        limits["picoseconds"] = picoseconds

    def need(box: Box) -> Need:
        found = _need(population, onto, reached, box)
        if times is not None and picoseconds is not None:
            found["picoseconds"] = times.picoseconds(population.name, box)
        return found

    return cut(
        population.shape,
        need,
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
        "neurons": len(neurons) * slots(population),
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


def cut(
    shape: Shape, measure: Measure, limits: dict[str, int], *, shared: bool = False
) -> list[Box]:
    """Cut an array into few parts that keep every limit, in the order of its elements.

    A resource of which one neuron alone takes more than its limit is left out of account, so that
    there always is a result; whoever checks the parts against the limits finds it.

    Args:
        measure: what a part takes; never less than any part of it takes.
        limits: resource to limit; ``neurons`` must be among them.
        shared: whether cores share kernels, so that boxes are cut as Intel's tools do.
    """
    while True:
        if len(shape) == 1:
            found = _runs(shape[0], measure, limits)
        else:
            found = _boxes(shape, measure, limits, _sizes(shape, limits["neurons"], shared))
        if isinstance(found, list):
            return found
        limits = {name: limit for name, limit in limits.items() if name not in found}


def exceeded(need: Need, limits: dict[str, int]) -> set[str]:
    """The resources of which more is needed than there is."""
    return {name for name, limit in limits.items() if need[name] > limit}


def _runs(count: int, measure: Measure, limits: dict[str, int]) -> list[Box] | set[str]:
    """Runs from the first neuron on, each as long as fits; or the limits one neuron exceeds."""
    runs: list[Box] = []
    start = 0
    while start < count:
        too_much = exceeded(measure(((start, start + 1),)), limits)
        if too_much:
            return too_much
        fits = start + 1
        low, high = fits, min(count, start + limits["neurons"])
        while low <= high:
            middle = (low + high + 1) // 2
            if exceeded(measure(((start, middle),)), limits):
                high = middle - 1
            else:
                fits, low = middle, middle + 1
        runs.append(((start, fits),))
        start = fits
    return runs


def _boxes(
    shape: Shape, measure: Measure, limits: dict[str, int], sizes: list[Shape]
) -> list[Box] | set[str]:
    """Boxes of the first size that fits; or the limits that one of the last size exceeds."""
    too_much: set[str] = set()
    for size in sizes:
        axes = [
            [(at, min(at + part, n)) for at in range(0, n, part)]
            for n, part in zip(shape, size, strict=True)
        ]
        # A box in the middle has the most inputs, so it fails first.
        too_much = exceeded(measure(tuple(axis[len(axis) // 2] for axis in axes)), limits)
        if too_much:
            continue
        boxes: list[Box] = list(itertools.product(*axes))
        for box in boxes:
            too_much = exceeded(measure(box), limits)
            if too_much:
                break
        else:
            return boxes
    return too_much


def _sizes(shape: Shape, neurons: int, shared: bool) -> list[Shape]:
    """Sizes of boxes to try, single neurons last.

    Fewest boxes come first; of as many those with more channels, which share more of their input,
    then the squarest. With ``shared`` the most channels come first of all.
    """

    def order(size: Shape) -> tuple[int, ...]:
        boxes = math.prod(math.ceil(n / part) for n, part in zip(shape, size, strict=True))
        first = (-size[0], boxes) if shared else (boxes, -size[0])
        # Rather more rows than columns where a square does not work out.
        return *first, max(size[1:]) - min(size[1:]), size[-1], *size

    choices = [_halves(n) for n in shape[:-1]] + [_powers(shape[-1], shared)]
    sizes = [size for size in itertools.product(*choices) if math.prod(size) <= neurons]
    return sorted(sizes, key=order)


def _halves(n: int) -> list[int]:
    """n, n/2, n/4, ... rounded up, down to 1."""
    sizes = [n]
    while sizes[-1] > 1:
        sizes.append(math.ceil(sizes[-1] / 2))
    return sizes


def _powers(n: int, beyond: bool) -> list[int]:
    """1, 2, 4, ... below n, and n itself or, with ``beyond``, the next power of two."""
    last = (n - 1).bit_length()
    return [2**k for k in range(last)] + [2**last if beyond else n]
