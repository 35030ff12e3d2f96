"""SpikingJelly: its exporter writes its equations out, only ">=" and the start at v_reset not."""

from __future__ import annotations

from typing import Any

import nir
import numpy as np

from neurodeploy.errors import Setting, Text
from neurodeploy.interchange.frameworks.framework import (
    IN_PLACE_OF_A_FRAMEWORK,
    Framework,
    fixed,
    membrane_time,
    neurons_of,
    numbers,
    one_value,
    require,
    require_written,
)
from neurodeploy.ir.contract import Semantics


def _if(node: Any, semantics: Semantics) -> Any:
    """IFNode: v = v + x, with r = 1/dt."""
    _written("r", node.r, 1 / semantics.dt)
    return node


def _lif(node: Any, semantics: Semantics) -> Any:
    """LIFNode and ParametricLIFNode: v += (x + v_reset - v) dt/tau; without decay_input, v += x."""
    require(
        numbers(node.v_leak) == numbers(node.v_reset),
        "v_leak is not v_reset, where SpikingJelly leaks to v_reset",
        fix=IN_PLACE_OF_A_FRAMEWORK,
    )
    r, tau = np.broadcast_arrays(numbers(node.r), numbers(node.tau))
    require(r >= 1, "r is below 1, where SpikingJelly has 1 or tau/dt", fix=IN_PLACE_OF_A_FRAMEWORK)
    _written("r", r, np.where(r == 1, 1, tau / semantics.dt))
    return node


def _cuba_lif(node: Any, semantics: Semantics) -> Any:
    """CUBALIFNode: i = c_decay i + x, then v = v_decay v + i."""
    _written("r", node.r, numbers(node.tau_mem) / semantics.dt)
    _written("w_in", node.w_in, numbers(node.tau_syn) / semantics.dt)
    return node


def _written(name: str, found: Any, value: Any) -> None:
    require_written(name, found, value, "SpikingJelly", WITH_ITS_DT)


WITH_ITS_DT = Text("state the ", Setting("dt"), " that it was exported with")


def _time_step(graph: nir.NIRGraph) -> float | None:
    """dt = 1/r of IF, tau/r of LIF without decay_input; a LIF with it does not say."""
    found = [np.zeros(0)]
    with np.errstate(all="ignore"):
        for node in neurons_of(graph, "IF"):
            found.append(np.ravel(1 / numbers(node.r)))
        for node in neurons_of(graph, "LIF", "CubaLIF"):
            r, tau = np.broadcast_arrays(numbers(node.r), numbers(membrane_time(node)))
            found.append(np.ravel(tau / r)[np.ravel(r) != 1])
    return one_value(np.concatenate(found), 12)


def _evidence(graph: nir.NIRGraph) -> list[str] | None:
    """Names of torch.fx, and parameters in double precision, which others do not write together."""
    found = neurons_of(graph, "LIF", "CubaLIF", "IF")
    if any(np.asarray(node.v_threshold).dtype != np.float64 for node in found):
        return None
    if "input_1" not in graph.nodes:
        return []
    return ["names as torch.fx gives them", "parameters in double precision"]


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
    neurons={"LIF": _lif, "IF": _if, "CubaLIF": fixed("SpikingJelly", _cuba_lif, v_leak=0)},
    notes=(
        Text(
            "SpikingJelly does not write the dt of a LIFNode with decay_input: where nothing else "
            "tells it, taken as its default; for another add ",
            Setting("dt"),
        ),
    ),
    evidence=_evidence,
    time_step=_time_step,
)
