"""New classes: together, each sample followed by replayed ones of others, or one by one."""

from __future__ import annotations

import numpy as np

from neurodeploy.data import Dataset
from neurodeploy.errors import InputError, Setting, Text
from neurodeploy.onchip.task import (
    FEWEST,
    SET_ASIDE,
    HeldOut,
    News,
    Task,
    draw_aside,
    draw_known,
    length_of,
    shuffled,
    tested,
    training_part,
)


def new_class(dataset: Dataset, samples: int | None, rng: np.random.Generator, news: News) -> Task:
    """A class appears, each sample of it followed by replayed ones of the others."""
    if news.order:
        return _one_by_one(dataset, samples, rng, news)
    unseen, replay = news.unseen, news.replay
    samples = length_of("new-class", samples, len(dataset.y_train))
    new, of_new = np.isin(dataset.y_train, unseen), np.isin(dataset.y_test, unseen)
    names = _names(unseen)
    _check_new_class(dataset, new, of_new, names)
    arrivals = np.arange(samples) % (replay + 1) == 0
    numbers = np.empty(samples, np.int64)
    aside, others = [], np.empty(0, np.int64)
    for chosen, places in ((new, arrivals), (~new, ~arrivals)):
        kept, others = draw_aside(dataset, np.flatnonzero(chosen), rng)
        numbers[places] = shuffled(others, int(places.sum()), rng)
        aside.append(kept)
    return Task(
        "new-class",
        f"{int(arrivals.sum())} training samples of {names} of {dataset.name}, {_followed(replay)}",
        training_part(dataset, numbers),
        _old_and_new(dataset, of_new, np.sort(np.concatenate(aside)) if replay else None),
        # Twenty samples have to be enough against a training that has taught never to say so: with
        # half of it MNIST's class was hardly learnt; digits do well with both.
        rate_factor=2.0,
        known=draw_known(dataset, others, rng),
        judged=replay > 0,
        replay=replay,
    )


def _one_by_one(
    dataset: Dataset, samples: int | None, rng: np.random.Generator, news: News
) -> Task:
    """Classes appear one after the other, each followed by replayed ones of all before it."""
    order, replay = news.order, news.replay
    samples = length_of("new-class", samples, len(dataset.y_train))
    stage = samples // len(order)
    if stage <= replay:
        raise InputError(
            Text(
                Setting("samples", str(samples)),
                f": {len(order)} classes have {stage} samples each, too few for one of a class and "
                f"{replay} replayed ones",
            )
        )
    # New and old are told apart in one measurement of all.
    held_out = {"all": tested(dataset)}
    aside, parts = {}, {}
    for label in np.unique(dataset.y_train).tolist():
        own = np.flatnonzero(dataset.y_train == label)
        aside[label], parts[label] = draw_aside(dataset, own, rng)
    arrivals = np.arange(stage) % (replay + 1) == 0
    known = [label for label in parts if label not in order]
    numbers = []
    for label in order:
        if replay and not known:
            raise InputError(
                Text(
                    Setting("replay", str(replay)),
                    f": nothing is known that could be replayed beside class {label}",
                ),
                fix=Text("use ", Setting("replay", "0")),
            )
        drawn = np.empty(stage, np.int64)
        drawn[arrivals] = shuffled(parts[label], int(arrivals.sum()), rng)
        if replay:
            others = np.concatenate([parts[other] for other in known])
            drawn[~arrivals] = shuffled(others, int((~arrivals).sum()), rng)
        numbers.append(drawn)
        known.append(label)
    stream = np.concatenate(numbers)
    if replay:
        judging = np.sort(np.concatenate(list(aside.values())))
        held_out[SET_ASIDE] = training_part(dataset, judging)
    shaping = [part for label, part in parts.items() if label not in news.unseen]
    return Task(
        "new-class",
        f"{int(arrivals.sum())} training samples each of {_names(order)} of {dataset.name}, one "
        f"class after the other, {_followed(replay)}",
        training_part(dataset, stream),
        held_out,
        rate_factor=2.0,
        known=draw_known(dataset, np.concatenate(shaping), rng),
        empty=tuple(label for label in order if label not in news.unseen),
        judged=replay > 0,
        replay=replay,
        stage=stage,
        order=order,
    )


def _names(classes: tuple[int, ...]) -> str:
    return f"class{'es' * (len(classes) > 1)} {', '.join(map(str, classes))}"


def _followed(replay: int) -> str:
    return f"each followed by {replay} of the other classes" if replay else "and of no other class"


def _old_and_new(
    dataset: Dataset, of_new: np.ndarray, judging: np.ndarray | None
) -> dict[str, HeldOut]:
    """All test samples, those of new classes and those of old ones; the judge where there is one.

    Args:
        of_new: (N,) bool, of the test samples.
        judging: numbers of training samples.
    """

    def part(chosen: np.ndarray) -> HeldOut:
        return tested(dataset).part(np.flatnonzero(chosen))

    found = {
        "all": tested(dataset),
        "new": part(of_new),
        "old": part(~of_new),
    }
    if judging is not None:
        found[SET_ASIDE] = training_part(dataset, judging)
    return found


def _check_new_class(dataset: Dataset, new: np.ndarray, of_new: np.ndarray, names: str) -> None:
    """Refuse a class without samples, and one beside which there is no other.

    Args:
        new, of_new: (N,) bool, which training and which test samples are of the new class.
        names: of the class, for messages.
    """
    for chosen, kind, fewest in (
        (new, "training", FEWEST),
        (of_new, "test", 1),
        (~new, "training", FEWEST),
        (~of_new, "test", 1),
    ):
        count = int(chosen.sum())
        if count < fewest:
            whose = f"of {names}" if chosen is new or chosen is of_new else f"beside {names}"
            raise InputError(
                f"task new-class: data set {dataset.name!r} has {count or 'no'} {kind} "
                f"sample{'s' * (count > 1)} {whose}, and needs {fewest} or more",
                fix=Text(
                    "the new class is the last one, or what training left out with ",
                    Setting("data.exclude", "[CLASS]"),
                ),
            )
