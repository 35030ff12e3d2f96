"""Samples per second that a deployment learns from, on each engine.

Every row is measured in a process of its own: training samples of the deployment's data set are
learnt from chunk by chunk, as on-chip learning does it between two measurements of accuracy.
The first chunk, which builds the network and starts Lava, is not counted; the others are timed
until enough seconds have passed. Engines take turns over several rounds and the median round
counts, because machines are noisy.
"""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from neurodeploy.artifacts.deployment import read_deployment
from neurodeploy.bench.process import answer, in_turns, median, peak_memory_mb, run_alone
from neurodeploy.errors import InputError, Setting, Text
from neurodeploy.onchip.learner import LearningOptions, StreamChunk
from neurodeploy.onchip.tasks import make_task
from neurodeploy.workflow.learning.choices import make_options
from neurodeploy.workflow.learning.data import learning_data, samples_of
from neurodeploy.workflow.learning.learners import (
    ENGINES,
    check_learning_engine,
    make_learners,
    most_samples,
    with_suitable_rate,
)
from neurodeploy.workflow.learning.tags import first_tags

CHUNK, CHUNKS = 25, 8
"""Samples between two looks at the clock, and different chunks of them, which come in turn."""


@dataclass(frozen=True)
class LearnRow:
    """One engine's figures.

    Attributes:
        samples_per_second: learnt from.
        ratio: the same over the slowest engine's of this run.
        peak_mb: highest resident memory of the process, plus that of its Lava processes; pages
            that they share are counted in each.
    """

    engine: str
    rule: str
    update: str
    samples_per_second: float
    ratio: float
    peak_mb: float


def bench_learn(
    deployment: Path,
    rule: str,
    update: str,
    engines: Iterable[str],
    seconds: float,
    rounds: int,
    data: Path | None = None,
    progress: bool = False,
) -> list[LearnRow]:
    """Measure the engines in turn; returns the median round of each.

    Args:
        deployment: whose network learns.
        rule, update: as ``LearningOptions`` has them.
        engines: some of ``workflow.learning.learners.ENGINES``; all that know the rule when empty.
        seconds: how long each engine is timed in a round, at least.
        data: where the deployment's data set lies now.

    Raises:
        InputError: an engine that does not exist or know the rule, or nothing to learn from.
        MissingDependencyError: Lava is not installed.
        SimulationError: a measurement failed.
        UnsupportedError: the deployment cannot learn.
    """
    options = make_options(rule, 1.0, update, "transposed", 0)
    if seconds <= 0 or rounds < 1:
        raise InputError(Text(Setting("seconds"), " and ", Setting("rounds"), " must be positive"))
    chosen = list(engines) or [e for e in ENGINES if options.everywhere or e != "lava-fused"]
    for engine in chosen:
        check_learning_engine(engine, options)
    _first_chunks(deployment, options, data)
    where = "" if data is None else str(data)
    tasks = [
        partial(_in_own_process, engine, str(deployment), rule, update, str(seconds), where)
        for engine in chosen
    ]
    found = in_turns(tasks, rounds, "engines", progress)
    rows = [median(times, lambda row: -row.samples_per_second) for times in found]
    slowest = min(row.samples_per_second for row in rows)
    return [replace(row, ratio=row.samples_per_second / slowest) for row in rows]


def measure(
    engine: str, deployment: Path, rule: str, update: str, seconds: float, data: Path | None
) -> LearnRow:
    """Time one engine in this process."""
    options = make_options(rule, 1.0, update, "transposed", 0)
    options, chunks = _first_chunks(deployment, options, data)
    loaded = read_deployment(deployment)
    tags = first_tags(loaded)
    learners = make_learners(loaded.network, options, engine, len(chunks[0]), None, tags)
    try:
        learner = learners.chosen
        learner.learn(chunks[0])
        samples, elapsed = 0, 0.0
        for chunk in itertools.cycle(chunks):
            started = time.perf_counter()
            learner.learn(chunk)
            elapsed += time.perf_counter() - started
            samples += len(chunk)
            if elapsed >= seconds:
                break
        peak = peak_memory_mb()
    finally:
        learners.close()
    return LearnRow(engine, rule, update, samples / elapsed, 1.0, peak)


def _first_chunks(
    deployment: Path, options: LearningOptions, data: Path | None
) -> tuple[LearningOptions, list[StreamChunk]]:
    """Options with the rate that ``learn`` would take, and the beginning of its stream.

    Raises:
        InputError, UnsupportedError: see ``bench_learn``.
    """
    network = read_deployment(deployment).network
    size = min(CHUNK, most_samples(network, options))
    task = make_task("continue", learning_data(network, data), CHUNKS * size, 0)
    stream = samples_of(task.stream, network, 0)
    options = with_suitable_rate(network, options, stream, task.rate_factor)
    return options, [StreamChunk.of(batch) for batch in stream.batches(size)]


def _in_own_process(engine: str, *arguments: str) -> LearnRow:
    return LearnRow(**run_alone(__name__, [engine, *arguments], engine))


if __name__ == "__main__":
    engine, deployment, rule, update, seconds, where = sys.argv[1:]
    given = Path(where) if where else None
    answer(lambda: asdict(measure(engine, Path(deployment), rule, update, float(seconds), given)))
