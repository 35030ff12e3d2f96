"""The loop that SLTT and OTTT share: every step goes backward as soon as it has gone forward."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from neurodeploy.training.loss import InstantaneousLoss
from neurodeploy.training.rules.rule import Batch, BatchResult, Update

UpdateTime = Literal["steps", "step"]
"""When the parameters change: after all T ``steps`` of a batch, or after each ``step``."""


def learn_each_step(
    forward: Callable[[Tensor], Tensor],
    batch: Batch,
    loss: InstantaneousLoss,
    update: Update,
    when: UpdateTime,
) -> BatchResult:
    """Add d(l[t]/T)/dW for t = 1..T, each step with a graph of its own.

    Only one step's graph exists at a time, so that memory does not depend on T.

    Args:
        forward: one step of a network that carries its state without a graph.
        batch, loss, update: as in ``Rule.train_batch``.
        when: whether ``update`` is called once or T times. The factor 1/T is the same for both.
    """
    summed_loss = total = torch.zeros((), device=batch.labels.device)
    for frame in batch.frames:
        outputs = forward(frame)
        step_loss = loss(outputs, batch.labels) / batch.steps
        step_loss.backward()
        summed_loss = summed_loss + step_loss.detach()
        total = total + outputs.detach()
        if when == "step":
            update()
    if when == "steps":
        update()
    return BatchResult(summed_loss, total)
