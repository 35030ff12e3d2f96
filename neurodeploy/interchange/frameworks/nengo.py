"""Nengo, through the script of the NIR paper: exponential membranes, current by Euler."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import nir
import numpy as np

from neurodeploy.interchange.frameworks.framework import Framework, numbers, require, stepping
from neurodeploy.ir.contract import Semantics
from neurodeploy.neurons.leak import keep_and_feed


def _uniform(node: Any, *names: str) -> None:
    for name in names:
        require(
            np.unique(numbers(getattr(node, name))).size == 1,
            f"Nengo takes one {name} for all neurons of a layer",
        )


def _lif(node: Any, semantics: Semantics) -> Any:
    """nengo.LIF with tau_ref = 0: v += (x - v) (1 - exp(-dt/tau))."""
    _uniform(node, "tau")
    require(numbers(node.r) == 1, "the script for Nengo takes r = 1")
    require(numbers(node.v_leak) == 0, "the script for Nengo takes v_leak = 0")
    return node


def _cuba_lif(node: Any, semantics: Semantics) -> Any:
    """A low-pass of time constant -dt/log(1 - dt/tau_syn) before nengo.LIF."""
    _uniform(node, "tau_mem", "tau_syn", "r", "v_threshold")
    require(numbers(node.v_leak) == 0, "the script for Nengo takes v_leak = 0")
    feed_syn = semantics.dt / numbers(node.tau_syn)
    require(feed_syn < 1, "the script for Nengo takes tau_syn above dt")
    keep, feed = keep_and_feed(numbers(node.tau_mem), semantics, "tau_mem")
    return stepping(
        "CubaLIF",
        semantics,
        keep=keep,
        current_keep=1 - feed_syn,
        gain=feed_syn * numbers(node.w_in) * feed * numbers(node.r),
        v_threshold=node.v_threshold,
    )


def _if(node: Any, semantics: Semantics) -> Any:
    """v += x."""
    require(numbers(node.r) == 1, "the script for Nengo takes r = 1")
    return stepping("IF", semantics, v_threshold=node.v_threshold)


def _li(node: Any, semantics: Semantics) -> Any:
    """A low-pass filter, whatever r says."""
    _uniform(node, "tau")
    require(numbers(node.v_leak) == 0, "the script for Nengo takes v_leak = 0")
    return replace(node, r=np.ones(np.shape(node.r)))


def _looks_so(graph: nir.NIRGraph) -> bool:
    return False


NENGO = Framework(
    title="Nengo",
    version="4.1.0",
    sources=("nengo/neurons.py", "neuromorphs/NIR: paper/nir_to_nengo.py"),
    semantics=Semantics(1e-3, "zero", ">", "exponential"),
    neurons={"LIF": _lif, "CubaLIF": _cuba_lif, "IF": _if, "LI": _li},
    notes=(
        "Nengo does not let v fall below 0: here it may, as no neuron of the chip has such a floor",
        "spikes weigh 1; the script's LIF, but not its CubaLIF and IF, has spikes of 1/dt",
    ),
    looks_so=_looks_so,
)
