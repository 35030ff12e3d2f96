"""Spyx's layers over images in the order of NIR: channels first, and zeros where Spyx puts them.

Spyx runs with channels last. Its exporter turns kernels and the parameters of neurons over images
round, but not what stands behind a Flatten, whose neurons stay in the order rows, columns,
channels. "SAME" means that an output has a value for every ``stride`` inputs: the exporter writes
the zeros of both sides of a pooling as those of each.
"""

from __future__ import annotations

from collections import deque
from dataclasses import fields, replace
from typing import Any

import nir
import numpy as np

from neurodeploy.errors import UnsupportedError
from neurodeploy.interchange.nir.linear import flattened, linear_node, to_operator
from neurodeploy.ir.convolution import Convolution
from neurodeploy.ir.operators import Shape
from neurodeploy.neurons import NEURONS


def channels_first(graph: nir.NIRGraph) -> tuple[nir.NIRGraph, list[str]]:
    """The graph as Spyx runs it, over arrays whose first axis is the channel.

    Raises:
        UnsupportedError: a pooling padded as Spyx does not, or an output whose neurons stand in
            Spyx's order, which would give the classes other numbers.
    """
    nodes: dict[str, Any] = dict(graph.nodes)
    after: dict[str, list[str]] = {name: [] for name in nodes}
    for source, target in graph.edges:
        after.setdefault(source, []).append(target)
    shapes = {
        name: tuple(int(n) for n in np.ravel(node.input_type["input"]))
        for name, node in nodes.items()
        if isinstance(node, nir.Input)
    }
    notes: list[str] = []
    flattens: dict[str, Shape] = {}
    reached = deque(shapes)
    while reached:
        source = reached.popleft()
        for name in after[source]:
            if name in shapes or name not in nodes:
                continue
            shape = shapes[source]
            _pad(name, nodes, shape, notes)
            if isinstance(nodes[name], nir.Flatten) and len(shape) == 3:
                if isinstance(nodes[source], nir.Input):
                    notes.append(
                        f"node {name!r} flattens samples as they come: taken as {shape}, the order "
                        "of the file's input"
                    )
                else:
                    flattens[name] = shape
            try:
                shapes[name] = _shape_behind(nodes[name], shape)
            except (UnsupportedError, ValueError):  # which the import names
                continue
            reached.append(name)
    for name, shape in flattens.items():
        _reorder_behind(name, shape, nodes, after, notes)
    return nir.NIRGraph(nodes, graph.edges, graph.metadata, type_check=False), notes


def _shape_behind(node: Any, shape: Shape) -> Shape:
    if isinstance(node, nir.Flatten):
        return flattened(node, shape, "")
    if type(node).__name__ in NEURONS or isinstance(node, nir.Delay | nir.Output):
        return shape
    return to_operator(node, shape, "")[0].output_shape


# --- padding ---


