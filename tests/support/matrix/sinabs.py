"""Cells of sinabs, run by the package that is installed."""

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

VERSION = "sinabs 3.1.3"


def cells() -> tuple[list[Cell], list[Cell]]:
    """Of neurons, and of layers."""
    with quiet():
        layers: Any = import_module("sinabs.layers")
        activation: Any = import_module("sinabs.activation")
    return _neurons(layers, activation), _layers(layers, activation)


def _export(network: nn.Module, shape: tuple[int, ...]) -> nir.NIRGraph:
    graph = import_module("sinabs.nir").to_nir(network, torch.zeros(1, *shape))
    modules: list[Any] = list(network.modules())
    for module in modules:
        if hasattr(module, "reset_states"):
            module.reset_states()
    return graph


def _run(network: nn.Module, layer: str, x: np.ndarray) -> Spikes:
    modules: list[Any] = list(network.modules())
    for module in modules:
        if hasattr(module, "init_state_with_shape"):
            module.init_state_with_shape((len(x), *module.v_mem.shape[1:]))
    return over_time(network, x, {layer: network.get_submodule(layer)})


def _neurons(layers: Any, activation: Any) -> list[Cell]:
    single = {"spike_fn": activation.SingleSpike, "num_timesteps": 1}
    zero = {"reset_fn": activation.MembraneReset()}
    found = []

    def cell(subject: str, how: str, parameters: str, module: Any, **options: Any) -> None:
        network = nn.Sequential(on_grid(nn.Linear(6, 8), 0), module)
        shape = (6,) if hasattr(module, "batch_size") else (5, 6)  # with the time, of some layers
        export, run = partial(_export, network, shape), partial(_run, network, "1")
        x = spike_trains(6, seed=3)
        found.append(Cell(VERSION, subject, how, parameters, export, run, x, options))

    def at(value: float) -> dict[str, Any]:
        return {"spike_threshold": torch.tensor(value), **single}

    for how, changes, options in (
        ("MembraneSubtract", {}, {}),
        ("MembraneReset", zero, {"reset": "zero"}),
    ):
        iaf = layers.IAFSqueeze(**at(1.5), **changes)
        cell("IAF", how, "SingleSpike", iaf, **options)
        lif = layers.LIFSqueeze(tau_mem=6.0, **at(0.07), **changes)
        cell("LIF", how, "SingleSpike", lif, **options)
        plain = layers.LIFSqueeze(tau_mem=6.0, norm_input=False, **at(0.87), **changes)
        cell("LIF", how, "SingleSpike, norm_input False", plain, gain="one", **options)
    threshold = torch.tensor(np.linspace(1, 2, 8)).float()
    cell(
        "IAF", "MembraneSubtract", "threshold per neuron",
        layers.IAFSqueeze(spike_threshold=threshold, **single),
    )  # fmt: skip
    per_neuron = layers.LIFSqueeze(tau_mem=torch.linspace(4, 9, 8), **at(0.07))
    cell("LIF", "MembraneSubtract", "tau_mem per neuron", per_neuron)
    cell("ExpLeak", "", "", layers.ExpLeakSqueeze(tau_mem=5.0, num_timesteps=1))
    recurrent = layers.LIFRecurrent(tau_mem=9.0, rec_connect=nn.Linear(8, 8))
    cell("LIFRecurrent", "MembraneSubtract", "", recurrent)
    cell("IAFRecurrent", "MembraneSubtract", "", layers.IAFRecurrent(rec_connect=nn.Linear(8, 8)))
    cell("ALIF", "", "", layers.ALIF(tau_mem=9.0, tau_adapt=9.0))
    return found


def _layers(layers: Any, activation: Any) -> list[Cell]:
    found = []
    shapes: list[tuple[str, str, nn.Module, tuple[int, ...]]] = [
        ("Linear", "", nn.Linear(6, 8), (6,)),
        ("Linear", "no bias", nn.Linear(6, 8, bias=False), (6,)),
        ("Conv1d", "stride 2, padding 1", nn.Conv1d(2, 3, 3, 2, 1), (2, 8)),
        ("Conv1d", "padding 'same'", nn.Conv1d(2, 3, 3, padding="same"), (2, 8)),
        ("Conv2d", "no bias", nn.Conv2d(2, 3, 3, bias=False), (2, 6, 6)),
        ("Conv2d", "stride 2, padding 1", nn.Conv2d(2, 3, 3, 2, 1), (2, 6, 6)),
        ("Conv2d", "dilation 2, groups 2", nn.Conv2d(2, 4, 2, dilation=2, groups=2), (2, 6, 6)),
        ("SumPool2d", "", layers.SumPool2d(2), (2, 6, 6)),
        ("SumPool2d", "kernel 3, stride 2", layers.SumPool2d(3, 2), (2, 6, 6)),
        ("AvgPool2d", "", nn.AvgPool2d(2), (2, 6, 6)),
        ("MaxPool2d", "", nn.MaxPool2d(2), (2, 6, 6)),
        ("Flatten", "", nn.Flatten(), (2, 4, 4)),
    ]
    for subject, parameters, layer, shape in shapes:
        iaf = layers.IAFSqueeze(
            spike_threshold=torch.tensor(5.0 if "SumPool" in subject else 1.5),
            spike_fn=activation.SingleSpike,
            num_timesteps=1,
        )
        network = nn.Sequential(on_grid(layer, 1, step=0.25, largest=6), iaf)
        export, run = partial(_export, network, shape), partial(_run, network, "1")
        x = spike_trains(*shape, seed=3, rate=0.3)
        found.append(Cell(VERSION, subject, "", parameters, export, run, x))
    return found
