"""What functions and methods of torch mean in a spiking network."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neurodeploy.errors import UnsupportedError
from neurodeploy.nn.graph_builder import LayerSum
from neurodeploy.nn.layers import Scale


class Call(Protocol):
    """One call of a function in a module's ``forward``, with what is known of it.

    Attributes:
        args, kwargs: a ``LayerSum`` for what depends on the network's input, else what it is.
        given: the shape of the first argument, (N, ...).
        made: the shape of the result.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    given: tuple[int, ...]
    made: tuple[int, ...]

    def layer(self, name: str, layer: nn.Module, reads: LayerSum) -> LayerSum: ...
    def refused(self, why: str) -> UnsupportedError: ...


class _Values(tuple):
    """Marks a sum of layers among other arguments."""


def is_value(argument: Any) -> bool:
    """Whether an argument depends on the network's input."""
    return isinstance(argument, _Values)


def value(parts: LayerSum) -> LayerSum:
    """A sum of layers as an argument."""
    return _Values(parts)


def number(argument: Any) -> float | None:
    """An argument that is one number, whatever it is kept in."""
    if isinstance(argument, Tensor) and argument.numel() == 1 and not argument.requires_grad:
        return float(argument)
    return float(argument) if isinstance(argument, int | float) else None


def _bound(call: Call, *names: str, **defaults: Any) -> list[Any]:
    """Arguments by position or name."""
    found = dict(zip(names, call.args, strict=False)) | call.kwargs
    return [found.get(name, defaults.get(name)) for name in names]


def add(call: Call) -> LayerSum:
    """Sums of two values of one shape, or of a value and nothing."""
    first, second, alpha = _bound(call, "input", "other", "alpha", alpha=1)
    if alpha != 1:
        second = _scaled(call, second, float(alpha))
    return _sum(call, first, second)


def subtract(call: Call) -> LayerSum:
    """a - b."""
    first, second, alpha = _bound(call, "input", "other", "alpha", alpha=1)
    return _sum(call, first, _scaled(call, second, -float(alpha)))


def _scaled(call: Call, argument: Any, factor: float) -> Any:
    if is_value(argument):
        return value(call.layer("scale", Scale(factor), argument))
    return argument * factor


def _sum(call: Call, first: Any, second: Any) -> LayerSum:
    if is_value(first) and is_value(second):
        if call.made != call.given:
            raise call.refused("adds values of different shapes")
        return value((*first, *second))
    known, other = (first, second) if is_value(first) else (second, first)
    if isinstance(other, Tensor) and not other.requires_grad and not other.any():
        return known
    if number(other) == 0:
        return known
    raise call.refused("adds a constant; put it into the bias of a layer")


def multiply(call: Call) -> LayerSum:
    """A value times a number."""
    first, second = _bound(call, "input", "other")
    known, other = (first, second) if is_value(first) else (second, first)
    factor = None if is_value(other) else number(other)
    if factor is None:
        raise call.refused(
            "multiplies by something other than a fixed number; put factors into the weights"
        )
    return value(call.layer("scale", Scale(factor), known))


def divide(call: Call) -> LayerSum:
    """A value divided by a number."""
    first, second = _bound(call, "input", "other")
    divisor = number(second)
    if not is_value(first) or not divisor:
        raise call.refused("divides by something other than a fixed number")
    return value(call.layer("scale", Scale(1 / divisor), first))


def negate(call: Call) -> LayerSum:
    """-a."""
    return value(call.layer("scale", Scale(-1.0), call.args[0]))


def reshape(call: Call) -> LayerSum:
    """Flattening to (N, features); any other change of shape has no node in a network."""
    if call.made == call.given:
        return call.args[0]
    if call.made == (call.given[0], math.prod(call.given[1:])):
        return value(call.layer("flatten", nn.Flatten(), call.args[0]))
    raise call.refused(
        f"changes the shape from {call.given[1:]} to {call.made[1:]}; only flattening to one axis "
        "is known"
    )


def average_pool(call: Call) -> LayerSum:
    """Average pooling over two axes."""
    names = (
        *("input", "kernel_size", "stride", "padding"),
        *("ceil_mode", "count_include_pad", "divisor_override"),
    )
    first, kernel, stride, padding, ceil, include, divisor = _bound(
        call, *names, padding=0, ceil_mode=False, count_include_pad=True
    )
    layer = nn.AvgPool2d(kernel, stride or None, padding, ceil, include, divisor)
    return value(call.layer("pool", checked_pool(call, layer), first))


def checked_pool(call: Call, layer: nn.AvgPool2d) -> nn.AvgPool2d:
    """Refuse windows whose averages have different divisors."""
    padded = layer.padding not in (0, (0, 0))
    if layer.ceil_mode or layer.divisor_override or (padded and not layer.count_include_pad):
        raise call.refused(
            "pools with ceil_mode, divisor_override or count_include_pad=False, which networks "
            "and chips cannot express"
        )
    return layer


def adaptive_pool(call: Call) -> LayerSum:
    """Pooling to a size that divides the input's."""
    return value(call.layer("pool", pool_to(call), call.args[0]))


