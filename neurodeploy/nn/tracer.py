"""A module of anybody's run symbolically (torch.fx), with the places of its nodes in its code.

It runs for several steps in a row. What a step reads from the one before is then an edge of the
graph like any other, whatever attribute carried it.
"""

from __future__ import annotations

import traceback
import warnings
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.proxy import TraceError

from neurodeploy.errors import NeurodeployError, UnsupportedError
from neurodeploy.nn.network import SpikingNetwork
from neurodeploy.nn.steps import copied, reset

STEPS = 3
"""The first step reads nothing from before, the second is already like all that follow."""


def followed(
    module: nn.Module, sample_shape: tuple[int, ...]
) -> tuple[fx.Graph, dict[fx.Node, Any], Tensor]:
    """The graph of ``STEPS`` steps of a module, what each node computes, and a batch of zeros.

    Nodes know their step, ``node.meta["step"]``, and what they compute is found by running all
    steps on that batch, (2, *sample_shape). The module is left as it was, but its state is reset.

    Raises:
        UnsupportedError: the code decides by values that it computes, cannot be followed, or does
            not run on samples of this shape; named with its place.
    """
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
            f"{_place(traceback.extract_tb(error.__traceback__))}cannot be followed: {error}. One "
            "call is one step, (N, ...), without a loop over time; sizes of the input are not "
            "known while it is followed, so start a state with None or x.new_zeros(...)"
        ) from None
    finally:
        tracer.restore()
    first = next(module.parameters(), torch.zeros(()))
    sample = torch.zeros((2, *sample_shape), dtype=first.dtype, device=first.device)
    constants = {n: v for n, v in vars(steps).items() if n.startswith("_tensor_constant")}
    return graph, _computed(module, graph, constants, sample), sample


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
        # A class made from a layer of this package, with nothing but a name of its own, is one.
        kind = next(kind for kind in type(m).__mro__ if "forward" in vars(kind))
        if not type(m).__module__.startswith("torch.nn."):
            return kind.__module__.startswith("neurodeploy.nn.")
        return True

    def create_node(self, *args: Any, **kwargs: Any) -> fx.Node:
        """A node that knows its step."""
        node = super().create_node(*args, **kwargs)
        node.meta["step"] = self.step
        return node


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


def _place(frames: traceback.StackSummary) -> str:
    """The innermost line that is neither torch's nor ours, as the beginning of a message."""
    for frame in reversed(frames):
        ours = "/neurodeploy/nn/" in frame.filename or "/neurodeploy/interchange/" in frame.filename
        if "/torch/" not in frame.filename and not ours and not frame.filename.startswith("<"):
            return f'{frame.filename}, line {frame.lineno}, "{(frame.line or "").strip()}": '
    return ""


def _computed(
    module: nn.Module, graph: fx.Graph, constants: dict[str, Any], sample: Tensor
) -> dict[fx.Node, Any]:
    """What each node computes, by running all steps on zeros; the module is left as it was."""
    trial = copied(module).eval()
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
        interpreter = Noting(fx.GraphModule(root, graph))
        interpreter.extra_traceback = False
        interpreter.run([sample] * STEPS)
    return values
