"""I: dv/dt = r I, never a spike: a readout that adds up its input."""

from __future__ import annotations

from typing import Any

import numpy as np

from neurodeploy.ir.contract import Semantics
from neurodeploy.ir.network import Neuron


def discretize_i(node: Any, semantics: Semantics, where: str) -> tuple[Neuron, np.ndarray]:
    """v[t] = v[t-1] + r dt I[t]; see ``neurons`` for arguments and result."""
    neuron = Neuron(
        kind="I",
        u_keep=np.zeros(1),
        v_keep=np.ones(1),
        bias=np.zeros(1),
        v_threshold=None,
        reset=semantics.reset,
        comparison=semantics.comparison,
    )
    return neuron, np.asarray(node.r, np.float64) * semantics.dt
