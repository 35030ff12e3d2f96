"""Reading a ``.net`` with h5py alone: every layer as lava-dl's own reader takes it, or refused.

Refused by name is what that reader cannot load, and what it skips although it would change the
network: the deployed network is what runs there, so the file must say no more than that.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from neurodeploy.errors import InputError, Setting, Text, UnsupportedError
from neurodeploy.interchange.hdf5 import Tree, read_tree
from neurodeploy.interchange.netx.layers import (
    LAVA_INT8,
    ConvLayer,
    DenseLayer,
    FlattenLayer,
    InputLayer,
    NetChanges,
    NetLayer,
    NetNeuron,
)
from neurodeploy.interchange.netx.neurons import read_neuron
from neurodeploy.interchange.netx.values import array, exact, integers, whole, word
from neurodeploy.ir.operators import Shape
from neurodeploy.support.files import as_path

MOST_NEURONS = 2**22
"""Of one layer; several times what a chip holds."""

LARGEST_DELAY = 62
"""lava-dl clamps delays above."""

NO_LAYERS = {
    "pool": "pooling layers",
    "unpool": "unpooling layers",
    "convT": "transposed convolutions",
    "average": "averaging layers",
    "concat": "skip connections",
    "dense_comp": "complex layers",
}
"""Layer types that lava-dl's reader names and then fails on."""


def read_net(path: Path | str, first: int | None = None) -> list[NetLayer]:
    """The layers of a file, in order.

    Args:
        first: read so many; all of them when None.

    Raises:
        InputError: the file is absent, damaged or no ``.net``, or has fewer layers than asked for.
        UnsupportedError: a layer that cannot be deployed, named with the reason.
    """
    path = as_path(path, "read_net")
    tree = read_tree(path, ".net")
    layers = tree.get("layer")
    if not isinstance(layers, dict) or not layers:
        raise InputError(f"{path}: not a .net file: it has no group 'layer' with layers in it")
    numbers = [str(index) for index in range(len(layers))]
    if set(layers) != set(numbers):
        raise InputError(
            f"{path}: the layers are named {', '.join(name[:16] for name in sorted(layers)[:8])}; "
            f"expected 0 to {len(layers) - 1}"
        )
    if first is not None and not 1 <= first <= len(numbers):
        raise InputError(
            Text(
                Setting("layers", str(first)), f": {path} has {len(numbers)} layers; give 1 to that"
            )
        )
    read = []
    for number in numbers[:first]:
        try:
            read.append(_Layer(layers[number], f"{path}: layer {number}").read())
        except UnsupportedError as error:
            if any(not isinstance(layer, FlattenLayer | InputLayer) for layer in read):
                fix = Text(Setting("layers", number), " takes those before it")
                raise UnsupportedError(error.text, fix=fix) from None
            raise
    return read


