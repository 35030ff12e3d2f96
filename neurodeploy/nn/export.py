"""A trained network as a NIR graph, with everything NIR leaves undefined in its metadata.

Input -> Conv2d/Affine -> LIF -> ... -> Affine -> I -> Output, with shortcuts and recurrence as
edges; elementwise layers go into the weights beside them (``folding``). The discrete neuron
u[t] = (1 - 1/tau) v[t-1] + x[t] is the Euler step of NIR's tau_nir dv/dt = (v_leak - v) + r I with
tau_nir = tau dt, r = tau and v_leak = 0: the decay is 1 - dt/tau_nir = 1 - 1/tau and the input gain
dt/tau_nir r = 1, so that weights stay as they are.

The readout has no neuron in training. NIR's integrator dv/dt = r I with r = 1/dt adds its input
once per step, so that its v after T steps is sum_t o[t]: the class is the argmax of the last v.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import nir
import numpy as np
import torch
from torch import Tensor, nn

from neurodeploy.errors import UnsupportedError
from neurodeploy.ir.contract import (
    EXPORT_DT,
    METADATA_KEY,
    Comparison,
    Contract,
    DataSource,
    InputCode,
    Reset,
    Semantics,
)
from neurodeploy.nn.folding import fold
from neurodeploy.nn.network import INPUT, SpikingNetwork
from neurodeploy.nn.neuron import LIF


def module_to_nir(
    model: SpikingNetwork,
    input_code: InputCode,
    steps: int,
    dataset: str = "",
    source: DataSource | None = None,
) -> nir.NIRGraph:
    """Write the network as a NIR graph; node names are the layers' names.

    Parameters become float64 arrays of full shape, which every reader of NIR takes. Reset and
    comparison are those of the LIF layers.

    Args:
        model: left as it is, apart from its state, which is reset.
        input_code: how samples enter; the graph's input is integer/levels.
        steps: T, steps per sample.
        dataset, source: what it was trained on, as in ``Contract``.

    Raises:
        UnsupportedError: a layer that cannot be written, or LIF layers that disagree on reset or
            comparison.
    """
    folded = fold(model)
    _check_first_step(model, {name: bias for name, (_, bias) in folded.weights.items()})
    shapes = _input_shapes(model)
    nodes: dict[str, Any] = {INPUT: nir.Input(input_type=_shape(model.sample_shape))}
    edges: list[tuple[str, str]] = []
    for name, sources in folded.inputs.items():
        layer, shape = model.layers[name], shapes[name]
        if name in folded.factors:
            nodes[name] = nir.Scale(scale=_per_channel(folded.factors[name], shape))
        else:
            nodes[name] = _node(name, layer, folded.weights.get(name), shape)
        edges += [(node, name) for source in sources for node in folded.nodes_behind(source)]
    outputs = model.shapes[list(model.layers)[-1]]
    nodes["readout"] = nir.I(r=np.full(outputs, 1 / EXPORT_DT))
    nodes["output"] = nir.Output(output_type=_shape(outputs, "output"))
    edges += [(node, "readout") for node in folded.nodes_behind(list(model.layers)[-1])]
    edges.append(("readout", "output"))
    contract = Contract(
        semantics_of(model), input_code, steps, "last_v", dataset, source or DataSource()
    )
    return nir.NIRGraph(nodes=nodes, edges=edges, metadata={METADATA_KEY: contract.to_metadata()})


def _check_first_step(model: SpikingNetwork, biases: dict[str, np.ndarray]) -> None:
    """Refuse biases that the network adds from the second step on, and NIR from the first.

    Before the first step nothing was fed back, so that a layer which reads nothing else gives
    nothing then, not even its bias.
    """
    place = {name: index for index, name in enumerate(model.layers)}
    silent: set[str] = set()
    for name in model.layers:
        late = {s for s in model.sources[name] if s in place and place[s] >= place[name]}
        if {*model.sources[name]} <= late | silent:
            silent.add(name)
        for layer in late | ({name} & silent):
            if np.any(biases.get(layer, 0)):
                raise UnsupportedError(
                    f"layer {layer!r} acts on the next step and has a bias, which is not added at "
                    "the first one; NIR has no word for that. Use bias=False there, and give the "
                    "bias to a layer that acts within the step"
                )


def semantics_of(model: SpikingNetwork) -> Semantics:
    """Time step, reset, comparison and integrator of a network's neurons.

    Raises:
        UnsupportedError: LIF layers that disagree on reset or comparison.
    """
    layers = {name: layer for name, layer in model.layers.items() if isinstance(layer, LIF)}
    kinds: dict[tuple[Reset, Comparison], list[str]] = {}
    for name, layer in layers.items():
        kinds.setdefault((layer.reset, layer.comparison), []).append(name)
    if len(kinds) > 1:
        listed = "; ".join(
            f"{', '.join(map(repr, names))}: reset {reset!r}, comparison {comparison!r}"
            for (reset, comparison), names in kinds.items()
        )
        raise UnsupportedError(f"all LIF layers need one reset and one comparison: {listed}")
    reset, comparison = next(iter(kinds), ("subtract", ">="))
    return Semantics(EXPORT_DT, reset, comparison, "euler")


def _node(
    name: str,
    layer: nn.Module,
    weights: tuple[np.ndarray, np.ndarray] | None,
    shape: tuple[int, ...],
) -> Any:
    """The NIR node of one layer whose input has ``shape``, without batch."""
    if isinstance(layer, nn.Conv2d) and weights is not None:
        return nir.Conv2d(
            input_shape=(shape[1], shape[2]),
            weight=weights[0],
            stride=_pair(layer.stride),
            padding=_pair(layer.padding),
            dilation=_pair(layer.dilation),
            groups=layer.groups,
            bias=weights[1],
        )
    if isinstance(layer, nn.Linear) and weights is not None:
        return nir.Affine(weight=weights[0], bias=weights[1])
    if isinstance(layer, LIF):
        return _lif(layer, shape)
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


def _lif(neuron: LIF, shape: tuple[int, ...]) -> nir.LIF:
    """The neuron as NIR's LIF; tau is in seconds there, in steps here."""
    tau = _full(neuron.tau, shape)
    return nir.LIF(
        tau=tau * EXPORT_DT,
        r=tau,
        v_leak=np.zeros(shape),
        v_threshold=_full(neuron.v_threshold, shape),
        v_reset=np.zeros(shape),
    )


