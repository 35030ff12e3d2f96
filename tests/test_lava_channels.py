"""Lava's channels in our memory: few mappings, shared with forked processes, and no threads."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import pytest

from neurodeploy.lava.memory import BLOCK, SharedMemory
from neurodeploy.lava.turns import Selector
from support.lava_channel import channel, message


def mappings() -> int:
    return len(Path("/proc/self/maps").read_text().splitlines())


def test_pieces_are_zeros_of_their_own() -> None:
    memory = SharedMemory()
    pieces = [memory.take(size) for size in (1, 0, 64, 100, BLOCK, 3 * BLOCK, 7)]
    assert [len(piece) for piece in pieces] == [1, 1, 64, 100, BLOCK, 3 * BLOCK, 7]
    assert not any(any(piece) for piece in pieces)
    for number, piece in enumerate(pieces, start=1):
        piece[:] = bytes([number]) * len(piece)
    for number, piece in enumerate(pieces, start=1):
        assert set(bytes(piece)) == {number}


def test_thousands_of_channels_take_a_handful_of_mappings() -> None:
    memory = SharedMemory()
    before = mappings()
    kept = [(memory.take(512), memory.semaphore(), memory.semaphore()) for _ in range(3000)]
    assert mappings() - before < 10
    assert len(kept) == 3000


def test_a_semaphore_starts_at_nought_and_counts() -> None:
    semaphore = SharedMemory().semaphore()
    assert not semaphore.acquire(timeout=0.01)
    semaphore.release()
    semaphore.release()
    assert [semaphore.acquire(block=False) for _ in range(3)] == [True, True, False]


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_forked_process_shares_them() -> None:
    memory = SharedMemory()
    piece, to_child, to_parent = memory.take(2), memory.semaphore(), memory.semaphore()
    child = os.fork()
    if child == 0:
        to_child.acquire()
        piece[1] = piece[0] + 1
        to_parent.release()
        os._exit(0)
    piece[0] = 41
    to_child.release()
    assert to_parent.acquire(timeout=10)
    assert piece[1] == 42
    assert os.waitpid(child, 0)[1] == 0


@pytest.fixture
def in_background() -> Iterator[Callable[[Callable[[], object]], Future[Any]]]:
    """Starts calls in threads, which have to end with the test."""
    with ThreadPoolExecutor() as pool:
        yield pool.submit


@pytest.mark.lava
def test_a_channel_keeps_messages_in_order_and_holds_a_sender_when_it_is_full(
    in_background: Callable[..., Future[Any]],
) -> None:
    sender, receiver = channel(slots=2)
    assert sender.probe() and not receiver.probe() and not receiver.waits(0.01)
    sent = message(1, 2)
    sender.send(sent)
    sent[:] = 0  # what was sent is a copy
    sender.send(message(3, 4))
    assert not sender.probe() and not sender.waits(0.01)
    third = in_background(sender.send, message(5, 6))
    assert not done_within(third, 0.05)
    assert receiver.peek().tolist() == receiver.recv().tolist() == [1, 2]
    third.result(10)
    assert [receiver.recv().tolist() for _ in range(2)] == [[3, 4], [5, 6]]
    assert sender.probe() and not receiver.probe()
    with pytest.raises(AssertionError, match="Mismatch"):
        sender.send(message(1))


@pytest.mark.lava
@pytest.mark.parametrize("channels", [1, 3])
def test_a_selector_wakes_for_whichever_channel_has_a_message(
    channels: int, in_background: Callable[..., Future[Any]]
) -> None:
    ends = [channel() for _ in range(channels)]
    chooses = [
        (receiver, lambda number=number: number) for number, (_, receiver) in enumerate(ends)
    ]
    selector = Selector()
    for _ in range(3):
        for number, (sender, receiver) in enumerate(ends):
            chosen = in_background(selector.select, *chooses)
            assert not done_within(chosen, 0.02)
            sender.send(message(number, 0))
            assert chosen.result(10) == number
            assert selector.select(*chooses) == number  # it is still there
            assert receiver.recv()[0] == number


@pytest.mark.lava
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_selector_is_woken_from_another_process() -> None:
    ends = [channel() for _ in range(2)]
    child = os.fork()
    if child == 0:
        for turn in range(200):
            ends[turn % 2][0].send(message(turn, 0))
        os._exit(0)
    found = []
    while len(found) < 200:
        receiver = Selector().select(*[(end, lambda end=end: end) for _, end in ends])
        found.append(int(receiver.recv()[0]))
    assert os.waitpid(child, 0)[1] == 0
    for parity in (0, 1):
        assert [turn for turn in found if turn % 2 == parity] == list(range(parity, 200, 2))


def done_within(future: Future[Any], seconds: float) -> bool:
    return bool(wait([future], seconds).done)
