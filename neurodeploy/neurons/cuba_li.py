"""CubaLI: tau_syn dI/dt = -I + w_in S; tau_mem dv/dt = (v_leak - v) + r I; never a spike."""

from __future__ import annotations

from typing import Any

import numpy as np

from neurodeploy.ir.contract import Semantics
from neurodeploy.ir.network import Neuron
from neurodeploy.neurons.leak import keep_and_feed


def discretize_cuba_li(node: Any, semantics: Semantics, where: str) -> tuple[Neuron, np.ndarray]:
    """I is updated first and v sees the new I, as Loihi does; u is I times its gain into v."""
    syn_keep, syn_feed = keep_and_feed(node.tau_syn, semantics, f"{where} tau_syn")
    keep, feed = keep_and_feed(node.tau_mem, semantics, f"{where} tau_mem")
    neuron = Neuron(
        kind="CubaLI",
        u_keep=syn_keep,
        v_keep=keep,
        bias=feed * node.v_leak,
        v_threshold=None,
        reset=semantics.reset,
        comparison=semantics.comparison,
    )
    return neuron, syn_feed * node.w_in * feed * node.r
