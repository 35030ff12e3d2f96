"""Rockpool: exponential decay after the input was added; dt stands in r."""

from __future__ import annotations

from typing import Any

import nir
import numpy as np
from scipy.special import lambertw

from neurodeploy.interchange.frameworks.framework import (
    Framework,
    membrane_time,
    neurons_of,
    numbers,
    require,
    stepping,
)
from neurodeploy.ir.contract import Semantics
from neurodeploy.neurons.leak import keep_and_feed


def _keep(tau: Any, semantics: Semantics) -> np.ndarray:
    return keep_and_feed(numbers(tau), semantics, "time constant")[0]


def _no_leak(node: Any) -> None:
    require(numbers(node.v_leak) == 0, "Rockpool has no v_leak; set it to 0 or use a bias")


def _lif_neuron(node: Any, semantics: Semantics) -> Any:
    """LIFNeuronTorch: v = alpha v + x."""
    _no_leak(node)
    keep = _keep(node.tau, semantics)
    return stepping("LIF", semantics, keep=keep, v_threshold=node.v_threshold)


def _lif(node: Any, semantics: Semantics) -> Any:
    """LIFTorch: i = beta (i + x), then v = alpha v + i."""
    _no_leak(node)
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
    _no_leak(node)
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
    steps = _implied_steps(graph)
    if not steps.size or not np.all(np.isfinite(steps) & (steps > 0)):
        return None
    if np.ptp(steps) > 1e-3 * steps.mean():
        return None
    return float(f"{np.median(steps):.5g}")


def _looks_so(graph: nir.NIRGraph) -> bool:
    """One dt in all values of r, and none of the round numbers that other frameworks write."""
    leaky = neurons_of(graph, "LIF", "LI", "CubaLIF")
    if not leaky or _time_step(graph) is None:
        return False
    return not any(
        np.any(numbers(node.r) == 1)
        or np.any(np.isclose(numbers(node.r) * 1e-4, numbers(membrane_time(node)), rtol=1e-4))
        for node in leaky
    )


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
    neurons={"LIF": _lif_neuron, "CubaLIF": _lif, "LI": _exp_syn},
    notes=(
        "Rockpool does not write a neuron's bias and its recurrent weights: taken as none",
        "Rockpool does not write max_spikes_per_dt: taken as 1; what it fires beyond one spike per "
        "step is lost, as no neuron here can",
    ),
    looks_so=_looks_so,
    time_step=_time_step,
)
