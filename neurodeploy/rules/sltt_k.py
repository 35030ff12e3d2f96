"""SLTT-K: SLTT with gradients at K of the T steps only (Meng et al., ICCV 2023, section 4.3)."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Literal

import torch

from neurodeploy.rules.any_module import Model
from neurodeploy.rules.feed import Feed
from neurodeploy.rules.rule import Batch, BatchResult, Loss, Rule, Update
from neurodeploy.rules.time_chunk import parts


@dataclass(frozen=True)
class SLTTK(Rule):
    """SLTT at K steps drawn anew for each batch; the other steps run forward without a graph.

    Attributes:
        K: how many steps are drawn, without replacement, 1 <= K <= T. K = T is SLTT.
        scale: factor of each drawn step's loss. ``paper`` keeps SLTT's 1/T, which makes the
            gradient K/T of SLTT's in the mean, as a smaller learning rate would. ``unbiased`` is
            1/K: the mean over all draws is SLTT's gradient.
        early_exit: leave out the steps after the last drawn one. The gradient is the same. What
            is also seen at each step then sees fewer of them: the training loss and accuracy that
            are reported, and the running statistics of batch norm.
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
        return BatchResult(summed_loss / needed, total)
