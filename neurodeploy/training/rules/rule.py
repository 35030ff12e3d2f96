"""What every training rule does: turn one batch into gradients."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, Protocol

from torch import Tensor

from neurodeploy.training.loss import InstantaneousLoss
from neurodeploy.training.networks.network import SpikingNetwork


class BatchResult(NamedTuple):
    """What a rule saw while it made the gradients; nothing in it carries a graph.

    Attributes:
        loss: L = (1/T) sum_t l(o[t], y), a scalar.
        outputs: sum_t o[t], (N, classes).
    """

    loss: Tensor
    outputs: Tensor


class Rule(Protocol):
    """A training rule: a frozen dataclass of options."""

    def accumulate(
        self,
        model: SpikingNetwork,
        frames: Iterable[Tensor],
        steps: int,
        labels: Tensor,
        loss: InstantaneousLoss,
    ) -> BatchResult:
        """Add the gradient of one batch to the parameters' ``grad``; the caller then updates.

        Args:
            model: its state is reset here.
            frames: one input (N, *sample) per step, made when asked for.
            steps: T, how many there are.
            labels: (N,) int64.
            loss: l, the loss of one step.
        """
        ...
