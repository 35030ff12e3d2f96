"""A batch's steps through a network, several at a time."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import torch
from torch import Tensor

from neurodeploy.nn.network import INPUT, SpikingNetwork
from neurodeploy.rules.any_module import Model
from neurodeploy.rules.prefix import ConstantPrefix
from neurodeploy.rules.spikes_again import spikes_computed_again


class Feed:
    """Shows a network the frames of a batch, in order, as many at once as it is asked for.

    The network's state must have been reset, and its parameters must stay as they are.
    """

    def __init__(
        self,
        model: Model,
        frames: Iterable[Tensor],
        steps: int,
        constant: bool = False,
        lean: bool = False,
    ) -> None:
        """Look at the first frame where all are the same; else ask for none yet.

        Args:
            frames: (N, *sample) for each step.
            steps: how many will be shown.
            constant: every frame is the same.
            lean: where one step is shown, compute its spikes again for backward.
        """
        self._model = model
        self._frames = iter(frames)
        self._prefix: ConstantPrefix | None = None
        if constant and isinstance(model, SpikingNetwork):
            self._prefix = ConstantPrefix(model, next(self._frames), steps)
        self._lean = lean

    def show(self, steps: int) -> Tensor:
        """Outputs (steps, N, classes) of the next steps."""
        if self._lean and steps == 1 and torch.is_grad_enabled():
            with spikes_computed_again(self._model):
                return self._show(steps)
        return self._show(steps)

    def _show(self, steps: int) -> Tensor:
        if self._prefix is not None and isinstance(self._model, SpikingNetwork):
            return self._model.over_steps(self._prefix.over_steps(steps), self._prefix.layers)
        if steps == 1:
            return self._model(next(self._frames)).unsqueeze(0)
        frames = [*itertools.islice(self._frames, steps)]
        if isinstance(self._model, SpikingNetwork):
            return self._model.over_steps({INPUT: torch.stack(frames)})
        return torch.stack([self._model(frame) for frame in frames])

    def backward(self) -> None:
        """Add the gradients of the layers that saw the constant frame, if there are any.

        It comes after the backward passes of all steps shown.
        """
        if self._prefix is not None:
            self._prefix.backward()
