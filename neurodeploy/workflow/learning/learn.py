"""Learn: a deployment goes on learning, sample by sample, and becomes a new deployment.

Or a network with random weights begins. The old deployment is only read. The new one is written
whole when everything is over.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
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
from neurodeploy.onchip.task import SET_ASIDE, Task
from neurodeploy.onchip.tasks import make_task
from neurodeploy.reporting.pictures import CurvePoint
from neurodeploy.simulation.trace import Samples
from neurodeploy.support.files import as_path
from neurodeploy.support.log import LOG
from neurodeploy.workflow.learning.choices import (
    HALVED,
    check_for_scratch,
    halvings,
    make_options,
)
from neurodeploy.workflow.learning.data import (
    by_class,
    float_learner,
    learnt_floats,
    measure_float,
    samples_of,
    thinned,
    which_are_right,
)
from neurodeploy.workflow.learning.deployment import mapped, write_learned
from neurodeploy.workflow.learning.learners import (
    Learners,
    check_learning_engine,
    make_learners,
    most_samples,
    with_suitable_rate,
)
from neurodeploy.workflow.learning.origin import Origin, deployed_origin, held_back, random_origin
from neurodeploy.workflow.learning.result import KNOWN, LearningResult
from neurodeploy.workflow.learning.stages import Stage
from neurodeploy.workflow.task import check_tells_classes

CURVE_POINTS, POINT_SAMPLES = 10, 10
"""Measurements during learning, at most, and samples between two of them, at least."""

HELD_OUT = 1000
"""Held-out samples of each set, at most, when the user does not say."""

FLOAT_LEVEL = "float network"

PROTOTYPE_RATE = 2.0**-5
"""Of a class with many samples, when the user does not say."""


def learn(
    source: Deployment | Path | str | None,
    task_name: str = "continue",
    *,
    rule: str = "sltt",
    rate: float | None = None,
    halve: tuple[float, ...] | None = None,
    update: str = "sample",
    feedback: str = "transposed",
    seed: int = 0,
    samples: int | None = None,
    degrees: float | None = None,
    drift: str = "rotation",
    replay: int | None = None,
    order: Sequence[int] = (),
    engine: str = "lava",
    data: Path | str | None = None,
    target: Path | str | None = None,
    weight_bits: int | None = None,
    overrides: Iterable[str] = (),
    held_out: int = HELD_OUT,
    ceiling: bool | None = None,
    out: Path | str | None = None,
    timeout: float | None = None,
    progress: bool = True,
) -> LearningResult:
    """Learn from a task's stream and write the deployment that comes of it.

    The new deployment has the weights, of those measured on the way, that did best on training
    samples set aside, and those from before learning unless others did better.

    Args:
        source: a deployment or its path; of task ``scratch``, which begins with random weights,
            the name of a recipe or its file.
        task_name: a key of ``neurodeploy.onchip.tasks.TASKS``.
        rate: a power of two; the largest that moves no potential too far when None, see
            ``onchip.rates.suitable_rate``.
        halve: shares of the stream, ascending between 0 and 1, after each of which the rate is
            halved; when None ``HALVED`` for ``scratch``, 0.5 and 0.75 for drift ``speaker`` and
            none for other tasks.
        samples: length of the stream; the task's own when None.
        degrees: by which ``drift`` turns images; the task's own when None.
        drift: ``rotation``, ``noise``, ``dead``, ``gain`` or ``speaker``: what task ``drift`` does.
        replay: samples of known classes after each one of ``new-class``, or of known speakers of
            drift ``speaker``, where it is 0 when None; else 9 when None, but 0 by
            rule ``prototypes``, which needs none.
        order: classes that ``new-class`` meets one after the other.
        engine: ``lava``, ``lava-fused`` or ``reference``.
        data: where the data set lies now.
        target, weight_bits, overrides: of ``scratch``: the chip, the width of all weights (the
            target's when None) and KEY=VALUE in place of what the recipe says.
        held_out: at most so many samples of each held-out set, spread evenly.
        ceiling: whether PyTorch learns in floats from the same samples beside it; when None,
            unless the task is ``scratch``.
        out: the new directory; when None ``NAME-learned-NNN`` beside the old one, or in
            ``deployments/``.
        timeout: wall-clock seconds for Lava's learning, and for each measurement in Lava.

    Raises:
        InputError, UnsupportedError: something cannot be used, learnt from, or expressed.
        CheckFailedError: the learnt network would not fit the target.
        SimulationError: Lava failed.
    """
    from_nothing = task_name == "scratch"
    first = PROTOTYPE_RATE if rule == "prototypes" else 1.0
    options = make_options(rule, first if rate is None else rate, update, feedback, seed)
    if replay is None and rule == "prototypes" and task_name == "new-class":
        replay = 0
    check_learning_engine(engine, options)
    data = None if data is None else as_path(data, "learn")
    out = None if out is None else as_path(out, "learn")
    if from_nothing:
        if isinstance(source, Deployment):
            source = source.path
        origin = random_origin(source, target, weight_bits, seed, data, overrides)
    else:
        check_for_scratch(target=target, weight_bits=weight_bits, overrides=tuple(overrides))
        if source is None:
            raise InputError("learn continues a deployment, and none was given")
        deployment = deployment_at(source, "learn")
        check_tells_classes(deployment.network, "learn")
        origin = deployed_origin(deployment, data)
    network = origin.network
    place = NewFolder(out, origin.folder)
    place.check()
    task = make_task(
        *(task_name, origin.dataset, samples, seed, origin.unseen, degrees, origin.epochs),
        drift=drift,
        replay=replay,
        order=tuple(order),
        held_back=held_back(origin) if drift == "speaker" else None,
    )
    task = thinned(task, held_out)
    stream = samples_of(task.stream, network, seed)
    if halve is None and options.everywhere:
        halve = HALVED if from_nothing else task.halved
    options = replace(options, halvings=halvings(halve or (), stream.count, network, options))
    if rate is None and rule != "prototypes":
        options = with_suitable_rate(network, options, stream, task.rate_factor)
    size = min(_between_points(stream, task), most_samples(network, options))
    known = task.known and samples_of(task.known, network, seed)
    learners = make_learners(
        network, options, engine, size, timeout, origin.tags, known, task.empty
    )
    # Before hours of learning rather than after: the structure is what takes room.
    mapped(learners.chosen.learned(), origin)
    ceiling = not from_nothing if ceiling is None else ceiling
    beside = float_learner(network, options) if ceiling and rule != "prototypes" else None
    try:
        session = _Session(origin, task, learners, engine, timeout, beside)
        session.run(stream, size, progress)
    finally:
        learners.close()
    return session.finish(options, place)


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
        origin: Origin,
        task: Task,
        learners: Learners,
        engine: str,
        timeout: float | None,
        beside: Any,
    ) -> None:
        self.origin, self.task, self.learners = origin, task, learners
        self.engine, self.timeout, self.beside = engine, timeout, beside
        self.points: list[CurvePoint] = []
        self.states = learners.first_states()
        self.kept: _Kept | None = None
        self.mismatches = self.updates = self.samples = 0
        self.seconds = 0.0
        self.stages: list[Stage] = []

    def run(self, stream: Samples, size: int, progress: bool) -> None:
        from tqdm import tqdm

        LOG.info("Measuring the accuracy before learning")
        self.points.append(self._point(None))
        if (known := self.points[0].accuracies.get("new", 0)) > KNOWN:
            LOG.warning(
                f"Warning: {known:.0%} of the new class are classified correctly before learning, "
                "so it is not new; train with data.exclude to leave one out"
            )
        LOG.info(f"Learning from {stream.count:,} samples on {self.engine}")
        done_since, right = 0, 0
        due = _between_points(stream, self.task)
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
                    LOG.info(
                        f"Sample {self.samples:,}/{stream.count:,}: accuracy "
                        f"{right / done_since:.2%} on the last {done_since:,}, each before "
                        "learning from it"
                    )
                    done_since, right = 0, 0

    def _learn(self, chunk: StreamChunk) -> int:
        """Everyone learns from a chunk; returns how many samples were right before."""
        learners = self.learners
        started = time.perf_counter()
        found = learners.chosen.learn(chunk)
        self.seconds += time.perf_counter() - started
        if learners.lava is not None:
            wanted = learners.reference.learn(chunk)
            self.mismatches += found.differences(wanted)
        if self.beside is not None:
            self.beside.learn(
                chunk.values, chunk.labels, chunk.lasts(self.origin.network.contract.steps)
            )
        self.states = found.last
        self.updates += len(chunk) * found.updates
        return int((found.scores.argmax(axis=1) == chunk.labels).sum())

    def _point(self, stream: float | None) -> CurvePoint:
        # Before learning it is the deployment's own: prototypes replace its output layer.
        network = self.learners.chosen.learned() if self.points else self.origin.network
        found = which_are_right(network, self.task.held_out, self.engine, self.timeout)
        accuracies = {name: float(right.mean()) for name, right in found.items()}
        if self.task.stage:
            labels, order = self.task.held_out["all"].y, self.task.order
            of_new = np.isin(labels, order)
            for name, part in (("new", of_new), ("old", ~of_new)):
                if part.any():
                    accuracies[name] = float(found["all"][part].mean())
            classes = by_class(labels, found["all"])
            self.stages.append(Stage(order[: len(self.stages)], classes))
        ceiling = None
        if self.beside is not None:
            about = {self.task.measure: self.task.held_out[self.task.measure]}
            ceiling = measure_float(learnt_floats(self.beside), about)[self.task.measure]
        point = CurvePoint(self.samples, accuracies, stream, ceiling)
        # As good as before is no reason to change; and nothing of old classes may judge new ones
        # where nothing of them is replayed.
        unjudged = not self.task.judged
        if (
            self.kept is None
            or unjudged
            or accuracies[SET_ASIDE] > self.kept.point.accuracies[SET_ASIDE]
        ):
            self.kept = _Kept(point, network, self.states)
        return point

    def finish(self, options: LearningOptions, place: NewFolder) -> LearningResult:
        """Write the new deployment, unless Lava and the reference disagree."""
        assert self.kept is not None
        levels = self._levels(self.points[0])
        if self.mismatches:
            return self._result(options, levels, None)
        LOG.info("Writing the new deployment")
        tags = self.learners.tags(self.kept.states)
        with place.made() as out:
            result = self._result(options, levels, out)
            write_learned(out, self.origin, result, self.kept.network, tags, self.points, levels)
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
            source=self.origin.path,
            task=task.name,
            description=task.description,
            engine=self.engine,
            options=options,
            samples=self.samples,
            kept_after=kept.samples,
            judge=SET_ASIDE if task.judged else None,
            judge_before=first.accuracies[SET_ASIDE] if task.judged else None,
            judge_learnt=max(point.accuracies[SET_ASIDE] for point in self.points[1:])
            if task.judged
            else None,
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
                self.origin.target,
                reference.counts.layers,
                self.samples,
            ),
            seconds=self.seconds,
            warnings=self.origin.warnings,
            stages=tuple(self.stages),
            replay=task.replay,
        )

    def _levels(self, first: CurvePoint) -> dict[str, float]:
        """What the task's measure is to come back to."""
        if self.task.baseline is not None:
            return {f"{self.task.baseline}, before": first.accuracies[self.task.baseline]}
        deployment = self.origin.deployment
        if self.task.name != "continue" or deployment is None:
            return {}
        if deployment.learned or deployment.listed(NIR_FILE) is None:
            return {}
        found = measure_float(float_network(deployment), self.task.held_out)
        return {FLOAT_LEVEL: found[self.task.measure]}


def _between_points(stream: Samples, task: Task) -> int:
    """Samples from one measurement to the next; a stage where classes follow each other."""
    return task.stage or max(-(-stream.count // CURVE_POINTS), POINT_SAMPLES)
