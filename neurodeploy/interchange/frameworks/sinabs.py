"""sinabs: time constants in steps, exponential decay, several spikes per step."""

from __future__ import annotations

from typing import Any

import nir
import numpy as np

from neurodeploy.errors import Setting, Text
from neurodeploy.interchange.frameworks.framework import (
    Framework,
    fixed,
    neurons_of,
    numbers,
    stepping,
)
from neurodeploy.ir.contract import Semantics
from neurodeploy.neurons.leak import keep_and_feed

SHORTEST = 0.25
"""Steps; a shorter time constant keeps less than 2 % of v per step, and is hardly one in steps."""


def _lif(node: Any, semantics: Semantics) -> Any:
    """LIF with norm_input: v = alpha v + (1 - alpha) x, alpha = exp(-1/tau)."""
    return node


def _exp_leak(node: Any, semantics: Semantics) -> Any:
    """ExpLeak, by default without norm_input: v = alpha v + x."""
    keep, _ = keep_and_feed(numbers(node.tau), semantics, "tau")
    return stepping("LI", semantics, keep=keep)


def _iaf(node: Any, semantics: Semantics) -> Any:
    """IAF: v = v + x."""
    return stepping("IF", semantics, v_threshold=node.v_threshold)


def _evidence(graph: nir.NIRGraph) -> list[str] | None:
    """Time constants that are numbers of steps."""
    found = neurons_of(graph, "LIF", "LI", "IF")
    leaky = [node for node in found if hasattr(node, "tau")]
    if any(np.any(numbers(node.tau) < SHORTEST) for node in leaky):
        return None
    spoken = ["time constants in steps with r = 1"] if leaky else []
    if found and all(np.ndim(node.r) > 0 for node in found if hasattr(node, "v_threshold")):
        spoken.append("r = 1 for every neuron")
    return spoken


SINABS = Framework(
    title="sinabs",
    version="3.1.3",
    sources=(
        "sinabs/nir.py",
        "sinabs/layers/functional/lif.py",
        "sinabs/layers/lif.py",
        "sinabs/layers/iaf.py",
        "sinabs/layers/exp_leak.py",
        "sinabs/activation/spike_generation.py",
    ),
    semantics=Semantics(1.0, "subtract", ">=", "exponential"),
    neurons={
        "LIF": fixed("sinabs", _lif, r=1, v_leak=0, v_reset=0),
        "LI": fixed("sinabs", _exp_leak, r=1, v_leak=0),
        "IF": fixed("sinabs", _iaf, r=1, v_reset=0),
    },
    notes=(
        "sinabs does not write spike_fn: taken as SingleSpike; what its default MultiSpike fires "
        "beyond one spike per step is lost, as no neuron here can",
        Text(
            "sinabs does not write norm_input: taken as True for LIF and False for ExpLeak, its "
            "defaults; for False throughout add ",
            Setting("gain", "one"),
        ),
        Text(
            "sinabs does not write reset_fn: taken as MembraneSubtract; for MembraneReset add ",
            Setting("reset", "zero"),
        ),
        "sinabs does not write tau_syn and min_v_mem: taken as none",
    ),
    evidence=_evidence,
)
