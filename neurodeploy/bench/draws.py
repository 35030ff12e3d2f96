"""Random draws for timing: none luckier than the mean."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import torch

from neurodeploy.nn.families.mlp import Mlp
from neurodeploy.nn.loss import InstantaneousLoss
from neurodeploy.recipe import NeuronRecipe, Recipe
from neurodeploy.rules import Batch, Rule
from neurodeploy.rules.sltt_k import SLTTK
from neurodeploy.training.assembly import rule_of
from neurodeploy.training.batches import seed_piece

CANDIDATES = 64


class Draw(NamedTuple):
    """An epoch, whose random draws are its own, and how many steps are run with them."""

    epoch: int
    steps: int


def balanced_draws(recipe: Recipe) -> Iterator[Draw]:
    """Epochs for iteration 1, 2 and so on, each of one batch.

    SLTT-K stops after the last step drawn, K (T + 1) / (K + 1) in the mean, so that a few
    iterations can take half or twice the time of others. Each draw is the one with which the steps
    run so far come nearest to that mean.
    """
    rule, steps = rule_of(recipe), recipe.training.steps
    if not (isinstance(rule, SLTTK) and rule.early_exit):
        yield from (Draw(epoch, steps) for epoch in itertools.count(1))
        return
    mean = rule.K * (steps + 1) / (rule.K + 1)
    seeds = partial(seed_piece, recipe, batch=0, piece=0, device=torch.device("cpu"))
    draws = [
        Draw(epoch, steps_run(rule, steps, seeds(epoch=epoch)))
        for epoch in range(1, CANDIDATES + 1)
    ]
    missing = mean
    while True:
        draw = min(draws, key=lambda draw: abs(draw.steps - missing))
        missing += mean - draw.steps
        yield draw


def steps_run(rule: Rule, steps: int, generator: torch.Generator) -> int:
    """How many of T steps a rule asks for with draws of this generator; tried on one neuron."""
    network = Mlp((1,)).build((1,), 2, NeuronRecipe(tau=2.0))
    frames = iter([torch.zeros(1, 1)] * steps)
    batch = Batch(frames, steps, torch.zeros(1, dtype=torch.int64))
    rule.train_batch(network, batch, InstantaneousLoss(), lambda: None, generator)
    left = sum(1 for _ in frames)
    return steps - left
