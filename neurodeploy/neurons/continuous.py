"""Back to continuous time: the NIR node whose step is a population's, with a gain of exactly 1."""

from __future__ import annotations

from typing import Any

import nir
import numpy as np

from neurodeploy.ir.contract import Semantics
from neurodeploy.ir.network import Neuron
from neurodeploy.ir.operators import Shape
from neurodeploy.neurons.leak import ROUNDING, first_giving, keep_and_feed, time_constant

LEAKY = ("LIF", "LI", "CubaLIF", "CubaLI")
"""Kinds with a v_leak, which can carry a bias."""


def kind_of(neuron: Neuron) -> str:
    """The NIR primitive that has this neuron's equations.

    The one it came from where that fits; a neuron may come from another file format.
    """
    spikes, current = neuron.v_threshold is not None, bool(np.any(neuron.u_keep))
    forgets = not np.any(neuron.v_keep) and not current
    if spikes and neuron.kind == "Threshold" and forgets:
        return "Threshold"
    if current or neuron.kind in ("CubaLIF", "CubaLI"):
        return "CubaLIF" if spikes else "CubaLI"
    leaks = bool(np.any(neuron.v_keep != 1))
    if leaks or neuron.kind in ("LIF", "LI"):
        return "LIF" if spikes else "LI"
    return "IF" if spikes else "I"


def to_node(neuron: Neuron, shape: Shape, leak_bias: np.ndarray, semantics: Semantics) -> Any:
    """The NIR node of a population; every parameter float64 of full shape.

    tau gives the shares back that are kept per step, r and w_in a gain of 1, so that the incoming
    weights stay as they are.

    Args:
        leak_bias: the part of the neuron's bias that v_leak has to carry.
    """
    kind = kind_of(neuron)

    def full(values: Any) -> np.ndarray:
        return np.broadcast_to(np.asarray(values, np.float64), shape).copy()

    if kind == "Threshold":
        return nir.Threshold(threshold=full(neuron.v_threshold))
    values: dict[str, np.ndarray] = {}
    if kind in ("IF", "I"):
        values["r"] = full(1 / semantics.dt)
    else:
        values = _leaking(neuron, kind, leak_bias, semantics)
    if neuron.v_threshold is not None:
        values |= {"v_threshold": neuron.v_threshold, "v_reset": np.zeros(1)}
    return getattr(nir, kind)(**{name: full(value) for name, value in values.items()})


def _leaking(
    neuron: Neuron, kind: str, leak_bias: np.ndarray, semantics: Semantics
) -> dict[str, np.ndarray]:
    tau = time_constant(neuron.v_keep, semantics)
    feed = keep_and_feed(tau, semantics, kind)[1]
    v_leak = first_giving(leak_bias, lambda leak: feed * leak, leak_bias / feed)
    r = _making_one(feed)
    if kind in ("LIF", "LI"):
        return {"tau": tau, "r": r, "v_leak": v_leak}
    tau_syn = time_constant(neuron.u_keep, semantics)
    w_in = _making_one(keep_and_feed(tau_syn, semantics, kind)[1])
    return {"tau_mem": tau, "tau_syn": tau_syn, "r": r, "v_leak": v_leak, "w_in": w_in}


def _making_one(feed: np.ndarray) -> np.ndarray:
    """r with feed r = 1, to 12 digits where those do."""
    exact = 1 / feed
    short = np.array([float(f"{value:.12g}") for value in np.unique(exact)])
    short = short[np.unique(exact, return_inverse=True)[1]].reshape(exact.shape)
    # Two such products are multiplied where currents leak too, and must still be taken for 1.
    near = np.abs(feed * short - 1) <= ROUNDING / 3
    return np.where(near, short, exact)
