"""Backpropagation through time with surrogate gradients, what SLTT is measured against."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from neurodeploy.rules.any_module import Model
from neurodeploy.rules.feeding import Feed, parts
from neurodeploy.rules.rule import Batch, BatchResult, Loss, Rule, Update


@dataclass(frozen=True)
class BPTT(Rule):
    """The gradient of L = (1/T) sum_t l(o[t], y) through layers, time and reset.

    e_u^l[t] = e_s^l[t] ds^l[t]/du^l[t] + e_v^l[t] dv^l[t]/du^l[t]
    e_v^l[t] = (1 - 1/tau) e_u^l[t+1]                               (Meng et al. 2023, eq. 7 to 9)

    with v = u - Vth s or u (1 - s), and s a function of u here too. All T graphs exist at once:
    memory grows with T. In small networks many steps run at once, layer by layer.
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
        # Batch norm has statistics of each step, and so a graph of each.
        normalised = any(isinstance(m, _BatchNorm) and m.training for m in model.modules())
        at_once = 1 if normalised else batch.at_once(model)
        model.reset_state(cut=False)
        summed_loss = total = torch.zeros((), device=batch.labels.device)
        feed = Feed(model, batch.frames, batch.steps)
        for count in parts(batch.steps, at_once):
            outputs = feed.show(count)
            summed_loss = summed_loss + loss.over_steps(outputs, batch.labels) / batch.steps
            total = total + outputs.detach().sum(0)
        summed_loss.backward()
        # The last membranes still hold on to the graph of all steps.
        model.reset_state()
        update()
        return BatchResult(summed_loss.detach(), total)
