"""A module of anybody's as a ``SpikingNetwork``: its layers, and what each of them reads.

Of the steps that ``tracer`` has followed, the second and the third are the same computation, each
fed by the one before, and the third is taken.
"""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm

from neurodeploy.errors import UnsupportedError
from neurodeploy.nn.folding import PASSING
from neurodeploy.nn.functions import (
    FUNCTIONS,
    METHODS,
    NO_MAXIMUM,
    checked_pool,
    is_value,
    pool_to,
    value,
)
from neurodeploy.nn.graph_builder import Earlier, GraphBuilder, LayerSum
from neurodeploy.nn.layers import Delay
from neurodeploy.nn.network import INPUT, SpikingNetwork
from neurodeploy.nn.nodes import NEURONS
from neurodeploy.nn.steps import Stateful, copied, reset
from neurodeploy.nn.tracer import STEPS, followed, place_of

MOST_STEPS = 64
"""Steps for which a network is compared with its module at most."""

LAYERS = (nn.Linear, nn.BatchNorm1d, nn.BatchNorm2d)
"""Layers of torch that a network takes as they are."""

MAXIMA = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d)
"""Layers that are no sum of what they read."""


def spiking_network(
    module: nn.Module, sample_shape: tuple[int, ...], steps: int = 0
) -> SpikingNetwork:
    """The network that a module's ``forward`` computes in one step.

    Its layers are the module's own, not copies: training one trains the other. Sums, differences,
    constant factors, pooling and flattening may be written as functions; modules may be nested;
    what a step keeps in attributes for the next one becomes a recurrent connection.

    Args:
        module: from (N, *sample_shape) to the outputs o[t] of one step, (N, ...); left as it is
            apart from its state, which is reset.
        sample_shape: shape of one sample, without batch.
        steps: T; the network is compared with the module for so many steps, a few at least.

    Raises:
        InputError: the module does not run on samples of this shape.
        UnsupportedError: a layer or an operation that no such network has, or that depends on the
            values it computes; named with its place in the module's code.
    """
    if isinstance(module, SpikingNetwork):
        return module
    return _traced(module, sample_shape, steps, rectifiers=False)


def rectified_network(module: nn.Module, sample_shape: tuple[int, ...]) -> SpikingNetwork:
    """The layers of an ordinary network of ReLUs, which has no steps and no spikes.

    As ``spiking_network``, but ``nn.ReLU`` and its functions are layers, and neurons are none.

    Raises:
        InputError: the module does not run on samples of this shape.
        UnsupportedError: a layer or an operation that no spiking network could stand in for, an
            own state, or no ReLU at all.
    """
    network = _traced(module, sample_shape, 0, rectifiers=True)
    name = type(module).__name__
    states = [n for n, layer in network.layers.items() if isinstance(layer, (*NEURONS, Delay))]
    if states or network.fed_back:
        raise UnsupportedError(
            f"{name}: layer {[*states, *network.fed_back][0]!r} keeps a state from step to step, "
            "which a network of ReLUs does not; state steps=T for a spiking one"
        )
    if not any(isinstance(layer, nn.ReLU) for layer in network.layers.values()):
        raise UnsupportedError(f"{name} has neither ReLUs nor spiking neurons")
    return network


def _traced(
    module: nn.Module, sample_shape: tuple[int, ...], steps: int, *, rectifiers: bool
) -> SpikingNetwork:
    graph, values, sample = followed(module, sample_shape)
    network = _Reader(module, graph, values, rectifiers).network(sample_shape)
    _check_same(module, network, sample, min(max(steps, STEPS + 1), MOST_STEPS))
    return network.train(module.training)


def _run(net: nn.Module, frames: Tensor) -> list[Tensor]:
    reset(net)
    return [net(frame) for frame in frames]


