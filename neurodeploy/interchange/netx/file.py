"""A ``.net`` of lava-dl, in and out: a network of integers under a contract, and layers to a file.

What is written has the layout of slayer's ``export_hdf5``, with h5py alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from neurodeploy.errors import InputError, Setting, Text, UnsupportedError, in_lines
from neurodeploy.interchange.hdf5 import hdf5_written
from neurodeploy.interchange.netx.layers import (
    MESSAGE_EXPONENT,
    ConvLayer,
    DenseLayer,
    FlattenLayer,
    InputLayer,
    NetChanges,
    NetLayer,
    NetNeuron,
)
from neurodeploy.interchange.netx.network_in import input_shape, to_quantized
from neurodeploy.interchange.netx.read import read_net
from neurodeploy.ir.contract import (
    EXPORT_DT,
    Comparison,
    Contract,
    Decode,
    Encoder,
    InputCode,
    Reset,
    Semantics,
)
from neurodeploy.ir.operators import Shape
from neurodeploy.ir.per_node import ALL
from neurodeploy.ir.quantized import QuantizedNetwork
from neurodeploy.ir.stated import Stated
from neurodeploy.neurons.sigma_delta import MOST_EXPONENT
from neurodeploy.support.files import as_path

FIXED = {"reset": ("zero", "v = 0"), "comparison": (">", "v > threshold")}
"""What lava-dl's neurons do whatever is stated, and how that is said."""


@dataclass(frozen=True)
class NetReading:
    """How much of a ``.net`` is read, and what its file leaves open about the input.

    Attributes:
        input_shape: shape of a sample, for a file that does not say.
        layers: the first so many layers of the file alone; all of them when None.
        biases: samples are what drives an input layer with neurons: its biases themselves, or
            real values x from 0 to 1, which make biases 2 w x - w + b, cut towards zero; in place
            of integers x, which make w x + b.
        message_exponent: of sigma-delta neurons, by how many bits their messages are finer than
            the numbers in the file: lava-dl's ``spike_exp``.
    """

    input_shape: Shape | None = None
    layers: int | None = None
    biases: bool = False
    message_exponent: int = MESSAGE_EXPONENT

    def __post_init__(self) -> None:
        if not 0 <= self.message_exponent <= MOST_EXPONENT:
            raise InputError(
                Text(
                    Setting("message_exponent", str(self.message_exponent)),
                    f": Lava takes 0 to {MOST_EXPONENT}",
                )
            )


@dataclass(frozen=True, eq=False)
class ImportedNet:
    """The integers of a ``.net``, and the layers that they were read from.

    Attributes:
        unchanged: whether the layers are the whole file, as it is.
    """

    network: QuantizedNetwork
    layers: list[NetLayer]
    unchanged: bool


def import_net(
    path: Path | str,
    *,
    input_shape: Shape | None = None,
    layers: int | None = None,
    biases: bool = False,
    message_exponent: int = MESSAGE_EXPONENT,
    dt: float | None = None,
    reset: Reset | None = None,
    comparison: Comparison | None = None,
    steps: int | None = None,
    encoder: Encoder | None = None,
    levels: int | None = None,
    decode: Decode | None = None,
) -> ImportedNet:
    """Import a file under what is stated here; its integers stay as they are.

    Args:
        path: of a ``.net`` file.
        input_shape, layers, biases, message_exponent: as in ``NetReading``.
        dt: seconds per step; 1e-4 when None. Integers do not depend on it.
        reset, comparison: ``zero`` and ``>``, as lava-dl's neurons have them, or None.
        steps: T, time steps per sample; needed.
        encoder: how samples become input; needed.
        levels: the largest integer of a sample; needed but for ``events`` and with ``biases``.
        decode: how the class is read; when None the number of spikes of an output that fires, the
            sum of its potential where it does not, and the last v of one that adds up changes.

    Raises:
        InputError, UnsupportedError: the file, a layer, or what is stated about it.
    """
    stated = Stated(
        dt=dt,
        reset=reset,
        comparison=comparison,
        steps=steps,
        encoder=encoder,
        levels=levels,
        decode=decode,
    )
    reading = NetReading(input_shape, layers, biases, message_exponent)
    return import_net_stated(as_path(path, "import_net"), stated, reading)


