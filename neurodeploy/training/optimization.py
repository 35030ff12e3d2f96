"""Optimiser and learning rate of a recipe."""

from __future__ import annotations

import math

import torch
from torch import nn

from neurodeploy.recipe import TrainingRecipe


def make_optimizer(model: nn.Module, training: TrainingRecipe) -> torch.optim.Optimizer:
    """Adam, or SGD with momentum."""
    if training.optimizer == "adam":
        return torch.optim.Adam(
            model.parameters(), lr=training.learning_rate, weight_decay=training.weight_decay
        )
    return torch.optim.SGD(
        model.parameters(),
        lr=training.learning_rate,
        momentum=training.momentum,
        weight_decay=training.weight_decay,
    )


def learning_rate(training: TrainingRecipe, epoch: int) -> float:
    """Learning rate of an epoch, counted from 1.

    It rises linearly over the first W epochs (lr epoch/(W + 1)), then follows half a cosine, lr
    (1 + cos(pi k/(E - W)))/2 with k = epoch - W - 1, as Meng et al. 2023 without the rise. A pure
    function of the epoch: a resumed run has no schedule to restore.
    """
    if epoch <= training.warmup_epochs:
        return training.learning_rate * epoch / (training.warmup_epochs + 1)
    done = (epoch - training.warmup_epochs - 1) / (training.epochs - training.warmup_epochs)
    return training.learning_rate * (1 + math.cos(math.pi * done)) / 2
