"""One epoch: every training sample once, batch by batch."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from neurodeploy.ir.contract import InputCode
from neurodeploy.nn.device import autocast
from neurodeploy.nn.families import SpikingNetwork
from neurodeploy.nn.loss import InstantaneousLoss
from neurodeploy.recipe import Recipe
from neurodeploy.rules import Batch, BatchResult, Rule
from neurodeploy.sparsity import PricedLoss, Regulariser, Wiring, wiring_of
from neurodeploy.support.processes import Processes
from neurodeploy.training.assembly import loss_of
from neurodeploy.training.augmentation_over_time import (
    augment_over_time,
    augmented_lengths,
    drawn_versions,
)
from neurodeploy.training.batches import Split, epoch_batches, own_pieces, seed_piece
from neurodeploy.training.connectivity import Connectivity
from neurodeploy.training.encoding import augment, frames_of_parts, is_constant, training_frames
from neurodeploy.training.metrics import PartialEpoch
from neurodeploy.training.optimization import Updater, average_statistics
from neurodeploy.training.threads import Threads


@dataclass(frozen=True, eq=False)
class Job:
    """What is trained, how and on what: all that stays as it is while the parameters change.

    Attributes:
        recipe: batches, steps, precision, seed.
        model: on the device to train on, in the dtype of the precision.
        rule: turns a batch into gradients and says when to update.
        split: training and validation samples.
        code: encoder and levels.
        processes: who shares the work.
        threads: of the CPU; by default as many as there are when the job is made.
        regularisers: prices on spikes that are minimised with the loss.
        floats: the network that ``model`` was made of, where that computes in integers.
    """

    recipe: Recipe
    model: SpikingNetwork
    rule: Rule
    split: Split
    code: InputCode
    processes: Processes
    threads: Threads = field(default_factory=Threads.as_they_are)
    regularisers: tuple[Regulariser, ...] = ()
    floats: SpikingNetwork | None = None

    @property
    def classes(self) -> int:
        """How many outputs the network has: one for each class that it tells apart."""
        *_, last = self.model.layers
        return math.prod(self.model.shapes[last])

    @property
    def mean_steps(self) -> float:
        """Steps that a validation sample lasts, in the mean."""
        lengths = self.split.lengths_validation
        return self.recipe.training.steps if lengths is None else float(lengths.mean())

    @functools.cached_property
    def connectivity(self) -> Connectivity:
        """The synapses behind each neuron, as they are now."""
        return Connectivity(self.model, self.code, self.floats)

    @property
    def predicts_values(self) -> bool:
        """Whether outputs are values instead of one class together."""
        return self.split.y_train.ndim > 1

    @functools.cached_property
    def loss(self) -> InstantaneousLoss:
        """The loss of one step."""
        return loss_of(self.recipe, self.split.y_train, self.classes)


def train_epoch(
    job: Job, updater: Updater, epoch: int, done: PartialEpoch
) -> Iterator[PartialEpoch]:
    """Train on the batches of an epoch that are not done yet; after each, say how far it has come.

    Raises:
        DivergedError: gradients have outgrown the precision.
    """
    started = time.perf_counter() - done.seconds
    batches = epoch_batches(
        len(job.split.y_train), job.recipe.training.batch_size, job.recipe.seed, epoch
    )
    job.model.train()
    wiring = _wiring(job)
    for number in range(done.batches, len(batches)):
        job.threads.adapt()
        batch = batches[number].numpy()
        loss, score = _train_batch(job, updater, epoch, number, batch, wiring)
        done = PartialEpoch(
            batches=number + 1,
            summed_loss=done.summed_loss + loss * len(batch),
            right=done.right + score,
            seconds=time.perf_counter() - started,
            loss=loss,
        )
        yield done


def _wiring(job: Job) -> Wiring | None:
    """What the prices of regularisers depend on in the next epoch; None without any."""
    if not job.regularisers:
        return None
    counted = any(regulariser.needs_fan_out for regulariser in job.regularisers)
    fan_outs = job.connectivity.fan_out() if counted else None
    return wiring_of(job.model, job.recipe.training.steps, job.regularisers, fan_outs)


def _train_batch(
    job: Job, updater: Updater, epoch: int, number: int, batch: np.ndarray, wiring: Wiring | None
) -> tuple[float, float]:
    """Train on this process's pieces of a batch.

    Args:
        number: of the batch in its epoch, from 0.
        batch: (N,) numbers of its samples.
        wiring: for the prices of regularisers, if there are any.

    Returns:
        Mean loss and sum of the samples' scores, both of the whole batch: of classes the number of
        right answers, of values the sum of percentage errors.
    """
    recipe, split, processes = job.recipe, job.split, job.processes
    pieces = own_pieces(len(batch), recipe.training.accumulate, processes)
    start, stop = pieces[0].first, pieces[-1].first + pieces[-1].size
    own, draws = batch[start:stop], (recipe.seed, epoch)
    versions, changed = None, split.versions_train
    if changed is not None:
        versions = drawn_versions(changed.count, draws, batch)
    lasting = split.lasting(batch, versions)
    parameter = next(job.model.parameters())
    device, dtype = parameter.device, parameter.dtype
    whole, images = _read_in_place(job, device), None
    if whole is None:
        with processes.together():
            images = augment(
                augment_over_time(
                    split.seen(own, None if versions is None else versions[start:stop]),
                    None if lasting is None else lasting[start:stop],
                    *(recipe.augmentation, draws, own, split.channel_groups),
                ),
                *(recipe.augmentation, draws, own),
            )
    scale, steps = updater.scale, recipe.training.steps
    if lasting is not None:
        lasting = augmented_lengths(lasting, recipe.augmentation, draws, batch, steps)
        # After the end of the longest nothing counts; a rule may need steps to draw from.
        steps = min(steps, max(int(lasting.max()), getattr(job.rule, "K", 1)))
    loss, score = 0.0, 0.0
    for piece in pieces:
        rows = slice(piece.first - start, piece.first - start + piece.size)
        labels = torch.from_numpy(split.y_train[own[rows]]).to(device)
        generator = seed_piece(recipe.seed, epoch, number, piece.number, device)
        if whole is not None:
            frames = frames_of_parts(whole, own[rows], job.code, steps)
        else:
            assert images is not None
            samples = torch.from_numpy(images[rows]).to(device)
            frames = training_frames(samples, job.code, steps, generator, piece.first, len(batch))
        frames = (frame.to(dtype) for frame in frames)
        piece_loss = replace(job.loss, factor=piece.share * scale)
        lengths = (
            None if lasting is None else torch.from_numpy(lasting[start:stop][rows]).to(device)
        )
        own_loss = piece_loss.of_batch(lengths, labels, steps)
        # Until the last piece, gradients are left to add up.
        update = updater if piece is pieces[-1] else _leave
        loss_of_steps = own_loss or piece_loss
        with ExitStack() as held:
            if wiring is not None:
                loss_of_steps = PricedLoss(
                    *(loss_of_steps, job.regularisers, len(labels)),
                    *(replace(wiring, steps=steps), lengths, piece_loss.factor),
                )
                held.enter_context(loss_of_steps.watching(job.model))
            held.enter_context(autocast(recipe.training.precision, device))
            result = job.rule.train_batch(
                job.model,
                Batch(frames, steps, labels, is_constant(job.code), recipe.training.time_chunk),
                loss_of_steps,
                update,
                generator,
            )
        found = result if own_loss is None else BatchResult(own_loss.seen, own_loss.outputs)
        loss += found.loss.item() / scale
        shown = torch.full((len(labels),), found.steps or steps, device=device)
        lasts = shown if lengths is None else lengths
        score += job.loss.summed_score(found.outputs, lasts, labels)
    average_statistics(job.model, len(own) / len(batch), processes)
    loss, score = processes.total(loss, score)
    return loss, score


def _read_in_place(job: Job, device: torch.device) -> np.ndarray | None:
    """The samples over time where each step can be read from them as they lie, else None.

    A copy of a batch of long samples would be most of what a rule takes that needs little.
    """
    samples = job.split.x_train
    if (
        job.code.encoder == "events"
        and isinstance(samples, np.ndarray)
        and device.type == "cpu"
        and not job.recipe.augmentation.active_at_all
        and job.split.versions_train is None
    ):
        return samples
    return None


def _leave() -> None:
    """Do not update yet."""
