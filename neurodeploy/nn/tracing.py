"""A module of anybody's as a ``SpikingNetwork``: its layers, and what each of them reads.

The module is run symbolically (torch.fx) for three steps in a row. What a step reads from the one
before is then an edge of the graph like any other, whatever attribute carried it: the second and
the third step are the same computation, each fed by the one before, and the third is taken.
"""

from __future__ import annotations

import copy
import math
import traceback
import warnings
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.proxy import TraceError
from torch.nn.modules.batchnorm import _BatchNorm

from neurodeploy.errors import NeurodeployError, UnsupportedError
from neurodeploy.nn.folding import PASSING
from neurodeploy.nn.functions import (
    FUNCTIONS,
    METHODS,
    checked_pool,
    is_value,
    pool_to,
    value,
)
from neurodeploy.nn.graph_builder import Earlier, GraphBuilder, Value
from neurodeploy.nn.network import INPUT, SpikingNetwork
from neurodeploy.nn.steps import Stateful, reset

STEPS = 3
"""The first step reads nothing from before, the second is already like all that follow."""

LAYERS = (nn.Linear, nn.BatchNorm1d, nn.BatchNorm2d)
"""Layers of torch that a network takes as they are."""


def spiking_network(module: nn.Module, sample_shape: tuple[int, ...]) -> SpikingNetwork:
    """The network that a module's ``forward`` computes in one step.

    Its layers are the module's own, not copies: training one trains the other. Sums, differences,
    constant factors, pooling and flattening may be written as functions; modules may be nested;
    what a step keeps in attributes for the next one becomes a recurrent connection.

    Args:
        module: from (N, *sample_shape) to the outputs o[t] of one step, (N, ...); left as it is
            apart from its state, which is reset.
        sample_shape: shape of one sample, without batch.

    Raises:
        InputError: the module does not run on samples of this shape.
        UnsupportedError: a layer or an operation that no such network has, or that depends on the
            values it computes; named with its place in the module's code.
    """
    if isinstance(module, SpikingNetwork):
        return module
    reset(module)
    tracer = _Tracer()
    try:
        steps = _Steps(module, tracer)
        graph = tracer.trace(steps)
    except TraceError as error:
        raise UnsupportedError(
            f"{_place(traceback.extract_tb(error.__traceback__))}the code decides by values that "
            "it computes, such as `if x.sum() > 0`, so that it is not the same network at every "
            "step"
        ) from None
    except NeurodeployError:
        raise
    except Exception as error:
        raise UnsupportedError(
            f"{_place(traceback.extract_tb(error.__traceback__))}cannot be followed: {error}"
        ) from None
    finally:
        tracer.restore()
    first = next(module.parameters(), torch.zeros(()))
    sample = torch.zeros((2, *sample_shape), dtype=first.dtype, device=first.device)
    constants = {n: v for n, v in vars(steps).items() if n.startswith("_tensor_constant")}
    shapes = _shapes(module, graph, constants, sample)
    network = _Reader(module, graph, shapes).network(sample_shape)
    _check_same(module, network, sample)
    return network.train(module.training)


@torch.no_grad()
def _check_same(module: nn.Module, network: SpikingNetwork, sample: Tensor) -> None:
    """Run both for some steps, in float64 and in evaluation, on copies.

    Raises:
        UnsupportedError: they differ: the module does something that its graph does not show.
    """
    module, network = copy.deepcopy((module, network))
    generator = torch.Generator().manual_seed(0)
    frames = 2 * torch.rand((STEPS + 1, *sample.shape), generator=generator, dtype=torch.float64)
    outputs = []
    for net in (module, network):
        net.double().eval()
        reset(net)
        outputs.append([net(frame.to(sample.device)) for frame in frames])
    for step, (wanted, found) in enumerate(zip(*outputs, strict=True), start=1):
        if wanted.shape != found.shape or not torch.allclose(wanted, found, rtol=1e-6, atol=1e-9):
            raise UnsupportedError(
                f"{type(module).__name__} computes something else at step {step} than the layers "
                "in it explain: it keeps a state other than tensors in attributes, or draws at "
                "random"
            )


