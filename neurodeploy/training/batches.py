"""Shares of the samples: some kept for validation, the rest in batches, and these in pieces.

A batch is what one update sees, on however many processes. Each process takes ``accumulate``
neighbouring pieces of it and runs them one after another. Orders and draws come from the seed, the
epoch and the batch alone, so that any batch can be made again without those before it.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from neurodeploy.data import Dataset, SampleArray, Versions, choose
from neurodeploy.errors import InputError
from neurodeploy.support.processes import Processes


class Split(NamedTuple):
    """Both parts of the training samples.

    Attributes:
        x_train, x_validation: (N, *sample) integers.
        y_train, y_validation: (N,) classes, or (N, K) values.
        held_back: (N,) numbers that the validation samples have in the data set.
        lengths_train, lengths_validation: (N,) steps that the samples last; None where all last T.
        channel_groups: as of the data set.
        versions_train: changed ones of ``x_train``, if there are any.
    """

    x_train: SampleArray
    y_train: np.ndarray
    x_validation: SampleArray
    y_validation: np.ndarray
    held_back: np.ndarray
    lengths_train: np.ndarray | None = None
    lengths_validation: np.ndarray | None = None
    channel_groups: int = 1
    versions_train: Versions | None = None

    def seen(self, numbers: np.ndarray, versions: np.ndarray | None) -> np.ndarray:
        """(n, *sample) integers of training samples, each in one of its versions.

        Args:
            numbers: (n,) in ``x_train``.
            versions: (n,) of each; 0 is the sample itself. None where there are no others.
        """
        if versions is None or self.versions_train is None:
            return self.x_train[numbers]
        x, changed = self.x_train[numbers], np.flatnonzero(versions)
        x[changed] = self.versions_train.x[numbers[changed], versions[changed] - 1]
        return x

    def lasting(self, numbers: np.ndarray, versions: np.ndarray | None) -> np.ndarray | None:
        """(n,) steps that these last; None where all last T."""
        if self.lengths_train is None:
            return None
        lengths = self.lengths_train[numbers]
        if versions is None or self.versions_train is None:
            return lengths
        changed = self.versions_train.lengths[numbers, np.maximum(versions - 1, 0)]
        return np.where(versions > 0, changed, lengths)


def split_training(
    dataset: Dataset,
    validation: float,
    seed: int,
    exclude: tuple[int, ...] = (),
    where: str = "",
    limit: int = 0,
) -> Split:
    """Split the training samples, each class in proportion.

    Of samples that follow each other in time the last ones are held back: others would show nearly
    the same as their neighbours in training. The test samples play no part: they are looked at
    once, when training is over.

    Args:
        validation: share that is held back, 0 < validation < 1.
        seed: of the draw.
        exclude: classes whose samples come into neither part.
        where: names the recipe in messages.
        limit: both parts together have so many samples, each class in proportion; 0 for all.

    Raises:
        InputError: the share or the limit leaves a class without a sample in one of the parts,
            there are fewer samples than the limit, or an excluded class does not exist.
    """
    if dataset.predicts_values:
        return _split_values(dataset, validation, seed, exclude, where, limit)
    unknown = [number for number in exclude if not 0 <= number < dataset.classes]
    if unknown or len(set(exclude)) >= dataset.classes - 1:
        raise InputError(
            f"{where}[data] exclude = {list(exclude)}: the data set has classes 0 "
            f"to {dataset.classes - 1}, and at least two of them have to remain"
        )
    numbers = np.flatnonzero(~np.isin(dataset.y_train, exclude))
    if limit > len(numbers):
        raise InputError(
            f"{where}[data] limit = {limit}: there are {len(numbers):,} training samples"
        )
    # Imported here because it takes a second, which a wrong recipe should not have to wait for.
    from sklearn.model_selection import train_test_split

    try:
        if 0 < limit < len(numbers):
            numbers, _ = train_test_split(
                numbers, train_size=limit, stratify=dataset.y_train[numbers], random_state=seed
            )
            numbers = np.asarray(numbers)
        parts = train_test_split(
            numbers,
            test_size=validation,
            stratify=dataset.y_train[numbers],
            random_state=seed,
        )
    except ValueError as error:
        held = dataset.classes - len(set(exclude))
        raise InputError(
            f"{where}[data] validation = {validation} cannot split "
            f"{limit or len(numbers)} samples of {held} classes: {error}"
        ) from None
    train, held_back = (np.asarray(part) for part in parts)
    return _parts(dataset, train, held_back)


def _split_values(
    dataset: Dataset,
    validation: float,
    seed: int,
    exclude: tuple[int, ...],
    where: str,
    limit: int,
) -> Split:
    """``split_training`` of samples that have values.

    Raises:
        InputError: classes are excluded, or there are fewer samples than the limit or than two.
    """
    if exclude:
        raise InputError(
            f"{where}[data] exclude = {list(exclude)}: data set {dataset.name!r} has values to "
            "predict, and no classes that could be left out"
        )
    count = len(dataset.y_train)
    if limit > count:
        raise InputError(f"{where}[data] limit = {limit}: there are {count:,} training samples")
    order = np.random.default_rng(seed).permutation(count)
    if dataset.ordered:
        order = np.arange(count)
    order = order[: limit or count]
    kept = len(order) - max(1, round(validation * len(order)))
    if kept < 1:
        raise InputError(
            f"{where}[data] validation = {validation} leaves none of {len(order)} samples for "
            "training"
        )
    return _parts(dataset, order[:kept], order[kept:])


def _parts(dataset: Dataset, train: np.ndarray, held_back: np.ndarray) -> Split:
    """The samples of these numbers."""
    lengths, versions = dataset.lengths_train, dataset.versions_train
    return Split(
        choose(dataset.x_train, train),
        dataset.y_train[train],
        choose(dataset.x_train, held_back),
        dataset.y_train[held_back],
        held_back,
        *(None if lengths is None else lengths[part] for part in (train, held_back)),
        channel_groups=dataset.channel_groups,
        versions_train=None if versions is None else versions.of(train),
    )


class Piece(NamedTuple):
    """Samples that go through the network at once.

    Attributes:
        number: of the piece in its batch, over all processes.
        first: where in the batch it begins.
        size: how many samples it has.
        share: that number, over the batch's.
    """

    number: int
    first: int
    size: int
    share: float


def batch_count(samples: int, batch_size: int) -> int:
    """Batches an epoch is cut into: of equal size to within one, none above ``batch_size``.

    Equal sizes spare the last batch from being a small one, with a noisier update.
    """
    return math.ceil(samples / batch_size)


def epoch_batches(samples: int, batch_size: int, seed: int, epoch: int) -> tuple[Tensor, ...]:
    """Numbers of the samples in each batch: all samples once, in this epoch's own order."""
    order = torch.randperm(samples, generator=_generator(seed, epoch))
    return order.tensor_split(batch_count(samples, batch_size))


