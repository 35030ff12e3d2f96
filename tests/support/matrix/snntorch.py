"""Cells of snnTorch, run by the package that is installed."""

from __future__ import annotations

from functools import partial
from importlib import import_module
from itertools import product
from typing import Any

import nir
import numpy as np
import torch
from torch import nn

from support.framework_runs import on_grid, over_time, spike_trains
from support.matrix.cell import Cell, Spikes, quiet
from support.snntorch_networks import CLASSES, layer, node_of

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


def _neurons(snn: Any) -> list[Cell]:
    found = []

    def cell(
        subject: str,
        how: str,
        module: Any,
        options: dict[str, Any],
        node: str = "",
        parameters: str = "",
    ) -> None:
        step = 1 / 64 if parameters else 1 / 16
        weights = on_grid(nn.Linear(6, 6), 5, step=step)
        network = nn.Sequential(weights, module)
        export, run = partial(_export, network, (6,)), partial(_run, network, "1", node=node)
        x = spike_trains(6, seed=2)
        found.append(Cell(VERSION, subject, how, parameters, export, run, x, options))

    for kind, reset, delay in product(CLASSES, ("subtract", "zero", "none"), (True, False)):
        how = reset if delay else f"{reset}, reset_delay False"
        module = layer(kind, 6, reset_mechanism=reset, reset_delay=delay)
        options = {"reset": reset, "reset_delay": delay}
        defaults = {} if reset == "subtract" else {"reset": reset}
        # What is left above the threshold then waits there for twice the threshold.
        low = "" if delay or reset != "subtract" else "v below twice the threshold"
        cell(kind, how, module, defaults if delay else options, node_of(kind, "1"), low)
    cell("Leaky", "subtract", snn.Leaky(beta=0.5, init_hidden=True), {}, "", "one beta for all")
    cell("Alpha", "subtract", snn.Alpha(alpha=0.75, beta=0.5, init_hidden=True), {})
    cell("Lapicque", "subtract", snn.Lapicque(beta=0.5, init_hidden=True), {})
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
