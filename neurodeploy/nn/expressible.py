"""Conditions on a network for files and hardware to have a word for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from neurodeploy.errors import UnsupportedError
from neurodeploy.ir.contract import EXPORT_DT, Semantics
from neurodeploy.nn.current import CubaLIF
from neurodeploy.nn.layers import Delay
from neurodeploy.nn.network import SpikingNetwork
from neurodeploy.nn.neuron import LIF
from neurodeploy.nn.nodes import NEURONS


def check_expressible(model: SpikingNetwork) -> Semantics:
    """How a network's neurons step, if it is one that can be exported whatever its weights.

    Raises:
        UnsupportedError: a loop of several layers of neurons in which spikes reach the next one
            within the step. A chip brings spikes at every connection of a loop one step later.
    """
    semantics = semantics_of(model)
    reads = {name: {*_neurons_behind(model, name)} for name in _neurons(model)}
    for name, found in reads.items():
        for source, late in found:
            if source != name and not late and _reaches(name, source, reads):
                raise UnsupportedError(
                    f"layers {source!r} and {name!r} lie in one loop, and {name!r} sees the spikes "
                    f"of {source!r} within the step; hardware brings them one step later at every "
                    "connection of a loop. Let each layer of the loop read what the one before it "
                    "gave at the step before"
                )
    return semantics


def _neurons(model: SpikingNetwork) -> list[str]:
    return [name for name, layer in model.layers.items() if isinstance(layer, NEURONS)]


def _neurons_behind(model: SpikingNetwork, name: str) -> Iterator[tuple[str, bool]]:
    """Layers of neurons that a layer reads, each with whether it is what they gave earlier.

    Linear layers between them have no state, but may themselves be read one step late.
    """
    place = {layer: index for index, layer in enumerate(model.layers)}
    waiting: list[tuple[str, bool]] = [(name, False)]
    seen: set[tuple[str, bool]] = set()
    while waiting:
        reader, so_far = waiting.pop()
        for source in model.sources[reader]:
            if source not in place:
                continue
            found = (source, so_far or place[source] >= place[reader])
            if found in seen:
                continue
            seen.add(found)
            if isinstance(model.layers[source], NEURONS):
                yield found
            else:
                waiting.append((source, found[1] or isinstance(model.layers[source], Delay)))


def _reaches(start: str, goal: str, reads: Mapping[str, set[tuple[str, bool]]]) -> bool:
    """Whether spikes of one layer lead to another one, over any number of steps."""
    waiting, seen = [goal], {goal}
    while waiting:
        found = {source for source, _ in reads[waiting.pop()]}
        if start in found:
            return True
        waiting += found - seen
        seen |= found
    return False


def late_biases(model: SpikingNetwork, biases: Mapping[str, np.ndarray]) -> set[tuple[str, str]]:
    """Where biases reach a layer from the second step on, which NIR would add from the first.

    Before the first step nothing was fed back, so that a layer which reads nothing else gives
    nothing then, not even its bias.

    Args:
        biases: of weighted layers, by name.

    Returns:
        Pairs of a layer and one that reads it, between which a delay of one step says it.

    Raises:
        UnsupportedError: a delay on the way already, so that steps would add up.
    """
    place = {name: index for index, name in enumerate(model.layers)}
    silent: set[str] = set()
    found: set[tuple[str, str]] = set()
    for name in model.layers:
        late = {s for s in model.sources[name] if s in place and place[s] >= place[name]}
        if {*model.sources[name]} <= late | silent:
            silent.add(name)
            continue
        for source in model.sources[name]:
            if source in late | silent and _brings_bias(model, source, biases):
                found.add((source, name))
    if silent and [*model.layers][-1] in silent and any(np.any(biases.get(n, 0)) for n in silent):
        raise UnsupportedError(
            f"layer {[*model.layers][-1]!r} reads nothing within the step and is read out: NIR "
            "cannot express an output that starts late"
        )
    return found


def _brings_bias(model: SpikingNetwork, name: str, biases: Mapping[str, np.ndarray]) -> bool:
    """Whether a linear layer, or one that it reads without neurons between, has a bias."""
    waiting, seen = [name], {name}
    delays: list[str] = []
    biased: list[str] = []
    while waiting:
        layer = waiting.pop()
        if isinstance(model.layers[layer], NEURONS):
            continue
        if isinstance(model.layers[layer], Delay):
            delays.append(layer)
        if np.any(biases.get(layer, 0)):
            biased.append(layer)
        more = {source for source in model.sources[layer] if source in model.layers} - seen
        waiting += more
        seen |= more
    if biased and delays:
        raise UnsupportedError(
            f"layer {biased[0]!r} acts on the next step and has a bias, which is not added at the "
            f"first one, and {delays[0]!r} delays it further; NIR cannot express both. Use "
            "bias=False there, and give the bias to a layer that acts within the step"
        )
    return bool(biased)


def semantics_of(model: SpikingNetwork) -> Semantics:
    """Time step and integrator, reset and comparison of the first layer that spikes, and of others.

    Those that differ from the first one stand by name.
    """
    found = {
        name: layer.lif if isinstance(layer, CubaLIF) else layer
        for name, layer in model.layers.items()
    }
    layers = {name: layer for name, layer in found.items() if isinstance(layer, LIF)}
    first = next(iter(layers.values()), None)
    reset, comparison = (first.reset, first.comparison) if first else ("subtract", ">=")
    semantics = Semantics(EXPORT_DT, reset, comparison, "euler")
    for name, layer in layers.items():
        rest = layer.refractory_period
        semantics = semantics.with_node(name, layer.reset, layer.comparison, rest)
    return semantics
