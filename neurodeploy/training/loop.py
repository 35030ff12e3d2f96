"""The training loop: epochs, batches, metrics, checkpoints."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from neurodeploy.contract import InputCode
from neurodeploy.errors import InputError, SimulationError
from neurodeploy.recipe import Recipe
from neurodeploy.training.augmentation import augment
from neurodeploy.training.checkpoint import (
    TrainingState,
    copy_weights,
    optimizer_tensors,
    restore_optimizer,
    save_best,
    save_state,
)
from neurodeploy.training.encoding import training_frames
from neurodeploy.training.evaluate import evaluate
from neurodeploy.training.loss import InstantaneousLoss
from neurodeploy.training.metrics import EpochMetrics, MetricsLog
from neurodeploy.training.networks import SpikingNetwork
from neurodeploy.training.optimization import learning_rate, make_optimizer
from neurodeploy.training.rules import Batch, Rule
from neurodeploy.training.split import Split


@contextmanager
def reproducible(device: torch.device, threads: int = 0) -> Iterator[None]:
    """Ask for deterministic kernels; leave the caller's settings and generators as they were.

    Args:
        threads: CPU threads, 0 to leave them alone.
    """
    cudnn = torch.backends.cudnn
    before = cudnn.deterministic, cudnn.benchmark
    threads_before = torch.get_num_threads()
    cudnn.deterministic, cudnn.benchmark = True, False
    if threads:
        torch.set_num_threads(threads)
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            yield
    finally:
        cudnn.deterministic, cudnn.benchmark = before
        torch.set_num_threads(threads_before)


def fit(
    model: SpikingNetwork,
    rule: Rule,
    recipe: Recipe,
    split: Split,
    code: InputCode,
    run: Path,
    state: TrainingState | None,
    progress: bool,
) -> TrainingState:
    """Train ``model`` in place for the recipe's epochs, or for those that ``state`` lacks.

    Every epoch draws from generators seeded with the recipe's seed and the epoch's number, so a
    run that was interrupted and resumed gives the same numbers as one that was not.

    Args:
        model: on the device to train on.
        rule: turns a batch into gradients and says when to update.
        recipe: epochs, batches, optimiser, seed.
        split: training and validation samples.
        code: encoder and levels.
        run: folder for metrics and checkpoints.
        state: of an interrupted run, or None.
        progress: show a bar on stderr where that is a terminal.

    Returns:
        The state after the last epoch, which is also on disk.

    Raises:
        InputError: the batches do not suit the network, or the folder cannot be written.
        SimulationError: the loss became infinite or NaN.
    """
    training = recipe.training
    loss = InstantaneousLoss.of(training)
    optimizer = make_optimizer(model, training)
    history: list[EpochMetrics] = []
    best, best_epoch = copy_weights(model), 0
    if state is not None:
        model.load_state_dict(dict(state.model))
        restore_optimizer(optimizer, state.optimizer)
        history, best, best_epoch = list(state.history), dict(state.best), state.best_epoch
        save_best(run, state)
    batches = batch_count(model, recipe, len(split.y_train))
    bar = tqdm(
        total=training.epochs * batches,
        initial=len(history) * batches,
        unit="batch",
        file=sys.stderr,
        disable=not (progress and sys.stderr.isatty()),
    )
    with bar, MetricsLog(run, history) as log:
        for epoch in range(len(history) + 1, training.epochs + 1):
            started = time.perf_counter()
            bar.set_description(f"epoch {epoch}/{training.epochs}")
            rate = learning_rate(training, epoch)
            for group in optimizer.param_groups:
                group["lr"] = rate
            trained = _train_epoch(model, rule, recipe, split, code, loss, optimizer, epoch, bar)
            validated = evaluate(
                model, split.x_validation, split.y_validation, code, training.steps, loss
            )
            _check_finite(validated.loss, recipe, epoch, "in validation")
            seconds = time.perf_counter() - started
            metrics = EpochMetrics(epoch, *trained, *validated, rate, seconds)
            weights = copy_weights(model)
            if not history or metrics.better_than(history[best_epoch - 1]):
                best, best_epoch = weights, epoch
            history.append(metrics)
            state = TrainingState(
                weights, optimizer_tensors(optimizer), best, tuple(history), best_epoch
            )
            _end_epoch(run, state, log)
            bar.set_postfix(validation=f"{100 * validated.accuracy:.2f} %")
    if state is None:
        raise ValueError("a recipe has at least one epoch")
    return state


def _end_epoch(run: Path, state: TrainingState, log: MetricsLog) -> None:
    """Put the epoch on disk, the checkpoint first: everything else can be rewritten from it."""
    save_state(run, state)
    if state.best_epoch == len(state.history):
        save_best(run, state)
    log.append(state.history[-1])


def _train_epoch(
    model: SpikingNetwork,
    rule: Rule,
    recipe: Recipe,
    split: Split,
    code: InputCode,
    loss: InstantaneousLoss,
    optimizer: torch.optim.Optimizer,
    epoch: int,
    bar: tqdm,
) -> tuple[float, float]:
    """Visit every training sample once, in a fresh order; returns mean loss and accuracy."""
    device = next(model.parameters()).device
    steps = recipe.training.steps
    generator = _seed_epoch(recipe.seed, epoch)
    model.train()

    def update() -> None:
        optimizer.step()
        optimizer.zero_grad()

    summed_loss, right = 0.0, 0
    count = len(split.y_train)
    order = torch.randperm(count, generator=generator)
    for batch in order.tensor_split(batch_count(model, recipe, count)):
        numbers = batch.numpy()
        images = augment(split.x_train[numbers], recipe.augmentation, (recipe.seed, epoch), numbers)
        samples = torch.from_numpy(images).to(device)
        labels = torch.from_numpy(split.y_train[numbers]).to(device)
        frames = training_frames(samples, code, steps, generator)
        result = rule.train_batch(model, Batch(frames, steps, labels), loss, update, generator)
        batch_loss = result.loss.item()
        _check_finite(batch_loss, recipe, epoch, "in training")
        summed_loss += batch_loss * len(batch)
        right += _right(result.outputs, labels)
        bar.update()
    return summed_loss / count, right / count


def _right(outputs: Tensor, labels: Tensor) -> int:
    """How many samples have their largest output at their label."""
    return int((outputs.argmax(1) == labels).sum().item())


def _seed_epoch(seed: int, epoch: int) -> torch.Generator:
    """Seed torch's global generators for this epoch; returns one of its own on the CPU."""
    global_seed, own_seed = np.random.SeedSequence((seed, epoch)).generate_state(2, np.uint32)
    torch.manual_seed(int(global_seed))
    return torch.Generator().manual_seed(int(own_seed))


def batch_count(model: SpikingNetwork, recipe: Recipe, samples: int) -> int:
    """Batches an epoch is cut into: of equal size to within one, none above ``batch_size``.

    Equal sizes spare the last batch from being a small one, with a noisier update.

    Raises:
        InputError: batch norm would meet a batch of one sample, which has no variance.
    """
    count = math.ceil(samples / recipe.training.batch_size)
    normalised = any(isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d) for m in model.modules())
    if normalised and samples // count < 2:
        raise InputError(
            f"recipe {recipe.name}: [training] batch_size = {recipe.training.batch_size} with "
            f"{samples} training samples gives batches of one sample, but batch_norm needs at "
            "least 2; raise batch_size or turn batch_norm off"
        )
    return count


def _check_finite(loss: float, recipe: Recipe, epoch: int, where: str) -> None:
    """Stop at the first loss that is not a number: nothing after it can be right."""
    if not math.isfinite(loss):
        raise SimulationError(
            f"recipe {recipe.name}: the loss became {loss} {where} in epoch {epoch}; lower "
            f"training.learning_rate (now {recipe.training.learning_rate:g}) or set "
            "training.warmup_epochs"
        )
