"""Learn: a deployment goes on learning, sample by sample, and becomes a new deployment.

The old deployment is only read. The new one is written whole when everything is over.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from neurodeploy.contract import DataSource
from neurodeploy.data import Dataset, load_dataset
from neurodeploy.deployment import Deployment, write_deployment
from neurodeploy.errors import CheckFailedError, InputError, UnsupportedError
from neurodeploy.files import check_new_folder, next_free
from neurodeploy.learning.curve import CurvePoint, draw_learning_curve
from neurodeploy.learning.options import LearningOptions, rate_text
from neurodeploy.learning.rates import suitable_rate
from neurodeploy.learning.real import real_network
from neurodeploy.learning.tasks import HeldOut, Task, make_task
from neurodeploy.learning.trajectory import LayerCounts, StreamChunk
from neurodeploy.mapping import map_network
from neurodeploy.network import Network
from neurodeploy.quantized import QuantizedNetwork
from neurodeploy.schema import build
from neurodeploy.simulation.trace import Batch, Samples
from neurodeploy.target import Target
from neurodeploy.workflow.engines import Engine, batch_size
from neurodeploy.workflow.learners import (
    Learners,
    check_learning_engine,
    make_learners,
    most_samples,
)

CURVE_POINTS, POINT_SAMPLES = 10, 10
"""Measurements during learning, at most, and samples between two of them, at least."""

HELD_OUT = 1000
"""Held-out samples of each set, at most, when the user does not say."""

RATE_SAMPLES = 64
"""Samples that a suitable rate is measured on."""


@dataclass(frozen=True)
class LearningResult:
    """What learning did.

    Attributes:
        deployment: the new one, or None when it was not written.
        source: the one that learnt.
        measure: held-out set that the task is about; ``accuracy_before`` and ``accuracy_after`` are
            on it.
        accuracies_before, accuracies_after: of all held-out sets.
        accuracy_float: of the float network before quantisation, on the measure (continue only).
        accuracy_ceiling: of SLTT in PyTorch in floats after the same samples, or None.
        recovered: share of what was lost that came back: by drift against the upright test set, by
            quantisation against the float network; None where nothing was lost.
        updates: how often weights were updated.
        mismatches: weights and tags that differed from the reference's, after all updates together;
            None when the reference itself learnt.
        layers: events by projection, as the reference counted them.
        overflow: wraps of u and saturations of v, by population.
        seconds: of learning on the engine, without measuring.
    """

    deployment: Path | None
    source: Path
    task: str
    description: str
    rule: str
    engine: str
    rate: float
    update: str
    feedback: str
    seed: int
    samples: int
    measure: str
    accuracy_before: float
    accuracy_after: float
    accuracies_before: dict[str, float]
    accuracies_after: dict[str, float]
    accuracy_float: float | None
    accuracy_ceiling: float | None
    recovered: float | None
    updates: int
    mismatches: int | None
    layers: dict[str, LayerCounts]
    overflow: dict[str, tuple[int, int]]
    seconds: float
    curve: Path | None

    @property
    def samples_per_second(self) -> float:
        """Samples learnt from per second on the engine."""
        return self.samples / self.seconds

    def as_dict(self) -> dict[str, Any]:
        """As ``--json`` prints it and the new deployment keeps it."""
        table = asdict(self)
        for name in ("deployment", "source", "curve"):
            table[name] = None if table[name] is None else str(table[name])
        return {**table, "samples_per_second": self.samples_per_second}


def learn(
    deployment: Deployment,
    task_name: str = "continue",
    *,
    rule: str = "sltt",
    rate: float | None = None,
    update: str = "sample",
    feedback: str = "transposed",
    seed: int = 0,
    samples: int | None = None,
    engine: str = "lava",
    data: Path | None = None,
    held_out: int = HELD_OUT,
    ceiling: bool = True,
    out: Path | None = None,
    timeout: float | None = None,
    progress: bool = True,
) -> LearningResult:
    """Learn from a task's stream and write the deployment that comes of it.

    Args:
        task_name: a key of ``neurodeploy.learning.tasks.TASKS``.
        rate: a power of two; one that suits the network's activity when None.
        samples: length of the stream; the task's own when None.
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
    network = deployment.network
    if out is None:
        out = next_free(deployment.path.parent, f"{deployment.path.name}-learned")
    check_new_folder(out)
    options = make_options(rule, rate or 1.0, update, feedback, seed)
    check_learning_engine(engine, options)
    task = thinned(make_task(task_name, _dataset(network, data), samples, seed), held_out)
    stream = _samples(task.x, task.y, network, seed)
    if rate is None:
        batch = next(stream.batches(min(stream.count, RATE_SAMPLES)))
        options = replace(options, rate=suitable_rate(network, batch))
    size = min(_between_points(stream), most_samples(network, options))
    learners = make_learners(network, options, engine, size, timeout)
    _mapping(learners.chosen.learned(), deployment)
    beside = _float_learner(network, options) if ceiling else None
    try:
        session = _Session(deployment, task, learners, engine, timeout, beside)
        session.run(stream, size, progress)
    finally:
        learners.close()
    return session.finish(options, out)


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


