"""Threshold: a spike when the input exceeds it; and neurons made of LI or I with one behind."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from neurodeploy.ir.contract import Semantics
from neurodeploy.ir.network import Neuron

WITHOUT_RESET = ("LI", "I", "CubaLI")
"""Primitives that send their potential on, not spikes."""

BEHIND = "+Threshold"
"""Ends the kind of a population made of one of ``WITHOUT_RESET`` and a Threshold behind it."""


def discretize_threshold(node: Any, semantics: Semantics, where: str) -> tuple[Neuron, np.ndarray]:
    """v[t] = I[t], nothing kept: whether it is reset makes no difference."""
    neuron = Neuron(
        kind="Threshold",
        u_keep=np.zeros(1),
        v_keep=np.zeros(1),
        bias=np.zeros(1),
        v_threshold=np.asarray(node.threshold, np.float64),
        reset=semantics.reset,
        comparison=semantics.comparison,
    )
    return neuron, np.ones(1)


def without_reset(neuron: Neuron) -> tuple[Neuron, list[tuple[int, np.ndarray]]]:
    """An integrator that fires above its threshold and keeps its potential.

    Every neuron of the chip resets. This one subtracts the threshold and gets back what would have
    been kept of it, v_keep v_threshold, through synapses onto itself: one step later, and where it
    enters through a current, another step later less what the current keeps.

    Args:
        neuron: parameters of full shape, with the threshold.

    Returns:
        The neuron, and weight per neuron of each synapse onto itself, by its delay in steps.
    """
    assert neuron.v_threshold is not None
    back = neuron.v_keep * neuron.v_threshold
    kept = [(1, back)] if back.any() else []
    if kept and neuron.u_keep.any():
        kept.append((2, -neuron.u_keep * back))
    return replace(neuron, kind=neuron.kind + BEHIND, reset="subtract"), kept
