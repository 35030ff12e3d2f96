"""A trained network as a NIR graph, with everything NIR leaves undefined in its metadata.

Input -> Conv2d/Affine -> LIF -> ... -> Affine -> I -> Output; batch norm is folded into the
weights before it. The discrete neuron u[t] = (1 - 1/tau) v[t-1] + x[t] is the Euler step of NIR's
tau_nir dv/dt = (v_leak - v) + r I with tau_nir = tau dt, r = tau and v_leak = 0: the decay is
1 - dt/tau_nir = 1 - 1/tau and the input gain dt/tau_nir r = 1, so that weights stay as they are.

The readout has no neuron in training. NIR's integrator dv/dt = r I with r = 1/dt adds its input
once per step, so that its v after T steps is sum_t o[t]: the class is the argmax of the last v.
"""

from __future__ import annotations

import itertools
from typing import Any

import nir
import numpy as np
import torch
from torch import Tensor, nn

from neurodeploy.contract import EXPORT_DT, METADATA_KEY, Contract, InputCode, Semantics
from neurodeploy.data import Dataset
from neurodeploy.errors import UnsupportedError
from neurodeploy.recipe import NeuronRecipe, Recipe
from neurodeploy.training.networks import SpikingNetwork
from neurodeploy.training.neuron import LIF

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


def input_code(recipe: Recipe, dataset: Dataset) -> InputCode:
    """How samples of the data set enter this recipe's network."""
    return InputCode(recipe.encoder.name, dataset.levels)


def to_nir(model: SpikingNetwork, recipe: Recipe, dataset: Dataset) -> nir.NIRGraph:
    """Write the network as a NIR graph; node names are the layers' names.

    Parameters become float64 arrays of full shape, which every reader of NIR takes.

    Args:
        model: left as it is, apart from its state, which is reset.
        recipe: the one it was trained with.
        dataset: the one it was trained on; the graph's input is integer/levels.

    Raises:
        UnsupportedError: a layer that cannot be written.
    """
    layers = list(model.layers.items())
    nodes: dict[str, Any] = {"input": nir.Input(input_type=_shape(model.sample_shape))}
    for index, ((name, layer), shape) in enumerate(zip(layers, _input_shapes(model), strict=True)):
        if isinstance(layer, BATCH_NORMS):
            continue
        following = layers[index + 1][1] if index + 1 < len(layers) else None
        norm = following if isinstance(following, BATCH_NORMS) else None
        nodes[name] = _node(name, layer, norm, shape)
    outputs = (dataset.classes,)
    nodes["readout"] = nir.I(r=np.full(outputs, 1 / EXPORT_DT))
    nodes["output"] = nir.Output(output_type=_shape(outputs, "output"))
    names = list(nodes)
    contract = Contract(
        Semantics(EXPORT_DT, recipe.neuron.reset, recipe.neuron.comparison, "euler"),
        input_code(recipe, dataset),
        recipe.training.steps,
        "last_v",
        dataset.name,
    )
    return nir.NIRGraph(
        nodes=nodes,
        edges=list(itertools.pairwise(names)),
        metadata={METADATA_KEY: contract.to_metadata()},
    )


def fold(layer: nn.Conv2d | nn.Linear, norm: nn.Module | None) -> tuple[np.ndarray, np.ndarray]:
    """Weight and bias in float64 with the batch norm behind them folded in.

    W' = W gamma/sqrt(var + eps) per output channel; b' = (b - mean) gamma/sqrt(var + eps) + beta,
    with the running mean and variance.
    """
    weight = _array(layer.weight)
    bias = np.zeros(len(weight)) if layer.bias is None else _array(layer.bias)
    if not isinstance(norm, BATCH_NORMS):
        return weight, bias
    mean, variance = norm.running_mean, norm.running_var
    if mean is None or variance is None:
        raise UnsupportedError("batch norm without running statistics cannot be exported")
    scale = _array(norm.weight) / np.sqrt(_array(variance) + norm.eps)
    weight = weight * scale.reshape(-1, *(1,) * (weight.ndim - 1))
    return weight, (bias - _array(mean)) * scale + _array(norm.bias)


def _node(name: str, layer: nn.Module, norm: nn.Module | None, shape: tuple[int, ...]) -> Any:
    """The NIR node of one layer whose input has ``shape``, without batch."""
    if isinstance(layer, nn.Conv2d):
        weight, bias = fold(layer, norm)
        return nir.Conv2d(
            input_shape=(shape[1], shape[2]),
            weight=weight,
            stride=_pair(layer.stride),
            padding=_pair(layer.padding),
            dilation=_pair(layer.dilation),
            groups=layer.groups,
            bias=bias,
        )
    if isinstance(layer, nn.Linear):
        weight, bias = fold(layer, norm)
        return nir.Affine(weight=weight, bias=bias)
    if isinstance(layer, LIF):
        return _lif(layer.recipe, shape)
    if isinstance(layer, nn.AvgPool2d):
        return nir.AvgPool2d(
            kernel_size=np.array(_pair(layer.kernel_size)),
            stride=np.array(_pair(layer.stride)),
            padding=np.array(_pair(layer.padding)),
        )
    if isinstance(layer, nn.Flatten):
        # NIR shapes have no batch: flattening starts at the first axis.
        return nir.Flatten(input_type=_shape(shape), start_dim=0, end_dim=-1)
    raise UnsupportedError(f"layer {name!r}: {type(layer).__name__} has no counterpart in NIR")


def _lif(neuron: NeuronRecipe, shape: tuple[int, ...]) -> nir.LIF:
    """The neuron as NIR's LIF; tau is in seconds there, in steps here."""
    return nir.LIF(
        tau=np.full(shape, neuron.tau * EXPORT_DT),
        r=np.full(shape, neuron.tau),
        v_leak=np.zeros(shape),
        v_threshold=np.full(shape, neuron.v_threshold),
        v_reset=np.zeros(shape),
    )


@torch.no_grad()
def _input_shapes(model: SpikingNetwork) -> list[tuple[int, ...]]:
    """Shape that each layer is given, without batch, found by running the network once."""
    was_training = model.training
    model.eval()
    model.reset_state()
    first = next(model.parameters())
    x = torch.zeros((1, *model.sample_shape), dtype=first.dtype, device=first.device)
    shapes = []
    for layer in model.layers.values():
        shapes.append(tuple(x.shape[1:]))
        x = layer(x)
    model.reset_state()
    model.train(was_training)
    return shapes


def _shape(shape: tuple[int, ...], key: str = "input") -> dict[str, np.ndarray]:
    """A shape as NIR types want it."""
    return {key: np.array(shape)}


def _array(values: Tensor) -> np.ndarray:
    """A float64 copy, which later training of the model does not change."""
    return values.detach().cpu().to(torch.float64, copy=True).numpy()


def _pair(value: Any) -> tuple[int, int]:
    """torch keeps some two-dimensional options as one number, some as a tuple."""
    return (value, value) if isinstance(value, int) else (int(value[0]), int(value[1]))