class _Steps(nn.Module):
    """A module called once per step."""

    def __init__(self, net: nn.Module, tracer: _Tracer) -> None:
        super().__init__()
        self.net = net
        self._tracer = [tracer]

    def forward(self, frames: Any) -> list[Any]:
        """The outputs of the steps; a hand-written state makes each depend on the one before."""
        (tracer,) = self._tracer
        outputs = []
        for step in range(STEPS):
            tracer.step = step
            outputs.append(self.net(frames[step]))
        return outputs


class _Tracer(fx.Tracer):
    """Takes layers whole, follows everything else, and notes the step and the place of each node.

    What the module assigns to its attributes while it is followed is put back by ``restore``.
    """

    def __init__(self) -> None:
        super().__init__()
        self.record_stack_traces = True
        self.step = 0
        self._before: list[tuple[nn.Module, dict[str, Any], dict[str, Any]]] = []

    def trace(self, root: Any, concrete_args: dict[str, Any] | None = None) -> fx.Graph:
        """As torch's own, on modules whose buffers may be assigned to."""
        for part in root.net.modules():
            self._before.append((part, dict(vars(part)), dict(part._buffers)))
            if not self.is_leaf_module(part, ""):
                # A symbol cannot stand in a buffer, only in a plain attribute.
                for name in list(part._buffers):
                    vars(part)[name] = part._buffers.pop(name)
        return super().trace(root, concrete_args)

    def restore(self) -> None:
        """Put the modules' attributes back."""
        for part, attributes, buffers in self._before:
            vars(part).clear()
            vars(part).update(attributes)
            part._buffers.clear()
            part._buffers.update(buffers)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Layers of torch and of this package are taken whole."""
        if isinstance(m, nn.Sequential | SpikingNetwork):
            return False
        return type(m).__module__.startswith(("torch.nn.", "neurodeploy.nn."))

    def create_node(self, *args: Any, **kwargs: Any) -> fx.Node:
        """A node that knows its step."""
        node = super().create_node(*args, **kwargs)
        node.meta["step"] = self.step
        return node


def _place(frames: traceback.StackSummary) -> str:
    """The innermost line that is neither torch's nor ours, as the beginning of a message."""
    for frame in reversed(frames):
        ours = "/neurodeploy/nn/" in frame.filename or "/neurodeploy/interchange/" in frame.filename
        if "/torch/" not in frame.filename and not ours and not frame.filename.startswith("<"):
            return f'{frame.filename}, line {frame.lineno}, "{(frame.line or "").strip()}": '
    return ""


def place_of(node: fx.Node) -> str:
    """Where a node stands in the user's code, as the beginning of a message."""
    lines = (node.stack_trace or "").splitlines()
    frames = []
    for line, code in zip(lines, [*lines[1:], ""], strict=True):
        if line.strip().startswith("File "):
            name, number, function = (part.strip() for part in line.strip().rsplit(",", 2))
            at = int(number.removeprefix("line "))
            text = code.strip()
            frames.append(
                traceback.FrameSummary(name[6:-1], at, function.removeprefix("in "), line=text)
            )
    return _place(traceback.StackSummary.from_list(frames))


def _shapes(
    module: nn.Module, graph: fx.Graph, constants: dict[str, Any], sample: Tensor
) -> dict[fx.Node, Any]:
    """What each node computes, by running all steps on zeros; the module is left as it was."""
    trial = copy.deepcopy(module).eval()
    values: dict[fx.Node, Any] = {}

    class Noting(fx.Interpreter):
        def run_node(self, n: fx.Node) -> Any:
            try:
                found = super().run_node(n)
            except Exception as error:
                reason = " ".join(str(error).split())[:300]
                raise UnsupportedError(
                    f"{place_of(n)}fails on samples of shape {tuple(sample.shape[1:])}: {reason}"
                ) from None
            values[n] = found
            return found

    reset(trial)
    root = nn.Module()
    root.net = trial
    vars(root).update(constants)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what matters of them is refused by name
        Noting(fx.GraphModule(root, graph)).run([sample] * STEPS)
    return values


