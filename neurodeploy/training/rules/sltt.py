"""Spatial Learning Through Time (Meng et al., ICCV 2023, algorithm 1)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from neurodeploy.training.loss import InstantaneousLoss
from neurodeploy.training.networks.network import SpikingNetwork
from neurodeploy.training.rules.rule import BatchResult


@dataclass(frozen=True)
class SLTT:
    """Gradients flow from layer to layer within a step, never from one step to another.

    e_u^L[t] = (1/T) dl(o[t], y)/ds^L[t] ds^L/du^L                  error of the last hidden layer
    e_u^l[t] = e_u^(l+1)[t] du^(l+1)/ds^l ds^l/du^l                 down the layers (eq. 13)
    dL/dW^l = sum_t e_u^l[t]^T s^(l-1)[t]^T                         added up over steps (eq. 12)

    Each step goes backward as soon as it has gone forward, so that only one step's graph exists
    at a time and memory does not depend on T. The parameters change once per T steps.
    """

    def accumulate(
        self,
        model: SpikingNetwork,
        frames: Iterable[Tensor],
        steps: int,
        labels: Tensor,
        loss: InstantaneousLoss,
    ) -> BatchResult:
        """Add sum_t d(l[t]/T)/dW to every parameter's ``grad``."""
        model.reset_state(cut=True)
        summed_loss = total = torch.zeros((), device=labels.device)
        for frame in frames:
            outputs = model(frame)
            step_loss = loss(outputs, labels) / steps
            step_loss.backward()
            summed_loss = summed_loss + step_loss.detach()
            total = total + outputs.detach()
        return BatchResult(summed_loss, total)
