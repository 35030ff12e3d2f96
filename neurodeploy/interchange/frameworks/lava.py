"""Lava, through the scripts of the NIR paper: Euler, without r, v_leak and biases."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import nir
import numpy as np

from neurodeploy.errors import UnsupportedError, in_lines
from neurodeploy.interchange.frameworks.framework import (
    IN_PLACE_OF_A_FRAMEWORK,
    Framework,
    fixed,
    numbers,
    require_written,
    same_for_all,
    stepping,
)
from neurodeploy.ir.contract import Semantics


def _lif(node: Any, semantics: Semantics) -> Any:
    """LIF with du = 1, dv = dt/tau and its input times dt/tau, whatever r says."""
    return replace(node, r=np.ones(np.shape(node.r)))


def _cuba_lif(node: Any, semantics: Semantics) -> Any:
    """lava-dl's CUBA: i = (1 - dt/tau_syn) i + w_in dt/tau_syn x, then v = (1 - dt/tau_mem) v + i.

    The script takes r = tau_mem/dt only, which makes that NIR's equation.
    """
    same_for_all(node, "lava-dl", "tau_mem", "tau_syn", "v_threshold")
    written = numbers(node.tau_mem) / semantics.dt
    require_written("r", node.r, written, "the script for lava-dl", IN_PLACE_OF_A_FRAMEWORK)
    return node


def _if(node: Any, semantics: Semantics) -> Any:
    """lava-dl's CUBA without voltage decay: v += x, a spike above r v_threshold."""
    same_for_all(node, "lava-dl", "r", "v_threshold")
    threshold = numbers(node.v_threshold) * numbers(node.r)
    return stepping("IF", semantics, v_threshold=threshold)


def _as_it_runs(graph: nir.NIRGraph, semantics: Semantics) -> tuple[nir.NIRGraph, list[str]]:
    """Refuse what the script scales in one place and not in another.

    w_in dt/tau_syn goes into the weights before a recurrent block, not into those within it.
    """
    problems = []
    for weights, neuron in graph.edges:
        node = graph.nodes.get(neuron)
        if not isinstance(node, nir.CubaLIF) or (neuron, weights) not in graph.edges:
            continue
        scale = numbers(node.w_in) * semantics.dt / numbers(node.tau_syn)
        if not np.allclose(scale, 1):
            problems.append(
                f"node {neuron!r} (CubaLIF): w_in dt/tau_syn is {scale.flat[0]:g}, which the "
                f"script for lava-dl leaves out of the recurrent weights {weights!r}; scale "
                "weights and w_in so that it is 1"
            )
    if problems:
        raise UnsupportedError(in_lines(problems))
    return graph, []


def _evidence(graph: nir.NIRGraph) -> list[str] | None:
    return []


LAVA = Framework(
    title="Lava",
    version="0.10.0",
    sources=(
        "lava/proc/lif/models.py",
        "lava/lib/dl/slayer/neuron/cuba.py of lava-dl 0.6.0",
        "neuromorphs/NIR: paper/nir_to_lava.py",
    ),
    semantics=Semantics(1e-4, "zero", ">", "euler"),
    neurons={
        "LIF": fixed("Lava", _lif, v_leak=0, v_reset=0),
        "CubaLIF": fixed("Lava", _cuba_lif, v_leak=0, v_reset=0),
        "IF": fixed("Lava", _if, v_reset=0),
    },
    notes=(
        "Lava's Dense sends one step late, and the script has one for each Affine and each LIF: "
        "spikes come out as many steps later there",
        "the script refuses biases; here they are kept",
        "IF and CubaLIF are lava-dl's, which keeps states in steps of 1/4096; here they are floats",
        "lava-dl's IF also fires exactly at a threshold above 1/4, where its float32 cannot tell",
    ),
    evidence=_evidence,
    writes=False,
    unread={"LIF": ("r",)},
    prepared=_as_it_runs,
)