class _Reader:
    """Turns the nodes of the last step into layers and sources."""

    def __init__(self, module: nn.Module, graph: fx.Graph, values: dict[fx.Node, Any]) -> None:
        self.module = module
        self.values = values
        self.builder = GraphBuilder()
        self.modules = dict(module.named_modules())
        self.parameters = dict(module.named_parameters())
        self.used: set[nn.Module] = set()
        self.found: dict[fx.Node, Value] = {}
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
            self.found[node] = self._read(node)
        result: Any = self.output.args[0]
        if not isinstance(result[-1], fx.Node) or result[-1] not in self.found:
            raise UnsupportedError(
                f"{type(self.module).__name__} gives no tensor that depends on its input; a step "
                "of a network gives one, its output o[t]"
            )
        places = [self.found[node] for node in self.now]
        return self.builder.network(self.found[result[-1]], places, sample_shape)

    def _read(self, node: fx.Node) -> Value:
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

    def _module(self, node: fx.Node, call: _Call) -> Value:
        name = str(node.target).removeprefix("net").removeprefix(".")
        layer = self.modules[name]
        if layer in self.used and any(_has_state(part) for part in layer.modules()):
            raise call.refused(f"uses {name!r} twice in a step, although it has a state")
        self.used.add(layer)
        if len(call.args) != 1 or call.kwargs or not is_value(call.args[0]):
            raise call.refused(f"gives {name!r} other than one tensor")
        return value(call.layer(name, _known_layer(layer, call), call.args[0]))

    def argument(self, given: Any) -> Any:
        """An argument of a call as ``functions`` takes it."""
        if isinstance(given, list | tuple):
            return type(given)(self.argument(part) for part in given)
        if not isinstance(given, fx.Node):
            return given
        if given in self.found:
            return self.found[given]
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
        first = next((n for n in node.all_input_nodes if _is_tensor(reader.values.get(n))), node)
        self.given = tuple(reader.values[first].shape)
        self.made = tuple(reader.values[node].shape)

    def layer(self, name: str, layer: nn.Module, reads: Value) -> Value:
        """Add a layer that reads a value."""
        return self._reader.builder.add(name, layer, reads, place_of(self._node))

    def refused(self, why: str) -> UnsupportedError:
        """An error that names the place in the user's code."""
        return UnsupportedError(f"{place_of(self._node)}{why}")

    def parameter(self, value: Any) -> nn.Parameter | None:
        """A parameter of the module that is used as it is."""
        return value if isinstance(value, nn.Parameter) else None


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor)


def _is_frame(node: fx.Node) -> bool:
    source = node.args[0]
    return isinstance(source, fx.Node) and source.op == "placeholder"


def _has_state(part: nn.Module) -> bool:
    """Whether a second call within a step sees what the first one left behind."""
    return isinstance(part, Stateful | _BatchNorm)


def _known_layer(layer: nn.Module, call: _Call) -> nn.Module:
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
    if isinstance(layer, nn.Conv2d):
        return _with_numbers(layer, call)
    if isinstance(layer, (*PASSING, *LAYERS)):
        return layer
    if type(layer).__module__.startswith("neurodeploy.nn."):
        return layer
    kind = type(layer).__name__
    raise call.refused(
        f"uses {kind}, which has no counterpart on spiking hardware; known are linear and "
        "convolutional layers, batch norm, average pooling, flattening, dropout, and the layers "
        "of nn"
    )


def _with_numbers(layer: nn.Conv2d, call: _Call) -> nn.Conv2d:
    """A convolution whose padding is zeros and given in numbers."""
    if layer.padding_mode != "zeros":
        raise call.refused(f"pads with padding_mode {layer.padding_mode!r}; only zeros are known")
    if not isinstance(layer.padding, str):
        return layer
    reach = [d * (k - 1) for d, k in zip(layer.dilation, layer.kernel_size, strict=True)]
    if layer.padding == "valid":
        reach = [0, 0]
    if any(r % 2 for r in reach):
        raise call.refused("pads to the same size by more on one side; use an odd kernel")
    found = copy.copy(layer)
    found.padding = tuple(r // 2 for r in reach)
    return found
