"""Spatial Learning Through Time (Meng et al., ICCV 2023, algorithm 1)."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from neurodeploy.rules.any_module import Model
from neurodeploy.rules.each_step import UpdateTime, learn_each_step
from neurodeploy.rules.feed import Feed
from neurodeploy.rules.rule import Batch, BatchResult, Loss, Rule, Update


@dataclass(frozen=True)
class SLTT(Rule):
    """Gradients flow from layer to layer within a step, never from one step to another.

    e_u^L[t] = (1/T) dl(o[t], y)/ds^L[t] ds^L/du^L                  error of the last hidden layer
    e_u^l[t] = e_u^(l+1)[t] du^(l+1)/ds^l ds^l/du^l                 down the layers (eq. 13)
    dL/dW^l = sum_t e_u^l[t]^T s^(l-1)[t]^T                         added up over steps (eq. 12)

    Each step goes backward as soon as it has gone forward, so that only one step's graph exists
    at a time and memory does not depend on T.

    Attributes:
        update: ``steps`` changes the parameters once per T steps, as algorithm 1; ``step`` is the
            online variant, which changes them after every step.
    """

    update: UpdateTime = "steps"

    def train_batch(
        self,
        model: Model,
        batch: Batch,
        loss: Loss,
        update: Update,
        generator: torch.Generator,
    ) -> BatchResult:
        """Add sum_t d(l[t]/T)/dW, without any path between steps."""
        whole = self.update == "steps"
        # Nothing may be kept over an update: the next step has other weights.
        at_once = batch.at_once(model) if whole else 1
        model.reset_state(cut=True)
        feed = Feed(model, batch.frames, batch.steps, batch.constant and whole, batch.lean)
        result = learn_each_step(feed.show, batch, loss, at_once, None if whole else update)
        if whole:
            feed.backward()
            update()
        return result
