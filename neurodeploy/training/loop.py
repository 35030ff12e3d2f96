"""The training loop: epochs, each trained, validated, recorded and shown on the terminal."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType

import torch
from torch import Tensor
from tqdm import tqdm

from neurodeploy.artifacts.names import LAST
from neurodeploy.errors import InputError
from neurodeploy.nn.delays import SETTLED, anneal_delays
from neurodeploy.nn.families import SpikingNetwork
from neurodeploy.recipe import Recipe, TrainingRecipe
from neurodeploy.sparsity import Masks, prune, zero_share
from neurodeploy.support.log import LOG
from neurodeploy.support.processes import Processes
from neurodeploy.training.assembly import begin_when_due
from neurodeploy.training.batches import batch_count
from neurodeploy.training.checkpoint import TrainingState, copy_weights, save_best, save_state
from neurodeploy.training.connectivity import sparsity_of
from neurodeploy.training.divergence import Guard
from neurodeploy.training.epoch import Job, train_epoch
from neurodeploy.training.evaluate import Evaluation, evaluate_shared
from neurodeploy.training.metrics import EpochMetrics, MetricsLog, PartialEpoch
from neurodeploy.training.optimization import Updater, learning_rate
from neurodeploy.training.threads import Threads


class Recorder:
    """Checkpoints, metrics and a progress bar of the main process; nothing of any other."""

    def __init__(
        self,
        run: Path,
        training: TrainingRecipe,
        batches: int,
        state: TrainingState | None,
        processes: Processes,
        progress: bool,
    ) -> None:
        """Continue after ``state``.

        Args:
            run: the run folder.
            training: epochs, and how often to save the state within one.
            batches: of an epoch.
            state: of an interrupted run, or None.
            processes: of which this is one.
            progress: show a bar on stderr where that is a terminal, and warnings at once.
        """
        self._run = run
        self._training = training
        self._main = processes.is_main
        history = state.history if state else ()
        self._log = MetricsLog(run, history) if self._main else None
        if self._main and state and history:
            save_best(run, state)
        self._bar = tqdm(
            total=training.epochs * batches,
            initial=len(history) * batches + (state.partial.batches if state else 0),
            unit="batch",
            file=sys.stderr,
            disable=not (progress and self._main and sys.stderr.isatty()),
        )
        self._saved = time.monotonic()
        self._progress = progress
        self._warned = 0
        self._shown: dict[str, str] = {}

    def __enter__(self) -> Recorder:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with ExitStack() as stack:
            stack.enter_context(self._bar)
            if self._log:
                stack.enter_context(self._log)

    def begin_epoch(self, epoch: int) -> None:
        """Name the epoch that the next batches belong to."""
        self._bar.set_description(f"epoch {epoch}/{self._training.epochs}")

    def end_batch(self, loss: float) -> bool:
        """Count a batch and show its loss; True when it is time to ``save``."""
        self._bar.set_postfix({**self._shown, "loss": f"{loss:.3f}"}, refresh=False)
        self._bar.update()
        minutes = (time.monotonic() - self._saved) / 60
        return self._main and 0 < self._training.checkpoint_minutes <= minutes

    def save(self, state: TrainingState) -> None:
        """Put a state within an epoch on disk."""
        save_state(self._run, state)
        self._saved = time.monotonic()

    def end_epoch(self, state: TrainingState) -> None:
        """Put the epoch on disk, the checkpoint first: everything else can be rewritten from it."""
        metrics = state.history[-1]
        self._shown = {"validation": metrics.validation_text}
        self._bar.set_postfix({**self._shown, "loss": f"{metrics.train_loss:.3f}"})
        if self._log is None:
            return
        self._warn(metrics)
        self.save(state)
        if state.best_is_now:
            save_best(self._run, state)
        self._log.append(metrics)
        self._tell(metrics)

    def _tell(self, metrics: EpochMetrics) -> None:
        """A line for an epoch, as the log of a cluster keeps it."""
        left = (self._training.epochs - metrics.epoch) * metrics.seconds
        LOG.info(
            f"Epoch {metrics.epoch}/{self._training.epochs}: loss {metrics.train_loss:.3f}, "
            f"validation {metrics.validation_text}, {metrics.seconds:,.1f} s; "
            + (f"about {left / 60:,.1f} min left" if left else "done")
        )

    def _warn(self, metrics: EpochMetrics) -> None:
        """Say of silent and of overactive layers what has not been said yet; stop when none is."""
        found = metrics.warnings
        if len(found) > self._warned:
            for warning in found:
                LOG.log(logging.WARNING if self._progress else logging.DEBUG, f"Warning: {warning}")
        self._warned = len(found)


@contextmanager
def reproducible(device: torch.device, threads: int = 0) -> Iterator[Threads]:
    """Ask for deterministic kernels; leave the caller's settings and generators as they were.

    Args:
        threads: CPU threads, 0 for as many as other programs leave.

    Yields:
        What adapts their number from time to time.
    """
    cudnn = torch.backends.cudnn
    before = cudnn.deterministic, cudnn.benchmark
    threads_before = torch.get_num_threads()
    cudnn.deterministic, cudnn.benchmark = True, False
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            yield Threads(threads)
    finally:
        cudnn.deterministic, cudnn.benchmark = before
        torch.set_num_threads(threads_before)


def fit(
    job: Job,
    run: Path,
    state: TrainingState | None,
    progress: bool,
    after_epoch: Callable[[EpochMetrics], None] | None = None,
) -> TrainingState:
    """Train the job's model in place for the recipe's epochs, or for what ``state`` lacks of them.

    Every batch draws from generators seeded with the recipe's seed and the batch's own number, so
    a run that was interrupted and resumed gives the same numbers as one that was not.

    Args:
        job: what to train and how.
        run: folder for metrics and checkpoints.
        state: of an interrupted run, or None.
        progress: show a bar on stderr where that is a terminal.
        after_epoch: is told of each epoch on the main process once it is on disk.

    Returns:
        The state after the last epoch, which is also on disk.

    Raises:
        InputError: the samples cannot be read, or the folder cannot be written.
        DivergedError: the loss or the weights ran away.
        SimulationError: another process is gone.
    """
    model, training, samples = job.model, job.recipe.training, len(job.split.y_train)
    updater = Updater(model, training, job.processes)
    now = state or TrainingState(copy_weights(model), {}, {}, (), 0)
    if state is not None:
        _restore(model, updater, state, run)
    batches = batch_count(samples, training.batch_size)
    if now.partial.batches > batches or len(now.history) > training.epochs:
        raise InputError(
            f"{run / LAST}: a checkpoint of another recipe: {len(now.history)} epochs and "
            f"{now.partial.batches} batches are done of {training.epochs} epochs of {batches}"
        )
    guard = Guard(job.recipe, run, batches, job.classes, now.initial_loss)
    with Recorder(run, training, batches, state, job.processes, progress) as recorder:
        for epoch in range(len(now.history) + 1, training.epochs + 1):
            recorder.begin_epoch(epoch)
            updater.masks = masks_in(job, epoch)
            begin_when_due(model, job.recipe, epoch)
            anneal_delays(model, (epoch - 1) / training.epochs, _settled(job.recipe))
            rate = learning_rate(training, epoch)
            updater.set_learning_rate(rate)
            trained = now.partial
            for trained in train_epoch(job, updater, epoch, now.partial):
                guard.check_batch(now, trained, rate)
                if recorder.end_batch(trained.loss) and guard.is_calm(model):
                    recorder.save(_within_epoch(now, job, updater, trained, guard))
            started = time.perf_counter()
            with updater.averaged():
                validated, kept, zeros = _validate(job), copy_weights(model), zero_share(model)
            guard.check_epoch(now, validated.loss, model, rate)
            seconds = trained.seconds + time.perf_counter() - started
            sparsity = sparsity_of(validated.spikes, job.connectivity, job.mean_steps)
            metrics = EpochMetrics(
                epoch=epoch,
                train_loss=trained.summed_loss / samples,
                validation_loss=validated.loss,
                learning_rate=rate,
                seconds=seconds,
                firing_rates=validated.firing_rates,
                synaptic_operations=sparsity.synaptic_operations,
                silent=sparsity.silent,
                saturated=sparsity.saturated,
                zero_weights=zeros,
                **_scores(job, trained.right / samples, validated.score),
            )
            now = _after_epoch(now, job, updater, metrics, guard, kept)
            recorder.end_epoch(now)
            if after_epoch is not None and job.processes.is_main:
                after_epoch(metrics)
    return now


def _settled(recipe: Recipe) -> float:
    """Share of the training after which delays are whole: when integers begin, at the latest."""
    if not recipe.quantize.bits:
        return SETTLED
    return min(SETTLED, (recipe.first_integer_epoch - 1) / recipe.training.epochs)


def masks_in(job: Job, epoch: int) -> Masks:
    """Take out what the recipe takes out at the beginning of an epoch, and what was before.

    In an epoch that is gone on with, that is what is zero already.
    """
    chosen, share = job.recipe.prune, job.recipe.pruned_share_in(epoch)
    if not share:
        return Masks()
    module = job.floats or job.model
    return prune(module, share, by=chosen.by, over=chosen.over, spare=chosen.spare)


def _restore(model: SpikingNetwork, updater: Updater, state: TrainingState, run: Path) -> None:
    """Put a checkpoint back.

    Raises:
        InputError: it is of another network.
    """
    shapes = {name: value.shape for name, value in model.state_dict().items()}
    best = {name: value.shape for name, value in state.best.items()}
    try:
        model.load_state_dict(dict(state.model))
        updater.restore(state.optimizer)
        if state.best_epoch and best != shapes:
            raise ValueError("the weights of the best epoch have other names or shapes")
    except (RuntimeError, ValueError, KeyError, IndexError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{run / LAST}: a checkpoint of another network: {reason[:300]}") from None


def _validate(job: Job) -> Evaluation:
    """Loss and score on the validation samples."""
    training, split = job.recipe.training, job.split
    job.threads.adapt()
    return evaluate_shared(
        job.model,
        split.x_validation,
        split.y_validation,
        job.code,
        training.steps,
        job.loss,
        job.processes,
        split.lengths_validation,
    )


def _scores(job: Job, trained: float, validated: float) -> dict[str, float | None]:
    """An epoch's scores under the names of what they are."""
    scored = "smape" if job.predicts_values else "accuracy"
    found = {f"train_{scored}": trained, f"validation_{scored}": validated}
    return {"train_accuracy": None, "validation_accuracy": None, **found}


def _within_epoch(
    before: TrainingState, job: Job, updater: Updater, partial: PartialEpoch, guard: Guard
) -> TrainingState:
    """The state in an epoch that began with ``before``."""
    return replace(
        before,
        model=copy_weights(job.model),
        optimizer=updater.state(),
        partial=partial,
        initial_loss=guard.initial_loss,
    )


def _after_epoch(
    before: TrainingState,
    job: Job,
    updater: Updater,
    metrics: EpochMetrics,
    guard: Guard,
    kept: dict[str, Tensor],
) -> TrainingState:
    """The state at the end of an epoch that began with ``before``.

    Args:
        kept: the weights that were validated.
    """
    weights = copy_weights(job.model) if job.recipe.training.average else kept
    history, best, best_epoch = (*before.history, metrics), before.best, before.best_epoch
    first = job.recipe.first_epoch_to_keep
    # What was best in floats cannot be deployed as it is by a recipe that ends on integers.
    starts_over = best_epoch == 0 or best_epoch < first <= metrics.epoch
    if starts_over or metrics.better_than(history[best_epoch - 1]):
        best, best_epoch = kept, metrics.epoch
    return TrainingState(
        *(weights, updater.state(), best, history, best_epoch), initial_loss=guard.initial_loss
    )
