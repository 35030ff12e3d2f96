"""LI: tau dv/dt = (v_leak - v) + r I, never a spike: a readout that forgets."""

from __future__ import annotations

from typing import Any

import numpy as np

from neurodeploy.ir.contract import Semantics
from neurodeploy.ir.network import Neuron
from neurodeploy.neurons.leak import keep_and_feed


def discretize_li(node: Any, semantics: Semantics, where: str) -> tuple[Neuron, np.ndarray]:
    """v[t] = keep v[t-1] + feed (v_leak + r I[t]); see ``neurons`` for arguments and result."""
    keep, feed = keep_and_feed(node.tau, semantics, where)
    neuron = Neuron(
        kind="LI",
        u_keep=np.zeros(1),
        v_keep=keep,
        bias=feed * node.v_leak,
        v_threshold=None,
        reset=semantics.reset,
        comparison=semantics.comparison,
    )
    return neuron, feed * node.r