@torch.no_grad()
def _check_same(module: nn.Module, network: SpikingNetwork, sample: Tensor, steps: int) -> None:
    """Run both for some steps in evaluation, on copies; in float64 if the module's code allows.

    Raises:
        UnsupportedError: they differ: the module does something that its graph does not show.
    """
    generator = torch.Generator().manual_seed(0)
    frames = 2 * torch.rand((steps, *sample.shape), generator=generator, dtype=torch.float64)
    pair: Any = copied(nn.ModuleList([module, network])).eval()
    try:
        outputs = [_run(net, frames.to(sample.device)) for net in pair.double()]
    except RuntimeError:  # code that makes tensors of another type than its input
        outputs = [_run(net, frames.to(sample)) for net in pair.to(sample.dtype)]
    for step, (wanted, found) in enumerate(zip(*outputs, strict=True), start=1):
        if wanted.shape != found.shape or not torch.allclose(wanted, found, rtol=1e-6, atol=1e-9):
            raise UnsupportedError(
                f"{type(module).__name__} computes something else at step {step} than the layers "
                "in it explain: it keeps a state other than tensors in attributes, or draws at "
                "random"
            )


class _Reader:
    """Turns the nodes of the last step into layers and sources."""

    def __init__(
        self,
        module: nn.Module,
        graph: fx.Graph,
        values: dict[fx.Node, Any],
        rectifiers: bool,
    ) -> None:
        self.module = module
        self.rectifiers = rectifiers
        self.values = values
        self.builder = GraphBuilder()
        self.modules = dict(module.named_modules())
        self.parameters = dict(module.named_parameters())
        self.used: set[nn.Module] = set()
        self.found: dict[fx.Node, LayerSum] = {}
        self.refused: dict[fx.Node, UnsupportedError] = {}
        (self.output,) = (node for node in graph.nodes if node.op == "output")
        steps: list[list[fx.Node]] = [[] for _ in range(STEPS)]
        depends: set[fx.Node] = set()
        for node in graph.nodes:
            if node.op in ("placeholder", "output"):
                depends.add(node)
            elif depends & {*node.all_input_nodes}:
                depends.add(node)
                if isinstance(values[node], Tensor):
                    steps[node.meta["step"]].append(node)
        self.now = steps[-1]
        self.before = {node: place for place, node in enumerate(steps[-2])}
        self.long_ago = {*steps[0]} if STEPS > 2 else set()
        if [(n.op, str(n.target)) for n in steps[-2]] != [(n.op, str(n.target)) for n in self.now]:
            raise UnsupportedError(
                f"{type(module).__name__} does not do the same at its third step as at its second"
            )

    def network(self, sample_shape: tuple[int, ...]) -> SpikingNetwork:
        """The network of the last step."""
        for node in self.now:
            try:
                self.found[node] = self._read(node)
            except UnsupportedError as error:
                # Refused where it is used: code may compute what nothing reads.
                self.refused[node] = error
        result: Any = self.output.args[0]
        if not isinstance(result[-1], fx.Node) or result[-1] not in {*self.now}:
            raise UnsupportedError(
                f"{type(self.module).__name__} gives no tensor that depends on its input; a step "
                "of a network gives one, its output o[t]"
            )

        def place(number: int) -> LayerSum:
            return self._known(self.now[number])

        return self.builder.network(self._known(result[-1]), place, sample_shape)

    def _known(self, node: fx.Node) -> LayerSum:
        if node in self.refused:
            raise self.refused[node]
        return self.found[node]

    def _read(self, node: fx.Node) -> LayerSum:
        if node.op == "call_function" and node.args and _is_frame(node):
            return value((INPUT,))
        call = _Call(self, node)
        if node.op == "call_module":
            return self._module(node, call)
        known = FUNCTIONS if node.op == "call_function" else METHODS
        target: Any = node.target
        if target not in known:
            name = target if isinstance(target, str) else getattr(target, "__name__", str(target))
            raise call.refused(f"calls {name}, which no spiking network has")
        return value(known[target](call))

    def _module(self, node: fx.Node, call: _Call) -> LayerSum:
        name = str(node.target).removeprefix("net").removeprefix(".")
        layer = self.modules[name]
        if layer in self.used and any(_has_state(part) for part in layer.modules()):
            raise call.refused(f"uses {name!r} twice in a step, although it has a state")
        layer = copy.copy(layer) if layer in self.used else layer
        self.used.add(layer)
        if len(call.args) != 1 or call.kwargs or not is_value(call.args[0]):
            raise call.refused(f"gives {name!r} other than one tensor")
        return value(call.layer(name, _known_layer(name, layer, call), call.args[0]))

    def argument(self, given: Any) -> Any:
        """An argument of a call as ``functions`` takes it."""
        if isinstance(given, list | tuple):
            return type(given)(self.argument(part) for part in given)
        if not isinstance(given, fx.Node):
            return given
        if given in self.found or given in self.refused:
            return self._known(given)
        if given in self.before:
            return value((Earlier(self.before[given]),))
        if given in self.long_ago:
            raise UnsupportedError(
                f"{place_of(given)}is read two steps later; a network keeps one step"
            )
        if given.op == "get_attr":
            held = self.parameters.get(str(given.target).removeprefix("net."))
            return self.values[given] if held is None else held
        return self.values[given]


