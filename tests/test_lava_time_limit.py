"""The time limit of a Lava simulation in phases in which nothing waits for an answer."""

from __future__ import annotations

import itertools
import signal
import time
from typing import Any

import pytest

from neurodeploy.errors import SimulationError
from neurodeploy.lava.actors import Crew
from neurodeploy.lava.guard import Budget


def endless() -> None:
    for _ in itertools.count():
        time.sleep(0.001)


class Sleeper:
    """A builder of an actor that runs until it is killed."""

    def build(self) -> Any:
        return self

    def start(self) -> None:
        time.sleep(60)


def test_building_and_compiling_end_in_their_midst() -> None:
    before = signal.getsignal(signal.SIGALRM)
    with (
        pytest.raises(SimulationError, match=r"exceeded its time limit of 0\.05 s"),
        Budget(0.05).counted(alarm=True),
    ):
        endless()
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_what_has_passed_counts() -> None:
    with (
        pytest.raises(SimulationError, match="time limit of 50 s"),
        Budget(50, 49.95).counted(alarm=True),
    ):
        endless()


def test_no_alarm_is_left_behind_by_a_block_in_time() -> None:
    with Budget(0.2).counted(alarm=True):
        pass
    time.sleep(0.3)


def test_an_alarm_of_the_program_stays() -> None:
    fired: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda number, frame: fired.append(number))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(SimulationError), Budget(0.01).counted(alarm=True):
            time.sleep(0.1)
        assert fired == [signal.SIGALRM]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_no_more_processes_start_once_the_time_is_over() -> None:
    looks = itertools.count(1)

    def look() -> None:
        if next(looks) == 3:
            raise SimulationError("over")

    crew = Crew({}, look, in_turns=False)
    try:
        with pytest.raises(SimulationError, match="over"):
            for _ in range(10):
                crew.build_actor(None, Sleeper())
        assert len(crew.actors) == 3
    finally:
        crew.stop()
    assert all(actor.ended for actor in crew.actors)
