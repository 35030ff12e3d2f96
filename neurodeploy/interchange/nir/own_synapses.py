"""What a spike does to its own neuron after the reset, by synapses of the neuron onto itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import nir
import numpy as np

from neurodeploy.errors import UnsupportedError
from neurodeploy.interchange.frameworks.framework import membrane_time, numbers
from neurodeploy.ir.contract import Semantics
from neurodeploy.neurons.kinds import WITHOUT_RESET
from neurodeploy.neurons.leak import exactly_one, keep_and_feed


def add_late_reset(
    name: str, nodes: dict[str, Any], edges: list[tuple[str, str]], semantics: Semantics
) -> None:
    """Subtract the whole threshold one step after the spike, not what the leak has left of it.

    Subtracted at once, v_threshold decays to keep v_threshold by the next step; the rest follows.
    """
    keep, _ = _membrane(nodes[name], semantics)
    rest = -(1 - keep) * numbers(nodes[name].v_threshold)
    _add_after_spike(name, rest, "late_reset", nodes, edges, semantics)


def start_at_leak(
    name: str,
    nodes: dict[str, Any],
    edges: list[tuple[str, str]],
    semantics: Semantics,
    moved: set[str],
) -> list[str]:
    """Let a sample start with v at v_leak, wherever a spike takes it: v counts from v_leak.

    Where the reset leaves v elsewhere, the difference, decayed as it would be, is added one step
    later.

    Args:
        moved: gets the name where v here is not v there less one number for all neurons.

    Returns:
        What was done, a line each.

    Raises:
        UnsupportedError: a potential that does not start at 0 goes on.
    """
    node = nodes[name]
    v_leak = numbers(node.v_leak)
    v_reset = numbers(node.v_reset) if hasattr(node, "v_reset") else np.zeros(1)
    if not v_leak.any() and not v_reset.any():
        return []
    if type(node).__name__ in WITHOUT_RESET:
        behind = [target for source, target in edges if source == name]
        if not all(isinstance(nodes.get(target), nir.Output) for target in behind):
            raise UnsupportedError(
                "sends a potential on that starts at v_leak, which is not 0; set v_leak to 0"
            )
        nodes[name] = replace(node, v_leak=np.zeros(np.shape(node.v_leak)))
        if np.unique(v_leak).size > 1:
            moved.add(name)
        return [f"node {name!r}: v counts from v_leak, where a sample starts"]
    resets = {"zero": v_reset, "subtract": np.zeros(1), "none": v_leak}
    after = resets[semantics.reset]
    threshold = numbers(node.v_threshold) - v_leak
    nodes[name] = replace(
        node,
        v_leak=np.zeros(np.shape(node.v_leak)),
        v_threshold=threshold,
        v_reset=np.zeros(threshold.shape),
    )
    keep, _ = _membrane(node, semantics)
    _add_after_spike(name, keep * (after - v_leak), "return", nodes, edges, semantics)
    different = np.any(after != v_leak)
    if different or np.unique(v_leak).size > 1:
        moved.add(name)
    note = f"node {name!r}: v counts from v_leak, where a sample starts"
    if not different:
        return [note]
    where = "v_reset" if semantics.reset == "zero" else "0"
    return [
        f"{note}; the way to {where} after a spike comes one step later, by a synapse of each "
        "neuron onto itself, so that v in a trace differs at the step of a spike"
    ]


def _membrane(node: Any, semantics: Semantics) -> tuple[np.ndarray, np.ndarray]:
    return keep_and_feed(membrane_time(node), semantics, "time constant")


def _add_after_spike(
    name: str,
    amount: np.ndarray,
    label: str,
    nodes: dict[str, Any],
    edges: list[tuple[str, str]],
    semantics: Semantics,
) -> None:
    """Add this much to v one step after each spike, by a synapse of each neuron onto itself.

    Where it enters through a current that decays, a second synapse, two steps late, takes back what
    the current would keep of it.
    """
    if not amount.any():
        return
    node = nodes[name]
    _, feed = _membrane(node, semantics)
    gain, current_keep = feed * node.r, np.zeros(1)
    if isinstance(node, nir.CubaLIF):
        current_keep, current_feed = keep_and_feed(node.tau_syn, semantics, name)
        gain = current_feed * node.w_in * gain
    weight = amount / exactly_one(gain)
    first = _free(f"{name}.{label}", nodes)
    nodes[first] = nir.Scale(np.asarray(weight))
    edges += [(name, first), (first, name)]
    if current_keep.any():
        second, delay = _free(f"{name}.{label}_end", nodes), _free(f"{name}.two_steps", nodes)
        nodes[second] = nir.Scale(np.asarray(-current_keep * weight))
        nodes[delay] = nir.Delay(np.array([2 * semantics.dt]))
        edges += [(name, second), (second, delay), (delay, name)]


def _free(name: str, nodes: dict[str, Any]) -> str:
    while name in nodes:
        name += "_"
    return name
