"""Online Training Through Time (Xiao et al., NeurIPS 2022)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from neurodeploy.errors import UnsupportedError
from neurodeploy.nn.current import LI, CubaLIF
from neurodeploy.nn.network import SpikingNetwork
from neurodeploy.nn.neuron import LIF
from neurodeploy.rules.any_module import Model
from neurodeploy.rules.rule import (
    Batch,
    BatchResult,
    Loss,
    Rule,
    Update,
    UpdateTime,
    learn_each_step,
)


@dataclass(frozen=True)
class OTTT(Rule):
    """SLTT's errors with a trace of each synapse's past input in place of its present one.

    a^l[t] = (1 - 1/tau) a^l[t-1] + s^l[t]                          presynaptic trace, no gradient
    dL/dW^(l+1) = sum_t e_u^(l+1)[t]^T a^l[t]^T                     e_u as in SLTT, within a step

    (Xiao et al. 2022, section 4.1.) Every linear and convolutional layer has a trace of whatever
    it is given: the first one of the network's input, the readout of the last spikes. A bias has
    none, as in the authors' code. Traces are all that is added, so memory does not depend on T.

    Where the neurons behind a layer have a synaptic current, its trace is filtered twice, as what
    arrives is: c[t] = (1 - 1/tau_syn) c[t-1] + s[t], a[t] = (1 - 1/tau) a[t-1] + c[t]. A trace has
    the constants of the neurons that its layer leads to; that of a readout without neurons, as in
    the authors' code, has those of the neurons that it reads. Learned time constants learn as by
    SLTT, from within a step. Constants that differ from neuron to neuron would need a trace for
    each synapse, and are refused.

    Attributes:
        update: ``steps`` is the authors' OTTT_A, which adds gradients up over T steps; ``step``
            is OTTT_O, which changes the parameters after every step.
    """

    update: UpdateTime = "steps"

    def train_batch(
        self,
        model: Model,
        batch: Batch,
        loss: Loss,
        update: Update,
        generator: torch.Generator,
    ) -> BatchResult:
        """Add sum_t of errors times traces, both with the loss factor 1/T."""
        traces = PresynapticTraces(trace_decays(model))
        model.reset_state(cut=True)

        frames = iter(batch.frames)

        def show(_: int) -> Tensor:
            traces.begin_step()
            with traces:
                return model(next(frames)).unsqueeze(0)

        online = self.update == "step"
        with ExitStack() as hooks:
            for layer in _weighted(model):
                hooks.enter_context(layer.register_forward_pre_hook(traces.enter_layer))
            result = learn_each_step(show, batch, loss, after=update if online else None)
        if not online:
            update()
        return result


def _weighted(model: Model) -> Iterator[nn.Module]:
    """The layers that may have a synapse, each of which is to have one trace."""
    if isinstance(model, SpikingNetwork):
        yield from model.layers.values()
        return
    for layer in model.modules():
        if any(True for _ in layer.parameters(recurse=False)):
            yield layer


Decays = tuple[float | Tensor, float | Tensor]
"""What the neurons behind a layer keep of v and of u per step."""


def trace_decays(model: Model) -> Callable[[nn.Module], Decays]:
    """The constants of each layer's trace.

    Raises:
        UnsupportedError: they differ from neuron to neuron, or nothing says which neurons a layer
            of a module that is no network leads to.
    """
    if not isinstance(model, SpikingNetwork):
        found = _shared(model)
        return lambda _: found
    decays = {layer: _of_layer(model, name) for name, layer in model.layers.items()}
    fallback = _shared(model) if None in decays.values() else None

    def of(layer: nn.Module) -> Decays:
        own = decays.get(layer) or fallback
        assert own is not None, "every layer of the network is known"
        return own

    return of


def _of_layer(model: SpikingNetwork, name: str) -> Decays | None:
    """Constants of the neurons that a layer leads to, or of those that it reads; None of none."""
    for follow in (model.readers, model.sources):
        waiting, seen = [name], {name}
        found: list[nn.Module] = []
        while waiting:
            for other in follow.get(waiting.pop(), ()):
                if other not in seen and other in model.layers:
                    seen.add(other)
                    neurons = isinstance(model.layers[other], LIF | CubaLIF | LI)
                    found += [model.layers[other]] if neurons else []
                    waiting += [] if neurons else [other]
        if found:
            return _same([_decays(layer) for layer in found])
    return None


def _decays(layer: nn.Module) -> Decays:
    """What neurons keep of v and u."""
    if isinstance(layer, LI):
        if layer.decode == "last_v":
            raise UnsupportedError(
                "rule ottt: an LI that is read by its last potential; its traces are for sum_v, so "
                "use that, or sltt or bptt"
            )
        kept: Decays = layer.keep, layer.u_keep
    elif isinstance(layer, CubaLIF):
        kept = layer.lif.keep, layer.u_keep
    elif isinstance(layer, LIF):
        kept = layer.keep, 0.0
    else:
        raise TypeError(f"{type(layer).__name__} has no membranes")
    for value in kept:
        if isinstance(value, Tensor) and not bool((value == value.flatten()[0]).all()):
            raise UnsupportedError(
                "rule ottt needs time constants that the neurons of a layer share: one for each "
                "neuron would need a trace for each synapse; use sltt or bptt"
            )
    keep, u_keep = (v.detach().flatten()[0] if isinstance(v, Tensor) else v for v in kept)
    return keep, u_keep


def _shared(model: Model) -> Decays:
    """The constants of all neurons.

    Raises:
        UnsupportedError: they differ: a trace belongs to the neurons it leads to.
    """
    inner = {part.lif for part in model.modules() if isinstance(part, CubaLIF)}
    layers = [
        part
        for part in model.modules()
        if isinstance(part, LIF | CubaLIF | LI) and part not in inner
    ]
    return _same([_decays(layer) for layer in layers])


def _same(found: list[Decays]) -> Decays:
    """The one that all are."""
    kept = {(float(keep), float(u_keep)) for keep, u_keep in found}
    if len(kept) == 1:
        return found[0]
    words = "one tau and tau_syn" if any(u_keep for _, u_keep in kept) else "one tau"
    taus = sorted(round(1 / (1 - keep), 12) if keep < 1 else math.inf for keep, _ in kept)
    raise UnsupportedError(f"rule ottt needs {words} for all neurons, found {taus}")


class PresynapticTraces(TorchFunctionMode):
    """While active, linear and convolution calls take their weight gradient from a trace.

    It acts on the calls themselves, so that it reaches every layer of any network, also one whose
    weight is computed on the way (weight standardisation). A trace belongs to the layer that makes
    the call, and is zero until that layer has first been used.
    """

    def __init__(self, decays: Callable[[nn.Module], Decays]) -> None:
        """Start without any trace; ``decays`` says what a layer's keeps per step."""
        super().__init__()
        self._decays = decays
        self._traces: dict[nn.Module, Tensor] = {}
        self._currents: dict[nn.Module, Tensor] = {}
        self._layer: nn.Module | None = None
        self._used: set[nn.Module] = set()

    def begin_step(self) -> None:
        """Every layer is used once in what follows, until the next step."""
        self._used.clear()

    def enter_layer(self, layer: nn.Module, _: Any) -> None:
        """Hook of each layer of a network: the next call is its own."""
        self._layer = layer

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Redirect synapses; leave every other function of torch as it is."""
        options = dict(kwargs or {})
        if func is F.linear:
            return self._linear(*args, **options)
        if func is F.conv2d:
            return self._conv2d(*args, **options)
        if func in PRODUCTS and not _is_own(self._layer):
            raise UnsupportedError(
                "rule ottt has no trace for products of matrices outside a layer; use nn.Linear"
            )
        if func in UNTRACED:
            raise UnsupportedError(f"rule ottt has no trace for {func.__name__}")
        return func(*args, **options)

    def _linear(self, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """``F.linear`` with its argument names."""
        return _TracedLinear.apply(input, self._trace(input), weight, bias)

    def _conv2d(
        self,
        input: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        stride: int | Sequence[int] = 1,
        padding: int | str | Sequence[int] = 0,
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
    ) -> Tensor:
        """``F.conv2d`` with its argument names."""
        if isinstance(padding, str):
            raise UnsupportedError(f"rule ottt: convolution padding {padding!r}; give a number")
        options = (_pair(stride), _pair(padding), _pair(dilation), groups)
        return _TracedConv2d.apply(input, self._trace(input), weight, bias, options)

    def _trace(self, spikes: Tensor) -> Tensor:
        """a[t] of what the present layer is given."""
        layer, self._layer = self._layer, None
        if layer is None:
            raise UnsupportedError(
                "rule ottt needs layers with one weight each; use nn.Linear and nn.Conv2d instead "
                "of their functions"
            )
        if layer in self._used:
            raise UnsupportedError(
                f"rule ottt: a {type(layer).__name__} is used twice in a step, and has one trace"
            )
        self._used.add(layer)
        keep, u_keep = self._decays(layer)
        arriving = spikes.detach()
        if isinstance(u_keep, Tensor) or u_keep:
            current = self._currents.get(layer)
            arriving = arriving if current is None else u_keep * current + arriving
            self._currents[layer] = arriving
        before = self._traces.get(layer)
        self._traces[layer] = arriving if before is None else keep * before + arriving
        return self._traces[layer]


class _TracedLinear(torch.autograd.Function):
    """y = s W^T + b; dL/ds = dL/dy W as ever, but dL/dW = (dL/dy)^T a."""

    @staticmethod
    def forward(ctx: Any, s: Tensor, a: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(a, weight)
        return F.linear(s, weight, bias)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        a, weight = ctx.saved_tensors
        error = grad_outputs[0]
        # Under autocast the errors are narrower than what was saved.
        grad_s = error @ weight.to(error.dtype) if ctx.needs_input_grad[0] else None
        rows = error.reshape(-1, error.shape[-1])
        grad_weight = rows.T @ a.to(error.dtype).reshape(-1, a.shape[-1])
        return grad_s, None, grad_weight, rows.sum(0) if ctx.needs_input_grad[3] else None


class _TracedConv2d(torch.autograd.Function):
    """y = W * s + b; the weight gradient correlates the error with a in place of s."""

    @staticmethod
    def forward(
        ctx: Any, s: Tensor, a: Tensor, weight: Tensor, bias: Tensor | None, options: tuple
    ) -> Tensor:
        ctx.save_for_backward(a, weight)
        ctx.options = options
        return F.conv2d(s, weight, bias, *options)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        a, weight = ctx.saved_tensors
        error = grad_outputs[0]
        stride, padding, dilation, groups = ctx.options
        needed = [ctx.needs_input_grad[i] for i in (0, 2, 3)]
        # The gradient of the input uses the error and the weight only: one call does all three.
        grad_s, grad_weight, grad_bias = torch.ops.aten.convolution_backward(
            error,
            a.to(error.dtype),
            weight.to(error.dtype),
            [weight.shape[0]],
            stride,
            padding,
            dilation,
            False,
            [0, 0],
            groups,
            needed,
        )
        return grad_s, None, grad_weight, grad_bias, None


def _pair(value: int | Sequence[int]) -> list[int]:
    """torch takes some two-dimensional options as one number or two."""
    return [value, value] if isinstance(value, int) else list(value)


def _is_own(layer: nn.Module | None) -> bool:
    """Whether it is a layer of this package, which multiplies weights on the way to its synapse."""
    return layer is not None and type(layer).__module__.startswith("neurodeploy.")


PRODUCTS = frozenset(
    {
        *(torch.matmul, torch.mm, torch.bmm, torch.addmm, torch.einsum, torch.tensordot),
        *(Tensor.matmul, Tensor.__matmul__, Tensor.__rmatmul__, Tensor.mm, Tensor.bmm),
    }
)
"""What may be a synapse, and has no layer of its own."""

UNTRACED = frozenset({F.bilinear, F.conv1d, F.conv3d, F.conv_transpose2d, F.embedding})
"""Synapses that would otherwise pass without a trace, and so be trained by another rule."""