def pool_to(call: Call) -> nn.AvgPool2d:
    """The plain pooling that an adaptive one amounts to."""
    (height, width), (rows, columns) = call.given[-2:], call.made[-2:]
    if height % rows or width % columns:
        raise call.refused(f"pools {height}x{width} to {rows}x{columns}, which does not divide it")
    return nn.AvgPool2d((height // rows, width // columns))


def dropout(call: Call) -> LayerSum:
    """Dropout with the mode in which the module was followed."""
    first, probability, training = _bound(call, "input", "p", "training", p=0.5, training=True)
    return value(call.layer("dropout", nn.Dropout(probability), first)) if training else first


def rectify(call: Call) -> LayerSum:
    """max(0, a)."""
    return value(call.layer("relu", nn.ReLU(), call.args[0]))


def clamp(call: Call) -> LayerSum:
    """max(0, a), if it is that."""
    first, low, high = _bound(call, "input", "min", "max")
    if high is not None or is_value(low) or number(low) != 0:
        raise call.refused("clamps to other ends than 0 and none, which no spiking network does")
    return value(call.layer("relu", nn.ReLU(), first))


def maximum(call: Call) -> LayerSum:
    """No sum of what is read."""
    raise call.refused(f"calls a max pooling, {NO_MAXIMUM}")


def linear(call: Call) -> LayerSum:
    """A linear layer whose weights are parameters of the module around it."""
    first, weight, bias = _bound(call, "input", "weight", "bias")
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias is not None, device="meta")
    return value(call.layer("linear", _with_weights(call, layer, weight, bias), first))


def convolve(call: Call) -> LayerSum:
    """A convolution whose weights are parameters of the module around it."""
    names = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
    first, weight, bias, stride, padding, dilation, groups = _bound(
        call, *names, stride=1, padding=0, dilation=1, groups=1
    )
    make: Any = nn.Conv2d if weight.ndim == 4 else nn.Conv1d
    layer = make(
        weight.shape[1] * groups,
        weight.shape[0],
        tuple(weight.shape[2:]),
        stride,
        padding,
        dilation,
        groups,
        bias is not None,
        device="meta",
    )
    return value(call.layer("conv", _with_weights(call, layer, weight, bias), first))


def _with_weights(call: Call, layer: Any, weight: Any, bias: Any) -> nn.Module:
    for name, tensor in (("weight", weight), ("bias", bias)):
        if is_value(tensor):
            raise call.refused("has weights that depend on the input")
        if tensor is not None:
            # Weights that were computed on the way stay what they are now.
            learns = isinstance(tensor, nn.Parameter)
            setattr(layer, name, tensor if learns else nn.Parameter(tensor.detach().clone()))
    return layer


def same(call: Call) -> LayerSum:
    """What is passed on as it is; of precisions, a network has one."""
    return call.args[0]


NO_MAXIMUM = (
    "which has no counterpart on spiking hardware: neurons add up what they read, and the largest "
    "rate among them is no sum; train with average pooling or a stride in its place"
)
"""Why there is no max pooling, and what helps."""

FUNCTIONS: dict[Callable[..., Any], Callable[[Call], LayerSum]] = {
    **dict.fromkeys((operator.add, operator.iadd, torch.add), add),
    **dict.fromkeys((operator.sub, operator.isub, torch.sub), subtract),
    **dict.fromkeys((operator.mul, operator.imul, torch.mul), multiply),
    **dict.fromkeys((operator.truediv, operator.itruediv, torch.div), divide),
    **dict.fromkeys((operator.neg, torch.neg), negate),
    **dict.fromkeys((torch.flatten, torch.reshape), reshape),
    F.avg_pool2d: average_pool,
    F.adaptive_avg_pool2d: adaptive_pool,
    F.dropout: dropout,
    **dict.fromkeys((F.relu, torch.relu, torch.relu_), rectify),
    torch.clamp: clamp,
    **dict.fromkeys(
        (F.max_pool1d, F.max_pool2d, F.max_pool3d, F.adaptive_max_pool1d, F.adaptive_max_pool2d),
        maximum,
    ),
    F.linear: linear,
    **dict.fromkeys((F.conv1d, F.conv2d), convolve),
    torch.clone: same,
}
"""By function, what it adds to a network."""

METHODS: dict[str, Callable[[Call], LayerSum]] = {
    **dict.fromkeys(("add", "add_"), add),
    **dict.fromkeys(("sub", "sub_"), subtract),
    **dict.fromkeys(("mul", "mul_"), multiply),
    **dict.fromkeys(("div", "div_"), divide),
    "neg": negate,
    **dict.fromkeys(("relu", "relu_"), rectify),
    **dict.fromkeys(("clamp", "clamp_"), clamp),
    **dict.fromkeys(("flatten", "view", "reshape", "view_as", "reshape_as"), reshape),
    **dict.fromkeys(("contiguous", "clone", "detach", "requires_grad_"), same),
    **dict.fromkeys(("to", "float", "double", "type_as"), same),
}
"""By name of a tensor's method, what it adds to a network."""
