"""The loop that SLTT and OTTT share: every step goes backward as soon as it has gone forward."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from neurodeploy.rules.rule import Batch, BatchResult, Loss, Update
from neurodeploy.rules.time_chunk import parts

UpdateTime = Literal["steps", "step"]
"""When the parameters change: after all T ``steps`` of a batch, or after each ``step``."""


def learn_each_step(
    show: Callable[[int], Tensor],
    batch: Batch,
    loss: Loss,
    at_once: int = 1,
    after: Update | None = None,
) -> BatchResult:
    """Add d(l[t]/T)/dW for t = 1..T, some steps at a time.

    Only these steps' graph exists then, so that memory does not depend on T.

    Args:
        show: outputs (c, N, classes) of the next c steps of a network that carries its state
            without a graph.
        batch, loss: as in ``Rule.train_batch``.
        at_once: c; the last part of T steps may have fewer.
        after: called after every part.
    """
    summed_loss = total = torch.zeros((), device=batch.labels.device)
    for count in parts(batch.steps, at_once):
        outputs = show(count)
        part_loss = loss.over_steps(outputs, batch.labels) / batch.steps
        part_loss.backward()
        summed_loss = summed_loss + part_loss.detach()
        total = total + outputs.detach().sum(0)
        if after is not None:
            after()
    return BatchResult(summed_loss, total)