def thinned(task: Task, most: int) -> Task:
    """The task with at most so many samples in each held-out set, spread evenly over it.

    Raises:
        InputError: ``most`` is below 1.
    """
    if most < 1:
        raise InputError(f"--held-out {most}: needs at least 1")
    sets = {}
    for name, found in task.held_out.items():
        count = len(found.y)
        chosen = np.arange(min(most, count)) * count // min(most, count)
        sets[name] = HeldOut(found.x[chosen], found.y[chosen])
    return replace(task, held_out=sets)


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
                chunk = _chunk(batch)
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
        self.updates += len(chunk) * next(iter(found.states.values())).shape[1]
        return int((found.scores.argmax(axis=1) == chunk.labels).sum())

    def _point(self, stream: float | None) -> CurvePoint:
        network = self.learners.chosen.learned()
        accuracies = measure(network, self.task.held_out, self.engine, self.timeout)
        ceiling = None
        if self.beside is not None:
            about = {self.task.measure: self.task.held_out[self.task.measure]}
            ceiling = measure_float(_with_weights(self.beside), about)[self.task.measure]
        return CurvePoint(self.samples, accuracies, stream, ceiling)

    def finish(self, options: LearningOptions, out: Path) -> LearningResult:
        """Write the new deployment, unless Lava and the reference disagree."""
        task, first, last = self.task, self.points[0], self.points[-1]
        before, after = first.accuracies[task.measure], last.accuracies[task.measure]
        levels = self._levels(first)
        wanted = next(iter(levels.values()), None)
        reference = self.learners.reference
        compared = self.learners.lava is not None
        trusted = not self.mismatches
        curve = Path("learn") / "curve.png"
        result = LearningResult(
            deployment=out if trusted else None,
            source=self.deployment.path,
            task=task.name,
            description=task.description,
            **_engine_and_options(self.engine, options),
            samples=self.samples,
            measure=task.measure,
            accuracy_before=before,
            accuracy_after=after,
            accuracies_before=dict(first.accuracies),
            accuracies_after=dict(last.accuracies),
            accuracy_float=levels.get(FLOAT_LEVEL),
            accuracy_ceiling=last.ceiling,
            recovered=recovered(before, after, wanted),
            updates=self.updates,
            mismatches=self.mismatches if compared else None,
            layers=reference.counts.layers,
            overflow=dict(reference.overflow),
            seconds=self.seconds,
            curve=out / "results" / curve if trusted else None,
        )
        if trusted:
            title = f"{self.deployment.path.name}: {task.name} by {options.rule}, "
            title += f"rate {rate_text(options.rate)}"
            picture = draw_learning_curve(title, self.points, levels)
            summary = {**result.as_dict(), "points": [asdict(point) for point in self.points]}
            self._write(out, result, {str(curve): picture, "learn/learning.json": _json(summary)})
        return result

    def _levels(self, first: CurvePoint) -> dict[str, float]:
        """What the task's measure is to come back to."""
        if self.task.baseline is not None:
            return {f"{self.task.baseline}, before": first.accuracies[self.task.baseline]}
        if self.task.name != "continue":
            return {}
        network = float_network(self.deployment)
        return {FLOAT_LEVEL: measure_float(network, self.task.held_out)[self.task.measure]}

    def _write(self, out: Path, result: LearningResult, results: dict[str, bytes]) -> None:
        network = self.learners.chosen.learned()
        how = (
            f"learnt from {result.samples} samples by {result.rule}, rate "
            f"{rate_text(result.rate)}, update {result.update}, task {result.task}"
        )
        notes = {**network.notes, "learning": f"{how}; {NIR_BEFORE}"}
        write_deployment(
            out,
            replace(network, notes=notes),
            _mapping(network, self.deployment).to_dict(),
            self.deployment.nir_file,
            self.deployment.manifest["target"],
            f"{self.deployment.path}, {how}",
            results,
        )


FLOAT_LEVEL = "float network"
NIR_BEFORE = "network.nir is the network from before learning"


def recovered(before: float, after: float, wanted: float | None) -> float | None:
    """Share of the way from ``before`` to ``wanted``; None where there is none to go."""
    if wanted is None or wanted <= before:
        return None
    return (after - before) / (wanted - before)


