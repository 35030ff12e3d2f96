"""Random draws for timing: none luckier than the mean."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import torch

from neurodeploy.recipe import NeuronRecipe
from neurodeploy.training.loss import InstantaneousLoss
from neurodeploy.training.networks.mlp import Mlp
from neurodeploy.training.rules import Batch, Rule
from neurodeploy.training.rules.sltt_k import SLTTK

CANDIDATES = 64


class Draw(NamedTuple):
    """Random draws of one iteration: their seed, and how many steps it runs with them."""

    seed: int
    steps: int


def balanced_draws(rule: Rule, steps: int) -> Iterator[Draw]:
    """Draws for iteration 1, 2 and so on.

    SLTT-K stops after the last step drawn, K (T + 1) / (K + 1) in the mean, so that a few
    iterations can take half or twice the time of others. Each draw is the one with which the steps
    run so far come nearest to that mean.

    Args:
        rule: with the options that are measured.
        steps: T.
    """
    if not (isinstance(rule, SLTTK) and rule.early_exit):
        yield from (Draw(seed, steps) for seed in itertools.count())
        return
    mean = rule.K * (steps + 1) / (rule.K + 1)
    draws = [Draw(seed, steps_run(rule, steps, seed)) for seed in range(CANDIDATES)]
    missing = mean
    while True:
        draw = min(draws, key=lambda draw: abs(draw.steps - missing))
        missing += mean - draw.steps
        yield draw


def steps_run(rule: Rule, steps: int, seed: int) -> int:
    """How many of T steps a rule asks for with draws of this seed; tried on one neuron."""
    network = Mlp((1,)).build((1,), 2, NeuronRecipe(tau=2.0))
    frames = iter([torch.zeros(1, 1)] * steps)
    batch = Batch(frames, steps, torch.zeros(1, dtype=torch.int64))
    generator = torch.Generator().manual_seed(seed)
    rule.train_batch(network, batch, InstantaneousLoss(), lambda: None, generator)
    left = sum(1 for _ in frames)
    return steps - left
