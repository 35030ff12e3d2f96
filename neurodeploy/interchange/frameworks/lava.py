"""Lava, through the scripts of the NIR paper: Euler, without r, v_leak and biases."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import nir
import numpy as np

from neurodeploy.interchange.frameworks.framework import Framework, numbers, require, stepping
from neurodeploy.ir.contract import Semantics


def _lif(node: Any, semantics: Semantics) -> Any:
    """LIF with du = 1, dv = dt/tau and its input times dt/tau, whatever r says."""
    require(numbers(node.v_leak) == 0, "the script for Lava has no v_leak; set it to 0")
    return replace(node, r=np.ones(np.shape(node.r)))


def _if(node: Any, semantics: Semantics) -> Any:
    """lava-dl's CUBA without voltage decay: v += x, a spike above r v_threshold."""
    threshold = numbers(node.v_threshold) * numbers(node.r)
    return stepping("IF", semantics, v_threshold=threshold)


def _looks_so(graph: nir.NIRGraph) -> bool:
    return False


LAVA = Framework(
    title="Lava",
    version="0.10.0",
    sources=("lava/proc/lif/models.py", "neuromorphs/NIR: paper/nir_to_lava.py"),
    semantics=Semantics(1e-4, "zero", ">", "euler"),
    neurons={"LIF": _lif, "IF": _if},
    notes=(
        "Lava's Dense sends one step late, and the script has one for each Affine and each LIF: "
        "spikes come out as many steps later there",
        "the script refuses biases; here they are kept",
    ),
    looks_so=_looks_so,
)