class _Call:
    """A node as ``functions.Call``."""

    def __init__(self, reader: _Reader, node: fx.Node) -> None:
        self._reader, self._node = reader, node
        self.args = tuple(reader.argument(part) for part in node.args)
        self.kwargs = {name: reader.argument(part) for name, part in node.kwargs.items()}
        first = next(
            (n for n in node.all_input_nodes if isinstance(reader.values.get(n), Tensor)), node
        )
        self.given = tuple(reader.values[first].shape)
        self.made = tuple(reader.values[node].shape)

    def layer(self, name: str, layer: nn.Module, reads: LayerSum) -> LayerSum:
        """Add a layer that reads a value."""
        if isinstance(layer, nn.ReLU) and not self._reader.rectifiers:
            raise self.refused(
                f"layer {name!r} uses ReLU, which has no counterpart on spiking hardware; use "
                "neurons of nn, or have a trained network of ReLUs converted: from_torch without "
                "steps gives one, and its as_spiking the spiking network"
            )
        return self._reader.builder.add(name, layer, reads, place_of(self._node))

    def refused(self, why: str) -> UnsupportedError:
        """An error that names the place in the user's code."""
        return UnsupportedError(f"{place_of(self._node)}{why}")


def _is_frame(node: fx.Node) -> bool:
    source = node.args[0]
    return isinstance(source, fx.Node) and source.op == "placeholder"


def _has_state(part: nn.Module) -> bool:
    """Whether a second call within a step sees what the first one left behind."""
    return isinstance(part, Stateful | _BatchNorm)


def _known_layer(name: str, layer: nn.Module, call: _Call) -> nn.Module:
    """A layer as networks have it, with the same parameters.

    Raises:
        UnsupportedError: they have none such.
    """
    if isinstance(layer, nn.AvgPool2d):
        return checked_pool(call, layer)
    if isinstance(layer, nn.AdaptiveAvgPool2d):
        return pool_to(call)
    if isinstance(layer, nn.Flatten):
        if call.made != (call.given[0], math.prod(call.given[1:])):
            raise call.refused("flattens only some axes; a network flattens all of a sample")
        return layer
    if isinstance(layer, nn.Conv1d | nn.Conv2d):
        return _with_numbers(layer, call)
    if isinstance(layer, nn.Linear) and len(call.given) != 2:
        raise call.refused(
            f"uses a linear layer on samples of shape {call.given[1:]}; flatten them first"
        )
    if isinstance(layer, nn.ReLU):
        return nn.ReLU()  # often one for all of a module
    if isinstance(layer, (*PASSING, *LAYERS)):
        return layer
    if not type(layer).__module__.startswith("torch.nn."):
        return layer
    kind = type(layer).__name__
    if isinstance(layer, MAXIMA):
        raise call.refused(f"layer {name!r} uses {kind}, {NO_MAXIMUM}")
    raise call.refused(
        f"layer {name!r} uses {kind}, which has no counterpart on spiking hardware; known are "
        "linear and convolutional layers, batch norm, average pooling over two axes, flattening, "
        "dropout, the layers of nn, and ReLUs of a network to be converted"
    )


def _with_numbers(layer: nn.Conv1d | nn.Conv2d, call: _Call) -> nn.Module:
    """A convolution whose padding is zeros and given in numbers."""
    if layer.padding_mode != "zeros":
        raise call.refused(f"pads with padding_mode {layer.padding_mode!r}; only zeros are known")
    if not isinstance(layer.padding, str):
        return layer
    reach = [d * (k - 1) for d, k in zip(layer.dilation, layer.kernel_size, strict=True)]
    if layer.padding == "valid":
        reach = [0] * len(reach)
    if any(r % 2 for r in reach):
        raise call.refused("pads to the same size by more on one side; use an odd kernel")
    found: Any = copy.copy(layer)
    found.padding = tuple(r // 2 for r in reach)
    return found
