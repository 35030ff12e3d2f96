"""SpikingJelly: its exporter writes its equations out, only ">=" and the start at v_reset not."""

from __future__ import annotations

import nir
import numpy as np

from neurodeploy.errors import Setting, Text
from neurodeploy.interchange.frameworks.framework import (
    Framework,
    as_it_says,
    membrane_time,
    neurons_of,
    numbers,
)
from neurodeploy.ir.contract import Semantics


def _looks_so(graph: nir.NIRGraph) -> bool:
    """Names of torch.fx, and r = 1 or tau/dt in double precision."""
    found = neurons_of(graph, "LIF", "CubaLIF", "IF")
    return (
        bool(found)
        and "input_1" in graph.nodes
        and all(
            type(node).__name__ == "IF"
            or np.all(numbers(node.r) == 1)
            or np.allclose(numbers(node.r) * 1e-4, numbers(membrane_time(node)))
            for node in found
        )
    )


SPIKINGJELLY = Framework(
    title="SpikingJelly",
    version="2.0.0",
    sources=(
        "spikingjelly/activation_based/nir_exchange/to_nir.py",
        "spikingjelly/activation_based/functional/neuron.py",
        "spikingjelly/activation_based/neuron/base_node.py",
        "spikingjelly/activation_based/surrogate.py",
    ),
    semantics=Semantics(1e-4, "zero", ">=", "euler"),
    neurons={"LIF": as_it_says, "IF": as_it_says, "CubaLIF": as_it_says},
    notes=(
        Text(
            "SpikingJelly does not write dt: taken as its default; for another add ", Setting("dt")
        ),
    ),
    looks_so=_looks_so,
)
