"""How an epoch's samples are shared out: into batches, and each of these into pieces.

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

from neurodeploy.errors import InputError
from neurodeploy.recipe import Recipe
from neurodeploy.support.processes import Processes


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


def batch_count(samples: int, recipe: Recipe) -> int:
    """Batches an epoch is cut into: of equal size to within one, none above ``batch_size``.

    Equal sizes spare the last batch from being a small one, with a noisier update.
    """
    return math.ceil(samples / recipe.training.batch_size)


def epoch_batches(samples: int, recipe: Recipe, epoch: int) -> tuple[Tensor, ...]:
    """Numbers of the samples in each batch: all samples once, in this epoch's own order."""
    order = torch.randperm(samples, generator=_generator(recipe, epoch))
    return order.tensor_split(batch_count(samples, recipe))


def own_pieces(size: int, recipe: Recipe, processes: Processes) -> list[Piece]:
    """This process's pieces of a batch, of equal size to within one; they lie side by side."""
    each = recipe.training.accumulate
    parts = np.array_split(np.arange(size), processes.count * each)
    own = range(processes.index * each, (processes.index + 1) * each)
    return [Piece(n, int(parts[n][0]), len(parts[n]), len(parts[n]) / size) for n in own]


def seed_piece(
    recipe: Recipe, epoch: int, batch: int, piece: int, device: torch.device
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
    seed_global.manual_seed(_seed(recipe, epoch, batch, piece))
    return _generator(recipe, epoch, batch)


def check_batches(model: nn.Module, recipe: Recipe, samples: int, processes: Processes) -> None:
    """Refuse batches that cannot be cut into pieces as the recipe and the processes ask.

    Raises:
        InputError: a piece would be empty, or batch norm would meet a piece of one sample, which
            has no variance.
    """
    normalised = any(isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d) for m in model.modules())
    least, pieces = (2 if normalised else 1), processes.count * recipe.training.accumulate
    batch = samples // batch_count(samples, recipe)
    if batch // pieces >= least:
        return
    cut = f" and pieces of {batch // pieces}" if pieces > 1 else ""
    raise InputError(
        f"recipe {recipe.name}: [training] batch_size = {recipe.training.batch_size} with "
        f"{samples} training samples, {processes.count} processes and accumulate = "
        f"{recipe.training.accumulate} gives batches of {batch}{cut} samples, but "
        f"{'batch_norm' if normalised else 'a piece'} needs at least {least}; raise batch_size"
        + (" or turn batch_norm off" if normalised else "")
    )


def _generator(recipe: Recipe, epoch: int, *within: int) -> torch.Generator:
    return torch.Generator().manual_seed(_seed(recipe, epoch, *within))


def _seed(recipe: Recipe, epoch: int, *within: int) -> int:
    """A seed for an epoch, or for something in it, that looks unrelated to any other."""
    # A spawn key of its own, because numpy takes an entropy and the same with zeros after it for
    # equal.
    sequence = np.random.SeedSequence((recipe.seed, epoch), spawn_key=within)
    return int(sequence.generate_state(2, np.uint32)[1])