@torch.no_grad()
def _input_shapes(model: SpikingNetwork) -> dict[str, tuple[int, ...]]:
    """Shape that each layer is given, without batch, found by running the network."""
    shapes: dict[str, tuple[int, ...]] = {}

    def note(name: str, _layer: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        shapes[name] = tuple(arguments[0].shape[1:])

    was_training = model.training
    hooks = [
        layer.register_forward_pre_hook(partial(note, name)) for name, layer in model.layers.items()
    ]
    try:
        model.eval()
        model.reset_state()
        first = next(model.parameters())
        x = torch.zeros((1, *model.sample_shape), dtype=first.dtype, device=first.device)
        for _ in range(1 + bool(model.fed_back)):  # recurrence is silent at the first step
            model(x)
    finally:
        for hook in hooks:
            hook.remove()
        model.reset_state()
        model.train(was_training)
    return shapes


def _full(value: float | Tensor, shape: tuple[int, ...]) -> np.ndarray:
    """One value, or one per neuron, as a float64 array of full shape."""
    array = value.detach().cpu().double().numpy() if isinstance(value, Tensor) else value
    return np.broadcast_to(np.asarray(array, np.float64), shape).copy()


def _per_channel(factor: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """One factor, or one per channel, as an array of full shape."""
    spread = factor.reshape(factor.shape + (1,) * (len(shape) - 1)) if factor.ndim else factor
    return np.broadcast_to(spread, shape).copy()


def _shape(shape: tuple[int, ...], key: str = "input") -> dict[str, np.ndarray]:
    """A shape as NIR types want it."""
    return {key: np.array(shape)}


def _pair(value: Any) -> tuple[int, int]:
    """torch keeps some two-dimensional options as one number, some as a tuple."""
    return (value, value) if isinstance(value, int) else (int(value[0]), int(value[1]))
