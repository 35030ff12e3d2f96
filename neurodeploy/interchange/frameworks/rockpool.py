"""Rockpool: exponential decay after the input was added; dt stands in r."""

from __future__ import annotations

from typing import Any

import nir
import numpy as np
from scipy.special import lambertw

from neurodeploy.errors import Setting, Text
from neurodeploy.interchange.frameworks.framework import (
    Framework,
    fixed,
    is_round,
    membrane_time,
    neurons_of,
    numbers,
    one_value,
    require_written,
    stepping,
)
from neurodeploy.ir.contract import Semantics
from neurodeploy.neurons.leak import keep_and_feed


def _keep(tau: Any, semantics: Semantics) -> np.ndarray:
    return keep_and_feed(numbers(tau), semantics, "time constant")[0]


def _r_of(tau: Any, r: Any, semantics: Semantics) -> None:
    """Rockpool writes r = tau exp(-dt/tau) / dt."""
    tau = numbers(tau)
    written = tau * np.exp(-semantics.dt / tau) / semantics.dt
    require_written("r", r, written, "Rockpool", WITH_ITS_DT)


WITH_ITS_DT = Text("state the ", Setting("dt"), " that it was exported with")


def _lif_neuron(node: Any, semantics: Semantics) -> Any:
    """LIFNeuronTorch: v = alpha v + x."""
    _r_of(node.tau, node.r, semantics)
    keep = _keep(node.tau, semantics)
    return stepping("LIF", semantics, keep=keep, v_threshold=node.v_threshold)


def _lif(node: Any, semantics: Semantics) -> Any:
    """LIFTorch: i = beta (i + x), then v = alpha v + i."""
    _r_of(node.tau_mem, node.r, semantics)
    current_keep = _keep(node.tau_syn, semantics)
    return stepping(
        "CubaLIF",
        semantics,
        keep=_keep(node.tau_mem, semantics),
        current_keep=current_keep,
        gain=current_keep,
        v_threshold=node.v_threshold,
    )


def _exp_syn(node: Any, semantics: Semantics) -> Any:
    """ExpSynTorch: i = beta (i + x)."""
    _r_of(node.tau, node.r, semantics)
    keep = _keep(node.tau, semantics)
    return stepping("LI", semantics, keep=keep, gain=keep)


def _implied_steps(graph: nir.NIRGraph) -> np.ndarray:
    """dt of every neuron, from r = tau exp(-dt/tau) / dt, that is dt/tau = W(1/r)."""
    found = [np.zeros(0)]
    for node in neurons_of(graph, "LIF", "LI", "CubaLIF"):
        r, tau = np.broadcast_arrays(numbers(node.r), numbers(membrane_time(node)))
        with np.errstate(all="ignore"):
            found.append(np.ravel(tau * np.real(lambertw(1 / r))))
    return np.concatenate(found)


def _time_step(graph: nir.NIRGraph) -> float | None:
    return one_value(_implied_steps(graph), 5)


def _evidence(graph: nir.NIRGraph) -> list[str] | None:
    """One dt in all values of r, and names with the module's class."""
    told = _time_step(graph)
    if told is not None and not is_round(told):  # as r and tau of any other file would tell one
        return None
    spoken = [] if told is None else ["r = tau exp(-dt/tau) / dt"]
    if any(name.rsplit("_", 1)[-1].endswith("Torch") for name in graph.nodes):
        spoken.append("names with the classes of its modules")
    return spoken


ROCKPOOL = Framework(
    title="Rockpool",
    version="3.1.0",
    sources=(
        "rockpool/nn/modules/torch/nir.py",
        "rockpool/nn/modules/torch/lif_torch.py",
        "rockpool/nn/modules/torch/lif_neuron_torch.py",
        "rockpool/nn/modules/torch/exp_syn_torch.py",
    ),
    semantics=Semantics(1e-3, "subtract", ">=", "exponential"),
    neurons={
        "LIF": fixed("Rockpool", _lif_neuron, v_leak=0, v_reset=0),
        "CubaLIF": fixed("Rockpool", _lif, v_leak=0, v_reset=0, w_in=1),
        "LI": fixed("Rockpool", _exp_syn, v_leak=0),
    },
    notes=(
        "Rockpool does not write a neuron's bias and its recurrent weights: taken as none",
        "Rockpool does not write max_spikes_per_dt: taken as 1; what it fires beyond one spike per "
        "step is lost, as no neuron here can",
    ),
    evidence=_evidence,
    time_step=_time_step,
)
