"""Nengo, through the script of the NIR paper: exponential membranes, current by Euler."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import nir
import numpy as np

from neurodeploy.interchange.frameworks.framework import (
    Framework,
    fixed,
    numbers,
    one_step_late,
    require,
    same_for_all,
    stepping,
)
from neurodeploy.ir.contract import Semantics
from neurodeploy.neurons.leak import keep_and_feed


def _lif(node: Any, semantics: Semantics) -> Any:
    """nengo.LIF with tau_ref = 0: v += (x - v) (1 - exp(-dt/tau))."""
    same_for_all(node, "Nengo", "tau")
    return node


def _cuba_lif(node: Any, semantics: Semantics) -> Any:
    """A low-pass of time constant -dt/log(1 - dt/tau_syn) before nengo.LIF."""
    same_for_all(node, "Nengo", "tau_mem", "tau_syn", "r", "v_threshold")
    tau_syn = numbers(node.tau_syn)
    require(tau_syn > semantics.dt, "the script for Nengo takes tau_syn above dt")
    feed_syn = semantics.dt / tau_syn
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
    return stepping("IF", semantics, v_threshold=node.v_threshold)


def _li(node: Any, semantics: Semantics) -> Any:
    """A low-pass filter, whatever r says."""
    same_for_all(node, "Nengo", "tau")
    return replace(node, r=np.ones(np.shape(node.r)))


def _as_it_runs(graph: nir.NIRGraph, semantics: Semantics) -> tuple[nir.NIRGraph, list[str]]:
    """A step of delay before every low-pass, which Nengo puts on the connection into a node."""
    late = [name for name, node in graph.nodes.items() if isinstance(node, nir.CubaLIF | nir.LI)]
    note = f"Nengo's low-pass takes a step: a delay of one step stands before {', '.join(late)}"
    wired = one_step_late(graph, semantics.dt, lambda _, target: target in late)
    return wired, [note] if late else []


def _evidence(graph: nir.NIRGraph) -> list[str] | None:
    return []


NENGO = Framework(
    title="Nengo",
    version="4.1.0",
    sources=("nengo/neurons.py", "neuromorphs/NIR: paper/nir_to_nengo.py"),
    semantics=Semantics(1e-3, "zero", ">", "exponential"),
    neurons={
        "LIF": fixed("Nengo", _lif, r=1, v_leak=0, v_reset=0),
        "CubaLIF": fixed("Nengo", _cuba_lif, v_leak=0, v_reset=0),
        "IF": fixed("Nengo", _if, r=1, v_reset=0),
        "LI": fixed("Nengo", _li, v_leak=0),
    },
    notes=(
        "Nengo does not let v fall below 0: here it may, as no neuron of the chip has such a floor",
        "spikes weigh 1; the script's LIF, but not its CubaLIF and IF, has spikes of 1/dt",
    ),
    evidence=_evidence,
    prepared=_as_it_runs,
    writes=False,
    unread={"LI": ("r",)},
)