def own_pieces(size: int, accumulate: int, processes: Processes) -> list[Piece]:
    """This process's pieces of a batch, of equal size to within one; they lie side by side."""
    parts = np.array_split(np.arange(size), processes.count * accumulate)
    own = range(processes.index * accumulate, (processes.index + 1) * accumulate)
    return [Piece(n, int(parts[n][0]), len(parts[n]), len(parts[n]) / size) for n in own]


def seed_piece(
    seed: int, epoch: int, batch: int, piece: int, device: torch.device
) -> torch.Generator:
    """Seed everything that is drawn while a piece is trained on.

    The device's global generator, which draws dropout masks, gets a seed for the piece.

    Returns:
        A generator on the CPU that is the same for all pieces of a batch. What it draws must not
        depend on the piece: input spikes are drawn for the whole batch, steps for all alike.
    """
    # torch.manual_seed also leaves word for devices that are not in use, which takes longer than
    # all else here.
    seed_global = torch.default_generator if device.type == "cpu" else torch
    seed_global.manual_seed(_seed(seed, epoch, batch, piece))
    return _generator(seed, epoch, batch)


def check_batches(
    model: nn.Module,
    samples: int,
    batch_size: int,
    accumulate: int,
    processes: Processes,
    where: str = "",
) -> None:
    """Refuse batches that cannot be cut into pieces as ``accumulate`` and the processes ask.

    Args:
        samples: for training.
        where: names the recipe in messages.

    Raises:
        InputError: a piece would be empty, or batch norm would meet a piece of one sample, which
            has no variance.
    """
    normalised = any(isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d) for m in model.modules())
    least, pieces = (2 if normalised else 1), processes.count * accumulate
    batch = samples // batch_count(samples, batch_size)
    if batch // pieces >= least:
        return
    cut = f" and pieces of {batch // pieces}" if pieces > 1 else ""
    raise InputError(
        f"{where}[training] batch_size = {batch_size} with "
        f"{samples} training samples, {processes.count} processes and accumulate = "
        f"{accumulate} gives batches of {batch}{cut} samples, but "
        f"{'batch_norm' if normalised else 'a piece'} needs at least {least}; raise batch_size"
        + (" or turn batch_norm off" if normalised else "")
    )


def _generator(seed: int, epoch: int, *within: int) -> torch.Generator:
    return torch.Generator().manual_seed(_seed(seed, epoch, *within))


def _seed(seed: int, epoch: int, *within: int) -> int:
    """A seed for an epoch, or for something in it, that looks unrelated to any other."""
    # A spawn key of its own, because numpy takes an entropy and the same with zeros after it for
    # equal.
    sequence = np.random.SeedSequence((seed, epoch), spawn_key=within)
    return int(sequence.generate_state(2, np.uint32)[1])
