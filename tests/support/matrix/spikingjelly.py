"""Cells of SpikingJelly, run by the package that is installed."""

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

VERSION = "SpikingJelly 2.0.0"


def cells() -> tuple[list[Cell], list[Cell]]:
    """Of neurons, and of layers."""
    with quiet():
        neuron: Any = import_module("spikingjelly.activation_based.neuron")
        layer: Any = import_module("spikingjelly.activation_based.layer")
    return _neurons(neuron, layer), _layers(neuron, layer)


def _export(network: nn.Module, shape: tuple[int, ...], **options: Any) -> nir.NIRGraph:
    exchange: Any = import_module("spikingjelly.activation_based.nir_exchange")
    return exchange.export_to_nir(network, torch.zeros(1, *shape), **options)


def _run(network: nn.Module, layer: str, x: np.ndarray) -> Spikes:
    functional: Any = import_module("spikingjelly.activation_based.functional")
    functional.reset_net(network)
    return over_time(network, x, {f"_{layer}": network.get_submodule(layer)})


def _neurons(neuron: Any, layer: Any) -> list[Cell]:
    found = []

    def cell(subject: str, v_reset: float | None, parameters: str, **values: Any) -> None:
        dt = values.pop("dt", None)
        module = getattr(neuron, subject)(v_reset=v_reset, **values)
        network = nn.Sequential(on_grid(layer.Linear(6, 8), 0, step=0.5), module)
        how = "soft" if v_reset is None else f"to v_reset {v_reset:g}"
        export = partial(_export, network, (6,), **({"dt": dt} if dt else {}))
        run, x = partial(_run, network, "1"), spike_trains(6, seed=1)
        found.append(Cell(VERSION, subject, how, parameters, export, run, x))

    for v_reset in (0.0, -0.5, None):
        cell("IFNode", v_reset, "v_threshold 1.5", v_threshold=1.5)
        cell("LIFNode", v_reset, "tau 2", tau=2.0)
        cell("LIFNode", v_reset, "decay_input False", tau=4.0, decay_input=False)
        cell("ParametricLIFNode", v_reset, "init_tau 2", init_tau=2.0)
        cell("ParametricLIFNode", v_reset, "decay_input False", init_tau=2.0, decay_input=False)
        cell("CUBALIFNode", v_reset, "", c_decay=0.5, v_decay=0.75, v_threshold=2.0)
    cell("IFNode", 0.0, "exported with dt 1e-3", v_threshold=1.5, dt=1e-3)
    cell("LIFNode", 0.0, "decay_input False, dt 1e-3", tau=4.0, decay_input=False, dt=1e-3)
    cell("QIFNode", 0.0, "")
    cell("EIFNode", 0.0, "")
    cell("KLIFNode", 0.0, "")
    return found


def _layers(neuron: Any, layer: Any) -> list[Cell]:
    found = []
    shapes: list[tuple[str, str, nn.Module, tuple[int, ...]]] = [
        ("Linear", "", layer.Linear(6, 8), (6,)),
        ("Linear", "no bias", layer.Linear(6, 8, bias=False), (6,)),
        ("Conv1d", "stride 2, padding 1", layer.Conv1d(2, 3, 3, 2, 1), (2, 8)),
        ("Conv1d", "padding 'same'", layer.Conv1d(2, 3, 3, padding="same"), (2, 8)),
        ("Conv2d", "no bias", layer.Conv2d(2, 3, 3, bias=False), (2, 6, 6)),
        ("Conv2d", "stride 2, padding 1", layer.Conv2d(2, 3, 3, 2, 1), (2, 6, 6)),
        ("Conv2d", "padding 'same', dilation 2", layer.Conv2d(2, 3, 2, padding="same", dilation=2),
         (2, 6, 6)),
        ("Conv2d", "groups 2", layer.Conv2d(2, 4, 2, groups=2), (2, 6, 6)),
        ("AvgPool2d", "", layer.AvgPool2d(2), (2, 6, 6)),
        ("AvgPool2d", "kernel 3, stride 2, padding 1", layer.AvgPool2d(3, 2, 1), (2, 6, 6)),
        ("MaxPool2d", "", layer.MaxPool2d(2), (2, 6, 6)),
        ("Flatten", "", layer.Flatten(), (2, 4, 4)),
        ("LinearRecurrentContainer", "",
         layer.LinearRecurrentContainer(neuron.IFNode(), 6, 6), (6,)),
    ]  # fmt: skip
    for subject, parameters, made, shape in shapes:
        threshold = 0.51 if "Pool" in subject else 1.5
        fires = neuron.IFNode(v_threshold=threshold)
        stages = [on_grid(made, 1, step=0.25, largest=6), fires]
        if "Pool" in subject:  # which does not say what it takes
            stages.insert(0, on_grid(layer.Conv2d(2, 2, 1), 2, step=0.25))
        network = nn.Sequential(*stages)
        export = partial(_export, network, shape)
        run = partial(_run, network, str(len(stages) - 1))
        x = spike_trains(*shape, seed=3, rate=0.3)
        found.append(Cell(VERSION, subject, "", parameters, export, run, x))
    return found
