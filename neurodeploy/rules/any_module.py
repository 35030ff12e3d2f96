"""Any torch module as the rules step it, and any function as the loss of one step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from neurodeploy.errors import InputError
from neurodeploy.nn.network import SpikingNetwork
from neurodeploy.nn.steps import Carried, carried, check_forgotten, cut_carried, reset

Forward = Callable[[Tensor], Tensor]
"""What a layer computes."""

StepLoss = Callable[[Tensor, Tensor], Tensor]
"""l(o[t], y): outputs of one step, (N, ...), and the target, to a scalar."""


class AnyModule:
    """A module whose call is one step, from (N, ...) to (N, ...).

    Its layers of ``nn`` look after their state themselves. What its own code keeps in attributes is
    detached after each step where gradients are cut.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self._cut = True
        self._before: Carried | None = None

    def reset_state(self, cut: bool = True) -> None:
        """Start a batch: forget every state."""
        reset(self.module, cut)
        self._cut = cut
        self._before = carried(self.module)

    def modules(self) -> Iterator[nn.Module]:
        """All parts of the module, itself included."""
        return self.module.modules()

    def __call__(self, x: Tensor) -> Tensor:
        """One step.

        Raises:
            InputError: the module gives no tensor, or keeps a state that cannot be reset.
        """
        output = self.module(x)
        if not isinstance(output, Tensor):
            raise InputError(
                f"{type(self.module).__name__} gives a {type(output).__name__}; a step of a "
                "network gives one tensor, its output o[t]"
            )
        if self._before is not None:
            check_forgotten(self.module, self._before)
            self._before = None
        if self._cut:
            cut_carried(self.module)
        return output


Model = SpikingNetwork | AnyModule
"""What rules train."""


def as_model(module: nn.Module) -> Model:
    """A network as the rules take it."""
    return module if isinstance(module, SpikingNetwork) else AnyModule(module)


class LossOfStep:
    """A function of one step's outputs, called for one step or for several.

    Args:
        function: l(o[t], y), or l(o[t], y[t]).
        steps: T when the target has one value per step, (T, N, ...), else 0.
    """

    def __init__(self, function: StepLoss, steps: int = 0) -> None:
        self.function = function
        self.steps = steps
        self._step = 0

    def __call__(self, outputs: Tensor, target: Tensor) -> Tensor:
        """Loss of the next step, a scalar."""
        if self.steps:
            target = target[self._step]
            self._step = (self._step + 1) % self.steps
        loss = self.function(outputs, target)
        if not isinstance(loss, Tensor):
            raise InputError(
                f"the loss of a step is a {type(loss).__name__}; it must be a tensor with its graph"
            )
        if loss.ndim:
            raise InputError(
                f"the loss of a step has shape {tuple(loss.shape)}; it must be one number, for "
                "example the mean over samples"
            )
        return loss

    def over_steps(self, outputs: Tensor, target: Tensor) -> Tensor:
        """Sum of the losses of the next c steps, (c, N, ...), a scalar."""
        return torch.stack([self(step, target) for step in outputs]).sum()


def frames_of(frames: Tensor | Iterable[Tensor]) -> tuple[list[Tensor] | Tensor, bool]:
    """The frames of a batch, and whether all of them are the same.

    Args:
        frames: (T, N, ...), or T tensors (N, ...). A tensor that was expanded over its first axis
            is known to repeat one frame.
    """
    if isinstance(frames, Tensor):
        if frames.ndim < 2 or len(frames) == 0:
            raise InputError(
                f"frames of shape {tuple(frames.shape)}: expected (T, N, ...) with T at least 1"
            )
        return frames, frames.stride(0) == 0
    listed = list(frames)
    if not listed:
        raise InputError("no frames: expected T tensors (N, ...) with T at least 1")
    return listed, False


@contextmanager
def replaced(calls: Mapping[nn.Module, Forward]) -> Iterator[None]:
    """Let layers compute something else for a while."""
    for layer, call in calls.items():
        vars(layer)["forward"] = call
    try:
        yield
    finally:
        for layer in calls:
            del vars(layer)["forward"]
