"""Steps of one layer: several at once, exactly as one by one, and what stays from each to the next.

Values of c steps have the shape (c, N, ...). A layer that remembers nothing sees them as c N
samples; the others say for themselves what c steps mean, or get one after the other.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from neurodeploy.errors import InputError


@runtime_checkable
class Stateful(Protocol):
    """A layer that remembers something from one step to the next."""

    def reset_state(self, cut: bool) -> None:
        """Forget it; ``cut`` says whether gradients are cut between steps."""
        ...


@runtime_checkable
class StepsAtOnce(Protocol):
    """A layer with a way of its own to take several steps."""

    def over_steps(self, x: Tensor) -> Tensor:
        """(c, N, ...) to (c, N, ...)."""
        ...


def one_step(layer: nn.Module, x: Tensor) -> Tensor:
    """What a layer makes of (N, ...)."""
    return layer(x)


def over_steps(layer: nn.Module, x: Tensor) -> Tensor:
    """What a layer makes of each of c steps, (c, N, ...)."""
    if isinstance(layer, StepsAtOnce):
        return layer.over_steps(x)
    if _is_plain_norm(layer):
        return _normalise_each_step(layer, x)
    if any(sees_steps(part) for part in layer.modules()):
        return torch.stack([layer(step) for step in x])
    return layer(x.flatten(0, 1)).unflatten(0, x.shape[:2])


def sees_steps(layer: nn.Module) -> bool:
    """Whether samples of several steps, taken as one batch, would give something else."""
    return isinstance(layer, Stateful) or (layer.training and isinstance(layer, _BatchNorm))


def _is_plain_norm(layer: nn.Module) -> bool:
    """Whether it is a batch norm in training as the network families build them."""
    return bool(
        type(layer) in (nn.BatchNorm1d, nn.BatchNorm2d)
        and layer.training
        and layer.affine
        and layer.track_running_stats
        and layer.momentum is not None
    )


def _normalise_each_step(layer: Any, x: Tensor) -> Tensor:
    """Batch norm of (c, N, C, ...) with the statistics of each step.

    The running statistics move c times, in order.
    """
    layer.num_batches_tracked.add_(len(x))
    return _NormOfSteps.apply(x, layer.weight, layer.bias, layer)


class _NormOfSteps(torch.autograd.Function):
    """torch's batch norm step by step, without the copies that cutting and stacking would make."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, layer: Any) -> Tensor:
        running, options = (layer.running_mean, layer.running_var), (True, layer.momentum)
        y = torch.empty_like(x)
        mean, deviation = (weight.new_empty(len(x), len(weight)) for _ in range(2))
        for step in zip(x, y, mean, deviation, strict=True):
            given, out, save_mean, save_invstd = step
            torch.ops.aten.native_batch_norm.out(
                given,
                weight,
                bias,
                *running,
                *options,
                layer.eps,
                out=out,
                save_mean=save_mean,
                save_invstd=save_invstd,
            )
        ctx.save_for_backward(x, weight, mean, deviation)
        ctx.eps = layer.eps
        return y

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, deviation = ctx.saved_tensors
        grad_x = torch.empty_like(x)
        sums: list[Tensor] = []
        for given, error, out, save_mean, save_invstd in zip(
            x, grad_outputs[0], grad_x, mean, deviation, strict=True
        ):
            found = torch.ops.aten.native_batch_norm_backward(
                error,
                given,
                weight,
                None,
                None,
                save_mean,
                save_invstd,
                True,
                ctx.eps,
                [True, True, True],
            )
            out.copy_(found[0])
            sums.append(torch.stack(found[1:]))
        grad_weight, grad_bias = torch.stack(sums).sum(0)
        return grad_x, grad_weight, grad_bias, None


Carried = dict[tuple[str, str], list[Tensor]]
"""By place, the name of a module and of an attribute of it: the tensors that it holds."""

TORCHS_OWN = frozenset(vars(nn.Module()))
"""Attributes that every module of torch has."""


