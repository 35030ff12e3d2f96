"""What every training rule does: turn one batch into gradients and say when to use them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from neurodeploy.nn.loss import InstantaneousLoss
from neurodeploy.nn.network import SpikingNetwork
from neurodeploy.rules.time_chunk import steps_at_once

Update = Callable[[], None]
"""Changes the parameters by the gradients in their ``grad`` and clears these."""


class Batch(NamedTuple):
    """The samples of one call.

    Attributes:
        frames: one input (N, *sample) per step, made when asked for.
        steps: T, how many there are.
        labels: (N,) int64.
        constant: every frame is the same, as with direct encoding: what depends on nothing else
            need not be computed again.
        time_chunk: steps that run at once where the rule allows it; 0 lets the rule choose.
            1 is for the least memory.
    """

    frames: Iterable[Tensor]
    steps: int
    labels: Tensor
    constant: bool = False
    time_chunk: int = 0

    def at_once(self, model: SpikingNetwork) -> int:
        """How many steps a rule that may run several at once runs at once."""
        return steps_at_once(model, len(self.labels), self.steps, self.time_chunk)

    @property
    def lean(self) -> bool:
        """Whether memory counts more than time: spikes are computed again instead of kept."""
        return self.time_chunk == 1


class BatchResult(NamedTuple):
    """What a rule saw while it made the gradients; nothing in it carries a graph.

    Attributes:
        loss: mean of l(o[t], y) over the steps that were run, a scalar. With all T of them it is
            the L of Meng et al. 2023, eq. 14.
        outputs: sum of o[t] over the same steps, (N, classes).
    """

    loss: Tensor
    outputs: Tensor


class Rule(Protocol):
    """A training rule: a frozen dataclass of options."""

    def check_steps(self, steps: int) -> None:
        """Raise ValueError when the options do not suit T = ``steps``; most suit any."""
        _ = steps

    def train_batch(
        self,
        model: SpikingNetwork,
        batch: Batch,
        loss: InstantaneousLoss,
        update: Update,
        generator: torch.Generator,
    ) -> BatchResult:
        """Add gradients to the parameters' ``grad`` and call ``update`` whenever it is time to.

        Most rules call it once, at the end. The gradients are then those of the whole batch, and
        are still there afterwards if ``update`` leaves them.

        Args:
            model: its state is reset here.
            batch: input of T steps and labels.
            loss: l, the loss of one step.
            update: applies the gradients.
            generator: of a rule's own random draws, on the CPU.
        """
        ...