def measure(
    network: QuantizedNetwork,
    sets: Mapping[str, HeldOut],
    engine: str,
    timeout: float | None = None,
) -> dict[str, float]:
    """Accuracy of a deployed network on each set, in Lava unless the engine is the reference."""
    size = batch_size(network)
    if engine == "reference":
        from neurodeploy.simulation.reference import ReferenceEngine

        return _accuracies(ReferenceEngine(network), network, sets, size)
    from neurodeploy.lava.fused import FusedLavaEngine

    fused = FusedLavaEngine(network, capacity=size, timeout=timeout)
    return _accuracies(fused, network, sets, size)


def measure_float(network: Network, sets: Mapping[str, HeldOut]) -> dict[str, float]:
    """Accuracy of a float network on each set."""
    from neurodeploy.simulation.float_engine import FloatEngine

    return _accuracies(FloatEngine(network), network, sets, 256)


def float_network(deployment: Deployment) -> Network:
    """The network before quantisation."""
    from neurodeploy.interchange.nir_file import read_nir
    from neurodeploy.interchange.nir_in import to_network

    graph = read_nir(deployment.nir_file)
    return to_network(graph, deployment.network.contract, deployment.network.name)


def _accuracies(
    engine: Engine, network: Any, sets: Mapping[str, HeldOut], size: int
) -> dict[str, float]:
    right = dict.fromkeys(sets, 0)
    names: list[str] = []

    def batches():
        for name, found in sets.items():
            for batch in _samples(found.x, found.y, network, 0).batches(size):
                names.append(name)
                labels.append(batch.labels)
                yield batch

    labels: list[Any] = []
    try:
        for index, trace in enumerate(engine.run(batches())):
            predictions = trace.predictions(network.contract.decode)
            right[names[index]] += int((predictions == labels[index]).sum())
    finally:
        engine.close()
    return {name: right[name] / len(found.y) for name, found in sets.items()}


def _samples(x: Any, y: np.ndarray, network: Any, seed: int) -> Samples:
    contract = network.contract
    over_time = contract.input_code.encoder == "events"
    dtype = np.uint8 if contract.input_code.levels == 1 else np.int32
    return Samples(
        len(y), lambda first, last: x[first:last].astype(dtype), y, contract, "", over_time, seed
    )


def _between_points(stream: Samples) -> int:
    return max(-(-stream.count // CURVE_POINTS), POINT_SAMPLES)


def _chunk(batch: Batch) -> StreamChunk:
    assert batch.labels is not None
    steps = 1 if batch.static else batch.values.shape[1]
    return StreamChunk(batch.values.reshape(len(batch), steps, -1), batch.labels)


def _dataset(network: QuantizedNetwork, data: Path | None) -> Dataset:
    contract, (source,) = network.contract, network.inputs
    if not contract.dataset:
        raise InputError(
            "this deployment names no data set to learn from; export a network that "
            "`neurodeploy train` made"
        )
    where = contract.source
    if data is not None:
        where = DataSource(str(data), "", where.side, where.bins)
    levels = contract.input_code.levels if contract.input_code.encoder == "events" else 0
    dataset = load_dataset(contract.dataset, where, contract.steps, levels)
    if dataset.sample_shape != source.shape:
        raise InputError(
            f"data set {dataset.name!r} has samples of shape {dataset.sample_shape}; the "
            f"deployment's input is {source.shape}"
        )
    return dataset


def _mapping(network: QuantizedNetwork, deployment: Deployment) -> Any:
    """The network on the deployment's target.

    Raises:
        CheckFailedError: it does not fit; every violation is listed.
    """
    target = build(Target, deployment.manifest["target"], str(deployment.path))
    mapping = map_network(network, target)
    if mapping.violations:
        raise CheckFailedError(
            f"the learnt network would not fit {target.name}:\n"
            + "\n".join(f"  {violation}" for violation in mapping.violations)
        )
    return mapping


def _float_learner(network: QuantizedNetwork, options: LearningOptions) -> Any:
    """SLTT in PyTorch from the deployed weights; None where training has no such neurons."""
    from neurodeploy.training.continued import FloatLearner

    try:
        return FloatLearner(
            real_network(network), options.rate, "steps" if options.update == "sample" else "step"
        )
    except UnsupportedError:
        return None


def _with_weights(learner: Any) -> Network:
    weights = learner.weights()
    return replace(
        learner.network,
        projections=tuple(
            replace(p, operator=p.operator.with_weights(weights[p.name]))
            for p in learner.network.projections
        ),
    )


def _engine_and_options(engine: str, options: LearningOptions) -> dict[str, Any]:
    return {
        "rule": options.rule,
        "engine": engine,
        "rate": options.rate,
        "update": options.update,
        "feedback": options.feedback,
        "seed": options.seed,
    }


def _json(value: dict[str, Any]) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()
