"""Neuron models: NIR's primitives, each from its equation in continuous time to its step, and back.

Every ``discretize_`` function takes the node, the semantics and the place to name in messages, and
returns the discrete ``Neuron`` and the gain of its input, a factor per neuron. ``keep`` and
``feed`` are those of ``leak.keep_and_feed``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import nir
import numpy as np

from neurodeploy.ir.contract import Reset, Semantics
from neurodeploy.ir.network import Neuron
from neurodeploy.ir.operators import Shape
from neurodeploy.neurons.leak import (
    ROUNDING,
    first_giving,
    from_reset,
    keep_and_feed,
    time_constant,
)

WITHOUT_RESET = ("LI", "I", "CubaLI")
"""Primitives that send their potential on, not spikes."""

BEHIND = "+Threshold"
"""Ends the kind of a population made of one of ``WITHOUT_RESET`` and a Threshold behind it."""

UNRESET = "-reset"
"""Ends the kind of a population of neurons that fire and are not reset."""


def discretize_lif(node: Any, semantics: Semantics, where: str) -> tuple[Neuron, np.ndarray]:
    """LIF: tau dv/dt = (v_leak - v) + r I, a spike when v exceeds v_threshold.

    Its step is v[t] = keep v[t-1] + feed (v_leak + r I[t]).
    """
    threshold, v_reset = from_reset(node, semantics, where)
    keep, feed = keep_and_feed(node.tau, semantics, where)
    bias = feed * (node.v_leak - v_reset)
    return _neuron("LIF", semantics, np.zeros(1), keep, bias, threshold), feed * node.r


def discretize_li(node: Any, semantics: Semantics, where: str) -> tuple[Neuron, np.ndarray]:
    """LI: tau dv/dt = (v_leak - v) + r I, never a spike: a readout that forgets.

    Its step is that of LIF.
    """
    keep, feed = keep_and_feed(node.tau, semantics, where)
    return _neuron("LI", semantics, np.zeros(1), keep, feed * node.v_leak, None), feed * node.r


def discretize_cuba_lif(node: Any, semantics: Semantics, where: str) -> tuple[Neuron, np.ndarray]:
    """CubaLIF: tau_syn dI/dt = -I + w_in S; tau_mem dv/dt = (v_leak - v) + r I; with spikes.

    I is updated first and v sees the new I, as Loihi does; u is I times its gain into v.
    """
    threshold, v_reset = from_reset(node, semantics, where)
    syn_keep, syn_feed = keep_and_feed(node.tau_syn, semantics, f"{where} tau_syn")
    keep, feed = keep_and_feed(node.tau_mem, semantics, f"{where} tau_mem")
    bias = feed * (node.v_leak - v_reset)
    neuron = _neuron("CubaLIF", semantics, syn_keep, keep, bias, threshold)
    return neuron, syn_feed * node.w_in * feed * node.r


def discretize_cuba_li(node: Any, semantics: Semantics, where: str) -> tuple[Neuron, np.ndarray]:
    """CubaLI: the equations and the step of CubaLIF, but never a spike."""
    syn_keep, syn_feed = keep_and_feed(node.tau_syn, semantics, f"{where} tau_syn")
    keep, feed = keep_and_feed(node.tau_mem, semantics, f"{where} tau_mem")
    neuron = _neuron("CubaLI", semantics, syn_keep, keep, feed * node.v_leak, None)
    return neuron, syn_feed * node.w_in * feed * node.r


def discretize_if(node: Any, semantics: Semantics, where: str) -> tuple[Neuron, np.ndarray]:
    """IF: dv/dt = r I, a spike when v exceeds v_threshold.

    Its step is v[t] = v[t-1] + r dt I[t]; both integrators agree, since nothing leaks.
    """
    threshold, _ = from_reset(node, semantics, where)
    neuron = _neuron("IF", semantics, np.zeros(1), np.ones(1), np.zeros(1), threshold)
    return neuron, np.asarray(node.r, np.float64) * semantics.dt


def discretize_i(node: Any, semantics: Semantics, where: str) -> tuple[Neuron, np.ndarray]:
    """I: dv/dt = r I, never a spike: a readout that adds up its input.

    Its step is that of IF.
    """
    neuron = _neuron("I", semantics, np.zeros(1), np.ones(1), np.zeros(1), None)
    return neuron, np.asarray(node.r, np.float64) * semantics.dt


def discretize_threshold(node: Any, semantics: Semantics, where: str) -> tuple[Neuron, np.ndarray]:
    """Threshold: v[t] = I[t], nothing kept: whether it is reset makes no difference."""
    threshold = np.asarray(node.threshold, np.float64)
    neuron = _neuron("Threshold", semantics, np.zeros(1), np.zeros(1), np.zeros(1), threshold)
    return neuron, np.ones(1)


def without_reset(
    neuron: Neuron, ending: str = BEHIND
) -> tuple[Neuron, list[tuple[int, np.ndarray]]]:
    """A neuron that fires above its threshold and keeps its potential.

    Every neuron of the chip resets. This one subtracts the threshold and gets back what would have
    been kept of it, v_keep v_threshold, through synapses onto itself: one step later, and where it
    enters through a current, another step later less what the current keeps.

    Args:
        neuron: parameters of full shape, with the threshold.
        ending: of its kind, ``BEHIND`` or ``UNRESET``.

    Returns:
        The neuron, and weight per neuron of each synapse onto itself, by its delay in steps.
    """
    assert neuron.v_threshold is not None
    back = neuron.v_keep * neuron.v_threshold
    kept = [(1, back)] if back.any() else []
    if kept and neuron.u_keep.any():
        kept.append((2, -neuron.u_keep * back))
    return replace(neuron, kind=neuron.kind + ending, reset="subtract"), kept


def _neuron(
    kind: str,
    semantics: Semantics,
    u_keep: np.ndarray,
    v_keep: np.ndarray,
    bias: np.ndarray,
    v_threshold: np.ndarray | None,
) -> Neuron:
    """A neuron that is reset and compares as the semantics say.

    Where they say that it is not reset, see ``without_reset``.
    """
    reset: Reset = "subtract" if semantics.reset == "none" else semantics.reset
    return Neuron(kind, u_keep, v_keep, bias, v_threshold, reset, semantics.comparison)


LEAKY = ("LIF", "LI", "CubaLIF", "CubaLI")
"""Kinds with a v_leak, which can carry a bias."""


def kind_of(neuron: Neuron) -> str:
    """The NIR primitive that has this neuron's equations.

    The one it came from where that fits; a neuron may come from another file format.
    """
    spikes, current = neuron.v_threshold is not None, bool(np.any(neuron.u_keep))
    forgets = not np.any(neuron.v_keep) and not current
    came = neuron.kind.removesuffix(UNRESET)
    if spikes and came == "Threshold" and forgets:
        return "Threshold"
    if current or came in ("CubaLIF", "CubaLI"):
        return "CubaLIF" if spikes else "CubaLI"
    leaks = bool(np.any(neuron.v_keep != 1))
    if leaks or came in ("LIF", "LI"):
        return "LIF" if spikes else "LI"
    return "IF" if spikes else "I"


def to_node(neuron: Neuron, shape: Shape, leak_bias: np.ndarray, semantics: Semantics) -> Any:
    """The NIR node whose step is a population's; every parameter float64 of full shape.

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
