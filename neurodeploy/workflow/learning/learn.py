"""Learn: a deployment goes on learning, sample by sample, and becomes a new deployment.

The old deployment is only read. The new one is written whole when everything is over.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neurodeploy.artifacts.deployment import Deployment, deployment_at, float_network
from neurodeploy.artifacts.folders import NewFolder
from neurodeploy.artifacts.names import NIR_FILE
from neurodeploy.errors import InputError
from neurodeploy.ir.quantized import QuantizedNetwork
from neurodeploy.onchip.cost import learning_cost
from neurodeploy.onchip.learner import LearningOptions, StreamChunk
from neurodeploy.onchip.tasks import SET_ASIDE, Task, make_task
from neurodeploy.reporting.pictures import CurvePoint
from neurodeploy.simulation.trace import Samples
from neurodeploy.support.file_names import file_name
from neurodeploy.support.files import as_path
from neurodeploy.workflow.learning.data import (
    excluded_classes,
    float_learner,
    labelled_samples,
    learning_data,
    learnt_floats,
    measure,
    measure_float,
    thinned,
)
from neurodeploy.workflow.learning.deployment import first_tags, mapped, write_learned
from neurodeploy.workflow.learning.learners import (
    Learners,
    check_learning_engine,
    make_learners,
    most_samples,
    with_suitable_rate,
)
from neurodeploy.workflow.learning.result import LearningResult
from neurodeploy.workflow.task import check_tells_classes

CURVE_POINTS, POINT_SAMPLES = 10, 10
"""Measurements during learning, at most, and samples between two of them, at least."""

HELD_OUT = 1000
"""Held-out samples of each set, at most, when the user does not say."""

FLOAT_LEVEL = "float network"


def learn(
    deployment: Deployment | Path | str,
    task_name: str = "continue",
    *,
    rule: str = "sltt",
    rate: float | None = None,
    update: str = "sample",
    feedback: str = "transposed",
    seed: int = 0,
    samples: int | None = None,
    degrees: float | None = None,
    engine: str = "lava",
    data: Path | str | None = None,
    held_out: int = HELD_OUT,
    ceiling: bool = True,
    out: Path | str | None = None,
    timeout: float | None = None,
    progress: bool = True,
) -> LearningResult:
    """Learn from a task's stream and write the deployment that comes of it.

    The new deployment has the weights, of those measured on the way, that did best on training
    samples set aside, and those from before learning unless others did better.

    Args:
        deployment: or its path.
        task_name: a key of ``neurodeploy.onchip.tasks.TASKS``.
        rate: a power of two; the largest that moves no potential too far when None, see
            ``onchip.rates.suitable_rate``.
        samples: length of the stream; the task's own when None.
        degrees: by which ``drift`` turns images; the task's own when None.
        engine: ``lava``, ``lava-fused`` or ``reference``.
        data: where the deployment's data set lies now.
        held_out: at most so many samples of each held-out set, spread evenly.
        ceiling: whether PyTorch learns in floats from the same samples beside it.
        out: the new directory; ``NAME-learned-NNN`` beside the old one when None.
        timeout: wall-clock seconds for Lava's learning, and for each measurement in Lava.

    Raises:
        InputError, UnsupportedError: something cannot be used, learnt from, or expressed.
        CheckFailedError: the learnt network would not fit the target.
        SimulationError: Lava failed.
    """
    deployment = deployment_at(deployment, "learn")
    network = deployment.network
    check_tells_classes(network, "learn")
    data = None if data is None else as_path(data, "learn")
    out = None if out is None else as_path(out, "learn")
    path = deployment.path
    if path.name in ("", ".."):
        # Of "." and ".." the last part is no name.
        path = path.resolve()
    place = NewFolder(out, path.parent / f"{file_name(path.name)}-learned")
    place.check()
    options = make_options(rule, 1.0 if rate is None else rate, update, feedback, seed)
    check_learning_engine(engine, options)
    unseen = excluded_classes(deployment)
    task = make_task(task_name, learning_data(network, data), samples, seed, unseen, degrees)
    task = thinned(task, held_out)
    stream = labelled_samples(task.x, task.y, network, seed)
    if rate is None:
        options = with_suitable_rate(network, options, stream, task.rate_factor)
    size = min(_between_points(stream), most_samples(network, options))
    learners = make_learners(network, options, engine, size, timeout, first_tags(deployment))
    # Before hours of learning rather than after: the structure is what takes room.
    mapped(learners.chosen.learned(), deployment)
    beside = float_learner(network, options) if ceiling else None
    try:
        session = _Session(deployment, task, learners, engine, timeout, beside)
        session.run(stream, size, progress)
    finally:
        learners.close()
    return session.finish(options, place)


def make_options(rule: str, rate: float, update: str, feedback: str, seed: int) -> LearningOptions:
    """Options from a user's words.

    Raises:
        InputError: one of them is out of range, or they contradict each other.
    """
    given: Any = {"rule": rule, "rate": rate, "update": update, "feedback": feedback, "seed": seed}
    try:
        return LearningOptions(**given)
    except ValueError as error:
        raise InputError(str(error)) from None


def recovered(before: float, after: float, wanted: float | None) -> float | None:
    """Share of the way from ``before`` to ``wanted``; None where there is none to go."""
    if wanted is None or wanted <= before:
        return None
    return (after - before) / (wanted - before)


@dataclass(frozen=True, eq=False)
class _Kept:
    """The weights that will be deployed, and what was measured of them."""

    point: CurvePoint
    network: QuantizedNetwork
    states: Mapping[str, np.ndarray]


class _Session:
    """One run: learners fed chunk by chunk, measured in between."""

    def __init__(
        self,
        deployment: Deployment,
        task: Task,
        learners: Learners,
        engine: str,
        timeout: float | None,
        beside: Any,
    ) -> None:
        self.deployment, self.task, self.learners = deployment, task, learners
        self.engine, self.timeout, self.beside = engine, timeout, beside
        self.points: list[CurvePoint] = []
        self.states = learners.first_states()
        self.kept: _Kept | None = None
        self.mismatches = self.updates = self.samples = 0
        self.seconds = 0.0

    def run(self, stream: Samples, size: int, progress: bool) -> None:
        from tqdm import tqdm

        self.points.append(self._point(None))
        done_since, right = 0, 0
        due = _between_points(stream)
        bar = tqdm(total=stream.count, desc=self.engine, unit="sample", disable=not progress)
        with bar:
            for batch in stream.batches(size):
                chunk = StreamChunk.of(batch)
                right += self._learn(chunk)
                self.samples += len(chunk)
                done_since += len(chunk)
                bar.update(len(chunk))
                if done_since >= due or self.samples == stream.count:
                    self.points.append(self._point(right / done_since))
                    done_since, right = 0, 0

    def _learn(self, chunk: StreamChunk) -> int:
        """Everyone learns from a chunk; returns how many samples were right before."""
        learners = self.learners
        started = time.perf_counter()
        found = learners.chosen.learn(chunk)
        self.seconds += time.perf_counter() - started
        if learners.lava is not None:
            wanted = learners.reference.learn(chunk)
            self.mismatches += sum(
                int(np.count_nonzero(found.states[name] != states))
                for name, states in wanted.states.items()
            )
        if self.beside is not None:
            self.beside.learn(chunk.values, chunk.labels)
        self.states = {name: states[-1, -1] for name, states in found.states.items()}
        self.updates += len(chunk) * next(iter(found.states.values())).shape[1]
        return int((found.scores.argmax(axis=1) == chunk.labels).sum())

    def _point(self, stream: float | None) -> CurvePoint:
        network = self.learners.chosen.learned()
        accuracies = measure(network, self.task.held_out, self.engine, self.timeout)
        ceiling = None
        if self.beside is not None:
            about = {self.task.measure: self.task.held_out[self.task.measure]}
            ceiling = measure_float(learnt_floats(self.beside), about)[self.task.measure]
        point = CurvePoint(self.samples, accuracies, stream, ceiling)
        # As good as before is no reason to change.
        if self.kept is None or accuracies[SET_ASIDE] > self.kept.point.accuracies[SET_ASIDE]:
            self.kept = _Kept(point, network, self.states)
        return point

    def finish(self, options: LearningOptions, place: NewFolder) -> LearningResult:
        """Write the new deployment, unless Lava and the reference disagree."""
        assert self.kept is not None
        levels = self._levels(self.points[0])
        if self.mismatches:
            return self._result(options, levels, None)
        tags = self.learners.tags(self.kept.states)
        with place.made() as out:
            result = self._result(options, levels, out)
            write_learned(
                out, self.deployment, result, self.kept.network, tags, self.points, levels
            )
        return result

    def _result(
        self, options: LearningOptions, levels: Mapping[str, float], out: Path | None
    ) -> LearningResult:
        assert self.kept is not None
        task, first, kept = self.task, self.points[0], self.kept.point
        before, after = first.accuracies[task.measure], kept.accuracies[task.measure]
        reference = self.learners.reference
        return LearningResult(
            deployment=out,
            source=self.deployment.path,
            task=task.name,
            description=task.description,
            engine=self.engine,
            options=options,
            samples=self.samples,
            kept_after=kept.samples,
            judge=SET_ASIDE,
            judge_before=first.accuracies[SET_ASIDE],
            judge_learnt=max(point.accuracies[SET_ASIDE] for point in self.points[1:]),
            measure=task.measure,
            accuracies_before=dict(first.accuracies),
            accuracies_after=dict(kept.accuracies),
            accuracy_float=levels.get(FLOAT_LEVEL),
            accuracy_ceiling=self.points[-1].ceiling,
            recovered=recovered(before, after, next(iter(levels.values()), None)),
            updates=self.updates,
            mismatches=None if self.learners.lava is None else self.mismatches,
            layers=reference.counts.layers,
            overflow=dict(reference.overflow),
            cost=learning_cost(
                self.learners.plan,
                self.deployment.target,
                reference.counts.layers,
                self.samples,
            ),
            seconds=self.seconds,
            warnings=self.deployment.warnings,
        )

    def _levels(self, first: CurvePoint) -> dict[str, float]:
        """What the task's measure is to come back to."""
        if self.task.baseline is not None:
            return {f"{self.task.baseline}, before": first.accuracies[self.task.baseline]}
        deployment = self.deployment
        from_floats = not deployment.learned and deployment.listed(NIR_FILE) is not None
        if self.task.name != "continue" or not from_floats:
            return {}
        found = measure_float(float_network(deployment), self.task.held_out)
        return {FLOAT_LEVEL: found[self.task.measure]}


def _between_points(stream: Samples) -> int:
    return max(-(-stream.count // CURVE_POINTS), POINT_SAMPLES)
