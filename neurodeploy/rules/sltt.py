"""Spatial Learning Through Time, at all steps or at K of them (Meng et al., ICCV 2023)."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Literal

import torch

from neurodeploy.rules.any_module import Model
from neurodeploy.rules.feeding import Feed, parts
from neurodeploy.rules.rule import (
    Batch,
    BatchResult,
    Loss,
    Rule,
    Update,
    UpdateTime,
    learn_each_step,
)


@dataclass(frozen=True)
class SLTT(Rule):
    """Gradients flow from layer to layer within a step, never from one step to another.

    (Meng et al. 2023, algorithm 1.)

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


@dataclass(frozen=True)
class SLTTK(Rule):
    """SLTT at K steps drawn anew for each batch; the other steps run forward without a graph.

    (Meng et al. 2023, section 4.3.)

    Attributes:
        K: how many steps are drawn, without replacement, 1 <= K <= T. K = T is SLTT.
        scale: factor of each drawn step's loss. ``paper`` keeps SLTT's 1/T, which makes the
            gradient K/T of SLTT's on average, like a smaller learning rate. ``unbiased`` is 1/K:
            the mean over all draws is SLTT's gradient.
        early_exit: leave out the steps after the last drawn one. The gradient is the same, but the
            reported training loss and accuracy, and the running statistics of batch norm, cover
            fewer steps.
    """

    K: int = 1
    scale: Literal["paper", "unbiased"] = "paper"
    early_exit: bool = True

    def __post_init__(self) -> None:
        if self.K < 1:
            raise ValueError(f"K must be at least 1, found {self.K}")

    def check_steps(self, steps: int) -> None:
        """Raise ValueError when fewer than K steps are there to draw from."""
        if steps < self.K:
            raise ValueError(
                f"K = {self.K} steps cannot be drawn from the T = {steps} of a sample; "
                f"set rule.K to at most {steps}"
            )

    def train_batch(
        self,
        model: Model,
        batch: Batch,
        loss: Loss,
        update: Update,
        generator: torch.Generator,
    ) -> BatchResult:
        """Add sum over drawn t of d(l[t]/T)/dW, or d(l[t]/K)/dW."""
        self.check_steps(batch.steps)
        drawn = set(torch.randperm(batch.steps, generator=generator)[: self.K].tolist())
        factor = 1 / (batch.steps if self.scale == "paper" else self.K)
        needed = max(drawn) + 1 if self.early_exit else batch.steps
        at_once = batch.at_once(model)
        model.reset_state(cut=True)
        feed = Feed(model, batch.frames, needed, batch.constant, batch.lean)
        summed_loss = total = torch.zeros((), device=batch.labels.device)
        # Neighbouring steps that are all drawn, or all not, can run at once.
        for learns, run in itertools.groupby(range(needed), drawn.__contains__):
            for count in parts(len([*run]), at_once):
                with torch.set_grad_enabled(learns):
                    outputs = feed.show(count)
                    part_loss = loss.over_steps(outputs, batch.labels)
                    if learns:
                        (factor * part_loss).backward()
                summed_loss = summed_loss + part_loss.detach()
                total = total + outputs.detach().sum(0)
        feed.backward()
        update()
        return BatchResult(summed_loss / needed, total, needed)