def _pad(name: str, nodes: dict[str, Any], shape: Shape, notes: list[str]) -> None:
    """Write the zeros of "SAME" out where NIR's own "same", or padding per side, means others."""
    node = nodes[name]
    if len(shape) != 3:
        return
    if isinstance(node, nir.SumPool2d):
        kernel, stride, written = (
            _pair(value) for value in (node.kernel_size, node.stride, node.padding)
        )
        if not any(written):
            return
        total = _zeros(shape, kernel, stride)
        if written != total:
            raise UnsupportedError(
                f"node {name!r} (SumPool2d): has padding {written}, where Spyx has {total} for "
                f"'SAME' and 0 for 'VALID' over {shape}"
            )
        weights = np.ones((shape[0], 1, *kernel))
        groups = shape[0]
    elif isinstance(node, nir.Conv2d) and _is_same(node.padding):
        weights, groups = np.asarray(node.weight, np.float64), int(np.ravel(node.groups)[0])
        kernel, stride = weights.shape[2:], _pair(node.stride)
        total = _zeros(shape, kernel, stride)
        if stride == (1, 1):
            return
    else:
        return
    sides = tuple((zeros // 2, zeros - zeros // 2) for zeros in total)
    operator = Convolution(weights, shape, stride, sides, (1, 1), groups)
    bias = getattr(node, "bias", None)
    channels = operator.output_shape[0]
    full = None if bias is None else np.broadcast_to(np.ravel(bias), (channels,))
    if full is not None:
        full = np.broadcast_to(full[:, None, None], operator.output_shape)
    nodes[name] = linear_node(operator, full)
    notes.append(f"node {name!r}: padding 'SAME' of Spyx, {sides} zeros before and after each axis")


def _zeros(shape: Shape, kernel: Shape, stride: Shape) -> Shape:
    """Zeros of both sides of each axis, so that every ``stride`` inputs have an output."""
    return tuple(
        max(0, (-(-size // step) - 1) * step + reach - size)
        for size, reach, step in zip(shape[1:], kernel, stride, strict=True)
    )


def _is_same(padding: Any) -> bool:
    text = padding.decode() if isinstance(padding, bytes) else padding
    return isinstance(text, str) and text == "same"


def _pair(value: Any) -> tuple[int, int]:
    flat = [int(n) for n in np.ravel(value)]
    return (flat[0], flat[-1])


# --- the order behind a Flatten ---


def _reorder_behind(
    name: str, shape: Shape, nodes: dict[str, Any], after: dict[str, list[str]], notes: list[str]
) -> None:
    """Bring everything behind a Flatten from Spyx's order to that of channels first.

    Neurons keep the order of what reaches them; weights take theirs in it, up to the next ones.
    """
    size = int(np.prod(shape))
    # At [c, h, w] the place that Spyx gives it: a permutation of the flat array.
    order = np.arange(size).reshape(*shape[1:], shape[0]).transpose(2, 0, 1).ravel()
    same = _one_to_one_behind(name, nodes, after)
    for at in same:
        nodes[at] = _reordered(nodes[at], order)
    for target in dict.fromkeys(t for source in (name, *same) for t in after[source]):
        node = nodes[target]
        if isinstance(node, nir.Output):
            raise UnsupportedError(
                f"node {name!r} (Flatten): leads to the output without a Linear layer, and the "
                "outputs would stand in Spyx's order, channels last; end in a Linear layer"
            )
        if isinstance(node, nir.Linear | nir.Affine) and np.shape(node.weight)[-1] == size:
            nodes[target] = replace(node, weight=np.asarray(node.weight)[..., order])
            notes.append(
                f"node {target!r}: Spyx flattens channels last, so its inputs were put in the "
                "order of channels first"
            )
    for target, node in list(nodes.items()):
        if isinstance(node, nir.Linear | nir.Affine) and any(t in same for t in after[target]):
            changes = {"weight": np.asarray(node.weight)[order]}
            if isinstance(node, nir.Affine):
                changes["bias"] = np.asarray(node.bias)[order]
            nodes[target] = replace(node, **changes)


def _one_to_one_behind(
    name: str, nodes: dict[str, Any], after: dict[str, list[str]]
) -> dict[str, None]:
    """The nodes behind this one that keep the order of what reaches them."""
    found: dict[str, None] = {}
    reached = [name]
    while reached:
        for target in after[reached.pop()]:
            keeps = type(nodes[target]).__name__ in NEURONS or isinstance(
                nodes[target], nir.Scale | nir.Delay | nir.Flatten
            )
            if keeps and target not in found:
                found[target] = None
                reached.append(target)
    return found


def _reordered(node: Any, order: np.ndarray) -> Any:
    """The node with its parameters, one per neuron, in another order."""
    if isinstance(node, nir.Flatten):
        return node
    changes = {
        field.name: np.ravel(value)[order]
        for field in fields(node)
        if isinstance(value := getattr(node, field.name), np.ndarray) and value.size == order.size
    }
    return replace(node, **changes)
