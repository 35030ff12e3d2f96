"""A trained network as a NIR graph, with everything NIR leaves undefined in its metadata.

Input -> Conv2d/Affine -> LIF -> ... -> Affine -> I -> Output, with shortcuts and recurrence as
edges; elementwise layers go into the weights beside them (``folding``). The discrete neuron
u[t] = (1 - 1/tau) v[t-1] + x[t] is the Euler step of NIR's tau_nir dv/dt = (v_leak - v) + r I with
tau_nir = tau dt, r = tau and v_leak = 0: the decay is 1 - dt/tau_nir = 1 - 1/tau and the input gain
dt/tau_nir r = 1, so that weights stay as they are.

A linear readout has no neuron in training. NIR's integrator dv/dt = r I with r = 1/dt adds its
input once per step, so that its v after T steps is sum_t o[t]: the class is the argmax of the last
v. A network that ends in neurons is read by their spikes, or by the potentials of an ``LI``.
"""

from __future__ import annotations

from collections.abc import Iterator
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
    Contract,
    DataSource,
    Decode,
    InputCode,
    Semantics,
)
from neurodeploy.nn.current import LI
from neurodeploy.nn.delays import with_fixed_delays
from neurodeploy.nn.expressible import check_expressible, late_biases
from neurodeploy.nn.folding import PADS, PASSING, Folded, fold
from neurodeploy.nn.late_edges import is_late, late_edges
from neurodeploy.nn.layers import Constant, Delay
from neurodeploy.nn.network import INPUT, SpikingNetwork
from neurodeploy.nn.nodes import NEURONS, full, neuron_node, per_channel, plain_node, typed


def module_to_nir(
    model: SpikingNetwork,
    input_code: InputCode,
    steps: int,
    dataset: str = "",
    source: DataSource | None = None,
) -> nir.NIRGraph:
    """Write the network as a NIR graph; node names are the layers' names.

    Parameters become float64 arrays of full shape, which every reader of NIR takes. Reset and
    comparison are those of each layer.

    Args:
        model: left as it is, apart from its state, which is reset.
        input_code: how samples enter; the graph's input is integer/levels.
        steps: T, steps per sample.
        dataset, source: what it was trained on, as in ``Contract``.

    Raises:
        UnsupportedError: a layer that cannot be written, or a loop within which spikes pass from
            layer to layer in the same step.
    """
    model = with_fixed_delays(model)
    semantics = check_expressible(model)
    writer = _Writer(model, semantics)
    writer.write()
    contract = Contract(
        semantics, input_code, steps, writer.decode, dataset, source or DataSource()
    )
    metadata = {METADATA_KEY: contract.to_metadata()}
    return nir.NIRGraph(nodes=writer.nodes, edges=writer.edges, metadata=metadata)


