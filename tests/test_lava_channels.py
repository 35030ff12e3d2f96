"""Shared memory and semaphores of Lava's channels: few mappings, shared with forked processes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from neurodeploy.lava.channels import BLOCK, SharedMemory


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
