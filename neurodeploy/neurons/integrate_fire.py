"""IF: dv/dt = r I, a spike when v exceeds v_threshold."""

from __future__ import annotations

from typing import Any

import numpy as np

from neurodeploy.ir.contract import Semantics
from neurodeploy.ir.network import Neuron
from neurodeploy.neurons.leak import from_reset


def discretize_if(node: Any, semantics: Semantics, where: str) -> tuple[Neuron, np.ndarray]:
    """v[t] = v[t-1] + r dt I[t]; both integrators agree, since nothing leaks."""
    threshold, _ = from_reset(node, semantics, where)
    neuron = Neuron(
        kind="IF",
        u_keep=np.zeros(1),
        v_keep=np.ones(1),
        bias=np.zeros(1),
        v_threshold=threshold,
        reset=semantics.reset,
        comparison=semantics.comparison,
    )
    return neuron, np.asarray(node.r, np.float64) * semantics.dt
