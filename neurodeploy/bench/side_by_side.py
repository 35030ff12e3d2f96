"""Measurements in processes of their own, several at a time."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neurodeploy.bench.process import answered, run_alone
from neurodeploy.farm import Calls, Farm, Place
from neurodeploy.support.children import end, start_tied
from neurodeploy.support.partial import temporary_folder
from neurodeploy.support.signals import signals_deferred

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


class _Running:
    """A task that has been started; what it prints goes to files, which never run full unread."""

    def __init__(self, number: int, task: Task, folder: Path) -> None:
        self.number = number
        self._what = task.what
        self._out, self._errors = (folder / f"{number}.{kind}" for kind in ("out", "errors"))
        command = [sys.executable, "-m", task.module, *task.arguments]
        with self._out.open("wb") as out, self._errors.open("wb") as errors:
            self.process = start_tied(command, stdout=out, stderr=errors)

    def answer(self) -> dict[str, Any]:
        """What it printed."""
        out, errors = (path.read_text(errors="replace") for path in (self._out, self._errors))
        return answered(self.process.returncode, out, errors, self._what)


def side_by_side(tasks: Sequence[Task], processes: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """Run the tasks, at most so many at a time; yields number and answer of each that ends.

    They begin in their order. However the loop over them is left, none goes on running.

    Raises:
        SimulationError: one failed or was killed; the others are ended.
    """
    waiting = list(enumerate(tasks))
    running: list[_Running] = []
    with temporary_folder() as folder:
        try:
            while waiting or running:
                while waiting and len(running) < processes:
                    with signals_deferred():
                        running.append(_Running(*waiting.pop(0), folder))
                ended = [one for one in running if one.process.poll() is not None]
                for one in ended:
                    running.remove(one)
                    yield one.number, one.answer()
                if not ended:
                    time.sleep(PAUSE)
        finally:
            with signals_deferred():
                end([one.process for one in running], PATIENCE)


def run_task(task: Task) -> dict[str, Any]:
    """Run one task in a process of its own; its answer. Workers of a farm call this.

    Raises:
        SimulationError: it failed or was killed.
    """
    return run_alone(task.module, task.arguments, task.what)


def on_workers(
    place: Place, tasks: Sequence[Task], folder: Path
) -> Iterator[tuple[int, dict[str, Any]]]:
    """As ``side_by_side``, on the workers of a place.

    Args:
        folder: that all of them must see.
    """
    with Farm(place, Calls(run_task), len(tasks)) as farm:
        farm.check_sees(str(folder), "out")
        yield from farm.answers(tasks, lambda number: tasks[number].what)
