"""sinabs: time constants in steps, exponential decay, several spikes per step."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import nir
import numpy as np

from neurodeploy.errors import Setting, Text
from neurodeploy.interchange.frameworks.framework import (
    Framework,
    neurons_of,
    numbers,
    require,
    stepping,
)
from neurodeploy.ir.contract import Semantics
from neurodeploy.neurons.leak import keep_and_feed


def _lif(node: Any, semantics: Semantics) -> Any:
    """LIF with norm_input: v = alpha v + (1 - alpha) x, alpha = exp(-1/tau)."""
    require(numbers(node.v_leak) == 0, "sinabs has no v_leak; set it to 0 or use a bias")
    return replace(node, r=np.ones(np.shape(node.r)))


def _exp_leak(node: Any, semantics: Semantics) -> Any:
    """ExpLeak, by default without norm_input: v = alpha v + x."""
    require(numbers(node.v_leak) == 0, "sinabs has no v_leak; set it to 0 or use a bias")
    keep, _ = keep_and_feed(numbers(node.tau), semantics, "tau")
    return stepping("LI", semantics, keep=keep)


def _iaf(node: Any, semantics: Semantics) -> Any:
    """IAF: v = v + x."""
    return stepping("IF", semantics, v_threshold=node.v_threshold)


def _looks_so(graph: nir.NIRGraph) -> bool:
    """r = 1, and time constants that are numbers of steps."""
    found = neurons_of(graph, "LIF", "LI", "IF")
    return bool(found) and all(
        np.all(numbers(node.r) == 1) and np.all(numbers(getattr(node, "tau", 1)) >= 1)
        for node in found
    )


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
    neurons={"LIF": _lif, "LI": _exp_leak, "IF": _iaf},
    notes=(
        "sinabs does not write spike_fn: taken as SingleSpike; what its default MultiSpike fires "
        "beyond one spike per step is lost, as no neuron here can",
        Text(
            "sinabs does not write norm_input: taken as True for LIF and False for ExpLeak, its "
            "defaults; for False throughout add ",
            Setting("gain", "one"),
        ),
        "sinabs does not write reset_fn, tau_syn and min_v_mem: taken as subtraction and none",
    ),
    looks_so=_looks_so,
)