def import_net_stated(path: Path, stated: Stated, reading: NetReading) -> ImportedNet:
    """``import_net`` with all that is stated in one value.

    Raises:
        InputError, UnsupportedError: as ``import_net``.
    """
    found = read_net(path, reading.layers)
    name = path.name
    layers, code = found, None
    if reading.biases:
        driven, code = _driven_by_biases(found[0], stated, name)
        layers = [driven, *found[1:]]
        stated = replace(stated, encoder=code.encoder, levels=code.levels)
    contract = _contract(layers, stated, name)
    if code is not None:
        contract = replace(contract, input_code=code)
    shape = input_shape(layers, reading.input_shape, name)
    network = to_quantized(layers, shape, contract, name, reading.message_exponent)
    return ImportedNet(network, layers, layers is found and reading.layers is None)


def _driven_by_biases(layer: NetLayer, stated: Stated, where: str) -> tuple[InputLayer, InputCode]:
    """The input layer whose values are its biases less the lowest, and what samples are then.

    Raises:
        UnsupportedError: there is no such layer, or something else is stated about its values.
    """
    biases = Setting("biases")
    if not isinstance(layer, InputLayer) or layer.neuron is None:
        raise UnsupportedError(
            Text(
                f"{where}: ", biases, ", but the file has no input layer driven through its biases"
            )
        )
    if layer.weight < 1:
        raise UnsupportedError(
            Text(f"{where}: ", biases, f" needs an input weight above 0, found {layer.weight}")
        )
    if stated.encoder not in (None, "direct"):
        raise UnsupportedError(
            Text(f"{where}: ", biases, " are there at every step"),
            fix=Text("state ", Setting("encoder", "direct")),
        )
    levels = 2 * layer.weight
    if stated.levels not in (None, levels):
        raise UnsupportedError(
            Text(f"{where}: ", biases, f" take {levels + 1} values: an input weight to each side"),
            fix=Text("leave ", Setting("levels"), " out"),
        )
    lowest = layer.bias - layer.weight
    return replace(layer, weight=1, bias=lowest), InputCode("direct", levels, True, lowest)


def _contract(layers: list[NetLayer], stated: Stated, where: str) -> Contract:
    """What a ``.net`` leaves open is stated; the rest is lava-dl's own."""
    for name, (value, meaning) in FIXED.items():
        found = getattr(stated, name)
        given = found if isinstance(found, dict) else {ALL: found}
        for layer, one in given.items():
            if one in (None, value):
                continue
            setting = Setting(name, one if layer == ALL else f"{layer}={one}")
            raise UnsupportedError(
                Text(f"{where}: ", setting, f", but lava-dl's neurons have {meaning}")
            )
    encoders = "events for spikes over time, direct, rate or latency for static samples"
    hints = {"steps": "time steps per sample", "encoder": encoders}
    if stated.encoder not in (None, "events"):
        hints["levels"] = "the largest integer of a sample, 255 for images of 8 bits"
    missing = [
        Text("  ", Setting(name), f": {hint}")
        for name, hint in hints.items()
        if not getattr(stated, name)
    ]
    if missing:
        raise UnsupportedError(
            f"{where}: a .net does not say how samples enter",
            fix=Text("state\n", in_lines(missing)),
        )
    last = [layer for layer in layers if not isinstance(layer, FlattenLayer)][-1:]
    spikes = all(layer.neuron is None or layer.neuron.spikes for layer in last)
    sums = any(isinstance(layer.neuron, NetChanges) and layer.neuron.sums for layer in last)
    silent: Decode = "last_v" if sums else "sum_v"
    decode = stated.decode or ("spike_count" if spikes else silent)
    try:
        semantics = Semantics(EXPORT_DT if stated.dt is None else stated.dt, "zero", ">")
        code = InputCode(stated.encoder or "events", 1 if stated.levels is None else stated.levels)
        return Contract(semantics, code, stated.steps or 0, decode)
    except ValueError as error:
        raise UnsupportedError(f"{where}: {error}") from None


def write_net(path: Path | str, layers: list[NetLayer], steps: int) -> None:
    """Write layers to a new file, as slayer's ``export_hdf5`` lays them out, whole or not at all.

    Args:
        steps: T, kept where slayer's examples keep it; no reader uses it.

    Raises:
        InputError: the file cannot be written.
    """
    with hdf5_written(as_path(path, "write_net")) as file:
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


def _write_neuron(group: h5py.Group, neuron: NetNeuron | NetChanges) -> None:
    if isinstance(neuron, NetChanges):
        group["type"] = "SDNN"
        group["activation"] = "relu"
        group["vThMant"] = neuron.threshold
        if neuron.sums:
            group["sigma_output"] = True
        return
    group["type"] = "CUBA"
    group["iDecay"] = neuron.i_decay
    group["vDecay"] = neuron.v_decay
    group["vThMant"] = neuron.threshold
    group["refDelay"] = 1
    group["gradedSpike"] = False
