"""Drift by a new speaker: who is learnt from, who measures, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from neurodeploy.data import Dataset
from neurodeploy.errors import InputError
from neurodeploy.ir.source import DataSource
from neurodeploy.onchip.new_speaker import RECORDINGS
from neurodeploy.onchip.tasks import make_task

STEPS, NEW, OLD = 5, 140, 60


def spoken(split: str = "speaker:ann", new: int = NEW) -> Dataset:
    """Recordings that are told apart by the number in their first two channels."""
    rng = np.random.default_rng(0)

    def part(first: int, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        numbers = first + np.arange(count)
        x = np.zeros((count, STEPS, 2), np.uint8)
        x[:, 0, 0], x[:, 0, 1] = numbers // 100, numbers % 100
        return x, numbers % 10, rng.integers(1, STEPS + 1, count)

    (x, y, lengths), (heard, of_heard, heard_lengths) = part(0, new), part(500, OLD)
    source = DataSource("recordings", split=split)
    made = Dataset("fsdd", 99, heard, of_heard, x, y, True, source)
    return replace(made, lengths_train=heard_lengths, lengths_test=lengths)


def numbers(x: np.ndarray) -> list[int]:
    return (x[:, 0, 0].astype(int) * 100 + x[:, 0, 1]).tolist()


@pytest.mark.parametrize("replay", [None, 1])
def test_a_hundred_recordings_are_learnt_and_the_others_measure(replay: int | None) -> None:
    dataset, held_back = spoken(), np.array([3, 1, 8])
    task = make_task("drift", dataset, 400, 0, drift="speaker", replay=replay, held_back=held_back)
    stream = numbers(task.stream.x[:])
    new = [number for number in stream if number < 500]
    assert len(stream) == 400 and len(set(new)) == RECORDINGS
    measured = task.held_out["new speaker"]
    assert set(new) | set(numbers(measured.x[:])) == set(range(NEW))
    assert len(measured.y) == NEW - RECORDINGS and task.measure == "new speaker"
    assert numbers(task.held_out["known speakers"].x[:]) == [501, 503, 508]
    assert task.baseline == "known speakers" and not task.judged
    assert (task.rate_factor, task.halved) == (2.0, (0.5, 0.75))
    # Each of them as often as the others, and every known one from outside of what measures.
    assert {new.count(number) for number in new} == ({4} if replay is None else {2})
    assert (stream[0] < 500, stream[1] < 500) == (True, replay is None)
    assert not {501, 503, 508} & set(stream)
    lengths = dict(enumerate(np.asarray(dataset.lengths_test).tolist()))
    assert task.stream.lengths is not None
    for number, label, length in zip(
        stream, task.y.tolist(), task.stream.lengths.tolist(), strict=True
    ):
        assert label == number % 10 and (number >= 500 or lengths[number] == length)


def test_what_is_no_new_speaker_is_refused() -> None:
    with pytest.raises(InputError, match="training on 'fsdd' included every speaker"):
        make_task("drift", spoken("official"), None, 0, drift="speaker")
    with pytest.raises(InputError, match="there are 100 recordings of 'ann'; learning takes 100"):
        make_task("drift", spoken(new=100), None, 0, drift="speaker")
    with pytest.raises(InputError, match="is for task drift, not for continue"):
        make_task("continue", spoken(), None, 0, drift="speaker")
