"""Cells of Norse, run by the package that is installed."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from importlib import import_module
from itertools import pairwise, product
from typing import Any

import nir
import numpy as np
import torch
from torch import nn

from support.framework_runs import on_grid, over_time, spike_trains
from support.matrix.cell import Cell, Spikes, quiet

DT = 2.0**-10
OPTIONS = {"dt": DT}


def cells() -> tuple[list[Cell], list[Cell]]:
    """Of neurons, and of layers."""
    with quiet():
        norse: Any = import_module("norse.torch")
        resets: Any = import_module("norse.torch.functional.reset")
    return _neurons(norse, resets), _layers(norse)


def _export(
    norse: Any, network: nn.Module, shape: tuple[int, ...], **written: float
) -> nir.NIRGraph:
    """With what the exporter after 1.1.0's writes beside: v_reset."""
    graph = norse.to_nir(network, torch.zeros(1, *shape), dt=DT)
    for name, node in graph.nodes.items():
        for key, value in written.items():
            if hasattr(node, key):
                full = np.full(np.shape(node.v_threshold), value)
                graph.nodes[name] = node = replace(node, **{key: full})
    return graph


def _export_readout(network: nn.Module, parameters: Any) -> nir.NIRGraph:
    """LICell, of which 1.1.0 writes nothing, as the exporter after it writes it."""

    def written(value: torch.Tensor) -> np.ndarray:
        return value.detach().numpy()

    one = np.ones_like(written(parameters.v_leak))
    cell = nir.CubaLI(
        tau_mem=1 / written(parameters.tau_mem_inv),
        tau_syn=1 / written(parameters.tau_syn_inv),
        v_leak=written(parameters.v_leak),
        r=one,
        w_in=one,
    )
    weight, bias = (written(network.get_parameter(f"0.{key}")) for key in ("weight", "bias"))
    ends = nir.Input({"input": np.array([6])}), nir.Output({"output": np.array([8])})
    nodes = {"input_1": ends[0], "0": nir.Affine(weight, bias), "1": cell, "output": ends[1]}
    return nir.NIRGraph(nodes, list(pairwise(nodes)), {}, type_check=False)


def _run(network: nn.Module, layer: str, x: np.ndarray) -> Spikes:
    state = None

    def step(values: torch.Tensor) -> None:
        nonlocal state
        _, state = network(values, state)

    return over_time(step, x, {layer: network.get_submodule(layer)})


def _neurons(norse: Any, resets: Any) -> list[Cell]:
    found = []
    tensor = torch.tensor
    leaks = [{}, {"v_leak": 0.25}, {"v_reset": -0.5}, {"v_leak": 0.25, "v_reset": -0.5}]

    def cell(
        subject: str, how: str, module: Any, changes: dict[str, float], **options: Any
    ) -> None:
        network = norse.SequentialState(on_grid(nn.Linear(6, 8), 0, step=0.5), module)
        written = {"v_reset": changes["v_reset"]} if "v_reset" in changes else {}
        found.append(
            Cell(
                "Norse 1.1.0",
                subject,
                how,
                ", ".join(f"{key} {value:g}" for key, value in changes.items()),
                partial(_export, norse, network, (6,), **written),
                partial(_run, network, "1"),
                spike_trains(6, seed=2),
                {**OPTIONS, **options},
            )
        )

    for changes, reset in product(leaks, ("reset_value", "reset_subtract")):
        values = {key: tensor(value) for key, value in changes.items()}
        method = getattr(resets, reset)
        parameters = norse.LIFBoxParameters(
            tensor(1 / (4 * DT)), v_th=tensor(0.75), reset_method=method, **values
        )
        options = {"reset": "subtract"} if reset == "reset_subtract" else {}
        cell("LIFBoxCell", reset, norse.LIFBoxCell(parameters, dt=DT), changes, **options)
    for changes in leaks:
        values = {key: tensor(value) for key, value in changes.items()}
        parameters = norse.LIFParameters(
            tensor(1 / (2 * DT)), tensor(1 / (4 * DT)), v_th=tensor(0.75), **values
        )
        cell("LIFCell", "to v_reset", norse.LIFCell(parameters, dt=DT), changes)
    for changes in (leaks[0], leaks[2]):
        values = {key: tensor(value) for key, value in changes.items()}
        module = norse.IAFCell(norse.IAFParameters(tensor(2.0), **values), dt=DT)
        cell("IAFCell", "to v_reset", module, changes)
    readout = norse.LIBoxParameters(tensor(1 / (4 * DT)))
    cell("LIBoxCell", "", norse.LIBoxCell(readout, dt=DT), {})
    current = norse.LIParameters(tensor(1 / (2 * DT)), tensor(1 / (4 * DT)))
    network = norse.SequentialState(
        on_grid(nn.Linear(6, 8), 0, step=0.5), norse.LICell(current, dt=DT)
    )
    export, run = partial(_export_readout, network, current), partial(_run, network, "1")
    later = "by the exporter after 1.1.0's"
    found.append(
        Cell("Norse 1.1.0", "LICell", "", later, export, run, spike_trains(6, seed=2), OPTIONS)
    )
    for name in ("LIFRecurrentCell", "LIFBoxRecurrentCell"):
        if hasattr(norse, name):
            cell(name, "to v_reset", getattr(norse, name)(8, 8), {})
    for name in ("LICell", "LIFAdExCell", "LIFRefracCell", "IzhikevichCell", "LSNNCell"):
        if hasattr(norse, name):
            module = getattr(norse, name)
            try:
                made = module() if name != "IzhikevichCell" else module(norse.create_izhikevich())
            except (TypeError, AttributeError):
                continue
            cell(name, "", made, {})
    return found


def _layers(norse: Any) -> list[Cell]:
    def box() -> nn.Module:
        parameters = norse.LIFBoxParameters(torch.tensor(1 / (2 * DT)), v_th=torch.tensor(0.5))
        return norse.LIFBoxCell(parameters, dt=DT)

    layers: list[tuple[str, str, nn.Module, tuple[int, ...]]] = [
        ("Linear", "", nn.Linear(6, 8), (6,)),
        ("Linear", "no bias", nn.Linear(6, 8, bias=False), (6,)),
        ("Conv2d", "", nn.Conv2d(2, 3, 3), (2, 6, 6)),
        ("Conv2d", "stride 2, padding 1", nn.Conv2d(2, 3, 3, 2, 1), (2, 6, 6)),
        ("Conv2d", "dilation 2, groups 2", nn.Conv2d(2, 4, 2, dilation=2, groups=2), (2, 6, 6)),
        ("Conv2d", "no bias", nn.Conv2d(2, 3, 3, bias=False), (2, 6, 6)),
        ("Conv1d", "", nn.Conv1d(2, 3, 3), (2, 8)),
        ("AvgPool2d", "", nn.AvgPool2d(2), (2, 6, 6)),
        ("Flatten", "", nn.Flatten(), (2, 4, 4)),
    ]
    found = []
    for subject, parameters, layer, shape in layers:
        network = norse.SequentialState(on_grid(layer, 1, step=0.5, largest=6), box())
        found.append(
            Cell(
                "Norse 1.1.0",
                subject,
                "",
                parameters,
                partial(_export, norse, network, shape),
                partial(_run, network, "1"),
                spike_trains(*shape, seed=3, rate=0.3),
                OPTIONS,
            )
        )
    return found
