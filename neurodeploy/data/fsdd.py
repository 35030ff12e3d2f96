"""The Free Spoken Digit Dataset: wav files as spikes of a front end, in steps of one duration."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from neurodeploy.data.dataset import Dataset, Request, Versions
from neurodeploy.data.files import find_folder, labels
from neurodeploy.data.lasting import padded
from neurodeploy.data.sound import read_wav, spikes_of
from neurodeploy.data.sound_versions import changed_sound
from neurodeploy.errors import InputError, nearest
from neurodeploy.ir.source import DataSource

FSDD_DT = 1e-2
"""Seconds of a step where nobody says."""

TESTED = 5
"""Recordings with an index below it are the official test set."""

NAME = re.compile(r"(?P<digit>[^_]+)_(?P<speaker>.+)_(?P<index>\d+)")


class Spoken(NamedTuple):
    """One recording, by the name of its file."""

    path: Path
    digit: int
    speaker: str
    take: int


def load_fsdd(request: Request) -> Dataset:
    """Load FSDD as (T, 2 bands) spikes, binary unless levels say otherwise.

    Spoken digits, mono wav, named DIGIT_SPEAKER_INDEX.wav. Source: Z. Jackson et al.,
    "Free Spoken Digit Dataset", 2018. Officially indices 0 to 4 are for testing; ``split`` =
    ``speaker:NAME`` tests on all that one speaker says, who is then not heard in training.

    Raises:
        InputError: no such folder or speaker, a file of another name, no mono wav, of another rate
            than the others, or longer than T; or steps that are not of one duration.
    """
    asked = request.source
    if asked.bins != "dt":
        raise InputError(
            f"[data] bins = {asked.bins}: the steps of data set 'fsdd' last one duration; set "
            f'bins = "dt", and dt in seconds if not {FSDD_DT:g}'
        )
    folder = find_folder("fsdd", asked, ["*_*_*.wav"], None)
    spoken = [_named(path) for path in sorted(folder.glob("*.wav"))]
    split = asked.split or "official"
    tested = _tested(spoken, split, folder)
    source = replace(asked, path=str(folder), sha256="", dt=asked.dt or FSDD_DT, split=split)
    levels = request.levels or 1
    sounds = _of_one_rate(spoken)
    made = [spikes_of(values, rate, source.dt, source.front_end, levels) for values, rate in sounds]
    parts, notes = [], []
    for part, chosen in (("training", ~tested), ("test", tested)):
        numbers = np.flatnonzero(chosen)
        names = [spoken[n].path.name for n in numbers]
        x, lengths, note = padded(
            [made[n] for n in numbers],
            *(request.steps, source.dt, source.longer, names.__getitem__),
        )
        notes += [f"{part}: {note}"] if note else []
        parts.append((x, labels(spoken[n].digit for n in numbers), lengths))
    versions = _versions(request, source, levels, {n: sounds[n] for n in np.flatnonzero(~tested)})
    (x_train, y_train, train), (x_test, y_test, test) = parts
    return Dataset(
        *("fsdd", levels, x_train, y_train, x_test, y_test, True, source),
        notes=tuple(notes),
        lengths_train=train,
        lengths_test=test,
        channel_groups=2,
        versions_train=versions,
    )


def _versions(
    request: Request, source: DataSource, levels: int, sounds: dict[int, tuple[np.ndarray, int]]
) -> Versions | None:
    """Changed versions of the training recordings, whose values and rates these are by number."""
    changes, steps = request.versions, request.steps
    if not changes.count:
        return None
    made: list[np.ndarray] = []
    for number, (values, rate) in sounds.items():
        for version in range(changes.count):
            rng = np.random.default_rng((request.seed, number, version))
            sound = changed_sound(values, rate, changes, rng)
            made.append(spikes_of(sound, rate, source.dt, source.front_end, levels))
    # One that is slower than its recording may be longer than T, which nobody recorded.
    x, lengths, _ = padded(made, steps, source.dt, "cut", str)
    shape = (len(sounds), changes.count)
    return Versions(x.reshape(*shape, *x.shape[1:]), lengths.reshape(shape))


def _named(path: Path) -> Spoken:
    """What a file's name says.

    Raises:
        InputError: it is not DIGIT_SPEAKER_INDEX.
    """
    found = NAME.fullmatch(path.stem)
    digit = found["digit"] if found else ""
    if not found or not (digit.isascii() and digit.isdigit() and len(digit) == 1):
        raise InputError(
            f"{path}: files of FSDD are named DIGIT_SPEAKER_INDEX.wav, with a digit from 0 to 9 as "
            "their label and an index from 0, for example 7_jackson_32.wav"
        )
    return Spoken(path, int(digit), found["speaker"], int(found["index"]))


def _tested(spoken: list[Spoken], split: str, folder: Path) -> np.ndarray:
    """(N,) whether a recording is for testing.

    Raises:
        InputError: no such split, or a part of it is empty.
    """
    kind, _, speaker = split.partition(":")
    if split == "official":
        tested = np.array([found.take < TESTED for found in spoken])
        lacking = f"indices below {TESTED}" if not tested.any() else f"indices from {TESTED}"
    elif kind == "speaker" and speaker:
        speakers = sorted({found.speaker for found in spoken})
        if speaker not in speakers:
            raise InputError(
                f"[data] split = {split}: there is no speaker {speaker!r} in {folder}"
                f"{nearest(speaker, speakers)}"
            )
        tested, lacking = np.array([found.speaker == speaker for found in spoken]), "other speakers"
    else:
        raise InputError(
            f'[data] split = {split}: expected "official" or "speaker:NAME", the speaker to '
            "leave out of training"
        )
    if tested.all() or not tested.any():
        raise InputError(f"{folder}: split = {split} needs recordings of {lacking}; there are none")
    return tested


def _of_one_rate(spoken: Iterable[Spoken]) -> list[tuple[np.ndarray, int]]:
    """Values and rate of every recording.

    Raises:
        InputError: one cannot be read, or they have different rates.
    """
    sounds: list[tuple[np.ndarray, int]] = []
    first: Path | None = None
    for found in spoken:
        sounds.append(read_wav(found.path))
        first = first or found.path
        if sounds[-1][1] != sounds[0][1]:
            raise InputError(
                f"{found.path}: has {sounds[-1][1]:,} Hz, but {first.name} has {sounds[0][1]:,}; "
                "bring all recordings to one rate"
            )
    return sounds
