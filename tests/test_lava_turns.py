"""Actors in one process: each goes on when what it waits for is there, in whatever order."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from neurodeploy.lava.memory import SharedMemory
from neurodeploy.lava.turns import Selector, give, run_in_turns, take
from support.lava_channel import channel, message

pytestmark = pytest.mark.lava


def chain(ends: list[tuple[Any, Any]], messages: int, found: list[int]) -> list[Callable[[], None]]:
    """A source, relays that add 1, and a sink; each channel holds less than is sent."""

    def source() -> None:
        for number in range(messages):
            ends[0][0].send(message(number, 0))

    def relay(receiver: Any, sender: Any) -> None:
        for _ in range(messages):
            sender.send(receiver.recv() + 1)

    def sink() -> None:
        for _ in range(messages):
            found.append(int(ends[-1][1].recv()[0]))

    relays = [
        lambda before=before, after=after: relay(before[1], after[0])
        for before, after in itertools.pairwise(ends)
    ]
    return [source, *relays, sink]


@pytest.mark.parametrize("slots", [1, 3])
@pytest.mark.parametrize("backwards", [False, True])
def test_a_chain_of_actors_in_any_order(slots: int, backwards: bool) -> None:
    found: list[int] = []
    actors = chain([channel(slots) for _ in range(4)], 50, found)
    run_in_turns(actors[::-1] if backwards else actors)
    assert found == list(range(3, 53))


def test_a_selector_among_actors_takes_what_comes() -> None:
    first, second = channel(), channel()
    found: list[tuple[int, int]] = []

    def send(sender: Any, count: int) -> None:
        for number in range(count):
            sender.send(message(number, 0))

    def serve() -> None:
        selector = Selector()
        for _ in range(30):
            number, receiver = selector.select(
                (first[1], lambda: (0, first[1])), (second[1], lambda: (1, second[1]))
            )
            found.append((number, int(receiver.recv()[0])))

    run_in_turns([serve, lambda: send(first[0], 10), lambda: send(second[0], 20)])
    assert [value for number, value in found if number == 0] == list(range(10))
    assert [value for number, value in found if number == 1] == list(range(20))


def test_actors_wait_for_another_program_when_all_of_them_wait() -> None:
    asked, answered = SharedMemory().semaphore(), SharedMemory().semaphore()
    asked.outside = answered.outside = True
    inner = channel()
    found = []

    def service() -> None:
        for number in range(3):
            take(asked)
            inner[0].send(message(number, 0))
        found.append("service")

    def worker() -> None:
        for _ in range(3):
            found.append(int(inner[1].recv()[0]))
            give(answered)

    def program() -> None:
        for _ in range(3):
            time.sleep(0.01)
            asked.release()
            assert answered.acquire(timeout=10)

    other = threading.Thread(target=program)
    other.start()
    run_in_turns([worker, service])
    other.join()
    assert sorted(map(str, found)) == ["0", "1", "2", "service"]


def test_nothing_is_left_of_the_turns() -> None:
    sender, receiver = channel(2)
    run_in_turns([lambda: sender.send(message(1, 2))])
    sender.send(message(3, 4))
    assert np.array_equal([receiver.recv(), receiver.recv()], [[1, 2], [3, 4]])
