"""Backpropagation through time with surrogate gradients, what SLTT is measured against."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from neurodeploy.rules.any_module import Model
from neurodeploy.rules.rule import Batch, BatchResult, Loss, Rule, Update


@dataclass(frozen=True)
class BPTT(Rule):
    """The gradient of L = (1/T) sum_t l(o[t], y) through layers, time and reset.

    e_u^l[t] = e_s^l[t] ds^l[t]/du^l[t] + e_v^l[t] dv^l[t]/du^l[t]
    e_v^l[t] = (1 - 1/tau) e_u^l[t+1]                               (Meng et al. 2023, eq. 7 to 9)

    with v = u - Vth s or u (1 - s), and s a function of u here too. All T graphs exist at once:
    memory grows with T.
    """

    waits_for_all_steps: ClassVar[bool] = True

    def train_batch(
        self,
        model: Model,
        batch: Batch,
        loss: Loss,
        update: Update,
        generator: torch.Generator,
    ) -> BatchResult:
        """Add dL/dW in one backward pass over all steps."""
        model.reset_state(cut=False)
        summed_loss = total = torch.zeros((), device=batch.labels.device)
        for frame in batch.frames:
            outputs = model(frame)
            summed_loss = summed_loss + loss(outputs, batch.labels) / batch.steps
            total = total + outputs.detach()
        summed_loss.backward()
        # The last membranes still hold on to the graph of all steps.
        model.reset_state()
        update()
        return BatchResult(summed_loss.detach(), total)
