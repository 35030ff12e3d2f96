"""Cells of snnTorch, run by the package that is installed."""

from __future__ import annotations

from functools import partial
from importlib import import_module
from typing import Any

import nir
import numpy as np
import torch
from torch import nn

from support.framework_runs import on_grid, over_time, spike_trains
from support.matrix.cell import Cell, Spikes, quiet

VERSION = "snnTorch 1.0.0"


def cells() -> tuple[list[Cell], list[Cell]]:
    """Of neurons, and of layers."""
    with quiet():
        snn: Any = import_module("snntorch")
    return _neurons(snn), _layers(snn)


def _export(network: nn.Module, shape: tuple[int, ...]) -> nir.NIRGraph:
    export: Any = import_module("snntorch.export_nir").export_to_nir
    return export(network, torch.zeros(1, *shape), ignore_dims=[0])


def _run(network: nn.Module, layer: str, x: np.ndarray, node: str = "") -> Spikes:
    modules: list[Any] = list(network.modules())
    for module in modules:
        if hasattr(module, "reset_mem"):
            module.reset_mem()
    found = over_time(network, x, {layer: network.get_submodule(layer)})
    return {node or layer: found[layer]}


RESETS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("subtract, reset_delay", {}, {}),
    ("zero", {"reset_mechanism": "zero", "reset_delay": False}, {"reset": "zero"}),
]
"""Resets, the arguments of a neuron for each, and the options that say so here."""


def _neurons(snn: Any) -> list[Cell]:
    found = []
    beta = torch.tensor([0.5, 0.75, 0.875, 0.5, 0.25, 0.75])
    alpha, threshold = torch.tensor([0.5, 0.25, 0.75, 0.5, 0.5, 0.25]), torch.full((6,), 1.5)

    def cell(
        subject: str,
        how: str,
        module: Any,
        options: dict[str, Any],
        node: str = "",
        parameters: str = "",
    ) -> None:
        network = nn.Sequential(on_grid(nn.Linear(6, 6), 5, step=0.25), module)
        export, run = partial(_export, network, (6,)), partial(_run, network, "1", node=node)
        x = spike_trains(6, seed=2)
        found.append(Cell(VERSION, subject, how, parameters, export, run, x, options))

    for how, changes, options in RESETS:
        values = {"threshold": threshold, "init_hidden": True, **changes}
        cell("Leaky", how, snn.Leaky(beta=beta, **values), options)
        cell("Synaptic", how, snn.Synaptic(alpha=alpha, beta=beta, **values), options)
    how, full = RESETS[0][0], {"threshold": threshold, "init_hidden": True, "linear_features": 6}
    recurrent = snn.RLeaky(beta=beta, **full)
    synaptic = snn.RSynaptic(alpha=alpha, beta=beta, **full)
    for module, name in ((recurrent, "RLeaky"), (synaptic, "RSynaptic")):
        on_grid(module.recurrent, 6, step=1 / 8)
        cell(name, how, module, {}, "1.lif")
    cell("Leaky", how, snn.Leaky(beta=0.5, init_hidden=True), {}, parameters="one beta for all")
    cell("Alpha", RESETS[0][0], snn.Alpha(alpha=0.75, beta=0.5, init_hidden=True), {})
    cell("Lapicque", RESETS[0][0], snn.Lapicque(beta=0.5, init_hidden=True), {})
    return found


def _layers(snn: Any) -> list[Cell]:
    found = []
    shapes: list[tuple[str, str, nn.Module, tuple[int, ...], tuple[int, ...]]] = [
        ("Linear", "", nn.Linear(6, 8), (6,), (8,)),
        ("Linear", "no bias", nn.Linear(6, 8, bias=False), (6,), (8,)),
        ("Conv2d", "no bias", nn.Conv2d(2, 3, 3, bias=False), (2, 6, 6), (3, 4, 4)),
        ("Conv2d", "stride 2, padding 1", nn.Conv2d(2, 3, 3, 2, 1), (2, 6, 6), (3, 3, 3)),
        ("Conv2d", "dilation 2, groups 2", nn.Conv2d(2, 4, 2, dilation=2, groups=2), (2, 6, 6),
         (4, 4, 4)),
        ("Conv1d", "", nn.Conv1d(2, 3, 3), (2, 8), (3, 6)),
        ("AvgPool2d", "", nn.AvgPool2d(2), (2, 6, 6), (2, 3, 3)),
        ("MaxPool2d", "", nn.MaxPool2d(2), (2, 6, 6), (2, 3, 3)),
        ("Flatten", "", nn.Flatten(), (2, 4, 4), (32,)),
    ]  # fmt: skip
    for subject, parameters, made, shape, behind in shapes:
        leaky = snn.Leaky(
            beta=torch.full(behind, 0.5), threshold=torch.full(behind, 0.75), init_hidden=True
        )
        network = nn.Sequential(on_grid(made, 1, step=0.25, largest=6), leaky)
        export, run = partial(_export, network, shape), partial(_run, network, "1")
        x = spike_trains(*shape, seed=3, rate=0.3)
        found.append(Cell(VERSION, subject, "", parameters, export, run, x))
    return found