class _Layer:
    """One group ``layer/N``, with messages that name it."""

    def __init__(self, tree: Any, where: str) -> None:
        if not isinstance(tree, dict):
            raise InputError(f"{where}: an array; expected a group")
        self.tree: Tree = tree
        self.kind = word(tree, "type", where)
        self.where = f"{where} ({self.kind})"

    def read(self) -> NetLayer:
        if self.kind == "flatten":
            return FlattenLayer()
        if self.kind == "input":
            return self._input()
        if self.kind in ("dense", "dense_rec"):
            return self._dense()
        if self.kind == "conv":
            return self._conv()
        if self.kind in NO_LAYERS:
            raise UnsupportedError(
                f"{self.where}: lava-dl itself cannot load {NO_LAYERS[self.kind]}; fold them into "
                "a convolution or a dense layer"
            )
        raise UnsupportedError(
            f"{self.where}: unknown type; input, flatten, dense, dense_rec and conv are read"
        )

    def _input(self) -> InputLayer:
        shape = self._shape((1, 3))
        if "neuron" not in self.tree:
            return InputLayer(shape)
        neuron = self._neuron(shape[0])
        weight = self._number("weight", 64)
        return InputLayer(shape, neuron, weight, self._number("bias", 0))

    def _dense(self) -> DenseLayer:
        if isinstance(self.tree.get("weight"), dict):
            raise UnsupportedError(f"{self.where}: complex weights; real ones are read")
        neurons = math.prod(self._shape())
        weight = self._matrix("weight", neurons)
        recurrent = None
        if self.kind == "dense_rec":
            recurrent = self._matrix("weight_rec", neurons)
            if recurrent.shape[1] != neurons:
                raise InputError(
                    f"{self.where}: recurrent weights are {recurrent.shape}; expected "
                    f"({neurons}, {neurons})"
                )
        neuron = self._neuron(neurons)
        if isinstance(neuron, NetChanges) and recurrent is not None:
            raise UnsupportedError(
                f"{self.where}: sigma-delta neurons that feed themselves, whose messages lava-dl "
                "makes as wide as those of the layer before; slayer has no such layers"
            )
        bias = self._bias([(neurons,)])
        delay = self._delay(weight.shape) if "delay" in self.tree else None
        if delay is not None and recurrent is not None:
            raise UnsupportedError(
                f"{self.where}: delays beside recurrent weights, for which lava-dl scales the "
                "weights wrongly; take one of the two out"
            )
        return DenseLayer(neuron, weight, recurrent, bias, delay)

    def _conv(self) -> ConvLayer:
        if isinstance(self.tree.get("weight"), dict):
            raise UnsupportedError(f"{self.where}: complex weights; real ones are read")
        shape = self._shape((3,))
        weight = self._integers("weight")
        if weight.ndim == 5 and weight.shape[4] == 1:
            weight = weight[..., 0]
        if weight.ndim != 4 or weight.shape[0] != shape[0] or not weight.size:
            raise InputError(
                f"{self.where}: weights are {weight.shape} for {shape[0]} channels; expected "
                "(channels, input channels per group, height, width)"
            )
        if "delay" in self.tree and self._integers("delay").any():
            raise UnsupportedError(
                f"{self.where}: delays, which lava-dl's reader skips; what it runs is not what "
                "the file says"
            )
        layer = ConvLayer(
            shape,
            self._neuron(shape[0]),
            weight,
            self._pair("stride"),
            self._pair("padding"),
            self._pair("dilation"),
            self._number("groups"),
            self._bias([(shape[0],), (shape[2], shape[1], shape[0])]),
        )
        counts = (*layer.stride, *layer.padding, *layer.dilation, *weight.shape[2:], layer.groups)
        if max(counts) > LAVA_INT8 or min(counts) < 0:
            raise UnsupportedError(
                f"{self.where}: stride {layer.stride}, padding {layer.padding}, dilation "
                f"{layer.dilation}, kernel {weight.shape[2:]}, {layer.groups} groups; Lava takes "
                f"up to {LAVA_INT8} of each"
            )
        return layer

    def _neuron(self, channels: int) -> NetNeuron | NetChanges:
        return read_neuron(self.tree, self.kind, channels, self.where)

    def _shape(self, axes: tuple[int, ...] = (1, 2, 3)) -> Shape:
        values = np.atleast_1d(exact(self.tree, "shape", self.where))
        shape = tuple(values.ravel()[:4].tolist())
        if (
            values.shape != (len(shape),)
            or len(shape) not in axes
            or min(shape) < 1
            or math.prod(shape) > MOST_NEURONS
        ):
            raise InputError(
                f"{self.where}: shape {shape}; expected {' or '.join(map(str, axes))} positive "
                f"numbers, up to {MOST_NEURONS:,} neurons"
            )
        return shape

    def _matrix(self, name: str, rows: int) -> np.ndarray:
        values = self._integers(name)
        if values.ndim == 1 and values.size and values.size % rows == 0:
            values = values.reshape(rows, -1)
        if values.ndim != 2 or values.shape[0] != rows or not values.size:
            raise InputError(
                f"{self.where}: {name} is {values.shape}; expected ({rows}, inputs) for its shape"
            )
        return values

    def _bias(self, shapes: list[Shape]) -> np.ndarray | None:
        if "bias" not in self.tree:
            return None
        values = self._integers("bias")
        if values.shape not in shapes:
            raise InputError(
                f"{self.where}: bias is {values.shape}; expected "
                f"{' or '.join(str(shape) for shape in shapes)}"
            )
        return values if values.ndim == 1 else np.ascontiguousarray(values.transpose(2, 1, 0))

    def _delay(self, shape: Shape) -> np.ndarray:
        """Delays of every weight; one axis means neurons, or else inputs, as in lava-dl."""
        raw = array(self.tree, "delay", self.where)
        values = whole(np.floor(raw) if raw.dtype.kind == "f" else raw, f"{self.where}: delay")
        if values.ndim == 1 and values.size in shape:
            values = values[:, None] if values.size == shape[0] else values[None]
        elif values.shape not in ((), shape):
            raise InputError(f"{self.where}: delay is {values.shape} for weights of {shape}")
        if values.min(initial=0) < 0 or values.max(initial=0) > LARGEST_DELAY:
            raise UnsupportedError(
                f"{self.where}: delays from {values.min()} to {values.max()}; 0 to "
                f"{LARGEST_DELAY} steps are possible"
            )
        return np.broadcast_to(values, shape).copy()

    def _pair(self, name: str) -> Shape:
        values = np.atleast_1d(exact(self.tree, name, self.where))
        if values.shape not in ((1,), (2,)):
            raise InputError(f"{self.where}: {name} is {values.shape}; expected one or two numbers")
        first, last = values[0].item(), values[-1].item()
        return first, last

    def _number(self, name: str, default: int | None = None) -> int:
        if default is not None and name not in self.tree:
            return default
        values = self._integers(name)
        if values.size != 1 or (name == "groups" and values.ndim):
            raise InputError(f"{self.where}: {name} is {values.shape}; expected one number")
        return values.item()

    def _integers(self, name: str) -> np.ndarray:
        return integers(self.tree, name, self.where)
