"""Measurements in processes of their own, several at a time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from tempfile import TemporaryFile
from typing import IO, Any

from neurodeploy.bench.process import answered
from neurodeploy.support.signals import die_with, libc, signals_deferred

PATIENCE = 10.0
"""Seconds that processes have to take down what they made, before they are killed."""

PAUSE = 0.1
"""Seconds between two looks at those that run."""


@dataclass(frozen=True)
class Task:
    """``python -m module arguments``, which prints a JSON object last.

    Attributes:
        what: names it in messages.
    """

    module: str
    arguments: tuple[str, ...]
    what: str


@dataclass
class _Running:
    task: Task
    number: int
    out: IO[str] = field(default_factory=partial(TemporaryFile, "w+"))
    errors: IO[str] = field(default_factory=partial(TemporaryFile, "w+"))

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", self.task.module, *self.task.arguments],
            stdout=self.out,
            stderr=self.errors,
            preexec_fn=partial(die_with, os.getpid()),
        )

    def answer(self) -> dict[str, Any]:
        said = []
        for file in (self.out, self.errors):
            file.seek(0)
            said.append(file.read())
            file.close()
        return answered(self.process.returncode, *said, self.task.what)


def side_by_side(tasks: Sequence[Task], processes: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """Run the tasks, at most so many at a time; yields number and answer of each that ends.

    They begin in their order. However the loop over them is left, none goes on running.

    Raises:
        SimulationError: one failed or was killed; the others are ended.
    """
    libc()
    waiting = [_Running(task, number) for number, task in enumerate(tasks)]
    running: list[_Running] = []
    try:
        while waiting or running:
            while waiting and len(running) < processes:
                with signals_deferred():
                    running.append(waiting.pop(0))
                    running[-1].start()
            ended = [one for one in running if one.process.poll() is not None]
            for one in ended:
                running.remove(one)
                yield one.number, one.answer()
            if not ended:
                time.sleep(PAUSE)
    finally:
        with signals_deferred():
            _end(running)


def _end(running: list[_Running]) -> None:
    """Ask them to end, wait a while, and kill those that have not."""
    for one in running:
        one.process.send_signal(signal.SIGTERM)
    until = time.monotonic() + PATIENCE
    for one in running:
        with suppress(subprocess.TimeoutExpired):
            one.process.wait(max(0.0, until - time.monotonic()))
        one.process.kill()
        one.process.wait()