class _Writer:
    """The nodes and edges of one network.

    Attributes:
        decode: how the class is read from the node that the output reads.
    """

    def __init__(self, model: SpikingNetwork, semantics: Semantics) -> None:
        self.model = model
        self.semantics = semantics
        self.folded: Folded = fold(model)
        biases = {n: b for n, (_, b) in self.folded.weights.items()}
        self.late = late_edges(model, late_biases(model, biases))
        self.delays: dict[tuple[str, int], str] = {}
        """The Delay of so many steps behind a node, for what is read late."""
        self.shapes = _input_shapes(model)
        self.decode: Decode = "last_v"
        self.nodes: dict[str, Any] = {INPUT: nir.Input(input_type=typed(model.sample_shape))}
        self.edges: list[tuple[str, str]] = []

    def write(self) -> None:
        model, folded = self.model, self.folded
        for name, sources in folded.inputs.items():
            self.nodes[name] = self._node(name)
            self._lead(sources, name)
        *_, last = model.layers
        outputs = model.shapes[last]
        read = _neurons_behind(model, last)
        end = self._free("output")
        if read is None:
            readout = self._free("readout")
            self.nodes[readout] = nir.I(r=np.full(outputs, 1 / EXPORT_DT))
            self._check_no_constant(last)
            self._lead((last,), readout)
            self._lead_from(readout, end)
        else:
            self.decode = read.decode if isinstance(read, LI) else "spike_count"
            self._lead((last,), end)
        self.nodes[end] = nir.Output(output_type=typed(outputs, "output"))

    def _lead(self, sources: tuple[str, ...], name: str) -> None:
        """Edges from all that is left of some layers."""
        for source in sources:
            for node, steps in self._nodes_behind(source, name):
                self._lead_from(self._late(node, steps) if steps else node, name)

    def _nodes_behind(self, source: str, reader: str, steps: int = 0) -> Iterator[tuple[str, int]]:
        """The nodes left of what a layer reads, each with the steps that a Delay has to say."""
        steps += (source, reader) in self.late
        for carrier in self.folded.carriers[source]:
            if carrier == source:
                yield source, steps
            else:
                yield from self._nodes_behind(carrier, source, steps)

    def _late(self, source: str, steps: int) -> str:
        """A Delay of some steps behind a node."""
        if (source, steps) not in self.delays:
            name = self.delays[source, steps] = self._free(f"{source}_late")
            self.nodes[name] = nir.Delay(full(steps * EXPORT_DT, self.model.shapes[source]))
            self.edges.append((source, name))
        return self.delays[source, steps]

    def _lead_from(self, source: str, name: str) -> None:
        if (source, name) in self.edges:
            raise UnsupportedError(
                f"layer {name!r}: reads {source!r} twice, which NIR's edges cannot say"
            )
        self.edges.append((source, name))

    def _node(self, name: str) -> Any:
        layer, shape = self.model.layers[name], self.shapes[name]
        if name in self.folded.factors:
            return nir.Scale(scale=per_channel(self.folded.factors[name], shape))
        if isinstance(layer, NEURONS):
            return neuron_node(name, layer, self._constant(name, shape), shape, self.semantics)
        self._check_no_constant(name)
        if isinstance(layer, Delay):
            (source,) = self.model.sources[name]
            late = is_late(self.model, (source, name))
            return nir.Delay(full((layer.steps + late) * EXPORT_DT, shape))
        pad, before = None, self.model.sources[name][0]
        if isinstance(self.model.layers[before] if before != INPUT else None, PADS):
            pad, shape = self.model.layers[before], self.shapes[before]
        node = plain_node(name, layer, self.folded.weights.get(name), shape, pad)
        if isinstance(node, nir.Conv1d | nir.Conv2d):
            # NIR's own inference takes every kernel for square and every convolution for ungrouped.
            node.input_type = typed(shape)
            node.output_type = typed(self.model.shapes[name], "output")
        return node

    def _constant(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        """What constants add to the drive of neurons, of full shape."""
        total = np.zeros(shape)
        for source in self._constants(name):
            layer: Any = self.model.layers[source]
            total = total + full(layer.bias, shape)
        return total

    def _check_no_constant(self, name: str) -> None:
        for source in self._constants(name):
            layer: Any = self.model.layers[source]
            if bool(layer.bias.detach().any()):
                raise UnsupportedError(
                    f"layer {source!r}: a bias without weights can be written only where neurons "
                    f"read it; {name!r} has none"
                )

    def _constants(self, name: str) -> list[str]:
        """Constants that a layer reads, or that reach it through layers without a node."""
        found = []
        for source in self.model.sources[name]:
            layer = self.model.layers[source] if source != INPUT else None
            if isinstance(layer, Constant):
                found.append(source)
            elif isinstance(layer, PASSING):
                found += self._constants(source)
        return found

    def _free(self, wanted: str) -> str:
        while wanted in self.nodes:
            wanted += "_"
        return wanted


def _neurons_behind(model: SpikingNetwork, name: str) -> nn.Module | None:
    """The layer of neurons whose output a network gives, if it does; flattening does not matter."""
    layer = model.layers[name] if name != INPUT else None
    if isinstance(layer, NEURONS):
        return layer
    sources = model.sources.get(name, ())
    if isinstance(layer, (nn.Flatten, *PASSING)) and len(sources) == 1:
        return _neurons_behind(model, sources[0])
    return None


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
        first = next(model.parameters(), torch.zeros(()))
        x = torch.zeros((1, *model.sample_shape), dtype=first.dtype, device=first.device)
        for _ in range(1 + len(model.fed_back)):  # recurrence is silent at the first step
            model(x)
    finally:
        for hook in hooks:
            hook.remove()
        model.reset_state()
        model.train(was_training)
    return shapes
