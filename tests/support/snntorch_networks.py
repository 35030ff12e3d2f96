"""Networks of snnTorch, exported by snnTorch and run by it."""

from __future__ import annotations

import warnings
from typing import Any

import nir
import numpy as np
import pytest
import torch
from torch import nn

from support.framework_runs import on_grid, over_time

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    snn = pytest.importorskip("snntorch", reason="snnTorch is not installed: make install")
    export_nir = pytest.importorskip("snntorch.export_nir")

CLASSES = ("Leaky", "Synaptic", "RLeaky", "RSynaptic")


def exported(network: nn.Module, *shape: int) -> nir.NIRGraph:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nirtorch retires what snnTorch calls
        return export_nir.export_to_nir(network, torch.zeros(1, *shape), ignore_dims=[0])


def run(network: nn.Module, x: np.ndarray, *layers: str) -> dict[str, np.ndarray]:
    modules: list[Any] = list(network.modules())
    for module in modules:
        if hasattr(module, "reset_mem"):
            module.reset_mem()
    return over_time(network, x, {name: network.get_submodule(name) for name in layers})


def leaky(beta: Any, shape: tuple[int, ...], threshold: float = 1.0, **changes: Any) -> nn.Module:
    """snnTorch's exporter wants every parameter in the layer's full shape."""
    betas = torch.as_tensor(np.broadcast_to(np.asarray(beta, np.float32), shape).copy())
    thresholds = torch.full(shape, threshold)
    return snn.Leaky(beta=betas, threshold=thresholds, init_hidden=True, **changes)


def layer(
    kind: str, size: int, *, per_neuron: bool = True, all_to_all: bool = True, **changes: Any
) -> nn.Module:
    """A layer of neurons of any class, with decays and weights on a grid.

    Args:
        per_neuron: decays and thresholds that differ; else one for all, which for recurrent layers
            is written as one number.
        all_to_all: how a recurrent layer is wired; else each neuron to itself.
    """
    rng = np.random.default_rng(size)
    recurrent = kind.startswith("R")

    def parameter(values: tuple[float, ...]) -> Any:
        if per_neuron:
            return torch.from_numpy(rng.choice(values, size)).float()
        return values[0] if recurrent else torch.full((size,), values[0])

    how: dict[str, Any] = {
        "beta": parameter((0.75, 0.5, 0.875)),
        "threshold": parameter((1.25, 1.5, 1.0)),
        "init_hidden": True,
        **changes,
    }
    if kind.endswith("Synaptic"):
        how["alpha"] = parameter((0.5, 0.25))
    if recurrent and all_to_all:
        how["linear_features"] = size
    elif recurrent:
        how |= {"all_to_all": False, "V": torch.full((size,), -0.25)}
    made = getattr(snn, kind)(**how)
    if recurrent and all_to_all:
        on_grid(made.recurrent, 7, step=1 / 64)
    return made


def node_of(kind: str, place: str) -> str:
    """The name of a layer's neurons in the exported file."""
    return f"{place}.lif" if kind.startswith("R") else place
