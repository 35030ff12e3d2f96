"""snnTorch: beta per step, dt always 1e-4 s, and a reset that is not written."""

from __future__ import annotations

from typing import Any

import nir
import numpy as np

from neurodeploy.errors import Setting, Text, UnsupportedError
from neurodeploy.interchange.frameworks.framework import (
    AfterSpike,
    Framework,
    SpikingLayer,
    fixed,
    held_in_single,
    membrane_time,
    neurons_of,
    numbers,
    stepping,
)
from neurodeploy.ir.contract import Semantics
from neurodeploy.neurons.leak import keep_and_feed


def _decay_and_gain(tau: Any, factor: Any, semantics: Semantics) -> tuple[np.ndarray, np.ndarray]:
    """beta = 1 - dt/tau, and the input's factor, 1 unless another tool wrote the file.

    snnTorch reads a file with another factor by dividing the threshold by it, which is the same.
    """
    keep, feed = keep_and_feed(numbers(tau), semantics, "time constant")
    with np.errstate(invalid="ignore"):
        gain = np.where(feed > 0, numbers(factor) * feed, 1.0)
    return held_in_single(keep), np.where(np.isclose(gain, 1), 1.0, gain)


def _leaky(node: Any, semantics: Semantics) -> Any:
    """Leaky: mem = beta mem + x."""
    keep, gain = _decay_and_gain(node.tau, node.r, semantics)
    return stepping("LIF", semantics, keep=keep, gain=gain, v_threshold=node.v_threshold)


def _synaptic(node: Any, semantics: Semantics) -> Any:
    """Synaptic: syn = alpha syn + x, then mem = beta mem + syn."""
    keep, gain = _decay_and_gain(node.tau_mem, node.r, semantics)
    current_keep, input_gain = _decay_and_gain(node.tau_syn, node.w_in, semantics)
    return stepping(
        "CubaLIF",
        semantics,
        keep=keep,
        current_keep=current_keep,
        gain=gain * input_gain,
        v_threshold=node.v_threshold,
    )


def _after_spike(layer: SpikingLayer) -> AfterSpike:
    """reset_mechanism and reset_delay of Leaky, Synaptic, RLeaky and RSynaptic.

    With reset_delay, its default, a spike at t acts on mem at t + 1. 'subtract' takes the threshold
    from what the leak left. 'zero' makes mem 0, in Leaky before and in all others after the input
    was added, whose mem then is 0 for a step; their syn goes on.

    Raises:
        UnsupportedError: RSynaptic without reset_delay, which snnTorch 1.0.0 cannot run.
    """
    reset = layer.reset or "subtract"
    # To state 'subtract' has always meant the reset of NIR, which acts at once.
    delay = layer.reset != "subtract" if layer.delay is None else layer.delay
    words = f"reset_mechanism {reset!r}, reset_delay {delay}"
    if not delay and layer.recurrent and layer.kind == "CubaLIF":
        raise UnsupportedError(
            "snnTorch 1.0.0 fails to run an RSynaptic without reset_delay",
            fix=Text("state ", Setting("reset_delay", f"{layer.name}=True"), ", its default"),
        )
    if reset == "none":
        return AfterSpike(reset, words="reset_mechanism 'none', as stated")
    if layer.reset is None and layer.delay is None:
        settings = Setting("reset"), " and ", Setting("reset_delay")
        said = Text("taken as its defaults, ", words, "; for others state ", *settings)
        return AfterSpike(reset, late=True, words=said)
    if reset == "subtract" and not delay:
        held = "its next spike waits until v exceeds twice the threshold, and here it does not"
        return AfterSpike(reset, words=f"{words}; where v stays above the threshold, {held}")
    if reset == "subtract":
        return AfterSpike(reset, late=True, words=words)
    if delay and (layer.recurrent or layer.kind == "CubaLIF"):
        held = "v stays 0 for the step after a spike, whatever comes in"
        return AfterSpike(reset, refractory_period=1, words=f"{words}: {held}")
    return AfterSpike(reset, words=words)


def _evidence(graph: nir.NIRGraph) -> list[str] | None:
    """r = tau/1e-4, and w_in = tau_syn/1e-4."""
    found = neurons_of(graph, "LIF", "CubaLIF")
    pairs = [(node.r, membrane_time(node)) for node in found]
    pairs += [(node.w_in, node.tau_syn) for node in found if hasattr(node, "w_in")]
    if not all(np.allclose(numbers(r) * 1e-4, numbers(tau), rtol=1e-4) for r, tau in pairs):
        return None
    return ["r = tau / 1e-4"]


SNNTORCH = Framework(
    title="snnTorch",
    version="1.0.0",
    sources=(
        "snntorch/export_nir.py",
        "snntorch/import_nir.py",
        "snntorch/_neurons/leaky.py",
        "snntorch/_neurons/synaptic.py",
        "snntorch/_neurons/rleaky.py",
        "snntorch/_neurons/rsynaptic.py",
    ),
    semantics=Semantics(1e-4, "subtract", ">", "euler"),
    neurons={
        "LIF": fixed("snnTorch", _leaky, v_leak=0, v_reset=0),
        "CubaLIF": fixed("snnTorch", _synaptic, v_leak=0, v_reset=0),
    },
    notes=(
        "snnTorch does not write inhibition, state_quant and graded_spikes_factor: taken as unused",
    ),
    evidence=_evidence,
    after_spike=_after_spike,
)