def reset(module: nn.Module, cut: bool = True) -> None:
    """Start a batch: every layer of a module forgets its state.

    Calls ``reset_state`` of the module and of all in it that have one: the layers of ``nn``, and
    modules of your own that keep something between steps. Yours may take ``cut`` or nothing.

    Args:
        module: any torch module.
        cut: whether layers carry their state without a graph, as online rules want it; False for
            backpropagation through time.
    """
    for part in module.modules():
        forget: Any = getattr(part, "reset_state", None)
        if not callable(forget):
            continue
        if _is_ours(part) or "cut" in inspect.signature(forget).parameters:
            forget(cut=cut)
        else:
            forget()


def carried(module: nn.Module) -> Carried:
    """Tensors that modules other than the layers of ``nn`` hold beside their parameters.

    These are buffers and plain attributes, also in lists, tuples and dicts; among them is whatever
    a hand-written step keeps for the next one.
    """
    found: Carried = {}
    for name, part in module.named_modules():
        for key, value in () if _is_ours(part) else _kept(part):
            held = [*_within(value)]
            if held:
                found[name, key] = held
    return found


def _kept(part: nn.Module) -> Iterator[tuple[str, Any]]:
    """Attributes and buffers of a module, without what torch keeps of it."""
    yield from ((key, value) for key, value in vars(part).items() if key not in TORCHS_OWN)
    yield from part._buffers.items()


def _within(value: Any) -> Iterator[Tensor]:
    """Tensors in a value: itself, or in lists, tuples and dicts."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        yield from (tensor for item in value for tensor in _within(item))
    elif isinstance(value, dict):
        yield from (tensor for item in value.values() for tensor in _within(item))


def _cut(value: Any) -> Any:
    """The same without graphs."""
    if isinstance(value, Tensor):
        return value.detach()
    if type(value) in (list, tuple):
        return type(value)(map(_cut, value))
    if type(value) is dict:
        return {key: _cut(item) for key, item in value.items()}
    return value


def cut_carried(module: nn.Module) -> None:
    """Detach what a hand-written step keeps for the next one, so that no gradient crosses."""
    for (name, key), held in carried(module).items():
        if any(tensor.grad_fn is not None for tensor in held):
            part = module.get_submodule(name)
            setattr(part, key, _cut(getattr(part, key)))


def copied(module: nn.Module) -> nn.Module:
    """A deep copy, also of modules that hold tensors with a graph, as pruned ones do."""
    known = {id(t): t.detach().clone() for t in _graphs(module)}
    return copy.deepcopy(module, known)


def _graphs(module: nn.Module) -> Iterator[Tensor]:
    for part in module.modules():
        for _, value in _kept(part):
            yield from (tensor for tensor in _within(value) if tensor.grad_fn is not None)


def check_forgotten(module: nn.Module, before: Carried) -> None:
    """Refuse a module whose own state nobody can reset.

    Args:
        before: what ``carried`` found in it before the step that has just been made.

    Raises:
        InputError: the step has put a tensor into an attribute of a module that, like all around
            it, has no ``reset_state``.
    """
    for (name, key), held in carried(module).items():
        known = {id(tensor) for tensor in before.get((name, key), [])}
        if {*map(id, held)} <= known or any(map(_forgets, _around(module, name))):
            continue
        owner = type(module.get_submodule(name)).__name__
        raise InputError(
            f"{owner}.{key} holds a tensor from step to step, and nothing says what it is before "
            f"the first one; give {owner} a method reset_state(self) that puts it back"
        )


def _around(module: nn.Module, name: str) -> Iterator[nn.Module]:
    """A part of a module and all that it is a part of."""
    parts = name.split(".") if name else []
    yield from (module.get_submodule(".".join(parts[:n])) for n in range(len(parts) + 1))


def _forgets(part: nn.Module) -> bool:
    return callable(getattr(part, "reset_state", None))


def remembers_by_itself(part: nn.Module) -> bool:
    """Whether a module of the user's keeps something between steps."""
    return _forgets(part) and not _is_ours(part)


def _is_ours(part: nn.Module) -> bool:
    """Whether it is a layer of this package with a state, or one made from it, which resets it."""
    makers = (kind for kind in type(part).__mro__ if "reset_state" in vars(kind))
    found = next(makers, None)
    return found is not None and found.__module__.startswith("neurodeploy.")
