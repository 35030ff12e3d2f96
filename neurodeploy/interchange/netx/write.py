"""Writing a ``.net``: HDF5 in the layout of slayer's ``export_hdf5``, with h5py alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from neurodeploy.interchange.netx.layers import (
    ConvLayer,
    DenseLayer,
    FlattenLayer,
    InputLayer,
    NetLayer,
    NetNeuron,
)


def write_net(path: Path, layers: list[NetLayer], steps: int) -> None:
    """Write layers to a new file.

    Args:
        steps: T, kept where slayer's examples keep it; no reader uses it.
    """
    with h5py.File(path, "w") as file:
        file["simulation/Ts"] = 1
        file["simulation/nSample"] = steps
        for index, layer in enumerate(layers):
            group = file.create_group(f"layer/{index}")
            for name, value in _items(layer).items():
                group[name] = value
            # As slayer writes it; its reader takes a plain string as well.
            group.create_dataset("type", (1,), "S10", [_kind(layer).encode()])
            neuron = None if isinstance(layer, FlattenLayer) else layer.neuron
            if neuron is not None:
                _write_neuron(group.create_group("neuron"), neuron)


def _kind(layer: NetLayer) -> str:
    if isinstance(layer, DenseLayer):
        return "dense" if layer.recurrent is None else "dense_rec"
    names = {InputLayer: "input", FlattenLayer: "flatten", ConvLayer: "conv"}
    return names[type(layer)]


def _items(layer: NetLayer) -> dict[str, Any]:
    if isinstance(layer, FlattenLayer):
        return {}
    items: dict[str, Any] = {"shape": np.array(layer.shape, np.int64)}
    if isinstance(layer, InputLayer):
        if layer.neuron is not None:
            items |= {"weight": layer.weight, "bias": layer.bias}
        return items
    items["weight"] = layer.weight.astype(np.int16)
    if isinstance(layer, DenseLayer):
        items |= {"inFeatures": layer.weight.shape[1], "outFeatures": layer.weight.shape[0]}
        if layer.recurrent is not None:
            items["weight_rec"] = layer.recurrent.astype(np.int16)
        if layer.delay is not None:
            items["delay"] = layer.delay.astype(np.int16)
        if layer.bias is not None:
            items["bias"] = layer.bias
        return items
    items |= {
        "inChannels": layer.weight.shape[1] * layer.groups,
        "outChannels": layer.weight.shape[0],
        "kernelSize": np.array(layer.weight.shape[2:], np.int64),
        "groups": layer.groups,
    }
    for name in ("stride", "padding", "dilation"):
        items[name] = np.array(getattr(layer, name), np.int64)
    if layer.bias is not None:
        # Lava's axes are the other way around: (width, height, channels).
        items["bias"] = layer.bias if layer.bias.ndim == 1 else layer.bias.transpose(2, 1, 0)
    return items


def _write_neuron(group: h5py.Group, neuron: NetNeuron) -> None:
    group["type"] = "CUBA"
    group["iDecay"] = neuron.i_decay
    group["vDecay"] = neuron.v_decay
    group["vThMant"] = neuron.threshold
    group["refDelay"] = 1
    group["gradedSpike"] = False
