"""What one busy core costs: training and simulation on the machine as it is, and beside a program.

The program keeps one core at work and nothing else, pinned to it. Quiet and busy rounds take turns
and the median counts. A machine that is not quiet to begin with shows less of a difference.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from neurodeploy.bench.configuration import Configuration
from neurodeploy.bench.process import in_turns, median
from neurodeploy.bench.simulate import ENGINES, in_own_process
from neurodeploy.bench.train import alone, check
from neurodeploy.errors import InputError, Setting, Text

TRAINING = "sltt"
SUBJECTS = (TRAINING, "reference", "lava-fused")
SPIN = "import os\nos.sched_setaffinity(0, {%d})\nwhile os.getppid() == %d:\n    sum(range(9999))"
"""A program that keeps a core busy until its parent is gone."""


@dataclass(frozen=True)
class BusyRow:
    """One subject's figures.

    Attributes:
        subject: ``sltt`` for an iteration of training, or an engine.
        quiet, busy: samples per second.
        slower: quiet over busy.
        cores: that this program may run on.
    """

    subject: str
    network: str
    T: int
    quiet: float
    busy: float
    slower: float
    cores: int


def bench_busy(
    network: str,
    steps: int,
    batch: int,
    subjects: Sequence[str],
    seconds: float,
    rounds: int,
    progress: bool = False,
) -> list[BusyRow]:
    """Measure each subject quiet and busy in turn.

    Args:
        network: a name that ``bench_network`` knows.
        steps: T.
        batch: samples per iteration of training.
        seconds: how long each is timed in a round, at least.

    Raises:
        InputError: unknown subject or network, or numbers out of range.
        SimulationError: a measurement failed.
    """
    for subject in subjects:
        if subject not in (TRAINING, *ENGINES):
            known = ", ".join((TRAINING, *ENGINES))
            raise InputError(Text(Setting("subjects"), f": {subject!r} is not one of {known}"))
    if seconds <= 0 or rounds < 1:
        raise InputError(Text(Setting("seconds"), " and ", Setting("rounds"), " must be positive"))
    configuration = Configuration(TRAINING, network, steps, batch)
    check([configuration])
    measures = [_measure(subject, configuration, seconds) for subject in subjects]
    tasks = [task for one in measures for task in (one, partial(_beside, one))]
    found = [
        median(speeds, lambda speed: -speed)
        for speeds in in_turns(tasks, rounds, "subjects", progress)
    ]
    cores = len(os.sched_getaffinity(0))
    return [
        BusyRow(subject, network, steps, quiet, busy, quiet / busy, cores)
        for subject, quiet, busy in zip(subjects, found[::2], found[1::2], strict=True)
    ]


def _measure(subject: str, configuration: Configuration, seconds: float) -> Callable[[], float]:
    """What takes a measurement in a process of its own, in samples per second."""
    if subject != TRAINING:
        network, steps = configuration.network, configuration.T
        return lambda: in_own_process(subject, network, steps, seconds).samples_per_second
    iteration = partial(alone, configuration, seconds, False)
    return lambda: configuration.batch / iteration()["seconds_per_iteration"]


def _beside(measure: Callable[[], float]) -> float:
    with one_core_taken():
        return measure()


@contextmanager
def one_core_taken() -> Iterator[None]:
    """Another program keeps the last core of this one busy, while the context lasts."""
    core = max(os.sched_getaffinity(0))
    program = [sys.executable, "-c", SPIN % (core, os.getpid())]
    with subprocess.Popen(program) as other:
        try:
            yield
        finally:
            other.kill()
