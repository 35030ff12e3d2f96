"""A guard that stops a training whose loss or weights run away.

Nothing after that can be right, and a network with such weights may look healthy: a membrane that
is not a number never spikes, and the loss of a silent network is finite.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor, nn

from neurodeploy.artifacts.names import BEST, LAST
from neurodeploy.errors import DivergedError, Setting, Text
from neurodeploy.recipe import Recipe
from neurodeploy.training.checkpoint import TrainingState
from neurodeploy.training.metrics import PartialEpoch

FAR = 100.0
"""Times the loss at first, or that of a guess where it is larger, beyond which nothing is learned:
a spike of a healthy training stays within a few times the loss at first."""

PATIENCE = 10
"""Iterations in a row beyond that before a training is stopped: a bad batch may be made up for."""

STATISTICS = ("running_mean", "running_var")
"""Buffers that are computed from what the network sees; others are constants, and tau may be
infinite."""


class Guard:
    """Watches the loss of every iteration, and the weights at the end of each epoch.

    Attributes:
        initial_loss: of the first iteration, before any update; 0 while there is none.
    """

    def __init__(
        self, recipe: Recipe, run: Path, batches: int, classes: int, initial_loss: float
    ) -> None:
        """Begin, or go on after an interruption.

        Args:
            run: the folder that holds the checkpoints.
            batches: of an epoch.
            classes: that the network tells apart: guessing costs ln(classes).
            initial_loss: of an interrupted run, else 0.
        """
        self.initial_loss = initial_loss
        self._recipe = recipe
        self._run = run
        self._batches = batches
        self._guess = math.log(max(classes, 2))
        self._beyond = 0
        # Updated within its steps, a batch may have run away before its loss is known.
        self._online = recipe.rule.get("update") == "step"

    @property
    def bound(self) -> float:
        """The loss beyond which a training has diverged."""
        return FAR * max(0.0 if self._online else self.initial_loss, self._guess)

    def check_batch(self, now: TrainingState, done: PartialEpoch, rate: float) -> None:
        """Look at the loss of an iteration.

        Args:
            now: the state that the epoch began with.
            done: the epoch so far.
            rate: learning rate.

        Raises:
            DivergedError: the loss is not a number, or has been beyond the bound for too long.
        """
        where = f"in training, epoch {len(now.history) + 1}, iteration {done.batches} of "
        where += f"{self._batches}"
        if not math.isfinite(done.loss):
            if not now.history and done.batches == 1 and not self._online:
                raise DivergedError(
                    f"recipe {self._recipe.name}: the loss is {done.loss} {where}, before any "
                    "update; check the samples and their levels, training.class_weights, and the "
                    "weights that training starts with"
                )
            raise self._error(f"the loss became {done.loss} {where}", now, rate)
        self.initial_loss = self.initial_loss or done.loss
        self._beyond = self._beyond + 1 if done.loss > self.bound else 0
        if self._beyond >= PATIENCE:
            raise self._error(self._too_large(done.loss, where), now, rate)

    def check_epoch(self, now: TrainingState, loss: float, model: nn.Module, rate: float) -> None:
        """Look at the loss in validation and at the weights.

        Args:
            now: the state that the epoch began with.
            loss: in validation.

        Raises:
            DivergedError: the loss is not a number, or beyond the bound after an iteration that
                was; or a weight is not a number.
        """
        where = f"epoch {len(now.history) + 1}"
        if not math.isfinite(loss):
            raise self._error(f"the loss became {loss} in validation, {where}", now, rate)
        if self._beyond and loss > self.bound:
            raise self._error(self._too_large(loss, f"in validation, {where}"), now, rate)
        lost = not_finite(model)
        if lost:
            raise self._error(f"{lost} is not finite at the end of {where}", now, rate)

    def is_calm(self, model: nn.Module) -> bool:
        """Whether this moment may replace an older checkpoint."""
        return not self._beyond and not not_finite(model)

    def _too_large(self, loss: float, where: str) -> str:
        return (
            f"the loss became {loss:.3g} {where}, more than {FAR:g} times the "
            f"{self.bound / FAR:.3g} of the first iteration or of random guessing"
        )

    def _error(self, what: str, now: TrainingState, rate: float) -> DivergedError:
        training = self._recipe.training
        parts = [Setting("training.learning_rate", f"{rate / 10:g}")]
        if not training.clip_norm:
            parts.append(Setting("training.clip_norm", "1"))
        if not training.warmup_epochs and training.epochs > 1:
            parts.append(Setting("training.warmup_epochs", "1"))
        advice = [word for part in parts for word in (" or ", part)][1:]
        return DivergedError(
            Text(
                f"recipe {self._recipe.name}: {what}, at a learning rate of {rate:g} "
                f"(training.learning_rate is {training.learning_rate:g}); try ",
                *advice,
            ),
            fix=self._kept(now),
        )

    def _kept(self, now: TrainingState) -> Text:
        """What is on disk from before."""
        done = len(now.history)
        if not done:
            return Text(f"no epoch had finished, so {self._run} holds no weights to continue from")
        begin = Setting("training.start_from", str(self._run))
        return Text(
            f"{self._run / LAST} keeps the state of epoch {done} and {self._run / BEST} the "
            f"weights of epoch {now.best_epoch}, with which ",
            begin,
            " begins",
        )


def not_finite(model: nn.Module) -> str:
    """The first parameter, or statistic of a batch norm, with a value that is no finite number."""
    watched: list[tuple[str, Tensor]] = [*model.named_parameters()]
    watched += [
        (name, buffer)
        for name, buffer in model.named_buffers()
        if name.rpartition(".")[2] in STATISTICS
    ]
    for name, values in watched:
        if not torch.isfinite(values).all():
            return name.removeprefix("layers.")
    return ""
