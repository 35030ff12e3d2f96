"""A new speaker: somebody speaks whom training left out, and is learnt from a few samples."""

from __future__ import annotations

import numpy as np

from neurodeploy.data import Dataset
from neurodeploy.errors import InputError, Setting, Text
from neurodeploy.onchip.task import (
    DEFAULT_SAMPLES,
    HeldOut,
    News,
    Task,
    shuffled,
    tested,
    training_part,
)

SPLIT = "speaker:"
"""How a data set's split begins that leaves one speaker out of training."""

RECORDINGS = 100
"""Of the new speaker, to learn from."""

REPLAYED = 0
"""Recordings of known speakers after each one, when nobody says: with them fewer of their digits
are forgotten, and fewer of the new speaker's learnt."""

NEW, KNOWN = "new speaker", "known speakers"
"""Names of the held-out sets."""


def new_speaker(
    dataset: Dataset, samples: int | None, rng: np.random.Generator, news: News
) -> Task:
    """Some recordings of the speaker that training left out are learnt from, the others measure.

    Recordings of known speakers, those of training, may follow each of them. No other recording
    of the new speaker judges, so that what was learnt last is kept; known speakers are measured by
    what training kept for validation.

    Raises:
        InputError: training left no speaker out, or too few recordings are left to measure with.
    """
    split = dataset.source.split
    if not split.startswith(SPLIT):
        raise InputError(
            Text(
                Setting("drift", "speaker"),
                f": training on {dataset.name!r} included every speaker",
            ),
            fix=Text("train with ", Setting("data.split", f"{SPLIT}NAME"), ", and export"),
        )
    name, every = split.removeprefix(SPLIT), tested(dataset)
    if len(every.y) <= RECORDINGS:
        raise InputError(
            f"drift speaker: there are {len(every.y)} recordings of {name!r}; learning takes "
            f"{RECORDINGS}, and needs others to be tested on"
        )
    drawn = rng.permutation(len(every.y))
    learnt, count = drawn[:RECORDINGS], DEFAULT_SAMPLES["speaker"] if samples is None else samples
    held_back = np.arange(0) if news.held_back is None else np.sort(news.held_back)
    heard = np.setdiff1d(np.arange(len(dataset.y_train)), held_back)
    judging = held_back if len(held_back) else heard
    arrivals = np.arange(count) % (news.replay + 1) == 0
    new = every.part(shuffled(learnt, int(arrivals.sum()), rng))
    old = training_part(dataset, shuffled(heard, int((~arrivals).sum()), rng))
    rounds = len(new.y) / RECORDINGS
    each = f", each {rounds:.3g} times" if rounds > 1 else ""
    followed = f", each followed by {news.replay} of known speakers" if news.replay else ""
    return Task(
        "drift",
        f"{min(len(new.y), RECORDINGS)} recordings of {name} of {dataset.name}{each}{followed}; "
        f"training left {name} out; known speakers are tested on its "
        + ("validation samples" if len(held_back) else "training samples"),
        _mixed(new, old, arrivals),
        {NEW: every.part(np.sort(drawn[RECORDINGS:])), KNOWN: training_part(dataset, judging)},
        baseline=KNOWN,
        # As much as it takes to get away from what was known, and less noise at the end.
        rate_factor=2.0,
        halved=(0.5, 0.75),
        known=training_part(dataset, heard),
        judged=False,
        replay=news.replay,
    )


def _mixed(new: HeldOut, old: HeldOut, arrivals: np.ndarray) -> HeldOut:
    """New samples where ``arrivals`` (N,) says so, and old ones in between."""
    order = np.empty(len(arrivals), np.int64)
    order[arrivals] = np.arange(len(new.y))
    order[~arrivals] = len(new.y) + np.arange(len(old.y))
    lengths = None
    if new.lengths is not None and old.lengths is not None:
        lengths = np.concatenate([new.lengths, old.lengths])
    both = np.concatenate([new.x[:], old.x[:]]), np.concatenate([new.y, old.y])
    return HeldOut(*both, lengths).part(order)
